"""Estimators of the beta sweep: how the gap closes as beta of the off-diagonal gradient is let back in.

The share of the gap closed at beta is (L(0) - L(beta)) / (L(0) - L(vanilla)), of losses averaged over seeds: 0 for the
myopic arm by definition, 1 where nothing is left of the gap. The task is D_p at one `p`, or text of one `corpus`.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np

from myopia.config.runs import PAIR
from myopia.experiments.dose_response.settings import SWEPT
from myopia.experiments.synthetic.judge import losses
from myopia.judge.registry import Context, estimator
from myopia.judge.stats import Array, Estimate, Ratio, pooled_statistic
from myopia.judge.text_loss import text_loss


@dataclass(frozen=True)
class SweepLosses:
    """Summed losses of arms on the same held-out units, [seeds, units], `vanilla` among them, and their counts."""

    sums: dict[str, Array]
    n: Array
    trivial: Array | None  # D_p: the trivial predictor's summed loss

    def closed(self, arm: str, coefficient: float = 1.0) -> Ratio:
        """The share of the gap that an arm closes."""
        gap = self.sums["myopic"] - self.sums["vanilla"]
        return Ratio(self.sums["myopic"] - self.sums[arm], gap, coefficient)


def sweep_losses(
    context: Context, arms: list[str], p: float | None = None, corpus: str | None = None, cluster: str = "doc"
) -> SweepLosses:
    """The named arms, myopic and vanilla on one task, paired by seed and held-out unit; `NotRun` names what is missing."""
    wanted = list(dict.fromkeys([*PAIR, *arms]))
    if corpus is None:
        _, found = losses(context, [(arm, 1) for arm in wanted], p if p is not None else "auto")
        sums = {arm: one["loss"] for arm, one in zip(wanted, found, strict=True)}
        return SweepLosses(sums, found[0]["n"], found[0]["loss_trivial"])
    text = text_loss(context, corpus, wanted, cluster)
    return SweepLosses({arm: text.sums[arm].sum(-1) for arm in wanted}, text.n.sum(-1), None)


def _sum(ratios_KX: Array) -> Array:
    return ratios_KX.sum(0)


@estimator
def dose_share(context: Context, *, arm: str, p: float | None = None, corpus: str | None = None) -> Estimate:
    """Share of the gap closed by one arm."""
    return pooled_statistic([sweep_losses(context, [arm], p, corpus).closed(arm)], _sum)


@estimator
def dose_slope(context: Context, *, p: float | None = None, corpus: str | None = None) -> Estimate:
    """Least-squares slope of the share closed on beta over all five arms: 1 where every bit of beta closes as much."""
    found = sweep_losses(context, list(SWEPT), p, corpus)
    beta = np.array(list(SWEPT.values()))
    weight = (beta - beta.mean()) / ((beta - beta.mean()) ** 2).sum()
    terms = [found.closed(arm, w) for arm, w in zip(SWEPT, weight, strict=True) if w]
    return pooled_statistic(terms, _sum)


@estimator
def dose_weakest_step(context: Context, *, p: float | None = None, corpus: str | None = None) -> Estimate:
    """Of the steps from each beta to the next, the one least sure to close something of the gap.

    All steps are above delta (the curve rises everywhere) if and only if this one is, and no correction for their
    number is needed: an intersection-union test.
    """
    found = sweep_losses(context, list(SWEPT), p, corpus)
    steps = [
        pooled_statistic([found.closed(after), found.closed(before, -1.0)], _sum)
        for before, after in itertools.pairwise(SWEPT)
    ]
    return min(steps, key=lambda step: step.interval()[0] if np.isfinite(step.se) else step.value)


@estimator
def dose_half(context: Context, *, p: float | None = None, corpus: str | None = None) -> Estimate:
    """The beta at which half of the gap is first closed, by straight lines between arms; 1 if it never is."""
    found = sweep_losses(context, list(SWEPT), p, corpus)
    return pooled_statistic([found.closed(arm) for arm in SWEPT], half_closing)


def half_closing(share_KX: Array) -> Array:
    """First crossing of 1/2 along the arms of `SWEPT`, for shares [K, ...] -> [...]."""
    beta = np.array(list(SWEPT.values()))
    flat = share_KX.reshape(len(beta), -1)
    where = np.full(flat.shape[1], 1.0)
    done = ~np.isfinite(flat).all(0)
    where[done] = np.nan
    for k in range(1, len(beta)):
        low, high = flat[k - 1], flat[k]
        here = ~done & (high >= 0.5)
        where[here] = beta[k - 1] + (beta[k] - beta[k - 1]) * (0.5 - low[here]) / (high - low)[here]
        done |= here
    return where.reshape(share_KX.shape[1:])
