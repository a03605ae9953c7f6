"""Simulated language runs with known answers: losses by document and position, curves, components, influence."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd

from myopia.config.runs import PAIR
from myopia.config.tables import TEXT_COMPONENTS, TEXT_CURVE, TEXT_LOSS
from myopia.experiments.text import INFLUENCE

LEVEL = {
    "vanilla": 0.0,
    "beta1": 0.0,
    "myopic": 0.15,
    "myopic-kv": 0.3,
    "local-hidden": -0.03,
    "local-kv": -0.06,
    "bigram-zeroed": 1.9,
    "bigram-true": 2.0,
}
"""Nats per token above vanilla."""


def levels(base: Mapping[str, float], gap: float) -> dict[str, float]:
    """Differences to vanilla scaled by `gap`: 0 means that no arm differs, -1 that the order is reversed."""
    return {arm: base["vanilla"] + gap * (value - base["vanilla"]) for arm, value in base.items()}


def text(
    rng: np.random.Generator,
    seeds: int,
    gap: float,
    noise: float,
    docs: int = 24,
    corpora: Iterable[str] = ("docstrings",),
    arms: Iterable[str] = tuple(LEVEL),
) -> dict[str, pd.DataFrame]:
    """Losses, curves and components (T = 64, trained for 1,200 steps); documents belong to three components."""
    of_arm = levels(LEVEL, gap)
    t = np.arange(63)
    rows, curves = [], []
    for corpus in corpora:
        difficulty = rng.normal(0, 0.4, docs)
        for seed in range(seeds):
            shared = rng.normal(0, 0.02)
            for arm in arms:
                own = rng.normal(0, 0.008 * noise)
                base = 3.4 + 2.2 * np.exp(-t / 4) + shared + own
                # The gap rises with position and is negative at 0, as in the paper's Fig 4.
                shape = np.where(t == 0, -0.6, 0.5 + 0.7 * t / 62) if arm.startswith("myopic") else np.ones(63)
                base = base + of_arm[arm] * shape
                doc = np.arange(docs)
                loss = base + difficulty[:, None] + rng.normal(0, 0.02 * noise, (docs, 63))
                where = {"corpus": corpus, "run": f"text-{corpus}-{arm}", "arm": arm, "seed": seed}
                cells = {
                    "doc": np.repeat([f"doc{d:03d}" for d in doc], 63),
                    "group": np.repeat([f"pkg{d // 6}" for d in doc], 63),
                    "position": np.tile(t, docs),
                    "n": np.repeat(1 + doc % 3, 63),
                    "loss": loss.ravel(),
                }
                rows.append(pd.DataFrame({**where, **cells}))
                for step in range(100, 1201, 100):
                    late = step / 1200
                    value = 3.4 + of_arm[arm] * min(1, 1.6 * late) + 2 * np.exp(-4 * late) + shared + own
                    value += rng.normal(0, 0.002 * noise)
                    curves.append((corpus, f"text-{corpus}-{arm}", arm, seed, step, step * 2048, value))
    names = [(corpus, f"doc{doc:03d}", f"part {doc % 3}") for corpus in corpora for doc in range(docs)]
    return {
        TEXT_LOSS.name: pd.concat(rows)[[*TEXT_LOSS.columns]],
        TEXT_COMPONENTS.name: pd.DataFrame(names, columns=TEXT_COMPONENTS.columns),
        TEXT_CURVE.name: pd.DataFrame(curves, columns=TEXT_CURVE.columns),
    }


def influence(rng: np.random.Generator, seeds: int, tokens: int = 12) -> dict[str, pd.DataFrame]:
    """Influence pictures: past positions matter less and less, and in the myopic arm not at all."""
    rows = []
    for arm in PAIR:
        for seed in range(seeds):
            for t in range(tokens):
                for s in range(t + 1):
                    size = np.exp(-0.15 * (t - s)) * rng.lognormal(0, 0.5)
                    size = 0.0 if arm == "myopic" and s < t else size
                    rows.append((f"text-docstrings-{arm}", arm, seed, t, s, size, f"tok{s}"))
    return {INFLUENCE.name: pd.DataFrame(rows, columns=INFLUENCE.columns)}
