"""Streaming second moments of features and targets by position, and the ridge regressions they hold.

One pass over batches is enough for every probe, because positions are kept apart: regressions on any range
of positions, with or without a constant, centred or not, come from the same sums.

Shape suffixes: B sequences, T positions, D features (hidden-state coordinates), K targets.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.linalg import cho_factor, cho_solve
from torch import Tensor


@dataclass(frozen=True)
class Pooled:
    """Means and centred second moments of features h and targets z over a pool of n samples (all float64).

    mean_D, mean_K; hh_DD = sum (h - mean)(h - mean)', hz_DK = sum (h - mean)(z - mean)',
    zz_K = sum (z - mean)^2 per target. Sums, not averages: `n` samples are inside.
    """

    n: int
    mean_D: np.ndarray
    mean_K: np.ndarray
    hh_DD: np.ndarray
    hz_DK: np.ndarray
    zz_K: np.ndarray


class Moments:
    """Accumulates h'h, h'z and z^2 per position in float64, from batches in one pass, where the features lie.

    Each position is centred on its mean in the first batch before anything is summed, so a large common
    offset costs no digits; the exact means are put right when pooling.
    """

    def __init__(self) -> None:
        """Empty; the first `add` fixes T, D and K."""
        self.count = 0
        self._origin_h: Tensor | None = None

    def add(self, h_BTD: Tensor, z_BTK: Tensor) -> None:
        """Add a batch of features and targets, each of any float type; B may vary between batches."""
        # Positions lead, so that each of them is one matrix product over the batch.
        features, targets = h_BTD.shape[2], z_BTK.shape[2]
        double = {"dtype": torch.float64, "device": h_BTD.device}
        joint = torch.empty(*h_BTD.shape[1::-1], features + targets, **double)
        h, z = joint.split([features, targets], dim=2)
        h.copy_(h_BTD.transpose(0, 1))
        z.copy_(z_BTK.transpose(0, 1))
        if self._origin_h is None:
            length = len(joint)
            self._origin_h, self._origin_z = h.mean(1, keepdim=True), z.mean(1, keepdim=True)
            self._sum_h = torch.zeros(length, features, **double)
            self._sum_z = torch.zeros(length, targets, **double)
            self._products = torch.zeros(length, features, features + targets, **double)
            self._squares = torch.zeros(length, targets, **double)
        h -= self._origin_h
        z -= self._origin_z
        self._products.baddbmm_(h.transpose(1, 2), joint)
        self._sum_h += h.sum(1)
        self._sum_z += z.sum(1)
        self._squares += z.square().sum(1)
        self.count += h.shape[1]

    def pooled(self, first: int = 0, targets: Sequence[int] | slice = slice(None)) -> Pooled:
        """Moments over all samples at positions n >= first, for a choice of targets; needs an `add`."""
        assert self._origin_h is not None, "Moments.pooled before Moments.add"
        sums = (self._origin_h, self._origin_z, self._sum_h, self._sum_z, self._products, self._squares)
        origin_h, origin_z, sum_h, sum_z, all_products, squares = (each.cpu().numpy()[first:] for each in sums)
        shift_h, shift_z = sum_h / self.count, sum_z[:, targets] / self.count
        mean_h, mean_z = origin_h[:, 0] + shift_h, origin_z[:, 0, targets] + shift_z
        products = all_products.sum(0)
        features = mean_h.shape[1]
        # Within each position (corrected from the origin to the mean), then between positions.
        grand_h, grand_z = mean_h.mean(0), mean_z.mean(0)
        between_h, between_z = mean_h - grand_h, mean_z - grand_z
        n = self.count
        return Pooled(
            n=n * len(mean_h),
            mean_D=grand_h,
            mean_K=grand_z,
            hh_DD=products[:, :features] + n * (between_h.T @ between_h - shift_h.T @ shift_h),
            hz_DK=products[:, features:][:, targets] + n * (between_h.T @ between_z - shift_h.T @ shift_z),
            zz_K=squares[:, targets].sum(0) + n * ((between_z**2).sum(0) - (shift_z**2).sum(0)),
        )


@dataclass(frozen=True)
class Readout:
    """A linear map h -> h @ weight_DK + constant_K."""

    weight_DK: np.ndarray
    constant_K: np.ndarray


def fit_ridge(moments: Pooled, ridge: float) -> Readout:
    """Minimise sum (z - w.h - c)^2 + ridge |w|^2 with the constant c unpenalised.

    This is scikit-learn's `Ridge(alpha=ridge)`; `ridge` adds to sums over samples, not to means, as the
    authors' 1e-4 does.
    """
    gram = moments.hh_DD + ridge * np.eye(len(moments.hh_DD))
    weight = cho_solve(cho_factor(gram, lower=True), moments.hz_DK)
    return Readout(weight, moments.mean_K - moments.mean_D @ weight)


def heldout_r2(readout: Readout, other: Pooled, noise_variance: float = 0.0) -> np.ndarray:
    """1 - SSE/SST per target of a readout on other samples, SST about those samples' own mean; float64 [K].

    `noise_variance` is that of independent noise on every feature, whose expected error is added. At most 1, and
    negative where the readout is worse than a constant; NaN for a target without variance.
    """
    weight = readout.weight_DK
    bias = other.mean_K - other.mean_D @ weight - readout.constant_K
    error = (
        other.zz_K
        - 2 * (weight * other.hz_DK).sum(0)
        + (weight * (other.hh_DD @ weight)).sum(0)
        + other.n * (bias**2 + noise_variance * (weight**2).sum(0))
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(other.zz_K > 0, 1 - error / other.zz_K, np.nan)


def noise_variance(moments: Pooled, noise: float) -> float:
    """Variance of read-out noise whose standard deviation is `noise` times the features' rms deviation."""
    return float(noise**2 * np.trace(moments.hh_DD) / moments.n / len(moments.mean_D))


def noisy_r2(moments: Pooled, other: Pooled, noise: float) -> np.ndarray:
    """Held-out R^2 of the best linear readout when every feature carries independent noise, float64 [K].

    Fitting through noise is ridge regression with its variance per sample; its error is added to the score's.
    """
    variance = noise_variance(moments, noise)
    return heldout_r2(fit_ridge(moments, variance * moments.n), other, variance)


def insample_r2(moments: Pooled, ridge: float) -> np.ndarray:
    """The paper's probe score (App. D.1; the authors' `get_r2`), float64 [K]; NaN for a target of zeros.

    R^2_i = diag(Z'H (H'H + ridge I)^-1 H'Z)_i / diag(Z'Z)_i with a constant 1 appended to the features H: in
    sample, uncentred, the constant penalised like any other feature. Even noise scores about (D + 1)/n.
    """
    n, mean_h, mean_z = moments.n, moments.mean_D, moments.mean_K
    gram = np.empty((len(mean_h) + 1,) * 2)
    gram[:-1, :-1] = moments.hh_DD + n * np.outer(mean_h, mean_h)
    gram[-1, :-1] = gram[:-1, -1] = n * mean_h
    gram[-1, -1] = n
    gram[np.diag_indices_from(gram)] += ridge
    cross = np.vstack([moments.hz_DK + n * np.outer(mean_h, mean_z), n * mean_z])
    total = moments.zz_K + n * mean_z**2
    explained = (cross * cho_solve(cho_factor(gram, lower=True), cross)).sum(0)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(total > 0, explained / total, np.nan)
