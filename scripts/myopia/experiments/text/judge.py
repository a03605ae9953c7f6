"""Estimators of the text experiment: gaps in nats per token on held-out text, and influence.

Position p is the 0-based place of the token that predicts token p + 1; clusters are documents, or groups
(books, package directories) where a claim says so.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from myopia.config.runs import PAIR
from myopia.config.tables import TEXT_CURVE
from myopia.experiments.text import INFLUENCE
from myopia.judge.measures import NotRun, select
from myopia.judge.registry import Context, estimator
from myopia.judge.stats import Array, Estimate, Ratio, late_rise, ratio_contrast, seed_mean
from myopia.judge.text_loss import TextLoss, text_loss


def _at(text: TextLoss, span: Sequence[int] | None) -> slice | Array:
    if span is None:
        return slice(None)
    chosen = np.array([span[0] <= p <= span[1] for p in text.positions])
    if not chosen.any():
        raise NotRun(f"no token positions {span[0]}..{span[1]} were measured")
    return chosen


@estimator
def text_gap(
    context: Context,
    *,
    corpus: str,
    arms: Sequence[str],
    positions: Sequence[int] | None = None,
    cluster: str = "doc",
    runs: dict[str, str] | None = None,
) -> Estimate:
    """Loss of the first arm minus the second's over positions first..last (all if not given)."""
    text = text_loss(context, corpus, arms, cluster, runs)
    at = _at(text, positions)
    difference = (text.sums[arms[0]] - text.sums[arms[1]])[..., at].sum(-1)
    return ratio_contrast([Ratio(difference, text.n[..., at].sum(-1))])


@estimator
def text_gap_rise(context: Context, *, corpus: str) -> Estimate:
    """Rise of the validation gap over the last quarter of training, as a share of the final gap (mean over seeds)."""
    table = context.measures.table(TEXT_CURVE.name)
    wide = {}
    for arm in PAIR:
        one = select(table[table["corpus"] == corpus], f"the curve of {corpus}, arm {arm},", arm=arm)
        wide[arm] = one.pivot_table(index="seed", columns="step", values="validation_loss")
    gap = (wide["myopic"] - wide["vanilla"]).dropna(axis=1, how="all").dropna(axis=0)
    if gap.empty:
        raise NotRun(f"the arms on {corpus} share no seed or step")
    return late_rise(gap.columns.to_numpy(dtype=float), gap.to_numpy())


@estimator
def text_gap_contrast(
    context: Context,
    *,
    corpus: str,
    arms: Sequence[str],
    late: Sequence[int],
    early: Sequence[int],
    cluster: str = "doc",
    runs: dict[str, str] | None = None,
) -> Estimate:
    """Mean gap over the late positions minus mean gap over the early ones (Fig 4)."""
    text = text_loss(context, corpus, arms, cluster, runs)
    difference = text.sums[arms[0]] - text.sums[arms[1]]
    terms = []
    for span, sign in ((late, 1.0), (early, -1.0)):
        at = _at(text, span)
        terms.append(Ratio(difference[..., at].sum(-1), text.n[..., at].sum(-1), sign))
    return ratio_contrast(terms)


@estimator
def text_share(
    context: Context,
    *,
    corpus: str,
    gap: Sequence[str],
    whole: Sequence[str],
    cluster: str = "doc",
    runs: dict[str, str] | None = None,
) -> Estimate:
    """(first - second of `gap`) / (first - second of `whole`): what share of the past's worth."""
    text = text_loss(context, corpus, sorted({*gap, *whole}), cluster, runs)
    total = {arm: values.sum(-1) for arm, values in text.sums.items()}
    return ratio_contrast([Ratio(total[gap[0]] - total[gap[1]], total[whole[0]] - total[whole[1]])])


@estimator
def text_level(
    context: Context, *, corpus: str, arm: str, cluster: str = "doc", runs: dict[str, str] | None = None
) -> Estimate:
    """Held-out cross-entropy of one arm."""
    text = text_loss(context, corpus, [arm], cluster, runs)
    return ratio_contrast([Ratio(text.sums[arm].sum(-1), text.n.sum(-1))])


@estimator
def text_curve_distance(
    context: Context,
    *,
    corpus: str,
    arms: Sequence[str],
    first: int,
    last: int,
    cluster: str = "group",
    runs: dict[str, str] | None = None,
) -> Estimate:
    """Mean over positions first..last of |gap(t) - the paper's Fig 4 gap(t)|; clusters are books.

    SE_doc is the delete-one-book jackknife: the absolute value makes the mean no ratio of sums.
    """
    text = text_loss(context, corpus, arms, cluster, runs)
    at = _at(text, (first, last))
    paper = np.array([context.paper.get(f"fig4-gap-pos{p}")[0] for p in np.array(text.positions)[at]])
    difference = (text.sums[arms[0]] - text.sums[arms[1]])[..., at]
    n = text.n[..., at]
    per_seed = np.abs(difference.sum(1) / n.sum(1) - paper).mean(1)
    units = n.shape[1]
    if units < 2:
        return seed_mean(per_seed, float("nan"), units)
    left = [
        np.abs((difference.sum(1) - difference[:, d]) / np.maximum(n.sum(1) - n[:, d], 1e-300) - paper).mean()
        for d in range(units)
    ]
    se_doc = float(np.sqrt((units - 1) / units * np.sum((np.array(left) - np.mean(left)) ** 2)))
    return seed_mean(per_seed, se_doc, units)


@estimator
def influence_past_share(context: Context, *, arm: str, model: str | None = None) -> Estimate:
    """Share of a loss's sensitivity (norm of d loss_t / d e_s) that falls on the past s < t."""
    table = context.measures.table(INFLUENCE.name)
    rows = table[(table["arm"] == arm) & ((table["model"] == model) if model else True)]
    rows = rows[np.isfinite(rows["influence"])]
    if rows.empty:
        raise NotRun(f"influence of arm {arm} was not measured")
    past = rows["influence"].where(rows["s"] < rows["t"], 0.0)
    by = rows["seed"]
    return seed_mean((past.groupby(by).sum() / rows["influence"].groupby(by).sum()).to_numpy())
