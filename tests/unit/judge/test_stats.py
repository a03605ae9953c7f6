"""The interval against simulation, and the small formulas against scipy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats as scipy_stats

from myopia.judge.stats import (
    Estimate,
    Ratio,
    bootstrap_weights,
    holm,
    pooled_statistic,
    ratio_contrast,
    ratio_curve,
    seed_curve,
    seed_mean,
    settled,
)


def two_level(rng: np.random.Generator, seeds: int, docs: int, worlds: int) -> np.ndarray:
    """Gaps [worlds, seeds, docs] with true mean 0: seed effects, shared document effects, noise."""
    seed = rng.normal(0, 0.05, (worlds, seeds, 1))
    doc = rng.normal(0, 0.4, (worlds, 1, docs))
    return seed + doc + rng.normal(0, 0.2, (worlds, seeds, docs))


@pytest.mark.parametrize(("seeds", "docs"), [(3, 120), (5, 60)])
def test_coverage_and_that_pooling_under_covers(seeds: int, docs: int) -> None:
    worlds = 1500
    gaps = two_level(np.random.default_rng(1), seeds, docs, worlds)
    ones = np.ones((seeds, docs))
    covered = 0
    for world in gaps:
        low, high = ratio_contrast([Ratio(world, ones)], draws=200).interval()
        covered += low <= 0 <= high
    assert 0.93 <= covered / worlds <= 0.97

    # The naive way: every (seed, document) pair as an independent value.
    flat = gaps.reshape(worlds, -1)
    half = scipy_stats.t.ppf(0.975, flat.shape[1] - 1) * flat.std(1, ddof=1) / np.sqrt(flat.shape[1])
    assert np.mean(np.abs(flat.mean(1)) <= half) < 0.85


def test_simultaneous_band_covers_the_whole_curve() -> None:
    rng = np.random.default_rng(2)
    worlds, seeds, docs, points = 150, 5, 40, 12
    band = pointwise = 0
    for _ in range(worlds):
        curve = rng.normal(0, 0.05, (seeds, 1, 1)) + rng.normal(0, 0.2, (seeds, docs, points))
        curve = curve + rng.normal(0, 0.1, (seeds, 1, points))
        found = ratio_curve(curve, np.ones_like(curve), draws=100)
        band += bool(np.all((found.band_low <= 0) & (found.band_high >= 0)))
        pointwise += bool(np.all((found.low <= 0) & (found.high >= 0)))
    assert band / worlds >= 0.9
    assert pointwise / worlds < band / worlds


def test_without_documents_it_is_the_t_interval_of_the_seeds() -> None:
    values = np.array([0.1, 0.3, 0.2, 0.25])
    expected = scipy_stats.t.interval(0.95, 3, values.mean(), scipy_stats.sem(values))
    assert seed_mean(values).interval() == pytest.approx(expected)
    curve = seed_curve(values[:, None])
    assert (curve.low[0], curve.high[0]) == pytest.approx(expected)


def test_bootstrap_is_the_standard_error_of_a_mean() -> None:
    rng = np.random.default_rng(3)
    values = np.repeat(rng.normal(0, 1, (1, 400)), 2, axis=0)  # both seeds alike: only documents vary
    estimate = ratio_contrast([Ratio(values, np.ones_like(values))])
    assert estimate.se == pytest.approx(values[0].std() / np.sqrt(400), rel=0.1)
    assert bootstrap_weights(7, 50).sum(1) == pytest.approx(np.full(50, 7))


def test_ratio_weighs_units_by_their_tokens() -> None:
    n = np.array([[1.0, 3.0]] * 2)
    estimate = ratio_contrast([Ratio(n * np.array([[1.0, 2.0]] * 2), n)])
    assert estimate.value == pytest.approx(1.75)


def test_one_seed_has_a_value_and_no_interval() -> None:
    estimate = seed_mean(np.array([0.4]))
    assert estimate.value == 0.4
    assert np.isnan(estimate.interval()).all()
    assert np.isnan(estimate.prediction_interval()).all()
    assert np.isnan(estimate.p_value(0))


def test_p_value_is_the_dual_of_the_interval() -> None:
    estimate = Estimate(1.0, 0.2, 4.0, 0.3, 3, 10)
    low, _ = estimate.interval()
    assert estimate.p_value(low) == pytest.approx(0.05)


def test_prediction_interval() -> None:
    values = np.array([1.0, 2.0, 3.0])
    low, high = seed_mean(values).prediction_interval(widen=0.5)
    half = np.sqrt(1 + 1 / 3) * scipy_stats.t.ppf(0.975, 2) + 0.5
    assert (low, high) == pytest.approx((2 - half, 2 + half))


def test_tost_agrees_with_the_90_percent_interval() -> None:
    estimate = Estimate(0.01, 0.01, 6.0, 0.0, 3, 10)
    _, high = estimate.interval(0.90)
    assert estimate.tost(high) == pytest.approx(0.05)
    assert estimate.tost(0.2) < 0.05 < estimate.tost(0.02)


def test_holm() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([]) == []


def test_a_gap_has_settled_only_if_its_rise_is_shown_to_be_small() -> None:
    steps = np.arange(0, 201, 20.0)
    seeds = 0.001 * np.arange(5)[:, None]
    flat = np.minimum(0.1, steps / 1000)
    creeping = flat + np.where(steps >= 150, (steps - 150) * 6e-5, 0)  # 3 % of the gap in the last quarter
    climbing = flat + np.where(steps >= 150, (steps - 150) * 4e-4, 0)  # a fifth
    quiet = np.random.default_rng(0).normal(0, 1e-4, (5, len(steps)))
    loud = np.random.default_rng(0).normal(0, 3e-2, (5, len(steps)))
    assert settled(steps, flat + seeds + quiet) and settled(steps, creeping + seeds + quiet)
    assert not settled(steps, climbing + seeds + quiet)
    assert not settled(steps, creeping + seeds + quiet, tolerance=0.02)
    assert not settled(steps, flat + seeds + loud)  # a wide interval settles nothing
    assert not settled(steps, (flat + seeds + quiet)[:1])  # nor does one seed


def test_what_never_varies_has_no_interval() -> None:
    estimate = seed_mean(np.array([0.5, 0.5, 0.5]))
    assert estimate.constant and np.isnan(estimate.interval()).all()
    assert np.isnan([estimate.p_value(0), estimate.tost(1)]).all()


def test_a_share_of_means_covers_where_single_denominators_come_near_zero() -> None:
    """A mean of ratios does not: its variance is that of the one seed whose denominator is smallest."""
    rng = np.random.default_rng(4)
    worlds, seeds, units = 800, 5, 8
    covered = wide = 0
    for _ in range(worlds):
        gap = rng.normal(1, 0.45, (seeds, 1)) + rng.normal(0, 0.02, (seeds, units))
        closed = 0.4 * gap + rng.normal(0, 0.1, (seeds, 1))
        low, high = pooled_statistic([Ratio(closed, gap)], lambda ratios: ratios.sum(0), draws=50).interval()
        covered += low <= 0.4 <= high
        per_seed = seed_mean(closed.sum(1) / gap.sum(1)).interval()
        wide += per_seed[1] - per_seed[0] > 1.5 * (high - low)
    assert covered / worlds >= 0.91
    assert wide / worlds > 0.1


def test_the_pooled_share_is_the_ratio_of_sums_and_its_error_the_jackknife() -> None:
    closed, gap = np.array([[1.0], [2.0], [4.0]]), np.array([[2.0], [5.0], [6.0]])
    estimate = pooled_statistic([Ratio(closed, gap)], lambda ratios: ratios.sum(0))
    assert np.isnan(estimate.interval()).all()  # one unit alone: what units contribute is not known
    two = pooled_statistic([Ratio(np.repeat(closed, 2, 1), np.repeat(gap, 2, 1))], lambda ratios: ratios.sum(0))
    assert two.value == pytest.approx(7 / 13)
    without = np.array([6 / 11, 5 / 8, 3 / 7])
    assert two.se == pytest.approx(np.sqrt(2 / 3 * ((without - without.mean()) ** 2).sum()))


def test_with_stuck_seeds_a_t_interval_does_not_cover() -> None:
    """Why a recipe some of whose seeds stay on the plateau is not judged (protocol, amendment 12)."""
    rng = np.random.default_rng(5)
    seeds, worlds, stuck = 5, 4000, 0.2
    clean = rng.normal(0.5, 0.02, (worlds, seeds))
    mixed = np.where(rng.random((worlds, seeds)) < stuck, 0.0, clean)
    for values, truth, low, high in ((clean, 0.5, 0.94, 0.96), (mixed, 0.5 * (1 - stuck), 0.6, 0.9)):
        half = scipy_stats.t.ppf(0.975, seeds - 1) * values.std(1, ddof=1) / np.sqrt(seeds)
        assert low <= np.mean(np.abs(values.mean(1) - truth) <= half) <= high
