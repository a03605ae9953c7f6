"""README and the pages of docs/ say what the published files say, and nothing else."""

import json
import re
import shutil
from pathlib import Path

import pandas as pd
import pytest
import yaml

from myopia.cli.start import scale_settings
from myopia.common.errors import MyopiaError
from myopia.config.experiment import known
from myopia.config.plan import plan
from myopia.judge.claims import Claim
from myopia.judge.verdicts import COLUMNS
from myopia.show.api import markdown
from myopia.show.pages import BLOCK, BLOCKS, PAGES, Results, check_pages, render, write_pages

ROOT = Path(__file__).resolve().parents[2]
TEXTS = {"surprises": [], "notes": {}, "wording": {}, "scales": {}}


def test_pages_are_not_stale():
    assert check_pages() == [], "run: python -m myopia pages"


def test_readme_and_adding_stay_short():
    assert (ROOT / "README.md").read_text().count("\n") <= 150
    assert (ROOT / "docs/adding.md").read_text().count("\n") <= 40


def test_no_number_of_readme_is_typed_by_hand():
    text = BLOCK.sub("", (ROOT / "README.md").read_text())
    text = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    assert set(re.findall(r"\d+\.\d+", text)) <= {"2404.00859", "3.11", "3.13"}  # the paper, Python


def test_every_claim_that_pages_name_exists():
    results = Results(ROOT)
    assert set(results.texts["wording"]) <= set(results.claims)
    assert set(results.texts["notes"]) <= set(known())
    assert len(results.texts["surprises"]) == 10


@pytest.mark.parametrize("scale", ["gpu", "paper"])
def test_published_plans_are_what_is_planned(scale):
    path = ROOT / f"docs/results/planned/{scale}.csv"
    settings = scale_settings(scale)
    mend = f"run: python -m myopia plan --scale {scale} --out {path.relative_to(ROOT)}, then python -m myopia pages"
    rows = pd.DataFrame(plan(settings)).to_csv(index=False, float_format="%.10g")
    assert rows.splitlines() == path.read_text().splitlines(), mend
    record, device = json.loads((path.parent / "provenance.json").read_text()), settings["plan"]
    told = (
        f"one GPU of {device['device_memory_gb']} GB and {device['device_tflops']} TFLOP/s, used at {device['mfu']:.0%}"
    )
    assert record["device"].replace(" %", "%") == told


# --- a repository of its own, with few results -----------------------------------------------------------------


def verdict(name, answer="yes", ours=1.0, group="paper", **more):
    row = dict.fromkeys(COLUMNS) | {"id": name, "claim": f"claim {name}", "where": "p. 7", "seeds": 3, "documents": 0}
    return row | {"ours": ours, "verdict": "some word", "answer": answer, "group": group, "reason": ""} | more


@pytest.fixture
def published(tmp_path):
    """(scales, texts) -> Results of a root with these verdicts, under real ids of claims."""

    def make(scales, texts=()):
        for name, rows in scales.items():
            folder = tmp_path / "docs" / "results" / name
            folder.mkdir(parents=True, exist_ok=True)
            pd.DataFrame(rows).to_csv(folder / "verdicts.csv", index=False)
        (tmp_path / "docs").mkdir(exist_ok=True)
        (tmp_path / "docs/pages.yaml").write_text(yaml.safe_dump(TEXTS | dict(texts)))
        return Results(tmp_path)

    return make


def block(name, results):
    return render(f"<!-- generated: {name} -->\nold\n<!-- end -->\n", results)


def test_each_claim_speaks_from_the_most_telling_scale_that_judged_it(published):
    laptop = [
        verdict("table1-gap-p0.3", ours=0.111),
        verdict("table1-gap-p1", ours=0.222),
        verdict("fig7-slope", "not judged", 0.333, reason="judged at cpu, gpu only; the estimate is shown"),
    ]
    cpu = [verdict("table1-gap-p0.3", "not judged", 0.444, reason="needs 5 seeds, has 3; the estimate is shown"),
           verdict("table1-gap-p1", "undecided", 0.555, reason="too wide"),
           verdict("fig7-slope", "not judged", None, reason="nothing there")]  # fmt: skip
    text = block("claims", published({"laptop": laptop, "cpu": cpu}))
    assert "| claim table1-gap-p0.3 (p. 7) |  | 0.111 | 3 | laptop | yes |" in text
    assert "| claim table1-gap-p1 (p. 7) |  | 0.555 | 3 | cpu | undecided: too wide |" in text
    assert "| 0.333 | 3 | laptop | not judged: needs the scale cpu, gpu; shown for orientation |" in text
    assert "old" not in text and "0.444" not in text


def test_kinds_are_counted_apart(published):
    rows = [verdict("table1-gap-p0.3"), verdict("table1-gap-p1", "no"), verdict("theory-theorem8", group="theorem"),
            verdict("table1-gap-every-p", "partly", None, "summary"), verdict("kv-cut-gap", group="own"),
            verdict("control-aa-dp", group="control"), verdict("probe-future-msmarco", "undecided", group="own")]  # fmt: skip
    text = block("counts", published({"cpu": rows}))
    assert "| claims of the paper, measured on networks | 2 | 1 |  |  | 1 |" in text
    assert "| summaries of several such claims | 1 |  | 1 |  |  |" in text
    assert "random convex problems | 1 | 1 |  |  |  |" in text
    assert "| findings of our own | 2 | 1 |  | 1 |  |" in text and "| controls | 1 | 1 |  |  |  |" in text


def test_groups_of_claims():
    base = {"id": "a", "claim": "c", "family": "f"}
    assert Claim(where="control of Table 1", own=True, **base).group == "control"
    assert Claim(where="p. 7", own=True, kind="theorem", **base).group == "own"
    assert Claim(where="p. 13", kind="theorem", **base).group == "theorem"
    assert (
        Claim(where="p. 8", sub_claims=("a",), **base).group == "summary"
        and Claim(where="p. 8", **base).group == "paper"
    )


def test_a_question_is_answered_yes_no_or_undecided_and_says_how_small_it_is(published):
    rows = [verdict("table1-gap-p0.3", ours=0.5, ci_low=0.4, ci_high=0.6, paper_value=0.815),
            verdict("table1-gap-p1", "undecided", 0.3, paper_value=0.994),
            verdict("table1-gap-p0.1", "not judged", 0.7),
            verdict("fig10-interaction", "no", 0.01, paper_value=0.93),
            verdict("fig7-slope-random", ours=0.05, group="own"),
            verdict("fig7-slope", "undecided", None, reason="the gap has settled at 1 of 4 sizes")]  # fmt: skip
    told = block("questions", published({"cpu": rows})).splitlines()[3:-1]
    assert len(told) == 3  # what nothing was judged of is not asked
    sums, size, padding = (line.split(" | ", 1)[1] for line in told)
    assert sums == (
        "p = 0.3: 0.815<br>p = 1: 0.994 | p = 0.3: 0.500 [0.400, 0.600]<br>p = 1: 0.300 "
        "| p = 0.3: yes, at small scale<br>p = 1: undecided |"
    )
    assert padding == "0.930 | 0.010 | no, at small scale |"
    assert size.startswith("grows | ") and size.endswith(
        "fine-tuned: undecided<br>from scratch, equal text: yes, at small scale |"
    )
    assert "| 0.900 | yes |" in block(
        "questions", published({"paper": [verdict("fig10-interaction", ours=0.9, paper_value=0.93)]})
    )


def test_sentences_take_their_numbers_from_the_files(published):
    rows = [verdict("fig10-interaction", ours=0.25, ci_low=0.1, ci_high=0.4, paper_value=0.93)]
    results = published({"cpu": rows, "laptop": [verdict("fig10-interaction", ours=0.75)]})
    said = results.say(
        "ours {ours:fig10-interaction}, theirs {paper:fig10-interaction}, small {ours:laptop/fig10-interaction}"
    )
    assert said == "ours 0.250 [0.100, 0.400], theirs 0.930, small 0.750"
    for wrong in ("{ours:nothing}", "{ours:gpu/fig10-interaction}"):
        with pytest.raises(MyopiaError, match="no published verdicts.csv has it"):
            results.say(wrong)


def test_two_machines_are_compared_claim_by_claim(published):
    def rows(ours, second):
        told = [verdict("table1-gap-p0.3", ours=0.5), verdict("table1-gap-p1", second, ours)]
        return [row | {"ci_low": 0.1, "ci_high": 0.7} for row in told] + [verdict("fig7-slope", ours=None)]

    assert "Not published yet" in block("machines", published({"laptop": rows(0.2, "yes")}))
    text = block("machines", published({"laptop-avx2": rows(0.26, "undecided")}))
    assert "Of 2 estimates" in text and "more than 0.1 of the" in text and "and 1 have another answer" in text
    assert "| claim table1-gap-p1 | 0.200 [0.100, 0.700] | yes | 0.260 [0.100, 0.700] | undecided |" in text
    assert "gap-p0.3" not in text and "slope" not in text


def test_an_unknown_block_is_an_error(published):
    with pytest.raises(MyopiaError, match="does not exist"):
        block("wishes", published({}))


def test_a_changed_file_makes_pages_stale_until_they_are_written(tmp_path):
    for name in (*PAGES, "CITATION.cff", "docs/pages.yaml"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copyfile(ROOT / name, tmp_path / name)
    shutil.copytree(ROOT / "docs/results", tmp_path / "docs/results", ignore=shutil.ignore_patterns("*.png"))
    write_pages(tmp_path)
    path = tmp_path / "docs/results/attention.csv"
    path.write_text(path.read_text().replace("0.9328679449", "1.234", 1))
    citation = tmp_path / "CITATION.cff"
    citation.write_text(citation.read_text() + "repository-code: https://example.org/myopia\n")
    assert check_pages(tmp_path) == [
        "README.md, block clone",
        "README.md, block cite",
        "docs/library.md, block benchmark",
    ]
    assert write_pages(tmp_path) == [tmp_path / "README.md", tmp_path / "docs/library.md"]
    assert check_pages(tmp_path) == [] and "1.234 ± 0.164" in (tmp_path / "docs/library.md").read_text()
    assert "git clone https://example.org/myopia myopia" in (tmp_path / "README.md").read_text()


def test_every_block_stands_on_some_page():
    asked = {match["name"] for page in PAGES for match in BLOCK.finditer((ROOT / page).read_text())}
    assert asked == set(BLOCKS)


def test_docstrings_become_lists():
    text = markdown(
        "Does it.\n\nArgs:\n    a: one\n        more.\n    b: two.\n\nReturns:\n    A tensor: [B].\n\nLast.\n"
    )
    assert "**Args**\n\n- `a`: one\n  more.\n- `b`: two.\n" in text
    assert "**Returns**\n\n- A tensor: [B].\n\nLast." in text


# --- links -----------------------------------------------------------------------------------------------------


def anchor(heading):
    return re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-")


def broken_links(page):
    """What a page links to in this repository that is not there."""
    text = re.sub(r"```.*?```", "", (ROOT / page).read_text(), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", re.sub(r"`[^`\n]*`", "", text)):
        if "://" in target:
            continue
        name, _, part = target.partition("#")
        path = (ROOT / page).parent / name if name else ROOT / page
        headings = re.findall(r"^#+ (.*)$", path.read_text(), re.M) if part and path.is_file() else []
        if not path.exists() or (part and part not in map(anchor, headings)):
            yield target


def test_links_lead_somewhere():
    pages = ["README.md", "CHANGELOG.md", *sorted(f"docs/{p.name}" for p in ROOT.glob("docs/*.md"))]
    broken = {page: list(broken_links(page)) for page in pages}
    assert not {page: links for page, links in broken.items() if links}
