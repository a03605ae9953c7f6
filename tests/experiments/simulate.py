"""Simulated measurements with known answers, put together from those of the experiments: no training.

The numbers are of the size short trials gave; `gap` scales every difference of arms: 0 for arms that do not differ, -1 for
reversed ones.
"""

from __future__ import annotations

from collections.abc import Collection
from importlib import import_module
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd

from own_claims import write_tables


def of(experiment: str) -> ModuleType:
    """What simulates an experiment; looked for when it is needed, so that one can be removed."""
    return import_module(f"experiments.{experiment}.simulate")


MAKERS = {
    "synthetic": lambda rng, seeds, text_seeds, gap, noise: of("synthetic").synthetic(rng, seeds, gap, noise),
    "text": lambda rng, seeds, text_seeds, gap, noise: (
        of("text").text(rng, text_seeds, gap, noise) | of("text").influence(rng, seeds)
    ),
    "size_sweep": lambda rng, seeds, text_seeds, gap, noise: of("size_sweep").family(rng, text_seeds, gap, noise),
    "tokens": lambda rng, seeds, text_seeds, gap, noise: of("tokens").tokens(rng, text_seeds, gap, noise),
    "zero_shot": lambda rng, seeds, text_seeds, gap, noise: of("zero_shot").zero_shot(rng, text_seeds, gap),
    "multiplication": lambda rng, seeds, text_seeds, gap, noise: of("multiplication").multiplication(
        rng, text_seeds, gap, noise
    ),
    "gradients": lambda rng, seeds, text_seeds, gap, noise: of("gradients").anatomy(rng, text_seeds, gap, noise),
    "induction": lambda rng, seeds, text_seeds, gap, noise: of("induction").induction(rng, seeds, gap, noise),
    "toys": lambda rng, seeds, text_seeds, gap, noise: of("toys").toys(rng, gap, noise),
}
"""Experiment -> its tables; dose_response adds rows to those of synthetic and text."""


def measure_folder(
    folder: Path,
    only: Collection[str] | None = None,
    *,
    seeds: int = 3,
    text_seeds: int = 5,
    gap: float = 1.0,
    noise: float = 1.0,
    draw: int = 0,
) -> Path:
    """Write the measurements of some experiments, or of all; each draws from numbers of its own."""
    wanted = {*MAKERS, "dose_response"} if only is None else set(only)
    tables: dict[str, pd.DataFrame] = {}
    for k, (name, make) in enumerate(MAKERS.items()):
        if name in wanted:
            tables |= make(np.random.default_rng([draw, k]), seeds, text_seeds, gap, noise)
    if "dose_response" in wanted:
        of("dose_response").add_doses(tables, np.random.default_rng([draw, len(MAKERS)]))
    return write_tables(folder, tables)
