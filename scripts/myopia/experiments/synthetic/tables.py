"""The tables behind the synthetic figures: means over seeds, 95 % intervals, the paper's points.

Every table has `kind`: `ours` (a trained arm), `predictor` (a reference without training) or `paper`.
An interval is empty where there is one seed.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import numpy as np
import pandas as pd

from myopia.config.runs import BETA_SWEEP, PAIR
from myopia.experiments.synthetic import CORRELATION, ESTIMATE, EXPERIMENT, INTERVENTION, LOSS, PROBE_R2
from myopia.experiments.synthetic.judge import losses, probing
from myopia.judge.measures import NotRun
from myopia.judge.registry import Context
from myopia.judge.stats import Ratio, ratio_contrast, seed_curve

NUMBERS = {"value", "ci_low", "ci_high", "seeds", "documents", "n", "sd", "truth", "expected", "abs_corr"}
"""Columns that do not identify a row."""

SHOWN_P = 0.3
"""The paper's Figs 3 and 6 use D_0.3; without it the nearest p that was run is drawn."""


def table1_loss_by_p(context: Context) -> pd.DataFrame:
    """Huber loss / p against p: arms, reference predictors and the paper's Table 1.

    on: `all` positions; those with z = 1 (`z1`, not divided by p); `share`: of the trivial predictor's loss on all, where
    series `gap` is myopic - vanilla, paired.
    """
    table = context.measures.table(LOSS.name)
    table = table[~table["arm"].isin(BETA_SWEEP)]  # their figure is dose_response
    rows: list[dict[str, Any]] = []
    settings = table[["p", "arm", "shift", "a", "b"]].drop_duplicates()
    # Predictors need no training: they are taken from one arm's blocks, vanilla's where it was run.
    first = settings.sort_values("arm", key=lambda arms: arms != "vanilla", kind="stable")
    first = {(p, shift): arm for p, shift, arm in first[["p", "shift", "arm"]].to_numpy()[::-1]}
    for key in settings.itertuples(index=False):
        for on in ("all", "z1"):
            try:
                p, (sums,) = losses(context, [(key.arm, int(key.shift))], float(key.p), on)
            except NotRun:
                continue  # a tiny p may leave a seed without z = 1 tokens
            # Loss / p makes a loss that comes from z = 1 tokens comparable over p; on z = 1 alone it is one.
            scale = p if on == "all" else 1.0
            base = {"shift": int(key.shift), "on": on, "p": p, "a": key.a, "b": key.b}
            series = [("ours", key.arm, "loss")]
            reference = first[key.p, key.shift] == key.arm
            if reference:
                series += [("predictor", "trivial", "loss_trivial"), ("predictor", "zero", "loss_zero")]
            if reference and key.shift == 0 and on == "all":
                series.append(("predictor", "present only", "loss_present"))
            for kind, name, column in series:
                estimate = ratio_contrast([Ratio(sums[column] / scale, sums["n"])])
                low, high = estimate.interval()
                values = {"value": estimate.value, "ci_low": low, "ci_high": high}
                counts = {"seeds": estimate.seeds, "documents": estimate.documents}
                rows.append({"kind": kind, "series": name, **base, **values, **counts})
    for key in settings[settings["shift"] == 1].itertuples(index=False):
        base = {"kind": "ours", "shift": 1, "on": "share", "p": float(key.p), "a": key.a, "b": key.b}
        rows.append({"series": key.arm, **base, **_share(context, base["p"], key.arm)})
        if key.arm == "myopic":
            with suppress(NotRun):
                rows.append({"series": "gap", **base, **_share(context, base["p"], "myopic", "vanilla")})
    rows += _paper_table1(context)
    return _frame("table1_loss_by_p", rows)


def _share(context: Context, p: float, arm: str, minus: str | None = None) -> dict[str, Any]:
    """An arm's loss, minus another's on the same tokens, in units of the trivial predictor's."""
    _, found = losses(context, [(one, 1) for one in (arm, minus) if one], p)
    terms = [Ratio(one["loss"], one["loss_trivial"], c) for one, c in zip(found, (1.0, -1.0), strict=False)]
    estimate = ratio_contrast(terms)
    low, high = estimate.interval()
    return {"value": estimate.value, "ci_low": low, "ci_high": high,
            "seeds": estimate.seeds, "documents": estimate.documents}  # fmt: skip


def _paper_table1(context: Context) -> list[dict[str, Any]]:
    paper = context.paper.frame
    cells = paper[(paper["item"] == "Table 1") & (paper["source"] == "paper")]
    fixed = {"kind": "paper", "shift": 1, "a": 10, "b": 10, "seeds": 1, "documents": 0}
    # At p = 1 the zero predictor is the trivial one, whose loss / p is the same for every p: it knows z, and no sine.
    trivial = float(cells.loc[~cells["arm"].isin(PAIR), "value"].iloc[0])
    return [
        {"series": c.arm if isinstance(c.arm, str) else "zero", "p": float(c.x), "on": on, "value": value, **fixed}
        for c in cells.itertuples()
        for on, value in (("all", c.value), ("share", c.value / trivial))
    ]


def fig2_probe_r2(context: Context) -> pd.DataFrame:
    """Probe R^2 by lookback, layer, arm and p, with the untrained and shuffled controls."""
    table = probing(context, PROBE_R2.name)
    a_of, b_of = _task(context)
    rows: list[dict[str, Any]] = []
    by = ["arm", "p", "weights", "layer", "feature"]
    for key, group in table.groupby(by, sort=True):
        fixed = dict(zip(by, key, strict=True))
        fixed |= {"kind": "ours", "a": a_of.get(key[1]), "b": b_of.get(key[1])}
        for metric in ("noisy", "heldout", "insample"):
            for lookback, value, low, high, seeds in _by_seed(group, "lookback", f"r2_{metric}"):
                rows.append(
                    {
                        **fixed,
                        "lookback": lookback,
                        "metric": metric,
                        "value": value,
                        "ci_low": low,
                        "ci_high": high,
                        "seeds": seeds,
                    }
                )
    paper = context.paper.frame
    points = paper[(paper["item"] == "Fig 2") & (paper["source"] == "paper")]
    for c in points.itertuples():
        p, layer = c.id.removeprefix("fig2-p").split("-layer")
        rows.append(
            {
                "kind": "paper",
                "arm": "vanilla",
                "p": float(p),
                "weights": "trained",
                "layer": int(layer.split("-")[0]),
                "feature": "sin",
                "lookback": int(c.x),
                "metric": "insample",
                "value": c.value,
                "seeds": 1,
                "a": 10,
                "b": 10,
            }
        )
    return _frame("fig2_probe_r2", rows)


def _task(context: Context) -> tuple[dict[float, int], dict[float, float]]:
    if not context.measures.present(LOSS.name):
        return {}, {}
    table = context.measures.table(LOSS.name)
    first = table[table["shift"] == 1].groupby("p")[["a", "b"]].first()
    return first["a"].to_dict(), first["b"].to_dict()


def _by_seed(group: pd.DataFrame, x: str, value: str) -> list[tuple[Any, float, float, float, int]]:
    """(x, mean, low, high, seeds) over seeds; x some seed lacks are left out."""
    wide = group.pivot_table(index="seed", columns=x, values=value, aggfunc="mean").dropna(axis=1)
    if wide.empty:
        return []
    curve = seed_curve(wide.to_numpy())
    columns = zip(wide.columns, curve.value, curve.low, curve.high, strict=True)
    return [(c, v, low, high, curve.seeds) for c, v, low, high in columns]


def _at_the_papers_p(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of the p nearest to the paper's, of those that both arms were run at, if there are any."""
    pair = table[table["arm"].isin(PAIR)]
    arms = (pair if len(pair) else table).groupby("p")["arm"].nunique()
    best = arms[arms == arms.max()].index
    return table[table["p"] == min(best, key=lambda p: abs(p - SHOWN_P))]


def fig3_neuron_correlation(context: Context) -> pd.DataFrame:
    """|corr(neuron, feature)| of one seed: neurons of two networks have no common order to average over."""
    table = _at_the_papers_p(probing(context, CORRELATION.name))
    seeds = table["seed"].nunique()
    return _frame("fig3_neuron_correlation", table[table["seed"] == table["seed"].min()].assign(seeds=seeds))


def fig6_probe_estimate(context: Context) -> pd.DataFrame:
    """The probe's estimate per bin of x with the true sine."""
    table = _at_the_papers_p(probing(context, ESTIMATE.name))
    rows: list[dict[str, Any]] = []
    for (arm, p, layer), group in table.groupby(["arm", "p", "layer"], sort=True):
        extra = group.groupby("x").agg(n=("n", "sum"), sd=("estimate_sd", "mean"), truth=("truth", "mean"))
        for x, value, low, high, seeds in _by_seed(group, "x", "estimate_mean"):
            more = extra.loc[x]
            rows.append(
                {
                    "arm": arm,
                    "p": p,
                    "layer": layer,
                    "x": x,
                    "n": more["n"],
                    "value": value,
                    "ci_low": low,
                    "ci_high": high,
                    "sd": more["sd"],
                    "truth": more["truth"],
                    "seeds": seeds,
                }
            )
    return _frame("fig6_probe_estimate", rows)


def intervention(context: Context) -> pd.DataFrame:
    """Slope of the output on the size of the edit by lag; expected 1 at lags 1..a, 0 elsewhere."""
    table = probing(context, INTERVENTION.name)
    a_of, _ = _task(context)
    rows: list[dict[str, Any]] = []
    for (arm, p, direction), group in table.groupby(["arm", "p", "direction"], sort=True):
        counts = group.groupby("lag")["n"].sum()
        for lag, value, low, high, seeds in _by_seed(group, "lag", "slope"):
            inside = direction in ("probe", "pattern") and 1 <= lag <= a_of.get(p, 0)
            rows.append(
                {
                    "arm": arm,
                    "p": p,
                    "direction": direction,
                    "lag": lag,
                    "value": value,
                    "ci_low": low,
                    "ci_high": high,
                    "seeds": seeds,
                    "n": counts[lag],
                    "expected": float(inside) if a_of else np.nan,
                }
            )
    return _frame("intervention", rows)


def _frame(figure: str, rows: list[dict[str, Any]] | pd.DataFrame) -> pd.DataFrame:
    columns = list(EXPERIMENT.figure(figure).columns)
    keys = [name for name in columns if name not in NUMBERS]
    return pd.DataFrame(rows).reindex(columns=columns).sort_values(keys, kind="stable").reset_index(drop=True)
