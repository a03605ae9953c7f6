"""A simulated size sweep with known answers: best rates, gaps by size, slopes, settled and rising sizes."""

from __future__ import annotations

import numpy as np
import pandas as pd

from myopia.experiments.size_sweep import CURVE, LOSS, RUNS

SIZES = {"d24": 14_000, "d32": 25_000, "d48": 57_000, "d64": 100_000, "d96": 224_000}
GRID = (4e-4, 8e-4, 1.6e-3, 3.2e-3, 6.4e-3)
BEST = {"vanilla": 8e-4, "myopic": 1.6e-3}
CURVATURE = 0.4
"""Nats lost per squared decade of distance from an arm's best rate."""
SHAPE = {0: -0.4, 1: 0.7, 9: 1.0, 32: 1.122580645}
"""Gap of each stretch of positions over the mean gap; the last one makes the mean over 63 positions 1."""
LAST = {0: 0, 1: 8, 9: 31, 32: 62}
SCRATCH_RATE = 2e-3


def true_gap(n_params: float, gap: float = 1.0, slope: float = 0.1, smallest: float = 14_000) -> float:
    """Best-against-best gap: .05 at the smallest size, `slope` more per decade."""
    return gap * (0.05 + slope * float(np.log10(n_params / smallest)))


def penalty(rate: float, arm: str) -> float:
    """What a rate costs an arm."""
    return CURVATURE * float(np.log10(rate / BEST[arm])) ** 2


def as_run_rate(place: int, sizes: int) -> float:
    """The myopic rate as run: further from the best, the larger the size."""
    return 1.6e-3 * 4 ** (place / max(1, sizes - 1))


def family(
    rng: np.random.Generator,
    seeds: int,
    gap: float,
    noise: float,
    *,
    sizes: dict[str, int] = SIZES,
    gaps: dict[str, float] | None = None,
    slope: float = 0.1,
    rising: tuple[str, ...] = (),
    tuning: tuple[int, ...] = (100, 101, 102),
    frozen: dict[str, float] | None = None,
    docs: int = 20,
) -> dict[str, pd.DataFrame]:
    """All three tables.

    gaps: best-against-best gap by size, in place of `true_gap`. rising: sizes whose gap grows to the end. frozen: the
    rate of each arm that the settings say is the best of the grid.
    """
    runs, losses, curves = [], [], []
    difficulty = rng.normal(0, 0.3, docs)
    smallest = min(sizes.values())
    for place, (size, n_params) in enumerate(sizes.items()):
        base = 4.0 - 0.4 * np.log10(n_params / smallest)
        wanted = gaps[size] * gap if gaps else true_gap(n_params, gap, slope, smallest)
        shared = {seed: rng.normal(0, 0.02 * noise) for seed in (*range(seeds), *tuning)}
        roles = [("matched", "checkpoint", arm, rate, 0.05) for arm in BEST for rate in GRID]
        roles += [("as_run", "checkpoint", "vanilla", BEST["vanilla"], 0.05)]
        roles += [("as_run", "checkpoint", "myopic", as_run_rate(place, len(sizes)), 0.01)]
        roles += [("best", "random", arm, SCRATCH_RATE, 0.05) for arm in BEST]
        made = set()
        for recipe, start, arm, rate, warmup in roles:
            grid = recipe == "matched" and start == "checkpoint"
            name = f"family-{size}-{arm}-lr{rate:g}" if start == "checkpoint" else f"family-{size}-scratch-{arm}"
            if recipe == "as_run" and arm == "myopic":
                name = f"family-{size}-{arm}-as-run"
            extra = wanted * (arm == "myopic")
            if start == "checkpoint":
                extra += penalty(rate, arm)
            for seed in (*range(seeds), *(tuning if grid else ())):
                own = rng.normal(0, 0.004 * noise)
                level = base + shared[seed] + extra + own
                runs.append(
                    ("docstrings", recipe, start, size, arm, name, rate, warmup, 32, int(grid and (frozen or {}).get(arm) == rate), seed, 200, 409_600,
                     n_params * 2, n_params, level)
                )  # fmt: skip
                if seed in tuning or name in made:
                    continue
                for first, shape in SHAPE.items():
                    stretch = level + (shape - 1) * wanted * (arm == "myopic") + difficulty
                    stretch = stretch + rng.normal(0, 0.01 * noise, docs)
                    for doc in range(docs):
                        losses.append(
                            ("docstrings", name, arm, seed, f"doc{doc:02d}", f"pkg{doc // 5}", f"pkg{doc // 5}", first, LAST[first],
                             LAST[first] - first + 1, stretch[doc])
                        )  # fmt: skip
                for step in range(0, 201, 20):
                    done = step / 200
                    share = done if size in rising else min(1.0, 1.5 * done)
                    falls = 3.0 * np.exp(-6 * done) - 3.0 * np.exp(-6) if start == "random" else 0.0
                    value = base + shared[seed] + falls + extra * share + rng.normal(0, 1e-4 * noise)
                    curves.append(("docstrings", name, arm, seed, step, step * 2048, value))
            made.add(name)
    return {
        RUNS.name: pd.DataFrame(runs, columns=RUNS.columns),
        LOSS.name: pd.DataFrame(losses, columns=LOSS.columns),
        CURVE.name: pd.DataFrame(curves, columns=CURVE.columns),
    }
