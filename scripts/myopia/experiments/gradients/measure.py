"""What the experiment measures, by one job or in parts: gradients taken apart, forward bias, the theory's toys."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from myopia.experiments.gradients import ANATOMY, POINTS, SPECTRA, THEORY
from myopia.experiments.gradients.anatomy import AnatomyRun, gradient_anatomy
from myopia.experiments.gradients.forward_bias import BiasRun, forward_bias
from myopia.experiments.gradients.theory import theory

PATHS = ("folder", "tokens")
NOT_OURS = ("what", "trained", "also")  # keys of an entry that say how it is measured, or after which files


def measure(runs: list[dict[str, Any]], options: dict[str, Any], device: str) -> dict[str, pd.DataFrame]:
    """All four tables of these entries; a table that none of them fills has its columns and no rows.

    runs, options: as `units.units` and `settings.options` give them.
    """
    gradients = gradient_anatomy(
        [AnatomyRun(**_opened(run)) for run in runs if run["what"] == "gradients"],
        blocks=options["blocks"],
        block_windows=options["block_windows"],
        moment_blocks=options["moment_blocks"],
        device=device,
    )
    spectra, points = forward_bias(
        [BiasRun(**_opened(run)) for run in runs if run["what"] == "spectrum"],
        options["bias_sequences"],
        options["lanczos_windows"],
        device,
    )
    toys = any(run["what"] == "toys" for run in runs)
    return {
        ANATOMY.name: gradients,
        SPECTRA.name: spectra,
        POINTS.name: points,
        THEORY.name: theory(range(options["problems"] if toys else 0)),
    }


def _opened(run: dict[str, Any]) -> dict[str, Any]:
    found = {key: Path(value) if key in PATHS else value for key, value in run.items() if key not in NOT_OURS}
    if "checkpoints" in found:
        found["checkpoints"] = {int(step): Path(folder) for step, folder in found["checkpoints"].items()}
    return found
