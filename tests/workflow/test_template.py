"""The template becomes an experiment: its folder copied under a new name, one line in the list, and nothing else."""

import csv
import filecmp
import shutil

from harness import ROOT, checkout, planned, snakemake

NAME = "copying"


def instantiate(tree):
    """What docs/adding.md tells a person to do."""
    package = tree / "scripts/myopia/experiments"
    shutil.copytree(package / "_template", package / NAME)
    for path in (package / NAME).iterdir():
        path.write_text(path.read_text().replace("_template", NAME))
    path = package / "__init__.py"
    path.write_text(path.read_text().replace("NAMES = (\n", f'NAMES = (\n    "{NAME}",\n'))


def differing(comparison):
    """Files that both folders have and that differ."""
    found = [f"{comparison.right}/{name}" for name in comparison.diff_files]
    return found + [path for each in comparison.subdirs.values() for path in differing(each)]


def test_a_copy_of_the_template_runs_is_judged_drawn_and_reported(tmp_path):
    tree = checkout(tmp_path / "project")
    instantiate(tree)
    touched = differing(filecmp.dircmp(ROOT / "scripts", tree / "scripts", ignore=["__pycache__"]))
    assert [path.removeprefix(f"{tree}/") for path in touched] == ["scripts/myopia/experiments/__init__.py"]

    jobs = planned(snakemake(tree, f"experiments=[{NAME}]").output)
    assert {f"measure_{NAME}", f"judge_{NAME}", f"draw_{NAME}", "verdicts", "write_report"} <= set(jobs)
    results = tree / "results/smoke"
    assert (results / f"figures/{NAME}_loss.svg").stat().st_size > 1000
    with open(results / f"tables/{NAME}_loss.csv") as handle:
        assert {row["arm"] for row in csv.DictReader(handle)} == {"vanilla", "myopic"}
    with open(results / "tables/verdicts.csv") as handle:
        assert [row["id"] for row in csv.DictReader(handle)] == [f"{NAME}-gap"]
    page = (results / "report.html").read_text()
    assert "A second reading of random tokens" in page and f"{NAME}_loss" in page
