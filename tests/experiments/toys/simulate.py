"""Simulated measurements of the toys with known answers; `gap` scales what distinguishes the arms and trainings."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from scipy import stats

from myopia.config.runs import PAIR
from myopia.experiments.toys import CONSEQUENCE, HIDDEN, OPTIMUM, SHARED

SEEDS, CHAINS = 12, 200
BALANCES, OVERLAPS, CAPACITIES = (0.3, 0.7), (0.0, 0.5, 1.0), (2, 3, 9)
TILT = {"offline": 0.0, "own": 0.0, "reward": 0.45, "mixed": 0.25}
BITS = {"true": 0.005, "stopped": 0.008, "full": 0.85, "released": 0.01}


def optimum() -> pd.DataFrame:
    """toy_optimum.csv: telling z1 takes 3 values; at more, vanilla tells z2 as well."""
    rows = []
    for overlap in OVERLAPS:
        for balance in BALANCES:
            for capacity in CAPACITIES:
                share = min(1.0, math.log(capacity, 3))
                worth1, worth2 = 1 - balance, balance
                both = capacity == 9 or overlap == 1
                first = balance < 0.5 or both
                for aim, loss1, loss2 in (
                    ("vanilla", 1.5 - worth1 * share * first, 1.5 - worth2 * share * (not first or both)),
                    ("myopic", 1.5 - worth1 * share, 1.5 - worth2 * share * (overlap == 1)),
                ):
                    rows += [
                        (overlap, balance, capacity, aim, ties, loss1, loss2, 1.5, 1.5, 1.5 - worth1, 1.5 - worth2)
                        for ties in ("best", "mean", "worst")
                    ]
                for loss1, loss2 in ((1.5 - worth1 * share, 1.5), (1.5, 1.5 - worth2 * share)):
                    rows.append((overlap, balance, capacity, "frontier", "", loss1, loss2, 1.5, 1.5, 0.0, 0.0))
    return pd.DataFrame(rows, columns=OPTIMUM.columns)


def shared(rng: np.random.Generator, gap: float, noise: float) -> pd.DataFrame:
    """toy_shared.csv: near the optima; with gap 0 vanilla does as myopic does."""
    best = optimum().query("ties == 'best'").set_index(["overlap", "balance", "capacity", "aim"])[["loss1", "loss2"]]
    rows = []
    for (overlap, balance, capacity, arm), goal in best.iterrows():
        other = best.loc[(overlap, balance, capacity, "myopic")]
        loss1, loss2 = other + (gap if arm == "vanilla" else 0) * (goal - other)
        for seed in range(SEEDS):
            a, b = rng.exponential(0.005 * noise, 2)
            told = (0.5 * overlap if arm == "myopic" else 0.5) * abs(gap)
            rows.append(
                (overlap, balance, capacity, arm, seed, loss1 + a, loss2 + b, told + rng.normal(0, 0.01 * noise))
            )
    return pd.DataFrame(rows, columns=SHARED.columns)


def hidden(rng: np.random.Generator, gap: float, noise: float) -> pd.DataFrame:
    """toy_hidden.csv: three points in training."""
    rows = []
    for training, bits in BITS.items():
        for seed in range(SEEDS):
            for step in (0, 50, 100):
                level = BITS["full"] if training == "released" and step == 50 else bits
                level = 0.0 if step == 0 else level * max(gap, 0)
                found = level + rng.normal(0, 0.01 * noise)
                sign = 1 if seed % 2 else -1
                rows.append(
                    (training, seed, step, found, rng.normal(0, 0.003), sign * level / 4, level / 4, 0.85, 0.21)
                )
    return pd.DataFrame(rows, columns=HIDDEN.columns)


def consequence(rng: np.random.Generator, gap: float, noise: float) -> pd.DataFrame:
    """toy_consequence.csv.gz: offline and own samples stay, rewards tilt (with gap -1, away from the easy future)."""
    rows = []
    for training, tilt in TILT.items():
        for arm in PAIR:
            # Quantiles, not draws: their mean and variance are those of a normal.
            walk = rng.permutation(stats.norm.ppf((np.arange(CHAINS) + 0.5) / CHAINS))
            for seed in range(CHAINS):
                start = 0.5 + rng.normal(0, 0.005 * noise)
                for step in (0, 50, 100):
                    sd = 0.05 * math.sqrt(step / 100) if training == "own" else math.nan
                    moved = tilt * gap * step / 100
                    walked = walk[seed] * (sd if training == "own" else 0.002) if step else 0.0
                    p = start + moved + walked
                    expected = 0.5 if training == "offline" else start + moved
                    rows.append((training, arm, seed, step, p, expected, sd, 1.0, 1.0 - moved))
    return pd.DataFrame(rows, columns=CONSEQUENCE.columns)


def toys(rng: np.random.Generator, gap: float, noise: float) -> dict[str, pd.DataFrame]:
    """All four tables."""
    return {
        SHARED.name: shared(rng, gap, noise),
        OPTIMUM.name: optimum(),
        HIDDEN.name: hidden(rng, gap, noise),
        CONSEQUENCE.name: consequence(rng, gap, noise),
    }
