"""The table behind the dose-response figure: loss and share of the gap closed against beta, on every task swept."""

from __future__ import annotations

import math
from contextlib import suppress
from typing import Any

import numpy as np
import pandas as pd

from myopia.config.runs import BETA_SWEEP
from myopia.config.tables import TEXT_LOSS
from myopia.experiments.dose_response import EXPERIMENT
from myopia.experiments.dose_response.judge import SweepLosses, dose_half, sweep_losses
from myopia.experiments.dose_response.settings import SWEPT
from myopia.experiments.synthetic import LOSS
from myopia.judge.measures import NotRun
from myopia.judge.registry import Context
from myopia.judge.stats import Estimate, Ratio, ratio_contrast


def dose_response(context: Context) -> pd.DataFrame:
    """One row per task, arm and metric.

    metric: `loss`; `gap` (to vanilla, paired); `share` (of the gap closed); `seed` (one seed's share); `half` (the beta
    at which half is closed). D_p's losses are divided by the trivial predictor's.
    """
    rows: list[dict[str, Any]] = []
    for task, unit, where in _tasks(context):
        rows += [{"task": task, "unit": unit} | row for row in _task_rows(context, where)]
    columns = EXPERIMENT.figure("dose_response").columns
    return pd.DataFrame(rows, columns=columns).sort_values(["task", "metric", "beta", "arm", "seed"], kind="stable")


def _tasks(context: Context) -> list[tuple[str, str, dict[str, Any]]]:
    found: list[tuple[str, str, dict[str, Any]]] = []
    if context.measures.present(LOSS.name):
        table = context.measures.table(LOSS.name)
        for p in sorted(table.loc[table["arm"].isin(BETA_SWEEP) & (table["shift"] == 1), "p"].unique()):
            found.append((f"D_p, p = {p:g}", "share of trivial loss", {"p": float(p)}))
    if context.measures.present(TEXT_LOSS.name):
        table = context.measures.table(TEXT_LOSS.name)
        for corpus in sorted(table.loc[table["arm"].isin(BETA_SWEEP), "corpus"].unique()):
            found.append((corpus, "nats/token", {"corpus": corpus}))
    return found


def _task_rows(context: Context, where: dict[str, Any]) -> list[dict[str, Any]]:
    rows = []
    for arm in ("vanilla", *SWEPT):
        try:
            found = sweep_losses(context, [arm], **where)
        except NotRun:
            continue
        fields = {"arm": arm, "beta": SWEPT.get(arm, 1.0)}
        below = found.n if found.trivial is None else found.trivial
        rows.append(fields | {"metric": "loss"} | _numbers(ratio_contrast([Ratio(found.sums[arm], below)])))
        if arm == "vanilla":
            continue
        gap = found.sums[arm] - found.sums["vanilla"]
        rows.append(fields | {"metric": "gap"} | _numbers(ratio_contrast([Ratio(gap, below)])))
        rows.append(fields | {"metric": "share"} | _numbers(ratio_contrast([found.closed(arm)])))
        rows += [fields | {"metric": "seed", "seed": k, "value": share} for k, share in enumerate(_by_seed(found, arm))]
    with suppress(NotRun):
        rows.append({"beta": math.nan, "metric": "half"} | _numbers(dose_half(context, **where)))
    return rows


def _by_seed(found: SweepLosses, arm: str) -> np.ndarray:
    one = found.closed(arm)
    with np.errstate(invalid="ignore", divide="ignore"):
        return one.numerator.sum(1) / one.denominator.sum(1)


def _numbers(estimate: Estimate) -> dict[str, Any]:
    low, high = estimate.interval()
    return {"value": estimate.value, "ci_low": low, "ci_high": high,
            "seeds": estimate.seeds, "documents": estimate.documents}  # fmt: skip
