"""Linear probes of past values in hidden states (paper Figs 2 and 6, App. D.1), held out and in sample.

For every hidden state and lookback i = 0..L, ridge regressions of sin(b x_{n-i}) and of x_{n-i} on h_n, all
positions pooled. Three scores:

* `noisy` (judged; protocol amendment 1): as `heldout`, but read through noise on every coordinate, NOISE times
  the hidden state's rms deviation. Without it a probe amplifies kinks of arbitrarily small size, and an
  *untrained* network of width 64 already yields sin(b x_n) with R^2 = .8: linear decodability alone shows no
  learning. A later layer reads through finite weights, so what it can use has to stand out.

* `heldout` (ours): fitted with a free constant on one set of sequences and scored as a centred R^2 on others,
  both on positions n >= i only. Where n < i there is no x_{n-i}; the authors' zero fill would add positions
  where a probe is right for knowing where it stands (the position embedding), not what came before.
* `insample` (the paper's): one regression over all positions with zero fill, in sample, uncentred.

Everything comes from sums gathered in one pass over each set of sequences (`moments.Moments`).
Shape suffixes: B sequences, T positions, D hidden width, K = 2 (L + 1) targets: all sines, then all x.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from myopia.experiments.synthetic.data import DpTask
from myopia.experiments.synthetic.moments import (
    Moments,
    Readout,
    fit_ridge,
    heldout_r2,
    insample_r2,
    noise_variance,
    noisy_r2,
)
from myopia.experiments.synthetic.network import Regressor, hidden_states

FEATURES = ("sin", "x")
NOISE = 0.1
"""Read-out noise of the judged probes, as a share of the hidden state's rms deviation (chosen on tuning seeds)."""

FIT_STREAM, HELDOUT_STREAM = "probe-fit", "probe-heldout"


def lookback_targets(x_BT: np.ndarray, b: float, max_lookback: int) -> Tensor:
    """sin(b x_{n-i}) for i = 0..L, then x_{n-i} for i = 0..L; zero where n < i; float64 [B, T, 2 (L + 1)]."""
    x = x_BT.astype(np.float64)
    lags = max_lookback + 1
    targets = np.zeros((*x.shape, 2 * lags))
    for feature, values in enumerate((np.sin(b * x), x)):
        for lag in range(lags):
            targets[:, lag:, feature * lags + lag] = values[:, : x.shape[1] - lag]
    return torch.from_numpy(targets)


@dataclass(frozen=True)
class Scores:
    """R^2 of one hidden state's probes, float64 [2 features (sin, x), lookbacks]."""

    heldout: np.ndarray
    insample: np.ndarray
    noisy: np.ndarray


class ProbeMoments:
    """Moments of every hidden state with every target, and with targets of other sequences (the control).

    The control pairs sequence j's states with sequence j-1's targets (cyclically inside a batch) at the same
    positions: a permutation across sequences that keeps everything a position alone can tell. It needs
    batches of at least two sequences.
    """

    def __init__(self, b: float, max_lookback: int, shuffled: bool) -> None:
        """`b` as in the task, lookbacks 0..max_lookback; `shuffled` adds the control's targets."""
        self.b = b
        self.max_lookback = max_lookback
        self.shuffled = shuffled
        self.layers: list[Moments] = []

    def add(self, x_BT: np.ndarray, states: list[Tensor]) -> None:
        """Add a batch's inputs and its hidden states [h_BTD] * (layers + 1)."""
        targets = lookback_targets(x_BT, self.b, self.max_lookback)
        if self.shuffled:
            targets = torch.cat([targets, targets.roll(1, dims=0)], dim=2)
        if not self.layers:
            self.layers = [Moments() for _ in states]
        for moments, state in zip(self.layers, states, strict=True):
            moments.add(state, targets)

    def columns(self, lookback: int, shuffled: bool = False) -> list[int]:
        """Where the two features at a lookback (or their shuffled controls) stand among the targets."""
        lags = self.max_lookback + 1
        first = 2 * lags if shuffled else 0
        return [first + lookback, first + lags + lookback]


def gather(
    model: Regressor,
    task: DpTask,
    stream: str,
    *,
    data_seed: int,
    count: int,
    batch: int,
    max_lookback: int,
    shuffled: bool,
    device: str = "cpu",
) -> ProbeMoments:
    """Moments of a network's hidden states over sequences 0..count-1 of a stream, in one pass."""
    moments = ProbeMoments(task.b, max_lookback, shuffled)
    for x_BT, _, states in hidden_states(model, task, stream, data_seed, count, batch, device):
        moments.add(x_BT, states)
    return moments


def score(fit: ProbeMoments, heldout: ProbeMoments, layer: int, ridge: float, shuffled: bool = False) -> Scores:
    """Probe scores of one hidden state at every lookback: fitted on `fit`, `heldout` scored on the other."""
    lags = fit.max_lookback + 1
    result = Scores(*np.empty((3, 2, lags)))
    for lookback in range(lags):
        columns = fit.columns(lookback, shuffled)
        moments, other = fit.layers[layer].pooled(lookback, columns), heldout.layers[layer].pooled(lookback, columns)
        result.heldout[:, lookback] = heldout_r2(fit_ridge(moments, ridge), other)
        result.noisy[:, lookback] = noisy_r2(moments, other, NOISE)
    first = fit.columns(0, shuffled)[0]
    everywhere = fit.layers[layer].pooled(0, slice(first, first + 2 * lags))
    result.insample[:] = insample_r2(everywhere, ridge).reshape(2, lags)
    return result


def sine_probe(fit: ProbeMoments, layer: int, noise: float = NOISE) -> Readout:
    """The judged probe (through noise) of sin(b x_n) at lookback 0, all positions; `weight_DK` has one column."""
    moments = fit.layers[layer].pooled(0, [0])
    return fit_ridge(moments, noise_variance(moments, noise) * moments.n)


def readout_sd(readout: Readout, moments: Moments) -> float:
    """Standard deviation of a one-column read-out over the samples in `moments`."""
    pooled = moments.pooled(0, [0])
    weight = readout.weight_DK[:, 0]
    return float(np.sqrt(weight @ pooled.hh_DD @ weight / pooled.n))


def readout_pattern(readout: Readout, moments: Moments) -> np.ndarray:
    """S w / (w'S w), float64 [D]: the hidden state's mean move when a one-column read-out rises by 1."""
    weight = readout.weight_DK[:, 0]
    moved = moments.pooled(0, [0]).hh_DD @ weight
    return moved / (weight @ moved)


class SineEstimate:
    """A probe's estimate of sin(b x_n) against x_n in equal-width bins (paper Fig 6)."""

    def __init__(self, readout: Readout, b: float, limit: float, bins: int) -> None:
        """Bins of equal width cover -limit <= x < limit; samples beyond are left out."""
        self.readout, self.b, self.limit, self.bins = readout, b, limit, bins
        self._sums = np.zeros((4, bins))

    def add(self, x_BT: np.ndarray, h_BTD: Tensor) -> None:
        """Add a batch of inputs and the probed hidden state."""
        x = x_BT.astype(np.float64).ravel()
        h = h_BTD.reshape(len(x), -1).double().cpu().numpy()
        estimate = h @ self.readout.weight_DK[:, 0] + self.readout.constant_K[0]
        index = np.floor((x + self.limit) * (self.bins / (2 * self.limit))).astype(int)
        inside = (index >= 0) & (index < self.bins)
        values = (np.ones_like(x), estimate, estimate**2, np.sin(self.b * x))
        for total, value in zip(self._sums, values, strict=True):
            total += np.bincount(index[inside], weights=value[inside], minlength=self.bins)

    def table(self) -> dict[str, np.ndarray]:
        """Columns x (bin centre), n, estimate_mean, estimate_sd, truth (mean sine of the bin's own samples).

        Bins without samples are left out. The sd is over samples, not an error of the mean.
        """
        width = 2 * self.limit / self.bins
        centre = -self.limit + width * (np.arange(self.bins) + 0.5)
        seen = self._sums[0] > 0
        n, total, squares, truth = self._sums[:, seen]
        mean = total / n
        return {
            "x": centre[seen],
            "n": n.astype(int),
            "estimate_mean": mean,
            "estimate_sd": np.sqrt(np.maximum(squares / n - mean**2, 0)),
            "truth": truth / n,
        }
