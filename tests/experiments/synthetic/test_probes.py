"""Probes, sine estimate and intervention on a network whose inside is known."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.metrics import r2_score

from myopia.common.errors import MyopiaError
from myopia.experiments.synthetic import probes
from myopia.experiments.synthetic.data import DpTask, sample
from myopia.experiments.synthetic.intervention import Slope, intervention_slopes, measured_lags
from myopia.experiments.synthetic.moments import Moments, Readout, fit_ridge, heldout_r2, noisy_r2
from myopia.experiments.synthetic.network import hidden_states, inputs

LAGS = 7
HandMade = Callable[..., Any]


def gathered(model: Any, stream: str, count: int = 1024) -> probes.ProbeMoments:
    return probes.gather(
        model, model.task, stream, data_seed=0, count=count, batch=256, max_lookback=LAGS - 1, shuffled=True
    )


def test_lookback_targets_term_by_term() -> None:
    x = np.array([[0.5, -1.0, 2.0], [3.0, 0.1, -0.2]], dtype=np.float32)
    targets = probes.lookback_targets(x, 4.0, 1)
    assert targets.shape == (2, 3, 4) and targets.dtype == torch.float64
    for row in range(2):
        for n in range(3):
            for i in range(2):
                past = float(x[row, n - i]) if n >= i else 0.0
                assert targets[row, n, i] == pytest.approx(math.sin(4 * past))
                assert targets[row, n, 2 + i] == past


def test_scores_equal_scikit_learn_on_the_same_samples(hand_made: HandMade, laptop_task: DpTask) -> None:
    model = hand_made(laptop_task)
    fit, heldout = (gathered(model, stream) for stream in (probes.FIT_STREAM, probes.HELDOUT_STREAM))
    collected = {}
    for stream in (probes.FIT_STREAM, probes.HELDOUT_STREAM):
        x, z, _ = sample(laptop_task, 0, 0, 1024, stream)
        _, states = model(inputs(x, z), hidden_states=True)
        collected[stream] = [state.double().numpy() for state in states], x
    for layer in range(3):
        ours = probes.score(fit, heldout, layer, 1e-4)
        for feature, transform in enumerate((lambda x: np.sin(4 * x), lambda x: x)):
            for lookback in (0, 2, 6):
                sets = []
                for states, x in collected.values():
                    past = transform(x[:, : 24 - lookback].astype(np.float64))
                    sets.append((states[layer][:, lookback:].reshape(-1, 8), past.ravel()))
                (h, z), (other_h, other_z) = sets
                expected = r2_score(other_z, Ridge(alpha=1e-4).fit(h, z).predict(other_h))
                assert ours.heldout[feature, lookback] == pytest.approx(expected, abs=1e-8)


def test_a_precaching_network_is_seen_to_precache(hand_made: HandMade, laptop_task: DpTask) -> None:
    model = hand_made(laptop_task)
    fit, heldout = (gathered(model, stream, 4096) for stream in (probes.FIT_STREAM, probes.HELDOUT_STREAM))
    embedded, first, last = (probes.score(fit, heldout, layer, 1e-4).heldout[0] for layer in range(3))
    # Linear in x alone: corr(x, sin 4x)^2 is below 1e-4.
    assert abs(embedded[0]) < 0.002
    assert first[0] == pytest.approx(1, abs=1e-6)
    assert np.abs(first[1:]).max() < 0.003
    # A state that holds only the sum of three terms explains 1/3 of each, a little more near the start.
    assert last[1:4] == pytest.approx(np.full(3, 1 / 3), abs=0.03)
    assert np.abs(last[4:]).max() < 0.003


def test_shuffled_targets_score_nothing_but_keep_the_positions(hand_made: HandMade, laptop_task: DpTask) -> None:
    model = hand_made(laptop_task)
    fit, heldout = (gathered(model, stream) for stream in (probes.FIT_STREAM, probes.HELDOUT_STREAM))
    for layer in range(3):
        shuffled = probes.score(fit, heldout, layer, 1e-4, shuffled=True)
        assert np.abs(shuffled.heldout).max() < 0.005
        assert 0 < shuffled.insample.max() < 0.005
    columns, control = fit.columns(3), fit.columns(3, shuffled=True)
    assert columns == [3, 3 + LAGS] and control == [3 + 2 * LAGS, 3 + 3 * LAGS]
    moments = fit.layers[0]
    np.testing.assert_allclose(moments.pooled(3, columns).zz_K, moments.pooled(3, control).zz_K)


def test_insample_score_uses_every_position_with_zero_fill(hand_made: HandMade, laptop_task: DpTask) -> None:
    model = hand_made(laptop_task)
    fit = gathered(model, probes.FIT_STREAM, 256)
    x, z, _ = sample(laptop_task, 0, 0, 256, probes.FIT_STREAM)
    _, states = model(inputs(x, z), hidden_states=True)
    h = states[2].double().numpy().reshape(-1, 8)
    features = np.hstack([h, np.ones((len(h), 1))])
    targets = probes.lookback_targets(x, 4.0, LAGS - 1).numpy().reshape(len(h), -1)
    solution = np.linalg.solve(features.T @ features + 1e-4 * np.eye(9), features.T @ targets)
    expected = ((features.T @ targets) * solution).sum(0) / (targets**2).sum(0)
    ours = probes.score(fit, fit, 2, 1e-4).insample
    np.testing.assert_allclose(ours, expected.reshape(2, LAGS), atol=1e-8)


def test_sine_probe_and_its_estimate(hand_made: HandMade, laptop_task: DpTask) -> None:
    model = hand_made(laptop_task)
    fit = gathered(model, probes.FIT_STREAM)
    readout = probes.sine_probe(fit, 1, noise=1e-6)
    estimate = probes.SineEstimate(readout, laptop_task.b, limit=2.5, bins=50)
    for x, _, states in hidden_states(model, laptop_task, "probe-heldout", 0, 512, 128):
        estimate.add(x, states[1])
    table = estimate.table()
    assert table["x"][0] == pytest.approx(-2.45) and table["x"][-1] == pytest.approx(2.45)
    assert np.abs(table["estimate_mean"] - table["truth"]).max() < 1e-4
    x = sample(laptop_task, 0, 0, 512, "probe-heldout")[0].astype(np.float64).ravel()
    inside = (x >= 0.0) & (x < 0.1)
    assert table["n"][25] == inside.sum() and table["n"].sum() == (np.abs(x) < 2.5).sum()
    assert table["estimate_sd"][25] == pytest.approx(np.sin(4 * x[inside]).std(), abs=1e-3)
    sd = probes.readout_sd(readout, fit.layers[1])
    assert sd == pytest.approx(math.sqrt((1 - math.exp(-32)) / 2), rel=0.02)


def test_empty_bins_are_left_out() -> None:
    estimate = probes.SineEstimate(Readout(np.ones((1, 1)), np.zeros(1)), 1.0, limit=1.0, bins=4)
    estimate.add(np.array([[0.1, 0.2, 5.0]], dtype=np.float32), torch.tensor([[[0.5], [1.5], [9.0]]]))
    table = estimate.table()
    assert table["x"].tolist() == [0.25] and table["n"].tolist() == [2]
    assert table["estimate_mean"].tolist() == [1.0] and table["estimate_sd"].tolist() == [0.5]


def slopes_of(
    model: Any, count: int = 512, z: float | None = None, noise: float = probes.NOISE
) -> dict[str, list[Slope]]:
    task = model.task
    fit = gathered(model, probes.FIT_STREAM)
    readout = probes.sine_probe(fit, 1, noise)
    x_BT, z_BT, _ = sample(task, 0, 0, count, "probe-heldout")
    if z is not None:
        z_BT = np.full_like(z_BT, z)
    h = model(inputs(x_BT, z_BT), hidden_states=True)[1][1]
    sd = probes.readout_sd(readout, fit.layers[1])
    pattern = probes.readout_pattern(readout, fit.layers[1])
    slopes = intervention_slopes(model, task, z_BT, h, 1, readout.weight_DK[:, 0], pattern, sd, seed=0)
    return {name: [s for s in slopes if s.direction == name] for name in dict.fromkeys(s.direction for s in slopes)}


@pytest.mark.parametrize(("shift", "gain"), [(0, 0.4), (1, 1.0)])
def test_intervention_finds_the_window_and_the_gain(hand_made: HandMade, shift: int, gain: float) -> None:
    model = hand_made(DpTask(p=0.3, a=3, b=4.0, T=24, shift=shift), gain=gain)
    slopes = slopes_of(model)
    assert [s.lag for s in slopes["probe"]] == list(range(8))
    # The probe reads the sine along its own axis, so that axis is where the network is pushed.
    expected = [gain if shift <= lag < shift + 3 else 0.0 for lag in range(8)]
    assert [s.slope for s in slopes["probe"]] == pytest.approx(expected, abs=0.01)
    # Coordinates that happen to covary with the sine move a little as well, but block 2 does not read them.
    assert [s.slope for s in slopes["pattern"][1:]] == pytest.approx(expected[1:], abs=0.01)
    assert sum(s.n for s in slopes["probe"]) == pytest.approx(0.3 * 8 * 512, rel=0.1)


def test_random_direction_leaves_the_readout_alone(hand_made: HandMade, laptop_task: DpTask) -> None:
    """Orthogonal to the probe, it moves no sine; on this network that means no output inside the window."""
    slopes = slopes_of(hand_made(laptop_task))
    for name in ("random", "random-pattern"):
        assert [s.slope for s in slopes[name][1:]] == pytest.approx([0.0] * 7, abs=0.01)


def test_pattern_raises_the_readout_by_one_the_likeliest_way(noise: np.random.Generator) -> None:
    h = noise.standard_normal((500, 4, 5)) @ noise.standard_normal((5, 5))
    moments = Moments()
    moments.add(torch.from_numpy(h), torch.zeros(500, 4, 1))
    weight = noise.standard_normal((5, 1))
    pattern = probes.readout_pattern(Readout(weight, np.zeros(1)), moments)
    assert weight[:, 0] @ pattern == pytest.approx(1)
    flat = h.reshape(-1, 5)
    # The regression of every coordinate on the read-out.
    slopes = [np.polyfit(flat @ weight[:, 0], flat[:, d], 1)[0] for d in range(5)]
    assert pattern == pytest.approx(slopes)


def test_pattern_finds_what_a_probe_of_tiny_directions_misses(hand_made: HandMade, laptop_task: DpTask) -> None:
    """A noiseless probe leans on a faint exact copy of the sine that block 2 ignores; the pattern is not fooled."""
    model = hand_made(laptop_task, faint_copy=0.02, blur=0.3)
    inside = slice(1, 4)
    noiseless = slopes_of(model, noise=1e-6)
    assert max(abs(s.slope) for s in noiseless["probe"][inside]) < 0.1
    assert min(s.slope for s in noiseless["pattern"][inside]) > 0.8
    judged = slopes_of(model)
    assert min(s.slope for s in judged["pattern"][inside]) > 0.8
    assert min(s.slope for s in judged["probe"][inside]) > 0.8  # noise hides the faint copy from the probe too


def test_intervention_where_nothing_is_asked_has_no_slope(hand_made: HandMade, laptop_task: DpTask) -> None:
    slopes = slopes_of(hand_made(laptop_task), count=64, z=0.0)
    assert all(math.isnan(s.slope) and s.n == 0 for s in slopes["probe"])


def test_lags_are_cut_at_the_sequence() -> None:
    assert list(measured_lags(DpTask(p=1, a=10, b=10, T=64))) == list(range(15))
    assert list(measured_lags(DpTask(p=1, a=3, b=4, T=5))) == [0, 1, 2, 3, 4]


def test_states_that_are_not_finite_are_refused(hand_made: HandMade, laptop_task: DpTask) -> None:
    model = hand_made(laptop_task)
    model.rotation[0, 0] = float("nan")
    with pytest.raises(MyopiaError, match="not finite"):
        gathered(model, probes.FIT_STREAM, 256)


def test_noisy_r2_is_what_a_readout_of_really_noisy_states_scores() -> None:
    rng = np.random.default_rng(5)
    h = rng.normal(size=(20_000, 1, 6)) @ np.diag([1.0, 1.0, 0.5, 0.1, 0.01, 0.001])
    z = (h @ np.array([1.0, -0.5, 0.3, 4.0, 30.0, 800.0]))[..., None] + 0.1 * rng.normal(size=(20_000, 1, 1))
    halves = []
    for part in (slice(0, 10_000), slice(10_000, None)):
        moments = Moments()
        moments.add(torch.from_numpy(h[part]), torch.from_numpy(z[part]))
        halves.append(moments.pooled())
    noise = 0.2
    sd = noise * np.sqrt(h[:10_000, 0].var(0).mean())
    noisy = h[:, 0] + sd * rng.normal(size=(20_000, 6))
    fitted = LinearRegression().fit(noisy[:10_000], z[:10_000, 0])
    measured = fitted.score(noisy[10_000:], z[10_000:, 0])
    assert noisy_r2(*halves, noise)[0] == pytest.approx(measured, abs=0.01)
    # Almost all of the target sits in a direction of tiny variance: a noiseless probe reads it all.
    assert heldout_r2(fit_ridge(halves[0], 1e-4), halves[1])[0] > 0.95 > 0.8 > measured
    assert noisy_r2(*halves, 1e-9)[0] == pytest.approx(heldout_r2(fit_ridge(halves[0], 1e-9), halves[1])[0])
