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
import pytest
from axe_playwright_python.sync_playwright import Axe
from PIL import Image
from playwright.sync_api import Browser, Page, expect, sync_playwright

from myopia.config.experiment import experiment, known
from myopia.config.load import ROOT
from myopia.show.report import embed
from myopia.show.report import page as report
from myopia.show.report.results import Results
from results_folder import DRAWN, REFERENCE, TEXTS, dag_of, results_folder

pytestmark = pytest.mark.slow
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
OPEN_ALL = "document.querySelectorAll('details').forEach((box) => { box.open = true; })"
FIGURES = [f.name for one in map(experiment, known()) if not one.optional for f in one.drawn]
SCREEN = 800  # CSS pixels, beside a width of 1200


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
    for name in set(FIGURES) - set(DRAWN):  # as many as a laptop's run draws, all the same picture
        for path in ("figures/{}.svg", "tables/{}.csv"):
            shutil.copyfile(made / path.format(DRAWN[0]), made / path.format(name))
    (made / "report.html").write_text(report.render(Results(made), dag_of(made, FIGURES), REFERENCE, TEXTS))
    return made


def visit(browser: Browser, folder: Path, width: int = 1200, **options) -> Page:
    """The report, drawn; what it complained of and asked for is in `told` and `asked`."""
    page = browser.new_context(viewport={"width": width, "height": SCREEN}, **options).new_page()
    page.told, page.asked = [], []
    page.on("console", lambda message: page.told.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: page.told.append(str(error)))
    page.on("request", lambda request: page.asked.append(request.url))
    page.goto((folder / "report.html").as_uri())
    return page


@pytest.fixture
def page(browser, folder):
    shown = visit(browser, folder)
    yield shown
    shown.context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_loads_in_silence_and_asks_for_nothing(browser, folder, scheme):
    page = visit(browser, folder, color_scheme=scheme)
    assert page.told == []
    assert [url for url in page.asked if not url.startswith("data:")] == [(folder / "report.html").as_uri()]
    colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, re.findall(r"\d+", colour)[:3])) > 380) == (scheme == "light")


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


@pytest.mark.parametrize("scale", ["laptop", "cpu"])  # few questions judged, all of them
def test_the_first_screen_has_every_answer(browser, folder, tmp_path, scale):
    here = Path(shutil.copytree(folder, tmp_path / scale))
    shutil.copyfile(ROOT / f"docs/results/{scale}/verdicts.csv", here / "tables/verdicts.csv")
    (here / "report.html").write_text(report.render(Results(here), dag_of(here, FIGURES), REFERENCE, TEXTS))
    tiles = visit(browser, here).locator(".tile")
    boxes = [tile.bounding_box() for tile in tiles.all()]
    assert len(boxes) >= 8 and all(box["y"] >= 0 and box["y"] + box["height"] <= SCREEN for box in boxes)
    assert tiles.locator(".word").filter(has_text="yes").count() >= 3


def test_it_is_short_before_the_appendix(page):
    assert page.locator("#appendix").bounding_box()["y"] <= 12 * SCREEN
    page.evaluate("document.getElementById('appendix').hidden = true")
    assert len(page.locator("body").inner_text().split()) <= 3000


def test_every_figure_is_seen_once(page):
    page.evaluate("document.querySelectorAll('main details:not(.plate)').forEach((box) => { box.open = true; })")
    pictures = page.evaluate(
        "[...document.querySelectorAll('.plate img')].map((i) => [i.naturalWidth, i.getBoundingClientRect().width, i.checkVisibility()])"
    )
    assert len(pictures) == len(FIGURES) and all(n > 100 and w > 300 and seen for n, w, seen in pictures)
    assert page.locator("figcaption").filter(has_text="Scale laptop").count() > 1  # captions say what the scale is


@pytest.mark.parametrize("script", [True, False])
def test_a_picture_fits_a_phone_and_opens_at_full_size(browser, folder, script):
    page = visit(browser, folder, 380, java_script_enabled=script)
    plate = page.locator(".lead .plate")
    picture, frame = plate.locator("img"), plate.bounding_box()
    assert picture.bounding_box()["width"] <= frame["width"] <= 380
    assert "Enlarge" in plate.locator("summary").aria_snapshot()  # the cue is read, too
    plate.locator("summary").focus()
    page.keyboard.press("Enter")
    assert picture.bounding_box()["width"] > 1.5 * frame["width"] and plate.bounding_box()["width"] <= 380
    page.keyboard.press("Enter")
    assert picture.bounding_box()["width"] <= frame["width"]


@pytest.mark.parametrize("width", [380, 1200])
def test_contents_stay_in_view_and_answer_to_keys(browser, folder, width):
    page = visit(browser, folder, width, reduced_motion="reduce")
    bar, menu = page.locator("nav"), page.locator("nav .menu")
    page.locator("nav a", has_text="Appendix").click()
    assert (
        page.evaluate("scrollY") > 3 * SCREEN and 0 <= bar.bounding_box()["y"] < 1 and bar.bounding_box()["height"] < 50
    )
    menu.locator("summary").focus()
    page.keyboard.press("Enter")
    link = menu.get_by_role("link", name="Toy tasks")
    assert link.is_visible() and link.bounding_box()["x"] >= 0
    page.keyboard.press("Escape")
    assert not link.is_visible() and page.evaluate("document.activeElement.tagName") == "SUMMARY"
    page.keyboard.press("Enter")
    link.focus()
    page.keyboard.press("Enter")
    expect(page.locator("#toys h2")).to_be_in_viewport()
    assert not link.is_visible()
    assert page.locator("#toys h2").bounding_box()["y"] >= bar.bounding_box()["height"]


def test_rows_can_be_filtered(page):
    rows, told = page.locator("#row-table tbody tr"), page.locator(".filter output")
    all_rows = rows.count()

    def shown():
        visible = rows.filter(visible=True)
        assert told.inner_text() == f"{visible.count()} of {all_rows} rows"
        return visible.evaluate_all("(rows) => rows.map((r) => [r.dataset.group, r.dataset.answer, r.textContent])")

    first = shown()
    assert 0 < len(first) < all_rows and not [row for row in first if row[1] == "not judged"]
    page.locator("select[name=group]").select_option("theorem")
    assert {row[0] for row in shown()} == {"theorem"}
    page.locator("select[name=group]").select_option("")
    page.locator("select[name=answer]").select_option("undecided")
    assert {row[1] for row in shown()} == {"undecided"}
    page.locator("select[name=answer]").select_option("")
    assert len(shown()) == all_rows
    page.locator("input[name=text]").fill("at P = 0.3 ")
    assert 0 < len(shown()) < all_rows and all("at p = 0.3" in text.lower() for *_, text in shown())


def test_tables_sort_by_pointer_and_keys(page):
    page.evaluate(OPEN_ALL)
    table = page.locator("#row-table")

    def column(k):
        keys = table.evaluate(
            "(t, k) => [...t.tBodies[0].rows].map((r) => r.cells[k].dataset.key?.trim() ?? r.cells[k].textContent.trim())",
            k,
        )
        return [float(key) if key else None for key in keys]

    heading = table.get_by_role("columnheader").nth(4)
    heading.get_by_role("button").click()
    rising = column(4)
    known = [key for key in rising if key is not None]
    assert known == sorted(known) and len(known) > 10 and rising[len(known) :] == [None] * (len(rising) - len(known))
    assert heading.get_attribute("aria-sort") == "ascending"
    heading.get_by_role("button").focus()
    page.keyboard.press("Enter")
    falling = column(4)
    assert falling[: len(known)] == known[::-1] and falling[len(known) :] == rising[len(known) :]
    assert heading.get_attribute("aria-sort") == "descending" and table.locator("[aria-sort]").count() == 1
    assert "sorted by here" in page.locator("#announce").inner_text()
    every = page.locator("table.sortable")
    assert every.count() == every.filter(has=page.locator("th button")).count() >= 5


@pytest.mark.parametrize(("scheme", "width"), [("light", 380), ("dark", 380), ("light", 1200), ("dark", 1200)])
def test_axe_finds_nothing(browser, folder, scheme, width):
    page = visit(browser, folder, width, color_scheme=scheme)
    page.evaluate(OPEN_ALL)
    found = Axe().run(page).response["violations"]
    assert not [(rule["id"], [node["target"] for node in rule["nodes"]][:3]) for rule in found]


def test_no_horizontal_scroll(browser, folder):
    for width in (380, 1600):
        page = visit(browser, folder, width)
        page.evaluate(OPEN_ALL)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        page.context.close()


def test_keyboard_starts_with_the_skip_link(page):
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the answers"
    assert page.evaluate("document.activeElement.getBoundingClientRect().left") >= 0
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"


def test_print_shows_what_was_folded_away(page, tmp_path):
    assert page.locator("main details:not([open], .plate)").count() > 0
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    page.emulate_media(media="print")
    assert page.locator("main details:not([open], .plate)").count() == 0 and not page.locator("nav").is_visible()
    assert page.locator(".plate img").first.is_visible()
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert page.locator("main details:not([open], .plate)").count() > 0


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


def test_without_a_script_everything_is_shown(browser, folder):
    page = visit(browser, folder, java_script_enabled=False)
    rows = page.locator("#row-table tbody tr")
    assert page.locator(".lead .plate img").is_visible() and not page.locator(".filter").is_visible()
    assert rows.count() == rows.filter(visible=True).count() > 100


def test_a_csv_is_saved_under_its_name_packed_or_not(page, folder):
    packed, plain = (folder / f"tables/{name}.csv" for name in ("verdicts", "table1_loss_by_p"))
    assert packed.stat().st_size >= embed.PACKED > plain.stat().st_size
    for path in (packed, packed, plain):  # the second click finds it unpacked
        with page.expect_download() as waiting:
            page.locator(f"a.csv:text-is('{path.name}')").first.click()
        assert waiting.value.suggested_filename == path.name
        assert Path(waiting.value.path()).read_text() == path.read_text()
