"""What the runs behind each figure have cost: device-hours of all attempts, energy, disk."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

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


def run_places(
    results: str, runs: Mapping[str, Sequence[tuple[str, Sequence[int]]]]
) -> tuple[dict[str, list[str]], dict[str, str]]:
    """({experiment: folders of its runs}, {folder: its state folder}) of runs that are named with their seeds.

    Args:
        results: folder of a scale.
        runs: experiment -> (folder of a run within `results`, its seeds).
    """
    folders: dict[str, list[str]] = {}
    states: dict[str, str] = {}
    for experiment, named in runs.items():
        folders[experiment] = []
        for run, seeds in named:
            for seed in seeds:
                folder = f"{results}/{run}/seed{seed}"
                folders[experiment].append(folder)
                states[folder] = f"{results}/.state/{Path(run).name}/seed{seed}"
    return folders, states


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
