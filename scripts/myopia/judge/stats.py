"""Statistics of paired training runs: the only place where an interval is made (protocol section 3).

The unit of replication is the training seed; held-out units (documents, books, blocks of sequences) are
clusters. For a seed-averaged quantity

    SE^2 = s_seed^2 / S + SE_doc^2,

with s_seed the standard deviation of the S per-seed values and SE_doc from a cluster bootstrap of the
seed-averaged quantity over held-out units, and a t interval with Satterthwaite's degrees of freedom

    df = SE^4 / [ (s_seed^2 / S)^2 / (S - 1) + SE_doc^4 / (D - 1) ].

Everything is seeded, so the same csv gives the same bytes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import stats as _scipy
from statsmodels.stats.multitest import multipletests

Array = NDArray[np.float64]

DRAWS = 1000
"""Bootstrap draws: SE_doc is then known to about 2 %, far below its own sampling error."""

BOOTSTRAP_SEED = 20240404
"""Fixed, so that a table is a function of the measurements alone."""


@dataclass(frozen=True)
class Estimate:
    """A seed-averaged quantity, its standard error and where it came from (units: the claim's)."""

    value: float
    se: float
    df: float
    seed_sd: float
    seeds: int
    documents: int  # 0: the measurement has no held-out units of its own (probe R^2, slopes)
    per_seed: tuple[float, ...] = ()

    @property
    def constant(self) -> bool:
        """Whether nothing varies: several seeds, one value. An interval of no width would decide everything."""
        return self.se == 0

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """Two-sided t interval; (nan, nan) with one seed, or where nothing varies."""
        if not math.isfinite(self.se) or self.constant:
            return math.nan, math.nan
        half = float(_scipy.t.ppf(0.5 + level / 2, self.df)) * self.se
        return self.value - half, self.value + half

    def p_value(self, against: float) -> float:
        """Two-sided p against a value, the dual of `interval`."""
        if not math.isfinite(self.se) or self.constant:
            return math.nan
        return float(2 * _scipy.t.sf(abs(self.value - against) / self.se, self.df))

    def prediction_interval(self, widen: float = 0.0, level: float = 0.95) -> tuple[float, float]:
        """Where one further run should fall: value -+ (s sqrt(1 + 1/S) t + reading error)."""
        if self.seeds < 2:
            return math.nan, math.nan
        t = float(_scipy.t.ppf(0.5 + level / 2, self.seeds - 1))
        half = self.seed_sd * math.sqrt(1 + 1 / self.seeds) * t + widen
        return self.value - half, self.value + half

    def tost(self, margin: float) -> float:
        """p of two one-sided tests for |value| < margin; below .05 means the 90 % interval lies inside."""
        if not math.isfinite(self.se) or self.constant:
            return math.nan
        above = _scipy.t.sf((self.value + margin) / self.se, self.df)
        below = _scipy.t.sf((margin - self.value) / self.se, self.df)
        return float(max(above, below))


@dataclass(frozen=True)
class Ratio:
    """`coefficient * sum(numerator) / sum(denominator)`; both are [seeds, held-out units].

    A mean loss has numerator n * loss and denominator n; a share of the trivial loss has the trivial
    predictor's summed loss below. Units a seed lacks hold 0 in both.
    """

    numerator: Array
    denominator: Array
    coefficient: float = 1.0


@lru_cache(maxsize=8)
def bootstrap_weights(units: int, draws: int = DRAWS, seed: int = BOOTSTRAP_SEED) -> NDArray[np.float32]:
    """How often each unit is drawn in each bootstrap sample, [draws, units]; one matrix serves all claims."""
    rng = np.random.default_rng([seed, units])
    return rng.multinomial(units, np.full(units, 1 / units), size=draws).astype(np.float32)


def ratio_contrast(terms: Sequence[Ratio], draws: int = DRAWS, *, one_seed_counts: bool = False) -> Estimate:
    """Seed-averaged sum of ratios over the same held-out units, e.g. gap(late) - gap(early).

    `one_seed_counts`: as in `ratio_statistic`.
    """
    return ratio_statistic(terms, lambda ratios: ratios.sum(0), draws, one_seed_counts=one_seed_counts)


def ratio_statistic(
    terms: Sequence[Ratio],
    combine: Callable[[Array], Array],
    draws: int = DRAWS,
    *,
    one_seed_counts: bool = False,
) -> Estimate:
    """Seed-averaged `combine` of ratios over the same held-out units.

    combine: ratios times their coefficients, [terms, ...] -> [...]; any function, since units are resampled.
    `one_seed_counts`: a single seed has an interval too, over held-out units alone; it speaks of these weights, not
    of training them again.
    """
    units = terms[0].numerator.shape[1]
    se_doc = float("nan")
    with np.errstate(invalid="ignore", divide="ignore"):  # a share of nothing is NaN, which decides nothing
        per_seed = combine(np.stack([t.coefficient * t.numerator.sum(1) / t.denominator.sum(1) for t in terms]))
        if units > 1:
            weights = bootstrap_weights(units, draws)
            # One matrix of units serves all terms: they are resampled together, as they were measured together.
            ratios = [t.coefficient * ((weights @ t.numerator.T) / (weights @ t.denominator.T)) for t in terms]
            se_doc = float(np.std(combine(np.stack(ratios)).mean(1), ddof=1))
    per_seed = np.asarray(per_seed, dtype=float)
    if one_seed_counts and len(per_seed) == 1 and units > 1:
        return Estimate(float(per_seed[0]), se_doc, units - 1.0, math.nan, 1, units)
    return seed_mean(per_seed, se_doc, units)


def pooled_statistic(terms: Sequence[Ratio], combine: Callable[[Array], Array], draws: int = DRAWS) -> Estimate:
    """`combine` of ratios of sums over all seeds: for shares of a quantity that can come near 0 in a single seed.

    A mean of ratios has no sensible variance there; a ratio of means has. The standard error over seeds is the
    jackknife's (Efron and Stein 1981), that over held-out units the bootstrap's.

    terms, combine: as in `ratio_statistic`.
    """
    units, seeds = terms[0].numerator.shape[1], len(terms[0].numerator)

    def of(weights_SX: Array, weights_XU: Array) -> Array:
        """The statistic with seeds and units weighted, [X]."""
        with np.errstate(invalid="ignore", divide="ignore"):  # a share of nothing is NaN, which decides nothing
            sums = (((weights_XU @ one.T).T * weights_SX).sum(0) for t in terms for one in (t.numerator, t.denominator))
            found = np.array(list(sums)).reshape(len(terms), 2, -1)
            return combine(np.array([t.coefficient for t in terms])[:, None] * found[:, 0] / found[:, 1])

    value = float(of(np.ones((seeds, 1)), np.ones((1, units)))[0])
    if seeds < 2:
        return seed_mean(np.array([value]))
    without = of(1 - np.eye(seeds), np.ones((seeds, units)))
    se_doc = float("nan")
    if units > 1:
        se_doc = float(np.std(of(np.ones((seeds, draws)), bootstrap_weights(units, draws)), ddof=1))
    with np.errstate(invalid="ignore"):
        found = seed_mean(seeds * value - (seeds - 1) * without, se_doc, units)
    return replace(found, value=value)


SETTLED = 0.1
"""A gap has settled if its rise over the last quarter of training is below this share of it."""


def settled(steps: Array, gap_SK: Array, tolerance: float = SETTLED) -> bool:
    """Whether a gap is shown to have settled by the end of training (protocol section 3, amendment 12).

    The whole 95 % interval of `late_rise` must be below `tolerance`: a curve too noisy to tell has not been shown to settle,
    nor has that of one seed.

    steps: [K]; gap_SK: [seeds, K].
    """
    return bool((steps >= 0.75 * steps.max()).sum() > 1 and late_rise(steps, gap_SK).interval()[1] < tolerance)


def late_rise(steps: Array, gap_SK: Array) -> Estimate:
    """Rise over the last quarter of training, by a straight line through each seed's curve, over the mean final gap.

    steps: [K], at least two of them in the last quarter; gap_SK: [seeds, K].
    """
    late = steps >= 0.75 * steps.max()
    rise = np.polyfit(steps[late], gap_SK[:, late].T, 1)[0] * 0.25 * steps.max()
    with np.errstate(invalid="ignore", divide="ignore"):  # of no gap: NaN, which decides nothing
        return seed_mean(rise / abs(gap_SK[:, -1].mean()))


def seed_mean(per_seed: Array, se_doc: float = 0.0, documents: int = 0) -> Estimate:
    """Mean over seeds with both sources of error; a single seed has a value but no interval."""
    seeds = len(per_seed)
    each = tuple(float(one) for one in per_seed)
    value = float(np.mean(per_seed))
    if seeds < 2 or not math.isfinite(se_doc):
        return Estimate(value, math.nan, math.nan, math.nan, seeds, documents, each)
    seed_sd = float(np.std(per_seed, ddof=1))
    from_seeds = seed_sd**2 / seeds
    variance = from_seeds + se_doc**2
    below = from_seeds**2 / (seeds - 1) + (se_doc**4 / (documents - 1) if documents > 1 else 0.0)
    df = variance**2 / below if below > 0 else float(seeds - 1)
    return Estimate(value, math.sqrt(variance), df, seed_sd, seeds, documents, each)


@dataclass(frozen=True)
class Curve:
    """A seed-averaged curve with pointwise 95 % intervals and a simultaneous 95 % band, all [K]."""

    value: Array
    low: Array
    high: Array
    band_low: Array
    band_high: Array
    seeds: int
    documents: int


def ratio_curve(numerator: Array, denominator: Array, draws: int = DRAWS) -> Curve:
    """The curve k -> sum_d numerator / sum_d denominator; inputs are [seeds, units, K].

    The band is max-t: the 95 % point of max_k |t_k| under a multivariate t with the curve's own covariance
    (seeds plus bootstrap), so that the whole curve, not each point, is covered.
    """
    seeds, units, points = numerator.shape
    with np.errstate(invalid="ignore", divide="ignore"):
        per_seed = numerator.sum(1) / denominator.sum(1)
    nan = np.full(points, np.nan)
    value = per_seed.mean(0)
    if seeds < 2 or units < 2:
        return Curve(value, nan, nan, nan, nan, seeds, units)
    weights = bootstrap_weights(units, draws).astype(float)
    sampled = np.zeros((draws, points))
    for s in range(seeds):
        with np.errstate(invalid="ignore", divide="ignore"):
            sampled += (weights @ numerator[s]) / (weights @ denominator[s]) / seeds
    return _curve(per_seed, sampled, units)


def seed_curve(per_seed: Array) -> Curve:
    """The same for measurements without held-out units; input [seeds, K]."""
    seeds, points = per_seed.shape
    if seeds < 2:
        nan = np.full(points, np.nan)
        return Curve(per_seed.mean(0), nan, nan, nan, nan, seeds, 0)
    return _curve(per_seed, np.zeros((2, points)), 0)


def _curve(per_seed: Array, sampled: Array, units: int) -> Curve:
    seeds, points = per_seed.shape
    value = per_seed.mean(0)
    doc_variance = sampled.var(0, ddof=1)
    seed_variance = per_seed.var(0, ddof=1) / seeds
    variance = doc_variance + seed_variance
    se = np.sqrt(variance)
    below = seed_variance**2 / (seeds - 1) + (doc_variance**2 / (units - 1) if units > 1 else 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        df = np.where(below > 0, variance**2 / below, seeds - 1.0)
    half = _scipy.t.ppf(0.975, df) * se
    ok = np.isfinite(se) & (se > 0)
    critical = float(_scipy.t.ppf(0.975, np.nanmin(df)))
    if ok.sum() > 1:
        # Columns of `root` are a square root of the covariance of the seed-averaged curve.
        from_seeds = (per_seed - value)[:, ok] / math.sqrt(seeds * (seeds - 1))
        from_docs = (sampled - sampled.mean(0))[:, ok] / math.sqrt(len(sampled) - 1)
        root = np.concatenate([from_seeds, from_docs])
        rng = np.random.default_rng([BOOTSTRAP_SEED, points])
        draws = 4000
        scale = np.sqrt(rng.chisquare(np.median(df[ok]), size=(draws, 1)) / np.median(df[ok]))
        t = rng.standard_normal((draws, len(root))) @ (root / se[ok]) / scale
        critical = max(critical, float(np.quantile(np.abs(t).max(1), 0.95)))
    return Curve(value, value - half, value + half, value - critical * se, value + critical * se, seeds, units)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down adjusted p within one table or figure; order kept."""
    if not p_values:
        return []
    return [float(p) for p in multipletests(list(p_values), method="holm")[1]]
