"""The table behind the induction figure: learning curves, heads along training, loss by place and period, ablations."""

from __future__ import annotations

from typing import Any

import pandas as pd

from myopia.config.runs import PAIR
from myopia.experiments.induction import CURVE, EXPERIMENT, LOSS
from myopia.experiments.induction.judge import (
    UNKNOWABLE,
    by_step,
    head_damage,
    heads_at,
    repeats,
)
from myopia.judge.measures import NotRun
from myopia.judge.registry import Context
from myopia.judge.stats import Estimate, Ratio, ratio_contrast, seed_curve, seed_mean

SCORES = {"previous": ("previous", "first"), "duplicate": ("duplicate", "first"), "match": ("match", "later")}
"""Panel of head scores -> (score, the layers whose best head is drawn)."""

PLACES = ["first", "0", "1", "2-3", "4-7", "8 on"]


def induction(context: Context) -> pd.DataFrame:
    """One row per point of a panel.

    panel: `curve` (x: step), `previous`, `duplicate`, `match` (best head's score; x: step), `since` (label: place in
    the reading), `period` (x: period), `damage` (label: which head is taken away). Arm `bag`: a reader who knows
    which tokens are repeated, but not their order.
    """
    rows: list[dict[str, Any]] = []
    context.measures.table(LOSS.name)
    for arm in PAIR:
        for part in (_curve, _scores, _losses, _damages):
            try:
                rows += [{"arm": arm} | row for row in part(context, arm)]
            except NotRun:
                continue
    rows += _bag(context, rows)
    return pd.DataFrame(rows, columns=EXPERIMENT.figure("induction").columns).sort_values(
        ["panel", "arm", "x", "label"], kind="stable"
    )


def _curve(context: Context, arm: str) -> list[dict[str, Any]]:
    table = context.measures.table(CURVE.name)
    rows = table[table["arm"] == arm]
    return _by_step("curve", rows.pivot_table(index="seed", columns="step", values="validation_loss").dropna(axis=1))


def _scores(context: Context, arm: str) -> list[dict[str, Any]]:
    return [
        row
        for panel, (score, layers) in SCORES.items()
        for row in _by_step(panel, by_step(context, arm, score, layers))
    ]


def _by_step(panel: str, wide: pd.DataFrame) -> list[dict[str, Any]]:
    if wide.empty:
        return []
    curve = seed_curve(wide.to_numpy())
    return [
        {"panel": panel, "x": step, "value": value, "ci_low": low, "ci_high": high, "seeds": curve.seeds}
        for step, value, low, high in zip(wide.columns, curve.value, curve.low, curve.high, strict=True)
    ]


def _losses(context: Context, arm: str) -> list[dict[str, Any]]:
    table = context.measures.table(LOSS.name)
    rows = []
    for k, place in enumerate(PLACES):
        if place in set(table["since"]):
            sums, _, n = repeats(context, [arm], since=place)
            rows.append({"panel": "since", "label": place, "x": k} | _of_units(sums[arm], n))
    for period in sorted(table["period"].unique()):
        sums, _, n = repeats(context, [arm], period=int(period))
        rows.append({"panel": "period", "x": int(period)} | _of_units(sums[arm], n))
    return rows


def _bag(context: Context, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The bag's loss wherever it means something: it needs no training, so any measured arm's sequences will do."""
    arm = next((row["arm"] for row in rows), None)
    if arm is None:
        return []
    _, bag, n = repeats(context, [arm])
    fields = [{"panel": "curve", "x": 0, "value": float(bag.sum() / n.sum())}]
    for row in (row for row in rows if row["arm"] == arm and row["panel"] in ("since", "period")):
        if row["panel"] == "since" and row["label"] in UNKNOWABLE:
            continue
        where = {"since": row["label"]} if row["panel"] == "since" else {"period": row["x"]}
        _, bag, n = repeats(context, [arm], **where)
        fields.append({key: row.get(key) for key in ("panel", "label", "x")} | {"value": float(bag.sum() / n.sum())})
    return [{"arm": "bag"} | row for row in fields]


def _damages(context: Context, arm: str) -> list[dict[str, Any]]:
    heads = heads_at(context, arm)
    rows = []
    for k, (score, layers, name) in enumerate(
        (("previous", "first", "previous token"), ("duplicate", "first", "duplicate token"),
         ("match", "later", "prefix matching"))
    ):  # fmt: skip
        top, _ = head_damage(heads, score, layers)
        rows.append({"panel": "damage", "label": name, "x": k} | _of_seeds(seed_mean(top.to_numpy(dtype=float))))
    return rows


def _of_units(sums: Any, n: Any) -> dict[str, Any]:
    some = (n > 0).any(0)
    return _of_seeds(ratio_contrast([Ratio(sums[:, some], n[:, some])]))


def _of_seeds(estimate: Estimate) -> dict[str, Any]:
    low, high = estimate.interval()
    return {"value": estimate.value, "ci_low": low, "ci_high": high,
            "seeds": estimate.seeds, "documents": estimate.documents}  # fmt: skip
