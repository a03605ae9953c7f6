"""Copy a scale's verdicts, seeds, tuning and figures to docs/results/<name> and render README from them."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from myopia.common.errors import MyopiaError
from myopia.common.files import write_json
from myopia.config.load import ROOT
from myopia.show.crate.records import read_jobs
from myopia.show.pages import write_pages

TABLES = ("verdicts.csv", "seeds.csv", "tuning.csv", "cost.csv")


def machine(hardware: dict[str, Any]) -> str:
    """What a run's record says of its machine, but not which one it was."""
    kind = " ".join(str(hardware[key]) for key in ("machine", "instructions") if key in hardware)
    return f"{kind}, {hardware['cpu_count']} CPUs"


def provenance(results: Path) -> dict[str, Any]:
    """What made and what it cost to make all runs of a results folder, from each run's own record."""
    paths = sorted(path for place in ("runs", "arms") for path in results.glob(f"{place}/*/seed*/provenance.json"))
    records = [json.loads(path.read_text()) for path in paths]
    return {
        "runs": len(records),
        "commits": sorted({str(r["git"]["commit"]) for r in records}),
        "dirty": any(r["git"]["dirty"] for r in records),
        "versions": records[0]["versions"],
        "device": sorted({r["hardware"]["device"] for r in records}),
        "machine": sorted({machine(r["hardware"]) for r in records}),
        "wall_seconds": wall_seconds(results),
        "seconds": round(sum(r["seconds"] for r in records)),
        "attempts": sum(r["attempts"] for r in records),
        "tokens": sum(r["tokens"] for r in records),
        "flops": sum(r["flops"] for r in records),
    }


def wall_seconds(results: Path) -> int | None:
    """From the first job's start to the last one's end, by Snakemake's own records; None where they were left behind.

    A job of a later day, a figure drawn again, counts as the last one: publish before.
    """
    results = results.resolve()
    root = results.parents[1]  # of the project: results lie in results/<scale>
    if not (root / ".snakemake" / "metadata").is_dir():
        return None
    with contextlib.chdir(root):  # records name files as the workflow does
        jobs = read_jobs(Path(".snakemake/metadata"), results.relative_to(root))
    return round(max(job.end for job in jobs) - min(job.start for job in jobs))


def publish_results(results: Path | None, name: str | None, further: Mapping[str, Path | None]) -> None:
    """Copy a results folder's tables, pictures and provenance, and `further` files {name: path}, into docs/results.

    Raises:
        MyopiaError: the folder holds no verdicts.
    """
    published = ROOT / "docs" / "results"
    if results:
        if not (results / "tables" / "verdicts.csv").is_file():
            raise MyopiaError(f"{results} holds no tables/verdicts.csv: run its scale first")
        target = published / (name or results.name)
        target.mkdir(parents=True, exist_ok=True)
        for table in TABLES:
            if (results / "tables" / table).is_file():
                shutil.copyfile(results / "tables" / table, target / table)
        write_json(target / "provenance.json", provenance(results))
        for picture in sorted((results / "figures").glob("*.png")):
            shutil.copyfile(picture, target / picture.name)
    for table, path in further.items():
        if path:
            published.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, published / table)
    write_pages()
