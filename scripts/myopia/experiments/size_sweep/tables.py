"""The tables behind the two figures of the size sweep, and of the target `gap`.

`panel` says what a row shows, `choice` and `start` which pair of runs it compares (`pairs`); gaps are myopic -
vanilla, in nats per token. `hollow`: not converged, the gap still rises and its size is no answer yet. `edge`: a rate it
was chosen from lies at the end of its grid.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pandas as pd

from myopia.config.runs import PAIR
from myopia.experiments.size_sweep import EXPERIMENT, GAP, LOSS, pairs
from myopia.experiments.size_sweep.judge import PAPER_NAMES, family_slope
from myopia.experiments.size_sweep.pairs import CHOICES, Pair
from myopia.experiments.size_sweep.runs import STARTS
from myopia.judge.measures import NotRun
from myopia.judge.registry import Context
from myopia.judge.stats import Estimate, ratio_contrast, seed_curve, seed_mean

MOST_COMPONENTS = 22
"""As many as the Pile has; of a corpus with more, the largest are shown."""
SCALE = {"m": 1e6, "b": 1e9}
Rows = list[dict[str, Any]]


def fig7_gap_by_size(context: Context) -> pd.DataFrame:
    """Loss and gap against size: every choice and start, at equal text and at equal vanilla loss, and the paper's."""
    pairs.sizes(context)  # nothing measured: an empty table, not the paper's numbers alone
    rows: Rows = []
    for start in STARTS:
        for choice in CHOICES:
            rows += _if_run(lambda s=start, c=choice: _gaps(context, s, c))
            for at in ("tokens", "loss"):
                rows += _if_run(lambda s=start, c=choice, a=at: _slope(context, s, c, a))
        rows += _if_run(lambda s=start: _equal_loss(context, s))
        rows += _if_run(lambda s=start: _along_training(context, s))
    rows += _if_run(lambda: _positions(context))
    rows += _if_run(lambda: _components(context))
    rows += _paper(context)
    frame = pd.DataFrame(rows).reindex(columns=[*EXPERIMENT.figure("fig7_gap_by_size").columns])
    keys = ["panel", "start", "choice", "kind", "n_params", "size", "group", "arm", "x"]
    return frame.sort_values(keys, kind="stable").reset_index(drop=True)


def audit_gap_by_lr(context: Context) -> pd.DataFrame:
    """gap(lr) at every size, the losses rates are chosen by, and what the recipes make of it.

    `change`: validation loss after minus before fine-tuning at the best rate. If it is next to nothing, the myopic arm
    does best by not training, and best against best measures no gap.
    """
    rows: Rows = []
    for start in STARTS:
        for size, n_params in pairs.sizes(context).items():
            here = {"start": start, "size": size, "n_params": n_params}
            rows += [{**here, **row} for row in _if_run(lambda s=start, z=size: _audit(context, s, z))]
    frame = pd.DataFrame(rows).reindex(columns=[*EXPERIMENT.figure("audit_gap_by_lr").columns])
    return frame.sort_values(["start", "n_params", "panel", "choice", "arm", "lr"], kind="stable").reset_index(
        drop=True
    )


def gap_of_networks(context: Context) -> pd.DataFrame:
    """The myopia gap of every network on its own, for every pair that was trained: no slope, no paper, no verdict."""
    rows: Rows = []
    for start in STARTS:
        for choice in CHOICES:
            rows += _if_run(lambda s=start, c=choice: _gap_rows(context, s, c))
    return pd.DataFrame(rows).reindex(columns=[*GAP.columns])


def _gap_rows(context: Context, start: str, choice: str) -> Rows:
    rows = []
    for one in pairs.pairs(context, choice, start):
        found = _estimate(ratio_contrast(pairs.gap_terms(context, [one])))
        levels = {arm: ratio_contrast([pairs.level_term(context, run)]).value for arm, run in one.runs.items()}
        rates = {f"lr_{arm}": rate for arm, rate in one.lr.items()}
        flags = {"selected_on": one.selected_on, "edge": int(one.edge), "hollow": int(pairs.unsettled(context, one))}
        here = {"size": one.size, "start": start, "choice": choice, "gap": found.pop("value")}
        rows.append({**here, **found, **levels, **rates, **flags})
    return rows


def _if_run(make: Callable[[], Rows]) -> Rows:
    try:
        return make()
    except NotRun:
        return []


def _estimate(estimate: Estimate) -> dict[str, Any]:
    low, high = estimate.interval()
    return {
        "value": estimate.value,
        "ci_low": low,
        "ci_high": high,
        "seeds": estimate.seeds,
        "documents": estimate.documents,
    }


def _of(one: Pair) -> dict[str, Any]:
    return {
        "kind": "ours",
        "size": one.size,
        "n_params": one.n_params,
        "edge": int(one.edge),
        "selected_on": one.selected_on,
    }


def _gaps(context: Context, start: str, choice: str) -> Rows:
    """Held-out gap and both arms' losses at every size."""
    rows = []
    for one in pairs.pairs(context, choice, start):
        base = {"start": start, "choice": choice, **_of(one)}
        hollow = int(pairs.unsettled(context, one))
        estimate = ratio_contrast(pairs.gap_terms(context, [one]))
        rows.append({"panel": "gap", **base, "hollow": hollow, **_estimate(estimate)})
        for arm, run in one.runs.items():
            level = ratio_contrast([pairs.level_term(context, run)])
            rows.append({"panel": "loss", **base, "arm": arm, "hollow": hollow, **_estimate(level)})
    return rows


def _slope(context: Context, start: str, choice: str, at: str) -> Rows:
    estimate = family_slope(context, choice=choice, start=start, at=at)
    return [{"panel": "slope", "start": start, "choice": choice, "kind": "ours", "group": at, **_estimate(estimate)}]


def _equal_loss(context: Context, start: str) -> Rows:
    """Gap of the best pair where vanilla's validation loss passes the level that all sizes reach."""
    chosen = pairs.pairs(context, "best", start)
    level, gaps = pairs.gaps_at_equal_loss(context, chosen)
    return [
        {
            "panel": "equal_loss", "start": start, "choice": "best", **_of(one), "x": level,
            "hollow": int(pairs.unsettled(context, one)), **_estimate(seed_mean(gap)),
        }
        for one, gap in zip(chosen, gaps, strict=True)
    ]  # fmt: skip


def _along_training(context: Context, start: str) -> Rows:
    """Validation gap of the best pair against tokens of training."""
    rows = []
    for one in pairs.pairs(context, "best", start):
        found = pairs.curves(context, one)
        curve, hollow = seed_curve(found.gap_SK), int(pairs.unsettled(context, one))
        for k, tokens in enumerate(found.tokens):
            rows.append(
                {
                    "panel": "curve", "start": start, "choice": "best", **_of(one), "x": tokens, "hollow": hollow,
                    "value": curve.value[k], "ci_low": curve.low[k], "ci_high": curve.high[k],
                    "seeds": curve.seeds, "documents": 0,
                }
            )  # fmt: skip
    return rows


def _positions(context: Context) -> Rows:
    """Gap by stretch of positions at the smallest and largest size: position 0 is the control (protocol 4c)."""
    rows = []
    last = context.measures.table(LOSS.name).groupby("position")["last_position"].max()
    for choice in ("best", "as_run"):
        found = _if_run(lambda c=choice: pairs.pairs(context, c, "checkpoint"))
        for one in dict.fromkeys([one.size for one in (*found[:1], *found[-1:])]):
            here = next(p for p in found if p.size == one)
            for first in pairs.stretches(context):
                estimate = ratio_contrast(pairs.gap_terms(context, [here], at=[first]))
                rows.append(
                    {
                        "panel": "position", "start": "checkpoint", "choice": choice, **_of(here), "x": first,
                        "group": f"{first}" if last[first] == first else f"{first}-{last[first]:g}",
                        **_estimate(estimate),
                    }
                )  # fmt: skip
    return rows


def _components(context: Context) -> Rows:
    """Gap of the best pair by component of the held-out text, at the smallest and largest size."""
    found = pairs.pairs(context, "best", "checkpoint")
    tokens = pairs.level_term(context, found[0].runs["vanilla"]).denominator[0]
    by_component = pd.Series(tokens).groupby(pairs.documents(context)["component"].to_numpy()).sum()
    largest = by_component.sort_values(ascending=False, kind="stable").index[:MOST_COMPONENTS]
    return [
        {
            "panel": "component", "start": "checkpoint", "choice": "best", **_of(one), "group": component,
            "x": by_component[component],
            **_estimate(ratio_contrast(pairs.gap_terms(context, [one], component=component))),
        }
        for one in (found[0], found[-1])
        for component in largest
    ]  # fmt: skip


def _paper(context: Context) -> Rows:
    """The paper's Fig 7: last training losses, and the authors' 32 test sequences; x is the nominal size."""
    frame, ours = context.paper.frame, pairs.sizes(context)
    frame = frame[(frame["item"] == "Fig 7") & (frame["x_name"] == "model")]
    rows: Rows = []
    for cell in frame.itertuples():
        named = re.fullmatch(r"([\d.]+)([mb])", str(cell.x))
        what = {"gap": "gap", "train_loss": "loss", "cross_entropy": "loss"}.get(cell.metric)
        if named is None or what is None or "bf16" in cell.id or "fp16" in cell.id:
            continue
        size = f"{PAPER_NAMES}{cell.x}"
        rows.append(
            {
                "panel": what, "start": "checkpoint", "choice": "as_run", "kind": "paper", "size": size,
                "arm": cell.arm if isinstance(cell.arm, str) else None,
                "n_params": float(ours.get(size, float("nan"))), "x": float(named[1]) * SCALE[named[2]],
                "group": "32 test sequences" if "fp32" in cell.id else "last training losses",
                "value": cell.value, "seeds": 1, "documents": 0,
            }
        )  # fmt: skip
    return rows


def _audit(context: Context, start: str, size: str) -> Rows:
    rates = pairs.best_rates(context, start)
    rows: Rows = []
    for arm in PAIR:
        best = rates.get((size, arm))
        if best is None:
            continue
        for lr, validation in best.validation.items():
            run, _ = pairs.run_at(context, size, "matched", start, arm, lr)
            chosen = lr == best.lr
            if chosen and start == "checkpoint":
                moved = _estimate(seed_mean(pairs.change(context, run)))
                rows.append({"panel": "change", "choice": "best", "arm": arm, "lr": lr, **moved})
            rows.append(
                {
                    "panel": "loss", "choice": "matched", "arm": arm, "lr": lr, "validation_loss": validation,
                    "best": int(chosen), "edge": best.edge if chosen else "", "selected_on": best.selected_on,
                    **_estimate(ratio_contrast([pairs.level_term(context, run)])),
                }
            )  # fmt: skip
    for lr in rates[size, "vanilla"].validation.index if (size, "vanilla") in rates else []:
        runs = {arm: pairs.run_at(context, size, "matched", start, arm, lr)[0] for arm in PAIR}
        one = Pair(size, 0.0, runs, {arm: lr for arm in PAIR}, False, "")
        estimate = ratio_contrast(pairs.gap_terms(context, [one]))
        rows.append({"panel": "gap", "choice": "equal rates", "lr": lr, **_estimate(estimate)})
    for choice in CHOICES:
        try:
            one = pairs.pair(context, size, choice, start)
        except NotRun:
            continue
        estimate = ratio_contrast(pairs.gap_terms(context, [one]))
        at_edge = "" if not one.edge else "edge"
        rows.append(
            {
                "panel": "choice", "choice": choice, "lr": one.lr["myopic"], "edge": at_edge,
                "selected_on": one.selected_on, **_estimate(estimate),
            }
        )  # fmt: skip
    return rows
