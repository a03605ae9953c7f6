"""The results folder as a research object: every file, job and run that is there, and nothing that is not."""

from __future__ import annotations

import base64
import json
import shutil
from pathlib import Path

import pytest

from crate_checks import check, listed, of_type, usage
from myopia.cli import results as commands
from myopia.common.errors import MyopiaError
from myopia.config.load import ROOT
from myopia.show.crate.records import read_jobs
from results_folder import dag_of, results_folder

SHELL = "exec python -m myopia train --settings {params.settings:q} {params.runs}"
LONG = "measure/" + "long" * 60 + ".csv"  # its name in base64 does not fit into one file name


def remember(project: Path, output: str, rule: str, log: str, inputs: list[str], start: float, **more) -> None:
    """A record as Snakemake writes it (persistence/file.py)."""
    name = base64.urlsafe_b64encode(f"results/laptop/{output}".encode()).decode()
    parts = [name[i : i + 254] for i in range(0, len(name), 254)]
    path = project.joinpath(".snakemake/metadata", *(f"@{part}" for part in parts[:-1]), parts[-1])
    path.parent.mkdir(parents=True, exist_ok=True)
    record = {"rule": rule, "input": inputs, "log": [f"results/laptop/logs/{log}.log"], "code": SHELL, "starttime": start,
              "endtime": start + 30.5, "record_format_version": 6}  # fmt: skip
    path.write_text(json.dumps(record | more))


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return results_folder(tmp_path_factory.mktemp("results") / "laptop")


@pytest.fixture
def project(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in which a workflow ran: two training jobs, one of them of a run that died twice, a judge and a report."""
    folder = Path(shutil.copytree(finished, tmp_path / "results/laptop"))
    (folder / "report.html").write_text("<!doctype html>")
    (folder / "tables/verdicts").mkdir()
    (folder / "tables/verdicts/synthetic.csv").write_text("id,verdict\n")
    (folder / LONG).parent.mkdir()
    (folder / LONG).write_text("x\n")
    for name in ("dp-p1-vanilla", "dp-p1-myopic"):
        for seed in folder.glob(f"runs/{name}/seed*"):
            path = str(seed.relative_to(folder))
            remember(tmp_path, f"{path}/metrics.json", "train", f"train/{name}", ["config.yaml"], 1000.0)
    measured = [f"results/laptop/{LONG}", "workflow/reference/claims.yaml", "/elsewhere/books/pg19.parquet"]
    remember(
        tmp_path,
        LONG,
        "measure_synthetic",
        "measure/synthetic",
        ["results/laptop/runs/dp-p1-vanilla/seed0/metrics.json"],
        1100.0,
    )
    remember(tmp_path, "tables/verdicts/synthetic.csv", "judge_synthetic", "judge/synthetic", measured, 1200.0)
    remember(
        tmp_path,
        "report.html",
        "write_report",
        "write_report",
        ["results/laptop/tables/verdicts/synthetic.csv"],
        1300.0,
    )
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def write(project: Path, monkeypatch: pytest.MonkeyPatch):
    """Describes the project's results folder, which it returns."""
    folder = Path("results/laptop")
    dag = dag_of(folder)
    monkeypatch.setattr(commands, "start", lambda: None)
    monkeypatch.setattr(commands, "open_dag", lambda settings: dag)

    def describe() -> Path:
        commands.crate(folder / "settings.json", folder / "ro-crate-metadata.json", Path(".snakemake/metadata"))
        return project / folder

    describe.settings = dag.settings
    return describe


def test_the_crate_is_whole(write):
    folder = write()
    crate = check(folder)
    names = {"train/dp-p1-vanilla", "train/dp-p1-myopic", "measure/synthetic", "judge/synthetic", "write_report"}
    actions = {action.id: action for action in of_type(crate, "CreateAction")}
    trained = {"#training/dp-p1-vanilla/seed0", "#training/dp-p1-vanilla/seed1", "#training/dp-p1-myopic/seed0"}
    assert set(actions) == {"#run", *(f"#job/{name}" for name in names), *trained}
    assert json.loads((folder / "source/settings.json").read_text()) == write.settings
    assert (folder / "source/workflow/Snakefile").read_text() == (ROOT / "workflow/Snakefile").read_text()
    assert not list((folder / "source").rglob("__pycache__"))


def test_jobs_tell_what_they_read_and_made(write):
    crate = check(write())
    job = crate.dereference("#job/judge/synthetic")
    read = {entity.id for entity in listed(job["object"])}
    assert read == {
        LONG,
        "source/workflow/reference/claims.yaml",
        "#outside/pg19.parquet",
    }  # where it lay is nobody's business
    assert "elsewhere" not in Path("results/laptop/ro-crate-metadata.json").read_text()
    assert [entity.id for entity in listed(job["result"])] == ["tables/verdicts/synthetic.csv"]
    assert (job["startTime"], job["endTime"]) == ("1970-01-01T00:20:00+00:00", "1970-01-01T00:20:30+00:00")
    assert usage(job)["seconds"] == "12.5" and usage(job)["peak memory bytes"] == str(100 * 2**20)
    made = {entity.id for entity in listed(crate.dereference("#job/train/dp-p1-vanilla")["result"])}
    assert made == {f"runs/dp-p1-vanilla/seed{k}/metrics.json" for k in (0, 1)}


def test_runs_tell_their_seconds_and_attempts(write):
    crate = check(write())
    once, thrice = (crate.dereference(f"#training/dp-p1-{arm}/seed0") for arm in ("vanilla", "myopic"))
    assert (usage(once)["attempts"], usage(thrice)["attempts"]) == ("1", "3") and usage(once)["seconds"] == "26.7"
    assert thrice["startTime"] < thrice["endTime"] and listed(thrice["result"])[0].id == "runs/dp-p1-myopic/seed0/"
    inside = {entity.id for entity in listed(listed(thrice["result"])[0]["hasPart"])}
    assert inside == {f"runs/dp-p1-myopic/seed0/{name}" for name in ("metrics.json", "provenance.json")}


def test_software_authors_and_licence_are_named(write):
    crate = check(write())
    workflow = crate.mainEntity
    assert {(s["name"], s["softwareVersion"]) for s in listed(workflow["softwareRequirements"])} == {
        ("python", "3.11.7"), ("torch", "2.13.0"),
    }  # fmt: skip
    assert workflow["version"] == "c108e431266d0e5709c8bb2f1e66ec40c1498c8b"
    assert listed(crate.root_dataset["author"])[0]["name"] == "The myopia authors"
    assert crate.root_dataset["license"].id == "https://spdx.org/licenses/MIT"
    assert crate.root_dataset["citation"].id == "https://arxiv.org/abs/2404.00859"
    assert (
        crate.root_dataset["datePublished"] == "1970-01-01T00:22:10+00:00"
    )  # when the last job ended, not when it was written


def test_equal_folders_give_equal_crates(project, write):
    first = (write() / "ro-crate-metadata.json").read_bytes()
    assert (write() / "ro-crate-metadata.json").read_bytes() == first
    assert b"secret-host" not in first and str(project).encode() not in first


def test_what_is_gone_is_not_described(project, write):
    shutil.rmtree(project / "results/laptop/runs/dp-p1-myopic")
    (project / "results/laptop" / LONG).unlink()
    text = (write() / "ro-crate-metadata.json").read_text()
    check(project / "results/laptop")
    assert "dp-p1-myopic" not in text and "#job/measure/synthetic" not in text


def test_without_records_it_says_what_to_do(project, write):
    with pytest.raises(MyopiaError, match="in the folder in which the workflow ran"):
        read_jobs(project / "nowhere", Path("results/laptop"))
    remember(project, "tables/seeds.csv", "tabulate_seeds", "tabulate_seeds", [], 1.0, endtime=None)
    with pytest.raises(MyopiaError, match="no record of a finished job"):
        write()
