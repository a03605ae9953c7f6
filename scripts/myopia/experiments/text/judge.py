"""Estimators of the language experiments: gaps in nats per token on held-out text.

Position p is the 0-based place of the token that predicts token p + 1; clusters are documents, or groups
(books, package directories) where a claim says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from myopia.common.errors import MyopiaError
from myopia.judge.measures import NotRun, common_seeds, cube, pick
from myopia.judge.registry import Context, estimator
from myopia.judge.stats import Array, Estimate, Ratio, ratio_contrast, seed_mean


@dataclass(frozen=True)
class TextLoss:
    """Summed loss of each arm and token counts, [seeds, clusters, positions], and the names of the clusters."""

    sums: dict[str, Array]
    n: Array
    seeds: list[int]
    positions: list[int]
    clusters: list[str]


def text_loss(
    context: Context,
    corpus: str,
    arms: Sequence[str],
    cluster: str = "doc",
    runs: dict[str, str] | None = None,
) -> TextLoss:
    """All arms on the same tokens and seeds; different tokens in two arms are refused."""
    key = ("text_loss", corpus, tuple(arms), cluster, tuple(sorted((runs or {}).items())))
    if key not in context.measures.made:
        context.measures.made[key] = _text_loss(context, corpus, arms, cluster, runs)
    return context.measures.made[key]


def _rows(context: Context, corpus: str, arm: str, runs: dict[str, str] | None) -> pd.DataFrame:
    part = context.measures.part("text_loss.csv.gz", ["corpus", "arm"], [corpus, arm])
    return pick(part, f"text {corpus}, arm {arm},", runs, arm=arm)


def _text_loss(
    context: Context, corpus: str, arms: Sequence[str], cluster: str, runs: dict[str, str] | None
) -> TextLoss:
    frames = [_rows(context, corpus, arm, runs) for arm in arms]
    seeds = common_seeds(frames, f"text {corpus}")
    clusters = sorted(set().union(*(f[cluster].unique() for f in frames)))
    positions = sorted(set().union(*(f["position"].astype(int).unique() for f in frames)))
    axes = {cluster: clusters, "position": positions}
    sums, counts = {}, []
    for arm, frame in zip(arms, frames, strict=True):
        if cluster != "doc":
            frame = _merge(frame, cluster)
        n = cube(frame, "n", seeds, axes)
        counts.append(n)
        sums[arm] = n * cube(frame, "loss", seeds, axes)
        if np.isnan(sums[arm]).any():
            raise MyopiaError(f"text_loss.csv.gz holds an undefined loss of {corpus}, {arm}; measure it again.")
    for n in counts[1:]:
        if not np.array_equal(n, counts[0]):
            raise MyopiaError(f"The arms {', '.join(arms)} of {corpus} saw different tokens; measure them again.")
    return TextLoss(sums, counts[0], seeds, positions, clusters)


def _merge(frame: pd.DataFrame, cluster: str) -> pd.DataFrame:
    """Documents of one cluster added up, keeping n and the mean loss."""
    frame = frame.assign(total=frame["n"] * frame["loss"])
    merged = frame.groupby(["seed", cluster, "position"], as_index=False)[["n", "total"]].sum()
    return merged.assign(loss=merged["total"] / merged["n"])


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


def trained_steps(context: Context, corpus: str, arms: Sequence[str], runs: dict[str, str] | None) -> int:
    """Steps of the shortest of the arms' runs: language gaps are unstable early (protocol section 3)."""
    curves = context.measures.table("text_curve.csv")
    steps = []
    for arm in arms:
        # By run, not by corpus: a model may be judged on a text it was not trained on (Fig 4).
        run = _rows(context, corpus, arm, runs)["run"].iloc[0]
        rows = pick(curves, f"the curve of run {run}", run=run)
        steps.append(rows.groupby("seed")["step"].max().min())
    return int(min(steps))
