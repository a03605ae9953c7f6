"""Simulated measurements of the beta sweep with known answers: arms between myopic and vanilla."""

from __future__ import annotations

import numpy as np
import pandas as pd

from myopia.config.tables import TEXT_CURVE, TEXT_LOSS
from myopia.experiments.synthetic import LOSS

CLOSED = {"beta0.25": 0.6, "beta0.5": 0.8, "beta0.75": 0.92}
"""Share of the gap that each arm closes; half of it is closed at beta = .25 * .5 / .6."""


def add_doses(
    tables: dict[str, pd.DataFrame], rng: np.random.Generator, closed: dict[str, float] | None = None
) -> None:
    """Give the losses of D_p (the largest p) and, where there are any, text's tables the rows of the sweep, in place."""
    loss = tables[LOSS.name]
    at = (loss["p"] == loss["p"].max()) & (loss["shift"] == 1)
    where = {LOSS.name: at, TEXT_LOSS.name: slice(None), TEXT_CURVE.name: slice(None)}
    for name, chosen in where.items():
        if name not in tables:
            continue
        table = tables[name]
        value = "validation_loss" if name == TEXT_CURVE.name else "loss"
        ends = {arm: table[chosen][lambda t, arm=arm: t["arm"] == arm] for arm in ("myopic", "vanilla")}
        rows = [table]
        for arm, share in (closed or CLOSED).items():
            myopic, vanilla = (ends[end][value].to_numpy() for end in ("myopic", "vanilla"))
            between = myopic - share * (myopic - vanilla)
            noise = rng.normal(0, 0.0005, len(between))
            swept = ends["vanilla"].assign(arm=arm, run=ends["vanilla"]["run"].str.replace("vanilla", arm))
            rows.append(swept.assign(**{value: between + noise}))
        tables[name] = pd.concat(rows)


def text_loss(rng: np.random.Generator, seeds: int, docs: int = 24, positions: int = 15) -> pd.DataFrame:
    """text_loss.csv.gz of one corpus, both ends of the sweep: myopic is .15 nats per token above vanilla."""
    difficulty = rng.normal(0, 0.4, docs)
    rows = [
        ("docstrings", f"text-docstrings-{arm}", arm, seed, f"doc{doc:03d}", f"pkg{doc // 6}", position, 1 + doc % 3,
         3.4 + level + difficulty[doc] + rng.normal(0, 0.02))
        for seed in range(seeds)
        for arm, level in (("vanilla", 0.0), ("beta1", 0.0), ("myopic", 0.15))
        for doc in range(docs)
        for position in range(positions)
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=TEXT_LOSS.columns)
