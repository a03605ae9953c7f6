"""The target `crate` on a real run: Snakemake's own records are read, and all it made is in the crate."""

import json

from crate_checks import check, listed, of_type, usage
from harness import snakemake


def test_a_finished_run_becomes_a_crate(sandbox):
    results = sandbox / "results/smoke"
    snakemake(sandbox, "--", "crate")
    crate = check(results)
    jobs = {
        action.id.removeprefix("#job/") for action in of_type(crate, "CreateAction") if action.id.startswith("#job/")
    }
    benchmarks = {
        str(path.relative_to(results / "benchmarks").with_suffix("")) for path in results.glob("benchmarks/**/*.tsv")
    }
    assert jobs == benchmarks - {"write_crate"} and len(jobs) > 15
    made = {entity.id for job in jobs for entity in listed(crate.dereference(f"#job/{job}")["result"])}
    for folder in ("tables", "figures", "measure"):
        files = (path for path in (results / folder).rglob("*") if path.is_file())
        assert {str(path.relative_to(results)) for path in files} <= made
    runs = [*results.glob("runs/*/seed*"), *results.glob("arms/*/seed*")]
    for run in runs:
        action = crate.dereference(f"#training/{run.parent.name}/{run.name}")
        timing = json.loads((run / "timing.json").read_text())
        assert usage(action)["attempts"] == str(timing["attempts"]) and usage(action)["seconds"] == str(
            timing["seconds"]
        )
        assert (run.relative_to(results) / "README.md").as_posix() in {
            e.id for e in listed(listed(action["result"])[0]["hasPart"])
        }
    versions = {s["name"]: s["softwareVersion"] for s in listed(crate.mainEntity["softwareRequirements"])}
    assert {"torch", "snakemake", "transformers"} <= set(versions)
    settings = json.loads((results / "source/settings.json").read_text())
    assert settings["scale"] == "smoke" and settings["text"]["steps"]
    assert str(sandbox) not in (results / "ro-crate-metadata.json").read_text()
    assert "Nothing to be done" in snakemake(sandbox, "--", "crate").output
