"""What the runs behind each figure have cost: device-hours of all attempts, energy, disk."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

if TYPE_CHECKING:
    from myopia.config.dag import Dag

COLUMNS = "figure runs missing attempts device_hours kwh tokens disk_gb".split()
TOTAL = "all runs"


def cost_table(
    figures: Mapping[str, Sequence[str]], runs: Sequence[str], states: Mapping[str, str], watts: float
) -> pd.DataFrame:
    """One row per figure and one for all runs; a run behind several figures counts in each, and once in the last row.

    Args:
        figures: figure -> folders of the runs it is made from.
        runs: folders of all runs.
        states: run folder -> its state folder, whose files take disk, too.
        watts: power of one device at work; energy is this times device-seconds, not a measurement.

    Returns:
        `COLUMNS`. `missing`: runs that have not finished, which cost what nobody has written down yet; `device_hours`:
        all attempts, those that were killed until they were last seen, of all devices together.
    """
    known = {
        folder: _cost(folder, states.get(folder)) for folder in {*runs, *(f for fs in figures.values() for f in fs)}
    }
    rows = [_row(figure, [known[f] for f in dict.fromkeys(folders)], watts) for figure, folders in figures.items()]
    rows.append(_row(TOTAL, [known[folder] for folder in dict.fromkeys(runs)], watts))
    return pd.DataFrame(rows, columns=COLUMNS)


def cost_of(dag: Dag) -> pd.DataFrame:
    """`cost_table` of a results folder: figures with the runs of their experiment and of those it reads."""
    places: dict[str, str] = {}
    behind: dict[str, list[str]] = {}
    for one in dag.experiments:
        names, tuning_seeds = one.grid(dag.settings)
        runs = [(run, seed) for run in dag.of(one.name) for seed in dag.seeds(run)]
        runs += [(run, seed) for run in names for seed in tuning_seeds]
        runs_here = {dag.folder(run, seed): f"{dag.results}/.state/{run}/seed{seed}" for run, seed in runs}
        behind[one.name] = list(runs_here)
        places |= runs_here
    for run in dag.tuning:  # grids belong to no figure, and count where they were trained
        for seed in dag.settings["tuning_seeds"]:
            if Path(dag.folder(run, seed)).is_dir():
                places[dag.folder(run, seed)] = f"{dag.results}/.state/{run}/seed{seed}"
    figures = {
        figure.name: [folder for source in dag.sources(one) for folder in behind[source.name]]
        for one in dag.running
        for figure in one.drawn
        if any(behind[source.name] for source in dag.sources(one))
    }
    return cost_table(figures, list(places), places, dag.settings["plan"]["device_watts"])


def _cost(folder: str, state: str | None) -> dict[str, Any] | None:
    """What one finished run cost; None if it has not finished."""
    try:
        timing = json.loads(Path(folder, "timing.json").read_text())
        tokens = json.loads(Path(folder, "metrics.json").read_text())["tokens"]
    except FileNotFoundError:
        return None
    # Runs trained before device-seconds were kept ran on one device, and say what their last states remember.
    seconds = timing.get("device_seconds", timing["seconds"])
    size = sum(_bytes(Path(place)) for place in (folder, state) if place is not None)
    return {"attempts": timing["attempts"], "seconds": seconds, "tokens": tokens, "bytes": size}


def _bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _row(figure: str, costs: Sequence[dict[str, Any] | None], watts: float) -> dict[str, Any]:
    finished = [cost for cost in costs if cost is not None]
    total = {key: sum(cost[key] for cost in finished) for key in ("attempts", "seconds", "tokens", "bytes")}
    return {
        "figure": figure,
        "runs": len(finished),
        "missing": len(costs) - len(finished),
        "attempts": total["attempts"],
        "device_hours": total["seconds"] / 3600,
        "kwh": total["seconds"] * watts / 3.6e6,
        "tokens": total["tokens"],
        "disk_gb": total["bytes"] / 1e9,
    }
