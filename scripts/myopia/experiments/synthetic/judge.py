"""Estimators of the synthetic experiment D_p: losses, probes, neurons, interventions.

Losses are mean Huber losses per token; "share" means a share of the trivial predictor's loss on the same
tokens (the trivial predictor answers x where z = 0 and 0 elsewhere). `p` may be `auto`: the largest p the
needed arms were run at, for controls that need only one p.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd

from myopia.common.errors import MyopiaError
from myopia.experiments.synthetic import CORRELATION, ESTIMATE, INTERVENTION, LOSS, PROBE_R2
from myopia.judge.measures import NotRun, common_seeds, select, to_array
from myopia.judge.registry import Context, estimator
from myopia.judge.stats import Array, Estimate, Ratio, ratio_contrast, seed_mean

P = float | Literal["auto"]
TAIL = 4
"""Lags a+1 .. a+TAIL serve as the reference beyond the window (protocol section 4)."""


def losses(
    context: Context,
    wanted: Sequence[tuple[str, int]],
    p: P,
    tokens: str = "all",
    runs: dict[str, str] | None = None,
) -> tuple[float, list[dict[str, Array]]]:
    """(p, one dict of [seeds, blocks] sums per wanted (arm, shift)), over the seeds all of them share."""
    table = context.measures.table(LOSS.name)
    value = _largest_p(table, wanted) if p == "auto" else float(p)
    frames = [
        select(table, f"D_p with p = {value:g}, arm {arm}, shift {shift}", runs, p=value, arm=arm, shift=shift)
        for arm, shift in wanted
    ]
    seeds = common_seeds(frames, f"D_p with p = {value:g}")
    blocks = sorted(set().union(*(f["block"] for f in frames)))
    suffix, count = ("_z1", "n_z1") if tokens == "z1" else ("", "n_tokens")
    result = []
    for frame in frames:
        n = to_array(frame, count, seeds, {"block": blocks})
        sums = {"n": n}
        for name in ("loss", "loss_zero", "loss_trivial"):
            mean = to_array(frame, name + suffix, seeds, {"block": blocks})
            if np.isnan(mean[n > 0]).any():
                raise MyopiaError(f"{LOSS.name} holds an undefined {name + suffix}; measure it again.")
            sums[name] = n * np.nan_to_num(mean)  # a block without z = 1 tokens has no mean there and n = 0
        sums["loss_present"] = n * to_array(frame, "loss_present", seeds, {"block": blocks})
        if np.any(n.sum(1) == 0):
            raise NotRun(f"D_p with p = {value:g} has a seed without tokens ({tokens})")
        result.append(sums)
    return value, result


def _largest_p(table: pd.DataFrame, wanted: Sequence[tuple[str, int]]) -> float:
    shared: set[float] | None = None
    for arm, shift in wanted:
        here = set(table.loc[(table["arm"] == arm) & (table["shift"] == shift), "p"])
        shared = here if shared is None else shared & here
    if not shared:
        names = ", ".join(f"{arm} at shift {shift}" for arm, shift in wanted)
        raise NotRun(f"D_p was not measured for {names} at one p")
    return max(shared)


@estimator
def dp_gap(
    context: Context,
    *,
    p: P,
    arms: Sequence[str],
    shift: int = 1,
    tokens: str = "all",
    runs: dict[str, str] | None = None,
) -> Estimate:
    """(L_first - L_second) / L_trivial, paired by seed."""
    _, (first, second) = losses(context, [(arm, shift) for arm in arms], p, tokens, runs)
    return ratio_contrast([Ratio(first["loss"] - second["loss"], first["loss_trivial"])])


@estimator
def dp_skill(
    context: Context,
    *,
    arm: str,
    p: P,
    shift: int = 1,
    tokens: str = "all",
    runs: dict[str, str] | None = None,
) -> Estimate:
    """Skill 1 - L / L_trivial."""
    _, (one,) = losses(context, [(arm, shift)], p, tokens, runs)
    return ratio_contrast([Ratio(one["loss_trivial"] - one["loss"], one["loss_trivial"])])


@estimator
def dp_loss_over_p(
    context: Context, *, arm: str, p: P, tokens: str = "all", runs: dict[str, str] | None = None
) -> Estimate:
    """Huber loss divided by p, as in the paper's Table 1."""
    value, (one,) = losses(context, [(arm, 1)], p, tokens, runs)
    return ratio_contrast([Ratio(one["loss"] / value, one["n"])])


@estimator
def dp_beats_present(context: Context, *, arm: str, p: P, runs: dict[str, str] | None = None) -> Estimate:
    """Control (b): (L_present - L) / L_trivial with the present inside the window (shift 0)."""
    _, (one,) = losses(context, [(arm, 0)], p, runs=runs)
    if not np.isfinite(one["loss_present"]).all():
        raise NotRun("the present-only predictor was not measured at shift 0")
    return ratio_contrast([Ratio(one["loss_present"] - one["loss"], one["loss_trivial"])])


@estimator
def dp_skill_change(context: Context, *, arm: str, p: P, runs: dict[str, str] | None = None) -> Estimate:
    """Control (b): skill at shift 0 minus the same arm's skill at shift 1."""
    _, both = losses(context, [(arm, 0), (arm, 1)], p, runs=runs)
    terms = [
        Ratio(s["loss_trivial"] - s["loss"], s["loss_trivial"], sign) for s, sign in zip(both, (1.0, -1.0), strict=True)
    ]
    return ratio_contrast(terms)


def window(context: Context, p: float) -> int:
    """a of D_p at this p (lookbacks 1..a matter), read from the losses' table."""
    table = context.measures.table(LOSS.name)
    rows = select(table, f"D_p with p = {p:g}", p=p, shift=1)
    if rows["a"].nunique() != 1:
        raise MyopiaError(f"{LOSS.name} holds several a for p = {p:g}; measure them in separate files.")
    return int(rows["a"].iloc[0])


def lags_of(context: Context, p: float, lags: str | int | Sequence[int]) -> list[int]:
    """`inside` = 1..a, `outside` = a+1..a+4, `past` = every lag >= 1 up to a+4, or the lags themselves."""
    if isinstance(lags, int):
        return [lags]
    if not isinstance(lags, str):
        return list(lags)
    a = window(context, p)
    spans = {"inside": (1, a), "outside": (a + 1, a + TAIL), "past": (1, a + TAIL)}
    first, last = spans[lags]
    return list(range(first, last + 1))


def probing(context: Context, name: str) -> pd.DataFrame:
    """A probing table without the runs of the control task: only windows that exclude the present count."""
    table = context.measures.table(name)
    if not context.measures.present(LOSS.name):
        return table
    losses_table = context.measures.table(LOSS.name)
    return table[~table["run"].isin(losses_table.loc[losses_table["shift"] != 1, "run"])]


def _profile(
    context: Context,
    p: P,
    arm: str,
    layer: int,
    lags: Sequence[int],
    weights: str = "trained",
    metric: str = "r2_noisy",
    seeds: Sequence[int] | None = None,
) -> tuple[list[int], Array]:
    """(seeds, R^2 [seeds, lags]) of sin(b x_{n-lag}) read from one layer; judged through noise (amendment 1)."""
    table = probing(context, PROBE_R2.name)
    what = f"the {weights} probe of layer {layer} at p = {p:g}, arm {arm},"
    rows = select(table, what, p=float(p), arm=arm, layer=layer, feature="sin", weights=weights)
    absent = sorted(set(lags) - set(rows["lookback"].astype(int)))
    if absent:
        raise NotRun(f"{what} was not measured at lookback {absent[0]}")
    seeds = common_seeds([rows], what) if seeds is None else list(seeds)
    return seeds, to_array(rows, metric, seeds, {"lookback": list(lags)})


def _paired_profiles(context: Context, specs: Sequence[dict[str, Any]]) -> list[Array]:
    found = [_profile(context, **spec) for spec in specs]
    seeds = sorted(set.intersection(*(set(s) for s, _ in found)))
    if not seeds:
        raise NotRun("the probes share no seed")
    return [_profile(context, **spec, seeds=seeds)[1] for spec in specs]


@estimator
def probe_r2(
    context: Context,
    *,
    p: float,
    arm: str,
    layer: int,
    lags: Any,
    reduce: str = "mean",
    weights: str = "trained",
    metric: str = "r2_noisy",
) -> Estimate:
    """Mean or largest R^2 over lags, per seed."""
    _, r2 = _profile(context, p, arm, layer, lags_of(context, p, lags), weights, metric)
    return seed_mean(r2.max(1) if reduce == "max" else r2.mean(1))


@estimator
def probe_lag_contrast(context: Context, *, p: float, arm: str, layer: int) -> Estimate:
    """Mean R^2 over lags 1..a minus mean R^2 over lags a+1..a+4."""
    a = window(context, p)
    _, r2 = _profile(context, p, arm, layer, lags_of(context, p, "past"))
    return seed_mean(r2[:, :a].mean(1) - r2[:, a:].mean(1))


@estimator
def probe_share(context: Context, *, p: float, arms: Sequence[str], layer: int, lag: int = 0) -> Estimate:
    """First arm's R^2 as a share of the second's, per seed."""
    first, second = _paired_profiles(context, [{"p": p, "arm": arm, "layer": layer, "lags": [lag]} for arm in arms])
    return seed_mean(first[:, 0] / np.maximum(second[:, 0], 1e-6))


@estimator
def probe_excess(context: Context, *, p: float, arm: str, layer: int, lag: int = 0) -> Estimate:
    """Control (d): R^2 of the trained network minus R^2 of the same seed's untrained network."""
    trained, untrained = _paired_profiles(
        context,
        [{"p": p, "arm": arm, "layer": layer, "lags": [lag], "weights": w} for w in ("trained", "untrained")],
    )
    return seed_mean(trained[:, 0] - untrained[:, 0])


@estimator
def probe_paper_distance(context: Context, *, p: float, layer: int, lags: Sequence[int]) -> Estimate:
    """Mean |R^2 - the paper's| over lags, in the paper's in-sample metric (vanilla)."""
    _, r2 = _profile(context, p, "vanilla", layer, lags, metric="r2_insample")
    paper = np.array([context.paper.get(f"fig2-p{p:g}-layer{layer}-lag{lag}")[0] for lag in lags])
    return seed_mean(np.abs(r2 - paper).mean(1))


@estimator
def neuron_peak(
    context: Context, *, p: float, arms: Sequence[str], layer: int, feature: str = "sin", lookback: int = 0
) -> Estimate:
    """Largest |corr(neuron, feature)| of the first arm minus the second's (Fig 3)."""
    table = probing(context, CORRELATION.name)
    what = f"neuron correlations of layer {layer} at p = {p:g}"
    where = {"p": float(p), "layer": layer, "feature": feature, "lookback": lookback}
    frames = [select(table, f"{what}, arm {arm},", arm=arm, **where) for arm in arms]
    seeds = common_seeds(frames, what)
    peaks = [f.groupby("seed")["abs_corr"].max().loc[seeds].to_numpy() for f in frames]
    return seed_mean(peaks[0] - peaks[1])


@estimator
def probe_curve_r2(context: Context, *, p: float, arm: str, layer: int = 1) -> Estimate:
    """How well the probe's mean estimate per bin of x follows sin(b x): 1 - residual / total, n-weighted."""
    table = probing(context, ESTIMATE.name)
    rows = select(table, f"the probe's estimate at p = {p:g}", p=float(p), arm=arm, layer=layer)
    values = []
    for _, one in rows.groupby("seed"):
        n, truth = one["n"].to_numpy(), one["truth"].to_numpy()
        residual = np.sum(n * (one["estimate_mean"].to_numpy() - truth) ** 2)
        values.append(1 - residual / np.sum(n * (truth - np.average(truth, weights=n)) ** 2))
    return seed_mean(np.array(values))


@estimator
def intervention_slope(
    context: Context, *, p: P, arm: str, direction: str, lags: Any, absolute: bool = False
) -> Estimate:
    """Mean slope of the output on the size of the edit, over lags; 1 is full use of the direction."""
    table = probing(context, INTERVENTION.name)
    p = float(table.loc[table["arm"] == arm, "p"].max()) if p == "auto" else p
    what = f"the {direction} intervention at p = {p:g}, arm {arm},"
    rows = select(table, what, p=float(p), arm=arm, direction=direction)
    rows = rows[rows["lag"].isin(lags_of(context, p, lags))]
    if rows.empty:
        raise NotRun(f"{what} was not measured at these lags")
    slopes = rows["slope"].abs() if absolute else rows["slope"]
    return seed_mean(slopes.groupby(rows["seed"]).mean().to_numpy())
