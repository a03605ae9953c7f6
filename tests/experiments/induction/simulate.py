"""Simulated measurements of the induction experiment with known answers."""

from __future__ import annotations

import numpy as np
import pandas as pd

from myopia.experiments.induction import CURVE, HEADS, LOSS
from myopia.experiments.induction.tables import PLACES

STEPS = (0, 100, 400)
LEVEL = {"vanilla": 0.1, "myopic": 0.1 + 1.5}
"""Nats per predictable token of the repeat."""


def induction(rng: np.random.Generator, seeds: int, gap: float, noise: float) -> dict[str, pd.DataFrame]:
    """All three tables; `gap` scales every difference of arms."""
    losses, heads, curves = [], [], []
    for seed in range(seeds):
        for arm in ("vanilla", "myopic"):
            run, worse = f"induction-{arm}", gap * (arm == "myopic")
            level = LEVEL["vanilla"] + worse * (LEVEL["myopic"] - LEVEL["vanilla"]) + rng.normal(0, 0.01 * noise)
            for block in range(8):
                for period in (5, 8, 12):
                    for place in PLACES:
                        known = place not in ("first", "0")
                        loss = (level if known else 3.2) + rng.normal(0, 0.01 * noise)
                        losses.append((run, arm, seed, block, period, place, 20 + block, loss, np.log(period - 1)))
            for step in STEPS:
                grown = step / STEPS[-1]
                for layer in (1, 2):
                    for head in range(2):
                        # Head `seed % 2` of layer 1 looks back, head 0 above it matches prefixes.
                        strength = grown * (1 - 0.9 * worse)
                        previous = 0.1 + 0.8 * strength * (layer == 1 and head == seed % 2)
                        match = 0.1 + 0.7 * strength * (layer == 2 and head == 0)
                        duplicate = 0.1 + 0.5 * grown * worse * (layer == 1 and head == 0)
                        damage = 2.0 * (previous > 0.5) + 0.05 if step == STEPS[-1] else np.nan
                        jitter = rng.normal(0, 0.01 * noise, 4)
                        scores = np.array([previous, match, duplicate, damage]) + jitter
                        heads.append((run, arm, seed, step, layer, head, *scores))
                curves.append((run, arm, seed, step, step * 64, 3.2 - (3.2 - level) * grown))
    return {
        LOSS.name: pd.DataFrame(losses, columns=LOSS.columns),
        HEADS.name: pd.DataFrame(heads, columns=HEADS.columns),
        CURVE.name: pd.DataFrame(curves, columns=CURVE.columns),
    }
