"""Estimators of the size sweep (paper Fig 7): gaps in nats per token on held-out text, and how they grow with size.

N is the number of parameters without embeddings. Choices: `pairs`; starts: `runs`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import stats as _scipy

from myopia.experiments.size_sweep import RUNS, pairs
from myopia.experiments.size_sweep.pairs import Pair
from myopia.judge.measures import NotRun
from myopia.judge.registry import Context, estimator
from myopia.judge.stats import Array, Estimate, Ratio, ratio_contrast, ratio_statistic, seed_mean

PAPER_NAMES = "pythia-"


@estimator
def family_gap(
    context: Context,
    *,
    choice: str,
    size: str | None = None,
    start: str = "checkpoint",
    positions: Sequence[int] | None = None,
) -> Estimate:
    """Gap of one size (the largest if not named), over the stretches beginning at `positions` (all if not given)."""
    found = pairs.pairs(context, choice, start)
    one = found[-1] if size is None else _named(found, size)
    return ratio_contrast(pairs.gap_terms(context, [one], at=positions))


@estimator
def family_slope(
    context: Context,
    *,
    choice: str,
    start: str = "checkpoint",
    at: str = "tokens",
    min_sizes: int = 4,
    min_ratio: float = 8.0,
) -> Estimate:
    """Least-squares slope of the gap on log10 N, one per seed, over sizes whose gap has settled.

    at: `tokens` compares final gaps, after equal text; `loss` compares gaps at equal vanilla validation loss.
    """
    chosen = settled(context, choice, start, min_sizes, min_ratio)
    weights = slope_weights([one.n_params for one in chosen])
    if at == "loss":
        _, gaps = pairs.gaps_at_equal_loss(context, chosen)
        return seed_mean(weights @ np.stack(gaps))
    return ratio_contrast(pairs.gap_terms(context, chosen, list(weights)))


def slope_weights(n_params: Sequence[float]) -> Array:
    """Weights of the gaps whose sum is their least-squares slope on log10 N."""
    x = np.log10(np.asarray(n_params, dtype=float))
    return (x - x.mean()) / ((x - x.mean()) ** 2).sum()


def settled(context: Context, choice: str, start: str, min_sizes: int, min_ratio: float) -> list[Pair]:
    """Pairs fit for a slope; `NotRun` if too few sizes have settled or their span is too short (protocol 3)."""
    everyone = pairs.pairs(context, choice, start)
    chosen = [one for one in everyone if not pairs.unsettled(context, one)]
    if len(chosen) < min_sizes:
        raise NotRun(
            f"the gap has settled at {len(chosen)} of {len(everyone)} sizes ({choice}); a slope needs {min_sizes}"
        )
    ratio = chosen[-1].n_params / chosen[0].n_params
    if ratio < min_ratio:
        raise NotRun(f"the settled sizes span a factor of {ratio:.3g} in N; a slope needs {min_ratio:g}")
    return chosen


@estimator
def family_contrast(
    context: Context, *, choices: Sequence[str], sizes: Sequence[str] | None = None, start: str = "checkpoint"
) -> Estimate:
    """First gap minus second: of two choices at one size (the largest if none is named), or of two sizes.

    The audit is as_run - matched at the largest size; the paper's rise is as_run at 2.8b - as_run at 70m.
    """
    chosen = []
    for k in range(2):
        found = pairs.pairs(context, choices[k % len(choices)], start)
        chosen.append(found[-1] if sizes is None else _named(found, sizes[k % len(sizes)]))
    return ratio_contrast(pairs.gap_terms(context, chosen, [1.0, -1.0]))


@estimator
def family_dip(context: Context, *, choice: str, size: str, start: str = "checkpoint") -> Estimate:
    """Smallest gap of the other sizes minus the gap at `size`: above 0 if the curve is lowest there."""
    found = pairs.pairs(context, choice, start)
    here = found.index(_named(found, size))
    if len(found) < 3:
        raise NotRun("a dip needs at least 3 sizes")

    def dip(gaps: Array) -> Array:
        return np.delete(gaps, here, axis=0).min(0) - gaps[here]

    return ratio_statistic(pairs.gap_terms(context, found), dip)


@estimator
def family_distance(context: Context, *, choice: str, start: str = "checkpoint") -> Estimate:
    """Mean over Pythia sizes of |gap - the gap the paper reports|."""
    terms, paper = _beside_paper(context, choice, start)
    return ratio_statistic(terms, lambda gaps: np.abs((gaps.T - paper).T).mean(0))


@estimator
def family_order(context: Context, *, choice: str, start: str = "checkpoint") -> Estimate:
    """Spearman's correlation over Pythia sizes of our gaps with those the paper reports."""
    terms, paper = _beside_paper(context, choice, start)
    wanted = _scipy.rankdata(paper)

    def spearman(gaps: Array) -> Array:
        ranks = _scipy.rankdata(gaps, axis=0)
        ranks, target = ranks - ranks.mean(0), wanted - wanted.mean()
        return np.tensordot(target, ranks, axes=1) / np.sqrt((target**2).sum() * (ranks**2).sum(0))

    return ratio_statistic(terms, spearman)


@estimator
def family_edges(context: Context, *, start: str = "checkpoint") -> Estimate:
    """How many best learning rates lie at the edge of their grid: a best value there extends the grid."""
    edges = sum(bool(best.edge) for best in pairs.best_rates(context, start).values())
    seeds = context.measures.table(RUNS.name)["seed"].nunique()
    return Estimate(float(edges), 0.0, float(max(seeds - 1, 1)), 0.0, seeds, 0)


def _named(found: Sequence[Pair], size: str) -> Pair:
    for one in found:
        if one.size == size:
            return one
    raise NotRun(f"{size} was not trained")


def _beside_paper(context: Context, choice: str, start: str) -> tuple[list[Ratio], Array]:
    found = [one for one in pairs.pairs(context, choice, start) if one.size.startswith(PAPER_NAMES)]
    known = set(context.paper.frame["id"])
    keys = {one.size: f"code-pythia-gap-{one.size.removeprefix(PAPER_NAMES)}" for one in found}
    found = [one for one in found if keys[one.size] in known]
    if len(found) < 3:
        raise NotRun("fewer than 3 Pythia sizes of the paper were trained")
    return pairs.gap_terms(context, found), np.array([context.paper.get(keys[one.size])[0] for one in found])
