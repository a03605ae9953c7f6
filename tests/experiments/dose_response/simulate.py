"""Made-up doses of the past's gradient with known answers: arms between myopic and vanilla."""

from __future__ import annotations

import numpy as np
import pandas as pd

CLOSED = {"beta0.25": 0.6, "beta0.5": 0.8, "beta0.75": 0.92}
"""Share of the gap that each dose closes; half of it is closed at beta = .25 * .5 / .6."""


def add_doses(
    tables: dict[str, pd.DataFrame], rng: np.random.Generator, closed: dict[str, float] | None = None
) -> None:
    """Give synthetic_loss (the largest p) and, where there are any, text's tables the rows of every dose, in place."""
    loss = tables["synthetic_loss.csv"]
    at = (loss["p"] == loss["p"].max()) & (loss["shift"] == 1)
    where = {"synthetic_loss.csv": at, "text_loss.csv.gz": slice(None), "text_curve.csv": slice(None)}
    for name, chosen in where.items():
        if name not in tables:
            continue
        table = tables[name]
        value = "validation_loss" if "curve" in name else "loss"
        ends = {arm: table[chosen][lambda t, arm=arm: t["arm"] == arm] for arm in ("myopic", "vanilla")}
        rows = [table]
        for arm, share in (closed or CLOSED).items():
            myopic, vanilla = (ends[end][value].to_numpy() for end in ("myopic", "vanilla"))
            between = myopic - share * (myopic - vanilla)
            noise = rng.normal(0, 0.0005, len(between))
            dose = ends["vanilla"].assign(arm=arm, run=ends["vanilla"]["run"].str.replace("vanilla", arm))
            rows.append(dose.assign(**{value: between + noise}))
        tables[name] = pd.concat(rows)
