"""What one smoke run leaves behind, and what a second one does."""

import csv
import gzip
import json
import re
import socket
from pathlib import Path

from harness import planned, snakemake
from myopia.config.experiment import chosen
from myopia.config.load import read_settings
from myopia.show.publish import provenance, wall_seconds

# Rules that smoke has no use for: the learning-rate grid, downloads and the gap of networks of one's own (tests/hub runs
# them), the plan, the crate. Those of released checkpoints have a target and a test of their own.
NOT_IN_SMOKE = {
    "tune_toys",
    "tabulate_tuning",
    "fetch_text",
    "fetch_tokenizer",
    "fetch_revision",
    "fetch_network",
    "tabulate_gap",
    "draw_gap",
    "write_crate",
}
# What can be asked for by name: they do nothing themselves, or print.
TARGETS = {
    "all",
    "figures",
    "tables",
    "report",
    "crate",
    "fetch",
    "tuned",
    "plan",
    "cost",
    "gap",
    "released",
    "repeat",
    "lock_hub",
}


def test_every_rule_ran(smoke, fresh, record_property):
    record_property("smoke_seconds", round(smoke.seconds, 1))
    jobs = planned(smoke.output)
    listed = snakemake(fresh, "--list-rules").output
    rules = set(re.findall(r"^(\w+)$", listed, re.M)) - TARGETS - NOT_IN_SMOKE
    optional = {rule for rule in rules if rule.endswith("_released")}
    grids = {rule for rule in rules if rule.startswith("tune_")}
    optional |= {rule for rule in rules if rule.startswith("repeat_")}
    assert set(jobs) == rules - optional - grids and len(optional) >= 12 and len(grids) >= 4
    assert sum(jobs.values()) <= 60


def test_every_figure_has_its_table_and_both_formats(smoke):
    results = smoke.folder / "results/smoke"
    figures = {path.stem for path in (results / "figures").iterdir()}
    assert len(figures) == 25
    for figure in figures:
        for path in (f"figures/{figure}.svg", f"figures/{figure}.png", f"tables/{figure}.csv"):
            assert (results / path).stat().st_size > 0


def test_what_is_published_says_how_long_it_all_took(smoke, tmp_path):
    record = provenance(smoke.folder / "results/smoke")
    assert 0.5 * smoke.seconds < record["wall_seconds"] < smoke.seconds + 1  # Snakemake starts, and ends, beside it
    assert record["attempts"] == record["runs"] > 20
    (tmp_path / "results/smoke").mkdir(parents=True)  # moved here, without Snakemake's records
    assert wall_seconds(tmp_path / "results/smoke") is None


def test_nothing_is_judged_at_smoke(smoke):
    with open(smoke.folder / "results/smoke/tables/verdicts.csv") as handle:
        verdicts = list(csv.DictReader(handle))
    assert len(verdicts) > 50 and {row["verdict"] for row in verdicts} == {"not run at this scale"}


def test_a_run_folder_is_complete(smoke):
    results = smoke.folder / "results/smoke"
    plain, arms = sorted(results.glob("runs/*/seed*")), sorted(results.glob("arms/*/seed*"))
    # synthetic and text; the family's 5 runs of 2 sizes, one seed; multiplication; small networks; induction
    assert len(plain) == 12 + 10 + 16 + 4 + 4 and len(arms) == 4
    assert all((folder / "myopia.json").exists() for folder in arms)
    assert not any((folder / "myopia.json").exists() for folder in plain)
    for folder in plain + arms:
        names = {path.name for path in folder.iterdir()}
        assert {
            "README.md",
            "config.json",
            "model.safetensors",
            "metrics.json",
            "curve.csv",
            "timing.json",
            "provenance.json",
        } <= names
        metrics = json.loads((folder / "metrics.json").read_text())
        assert (metrics["run"], f"seed{metrics['seed']}") == (folder.parent.name, folder.name)
        assert metrics["status"] == "finished" and metrics["purpose"] in ("smoke", "control", "pretraining")


def test_every_model_has_a_card_that_the_hub_can_read(smoke):
    from huggingface_hub import ModelCard

    results = smoke.folder / "results/smoke"
    folders = sorted(path.parent for path in results.glob("*/*/seed*/model.safetensors"))
    assert len(folders) == 50
    for folder in folders:
        card = ModelCard.load(folder / "README.md")
        spec = json.loads((folder / "provenance.json").read_text())["spec"]
        assert card.data.tags == ["myopia", spec["arm"]["kind"]] and f"# {folder.parent.name}\n" in card.text
        plain = spec["data"]["kind"] != "dp" and folder.parent.parent.name == "runs"
        assert card.data.get("library_name") == ("transformers" if plain else None), folder
        assert ("regression network" in card.text) == (spec["data"]["kind"] == "dp"), folder
        if spec["arm"]["kind"] in ("local", "bigram"):
            assert "Do not open this folder with `AutoModelForCausalLM` alone" in card.text
        for file in re.findall(r"`([a-z]+\.(?:json|csv))`", card.text):
            assert (folder / file).is_file(), (folder, file)


def test_it_ends_by_saying_where_things_are(smoke):
    ending = smoke.output[-1500:]
    assert "\nreport: results/smoke/report.html   every row: results/smoke/tables/verdicts.csv\n" in ending
    assert "Nothing is judged at this scale." in ending


def test_training_tells_whole_lines(smoke):
    """Parallel jobs share one terminal; a line of one must never stand inside a line of another.

    Snakemake writes a line of its own and the line's end apart, so that one of ours may come between the two.
    """
    told = [line for line in smoke.output.splitlines() if re.search(r"\bstep \d+/\d+", line)]
    assert len(told) >= 10
    form = r"\[[a-z0-9.-]+ \d+\] step \d+/\d+  loss \S+  validation \S+  \d+ tokens/s  ETA \d+ s"
    for line in told:
        ours = re.search(rf"{form}$", line)
        assert ours and not re.search(r"step|loss|tokens/s", line[: ours.start()]), line


def test_no_result_names_the_host(smoke):
    host = re.compile(rf"(?<![\w.-]){re.escape(socket.gethostname())}(?![\w.-])")
    results = smoke.folder / "results/smoke"
    paths = [
        path
        for pattern in (
            "measure/*",
            "tables/**/*.csv",
            "figures/*.svg",
            "runs/*/*/*.json",
            "runs/*/*/*.csv",
            "data/**/*.json",
        )
        for path in results.glob(pattern)
        if path.name not in ("timing.json", "provenance.json", "tokenizer.json")
    ]
    assert len(paths) > 40
    for path in paths:
        text = gzip.decompress(path.read_bytes()).decode() if path.suffix == ".gz" else path.read_text()
        assert not host.search(text) and str(smoke.folder) not in text, path


def test_a_second_run_has_nothing_to_do(sandbox, record_property):
    done = snakemake(sandbox)
    record_property("nothing_to_be_done_seconds", round(done.seconds, 1))
    assert "Nothing to be done" in done.output and done.cpu_seconds < 10


def embedded(page, name):
    """A variable of Snakemake's report."""
    return json.JSONDecoder().raw_decode(page[re.search(rf"\b{name}\s*=\s*(?=\{{)", page).end() :])[0]


def test_snakemakes_own_report_has_every_figure_under_its_experiment(sandbox):
    snakemake(sandbox, "--report", "report.html")
    page = (sandbox / "report.html").read_text()
    shown = {Path(path).stem: told for path, told in embedded(page, "results").items()}
    places = {
        Path(path).stem: category
        for category, inside in embedded(page, "categories").items()
        for paths in inside.values()
        for path in paths
    }
    settings = read_settings(sandbox / "results/smoke/settings.json")
    running = [one for one in chosen(settings["experiments"]) if not one.optional]
    expected = {figure.name: one.title for one in running for figure in one.drawn}
    assert places == expected | {"verdicts": "Verdicts", "seeds": "Runs"} and set(shown) == set(places)
    assert all(told["labels"]["figure"] == name for name, told in shown.items() if name in expected)
