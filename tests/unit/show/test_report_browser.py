"""The report in a real browser: nothing asked of any network, everything seen, reached and heard.

Needs Chromium or Chrome (Debian: `apt-get install chromium`); CHROMIUM names another one. Without one these tests are
skipped, except where CI=true.
"""

from __future__ import annotations

import http.server
import io
import os
import re
import shutil
import threading
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from axe_playwright_python.sync_playwright import Axe
from PIL import Image
from playwright.sync_api import Browser, Page, expect, sync_playwright

from myopia.show.report import embed
from myopia.show.report import page as report
from myopia.show.report.results import Results
from results_folder import DRAWN, PANELS, REFERENCE, TEXTS, add_interactive_tables, add_run, dag_of, results_folder

pytestmark = pytest.mark.slow
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
OPEN_ALL = "document.querySelectorAll('details').forEach((box) => { box.open = true; })"
FIGURES = (*DRAWN, "fig7_gap_by_size", "fig2_probe_r2", "influence")


@pytest.fixture(scope="module")
def browser():
    found = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        assert os.environ.get("CI") != "true", "no Chromium: install one, or name one in CHROMIUM"
        pytest.skip("no Chromium here: apt-get install chromium, or name one in CHROMIUM")
    sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=found, args=sandbox)
        yield started
        started.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = results_folder(tmp_path_factory.mktemp("results") / "laptop")
    add_interactive_tables(made)
    add_run(made, "text-docstrings-vanilla", 0, ["start"], finished=False)  # something to be honest about
    for name in FIGURES:
        if not (made / f"figures/{name}.svg").exists():
            shutil.copyfile(made / "figures/table1_loss_by_p.svg", made / f"figures/{name}.svg")
    (made / "report.html").write_text(report.render(Results(made), dag_of(made, FIGURES), REFERENCE, TEXTS))
    return made


def visit(browser: Browser, folder: Path, width: int = 1200, **options) -> Page:
    """The report, drawn; what it complained of and asked for is in `told` and `asked`."""
    page = browser.new_context(viewport={"width": width, "height": 900}, **options).new_page()
    page.told, page.asked = [], []
    page.on("console", lambda message: page.told.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: page.told.append(str(error)))
    page.on("request", lambda request: page.asked.append(request.url))
    page.goto((folder / "report.html").as_uri())
    if options.get("java_script_enabled", True):
        expect(page.locator(".chart[data-ready=yes]")).to_have_count(page.locator(".chart").count(), timeout=30_000)
    return page


@pytest.fixture(scope="module")
def page(browser, folder):
    """For tests that leave it as it was, or do not mind: drawing it takes seconds."""
    shown = visit(browser, folder)
    yield shown
    shown.context.close()


@pytest.fixture
def new_page(browser, folder):
    """As a reader finds it."""
    shown = visit(browser, folder)
    yield shown
    shown.context.close()


@pytest.fixture(scope="module", params=[("light", 380), ("dark", 1200)], ids=["light", "dark"])
def scheme(browser, folder, request):
    """(colour scheme, the page in it)."""
    name, width = request.param
    shown = visit(browser, folder, width, color_scheme=name)
    yield name, shown
    shown.context.close()


def test_it_loads_in_silence_and_asks_for_nothing(scheme, folder):
    name, page = scheme
    assert page.told == []
    assert [url for url in page.asked if not url.startswith("data:")] == [(folder / "report.html").as_uri()]
    colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, re.findall(r"\d+", colour)[:3])) > 380) == (name == "light")


def test_axe_finds_nothing(scheme):
    _, page = scheme
    page.evaluate(OPEN_ALL)
    found = Axe().run(page).response["violations"]
    assert not [(rule["id"], [node["target"] for node in rule["nodes"]][:3]) for rule in found]


def test_nothing_on_it_could_reach_a_network(page):
    """The policy, not good behaviour: a server next door hears nothing."""
    heard = []

    class Ear(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            heard.append(self.path)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Ear) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}/"
        page.evaluate("(url) => { new Image().src = url + 'image'; }", address)
        said = page.evaluate(
            "(url) => fetch(url + 'fetch', {mode: 'no-cors'}).then(() => 'through', () => 'refused')", address
        )
        page.wait_for_timeout(200)
        server.shutdown()
    assert said == "refused" and heard == []


def test_every_figure_is_seen(page):
    pictures = page.evaluate(
        "[...document.querySelectorAll('.plate img')].map((i) => [i.naturalWidth, i.getBoundingClientRect().width, i.checkVisibility()])"
    )
    assert len(pictures) == len(FIGURES) and all(n > 100 and w > 100 and seen for n, w, seen in pictures)
    assert page.locator(".chart svg").count() == 3


def test_a_cell_of_the_heat_map_tells_its_own_numbers(page, folder):
    """Every panel, because a library that shuffles panels and headings shows wrong data in a good-looking picture."""
    frame = pd.read_csv(folder / "tables/fig2_probe_r2.csv").set_index(["arm", "weights", "p", "layer", "lookback"])
    page.locator("#chart-probes").scroll_into_view_if_needed()
    boxes = """(query) => [...document.querySelectorAll(query)].map((e) => {
        const box = e.getBoundingClientRect();
        return [e.textContent, box.x + box.width / 2, box.y + box.height / 2];
    })"""
    cells = page.evaluate(boxes, "#chart-probes path[aria-roledescription='rect mark']")
    headings = [box for box in page.evaluate(boxes, "#chart-probes svg text") if ", p = " in box[0]]
    assert len(cells) == len(frame) and len(headings) == len(PANELS)
    rows_of_tooltip = (
        "[...document.querySelectorAll('#vg-tooltip-element tr')].map((r) => [...r.cells].map((c) => c.textContent))"
    )
    for heading, x, y in headings:
        panel = [cell for cell in cells if abs(cell[1] - x) < 80 and 0 < cell[2] - y < 90]
        assert len(panel) == 3 * 4
        for _, *at in (panel[0], panel[-1]):
            page.mouse.move(*at)
            network, task = heading.split(", ")
            expect(page.locator("#vg-tooltip-element tr").filter(has_text=task)).to_have_count(1)
            expect(page.locator("#vg-tooltip-element tr").first).to_have_text(f"network{network}")
            told = dict(page.evaluate(rows_of_tooltip))
            assert told["task"] == task
            arm, weights = ("vanilla", "untrained") if told["network"] == "untrained" else (told["network"], "trained")
            where = (arm, weights, float(told["task"][4:]), int(told["layer"]), int(told["lookback"]))
            assert float(told["R², held out, through noise"]) == pytest.approx(frame.loc[where, "value"], abs=1e-3)


def test_influence_tells_both_tokens(page):
    cells = page.locator("#chart-influence path[aria-roledescription='rect mark']")
    assert cells.count() == 2 * 15  # the future of a loss is not drawn
    cells.last.hover(force=True)
    told = page.locator("#vg-tooltip-element").inner_text()
    assert "reading at t" in told and "w4" in told and "norm" in told


def test_switches_turn_series_off_and_on(page):
    points = page.locator("#chart-size path[aria-roledescription='point']")
    expect(points).to_have_count(7)
    for name, gone in (("the authors' unequal rates", 2), ("paper (Pythia)", 3)):
        page.get_by_role("checkbox", name=name).focus()
        page.keyboard.press("Space")
        expect(points).to_have_count(7 - gone)
        page.keyboard.press("Space")
        expect(points).to_have_count(7)


def test_the_map_answers_to_pointer_and_keys(page):
    tokens, readout = page.locator(".window .text").first.locator(".tok"), page.locator("#readout")
    assert tokens.count() == 10
    tokens.nth(6).hover()
    assert "word5" in readout.inner_text() and "gap +0.25 [+0.05, +0.45] nats" in readout.inner_text()
    assert "word4" in readout.locator(".context").inner_text()
    tokens.nth(0).focus()
    assert "nothing predicts it" in readout.inner_text()
    for key, text in (("ArrowRight", "word0"), ("End", "word8"), ("ArrowLeft", "word7"), ("Home", "word-1")):
        page.keyboard.press(key)
        assert text in readout.inner_text() and text in page.evaluate("document.activeElement.textContent")
    assert page.locator(".window .text").first.locator("[tabindex='0']").count() == 1
    classes = [token.get_attribute("class") for token in tokens.all()]
    assert (
        classes[0].endswith("first") and "m" in classes[1].split()[1] and classes[5] == "tok z" and "sure" in classes[9]
    )


def test_tables_sort_by_pointer_and_keys(page):
    page.evaluate(OPEN_ALL)
    table = page.locator("#judged")

    def column(k):
        keys = table.evaluate(
            "(t, k) => [...t.tBodies[0].rows].map((r) => r.cells[k].dataset.key ?? r.cells[k].textContent.trim())", k
        )
        return [float(key) if key else None for key in keys]

    heading = table.get_by_role("columnheader").nth(3)
    heading.get_by_role("button").click()
    rising = column(3)
    known = [key for key in rising if key is not None]
    assert known == sorted(known) and len(known) > 10 and rising[len(known) :] == [None] * (len(rising) - len(known))
    assert heading.get_attribute("aria-sort") == "ascending"
    heading.get_by_role("button").focus()
    page.keyboard.press("Enter")
    falling = column(3)
    assert falling[: len(known)] == known[::-1] and falling[len(known) :] == rising[len(known) :]
    assert heading.get_attribute("aria-sort") == "descending" and table.locator("[aria-sort]").count() == 1
    assert "sorted by ours" in page.locator("#announce").inner_text()
    every = page.locator("table.sortable")
    assert every.count() == every.filter(has=page.locator("th button")).count() >= 6


def test_no_horizontal_scroll(browser, folder):
    for width in (380, 1600):
        page = visit(browser, folder, width)
        page.evaluate(OPEN_ALL)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        page.context.close()


def test_keyboard_starts_with_the_skip_link(new_page):
    new_page.keyboard.press("Tab")
    assert new_page.evaluate("document.activeElement.textContent") == "Skip to the answer"
    assert new_page.evaluate("document.activeElement.getBoundingClientRect().left") >= 0
    new_page.keyboard.press("Enter")
    assert new_page.evaluate("document.activeElement.id") == "main"


def test_print_shows_what_was_folded_away(new_page, tmp_path):
    assert new_page.locator("details:not([open])").count() > 0
    new_page.evaluate("dispatchEvent(new Event('beforeprint'))")
    new_page.emulate_media(media="print")
    assert new_page.locator("details:not([open])").count() == 0 and not new_page.locator("nav").is_visible()
    assert new_page.locator(".plate img").first.is_visible()
    new_page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert new_page.locator("details:not([open])").count() > 0


def test_paper_is_white_and_wide_enough(browser, folder):
    """A4 within its margins is 703 CSS pixels wide; a wider page would be shrunk by the browser."""
    page = visit(browser, folder, 703, color_scheme="dark")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    page.emulate_media(media="print")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.evaluate("document.documentElement.scrollWidth") <= 703
    # Chromium leaves a button out of a heading that it repeats on the next page.
    shown = page.evaluate("[...document.querySelectorAll('th button')].map((b) => getComputedStyle(b).display)")
    assert len(shown) > 20 and set(shown) == {"contents"}
    assert len(re.findall(rb"/Type\s*/Page\b", page.pdf(format="A4"))) > 5


def test_a_compressed_picture_looks_like_the_figure(browser, folder):
    """The page shortens names and coordinates of an SVG: no pixel may be another one but at the edges of letters."""
    page = browser.new_page(viewport={"width": 900, "height": 700})
    shots = []
    for address in (
        (folder / "figures/table1_loss_by_p.svg").as_uri(),
        str(embed.picture(folder / "figures/table1_loss_by_p.svg", embed.Budget())),
    ):
        (folder / "shown.html").write_text(f'<img src="{address}">')
        page.goto((folder / "shown.html").as_uri())
        page.wait_for_function("document.images[0].complete && document.images[0].naturalWidth > 100")
        shots.append(np.asarray(Image.open(io.BytesIO(page.screenshot())).convert("L"), dtype=float))
    (folder / "shown.html").unlink()
    apart = np.abs(shots[0] - shots[1])
    assert shots[0].std() > 10 and apart.max() < 80 and (apart > 20).mean() < 1e-3, (apart.max(), (apart > 20).mean())


def test_without_a_script_nothing_is_lost(browser, folder):
    page = visit(browser, folder, java_script_enabled=False)
    assert page.locator(".plate img").first.is_visible() and page.locator("#judged tbody tr").count() > 10
    assert page.locator("noscript").count() == 3 and page.locator(".window .tok").first.is_visible()


def test_a_csv_is_saved_under_its_name_packed_or_not(page, folder):
    packed, plain = ((folder / f"tables/{name}.csv") for name in ("verdicts", "table1_loss_by_p"))
    assert packed.stat().st_size >= embed.PACKED > plain.stat().st_size
    for path in (packed, packed, plain):  # the second click finds it unpacked
        with page.expect_download() as waiting:
            page.locator(f"a.csv:text-is('{path.name}')").first.click()
        assert waiting.value.suggested_filename == path.name
        assert Path(waiting.value.path()).read_text() == path.read_text()
