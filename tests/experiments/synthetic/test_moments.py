"""Ridge regressions from streamed moments, against scikit-learn, numpy and the authors' formula."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge
from sklearn.metrics import r2_score

from myopia.experiments.synthetic.correlation import absolute_correlation
from myopia.experiments.synthetic.moments import Moments, fit_ridge, heldout_r2, insample_r2

Data = tuple[np.ndarray, np.ndarray]


def draw(noise: np.random.Generator, count: int, offset: float = 0.0) -> Data:
    """Features with unequal scales, correlations and per-position means; targets partly linear in them."""
    h = noise.standard_normal((count, 6, 5)) @ noise.standard_normal((5, 5))
    h += np.arange(6)[:, None] * noise.standard_normal(5) + offset
    z = h @ np.array([[1.0, 0], [0.5, 0], [0, 0], [-2, 0], [0, 0]]) + noise.standard_normal((count, 6, 2))
    return h, z + 3


def accumulate(data: Data, batches: list[int]) -> Moments:
    moments = Moments()
    pieces = (torch.from_numpy(array).split(batches) for array in data)
    for h, z in zip(*pieces, strict=True):
        moments.add(h, z)
    return moments


def check_pooled(noise: np.random.Generator, offset: float) -> None:
    h, z = data = draw(noise, 300, offset)
    moments = accumulate(data, [7, 200, 93])
    for first in (0, 2, 5):
        pooled = moments.pooled(first)
        flat_h, flat_z = h[:, first:].reshape(-1, 5), z[:, first:].reshape(-1, 2)
        centred_h, centred_z = flat_h - flat_h.mean(0), flat_z - flat_z.mean(0)
        assert pooled.n == len(flat_h)
        for name, ours, theirs in [
            ("mean h", pooled.mean_D, flat_h.mean(0)),
            ("mean z", pooled.mean_K, flat_z.mean(0)),
            ("h h", pooled.hh_DD, centred_h.T @ centred_h),
            ("h z", pooled.hz_DK, centred_h.T @ centred_z),
            ("z z", pooled.zz_K, (centred_z**2).sum(0)),
        ]:
            atol = 1e-9 * np.abs(theirs).max()
            np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=atol, err_msg=f"{name} from position {first}")


def test_pooled_moments_are_those_of_all_samples_at_once(noise: np.random.Generator) -> None:
    for offset in (0.0, 1e4):
        check_pooled(noise, offset)


def test_one_pass_does_not_depend_on_how_it_is_cut(noise: np.random.Generator) -> None:
    data = draw(noise, 256, offset=1e6)
    whole, cut = (accumulate(data, batches).pooled() for batches in ([256], [1, 5, 250]))
    np.testing.assert_allclose(cut.hh_DD, whole.hh_DD, rtol=1e-9, atol=1e-7)


def test_ridge_and_heldout_r2_equal_scikit_learn(noise: np.random.Generator) -> None:
    whole_h, whole_z = draw(noise, 700)
    fit, other = (whole_h[:400], whole_z[:400]), (whole_h[400:], whole_z[400:])
    for alpha in (1e-4, 50.0):
        for first in (0, 3):
            h, z, other_h, other_z = (array[:, first:].reshape(-1, array.shape[2]) for array in (*fit, *other))
            theirs = Ridge(alpha=alpha).fit(h, z)
            ours = fit_ridge(accumulate(fit, [150, 250]).pooled(first), alpha)
            np.testing.assert_allclose(ours.weight_DK, theirs.coef_.T, atol=1e-8)
            np.testing.assert_allclose(ours.constant_K, theirs.intercept_, atol=1e-8)
            expected = r2_score(other_z, theirs.predict(other_h), multioutput="raw_values")
            scores = heldout_r2(ours, accumulate(other, [300]).pooled(first))
            np.testing.assert_allclose(scores, expected, atol=1e-8)


def test_insample_score_is_the_authors_formula(noise: np.random.Generator) -> None:
    h, z = data = draw(noise, 100)
    features = np.hstack([h.reshape(-1, 5), np.ones((600, 1))])
    targets = z.reshape(-1, 2)
    inverse = np.linalg.inv(features.T @ features + 1e-4 * np.eye(6))
    explained = np.diag(targets.T @ features @ inverse @ features.T @ targets)
    expected = explained / np.diag(targets.T @ targets)
    np.testing.assert_allclose(insample_r2(accumulate(data, [30, 70]).pooled(), 1e-4), expected, atol=1e-10)


def test_a_linear_target_scores_one_and_noise_scores_nothing(noise: np.random.Generator) -> None:
    h = noise.standard_normal((4000, 4, 8))
    z = np.concatenate([h @ noise.standard_normal((8, 1)) + 5, noise.standard_normal((4000, 4, 1))], axis=2)
    fit, other = accumulate((h[:2000], z[:2000]), [2000]), accumulate((h[2000:], z[2000:]), [2000])
    perfect, nothing = heldout_r2(fit_ridge(fit.pooled(), 1e-4), other.pooled())
    assert perfect == pytest.approx(1, abs=1e-12)
    # Held out, noise scores about -D/n; in sample it scores about +(D + 1)/n: the authors' "flat floor".
    assert -0.005 < nothing < 0.001
    assert insample_r2(fit.pooled(), 1e-4)[1] == pytest.approx(9 / 8000, abs=0.002)
    assert insample_r2(fit.pooled(), 1e-4)[1] > 0


def test_more_coordinates_than_rank_is_no_trouble(noise: np.random.Generator) -> None:
    """Layer 0 spans two inputs and a position; its other directions hold only float32 rounding."""
    thin = noise.standard_normal((500, 3, 2))
    h = (thin @ noise.standard_normal((2, 16))).astype(np.float32)
    data = (h, thin[:, :, :1])
    moments = accumulate(data, [250, 250]).pooled()
    assert heldout_r2(fit_ridge(moments, 1e-4), moments)[0] == pytest.approx(1, abs=1e-6)


def test_targets_without_variance_score_nan(noise: np.random.Generator) -> None:
    h = noise.standard_normal((50, 2, 3))
    moments = accumulate((h, np.zeros((50, 2, 1))), [50]).pooled()
    assert np.isnan(heldout_r2(fit_ridge(moments, 1e-4), moments)).all()
    assert np.isnan(insample_r2(moments, 1e-4)).all()


def test_absolute_correlation_is_numpys(noise: np.random.Generator) -> None:
    h, z = draw(noise, 200)
    h[:, :, 2] = 7.0
    ours = absolute_correlation(accumulate((h, z), [50, 150]).pooled(1))
    flat_h, flat_z = h[:, 1:].reshape(-1, 5), z[:, 1:].reshape(-1, 2)
    for neuron in (0, 1, 3, 4):
        for target in (0, 1):
            expected = abs(np.corrcoef(flat_h[:, neuron], flat_z[:, target])[0, 1])
            assert ours[neuron, target] == pytest.approx(expected, abs=1e-10)
    assert np.array_equal(ours[2], [0, 0])


def test_choosing_targets_is_slicing(noise: np.random.Generator) -> None:
    moments = accumulate(draw(noise, 40), [40])
    whole, chosen = moments.pooled(2), moments.pooled(2, [1])
    # Up to rounding: a BLAS may add up in another order where a matrix has another number of columns.
    for of_all, of_chosen in ((whole.hz_DK[:, 1:], chosen.hz_DK), (whole.zz_K[1:], chosen.zz_K)):
        np.testing.assert_allclose(of_all, of_chosen, rtol=1e-12)
    np.testing.assert_allclose(whole.mean_K[1:], chosen.mean_K, rtol=1e-12)
