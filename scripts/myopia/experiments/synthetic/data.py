"""The synthetic task D_p as a counter-based stream: any sample can be recomputed from its index alone.

Paper section 4.1, Definition 5: x_n ~ N(0, 1) and z_n ~ Bernoulli(p), all independent, and

    y_n = z_n * sum_{i=1..a} sin(b x_{n-i}) + (1 - z_n) * x_n

with terms before the start of the sequence equal to 0 (unstated in the paper; the authors' code fills
with zeros). `shift=0` moves the window to i = 0..a-1, so that it includes the present: the control.

Shape suffixes: B sequences, T positions (0-based here, n = 0..T-1).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from scipy.special import ndtri

from myopia.common.errors import MyopiaError
from myopia.data.random import WORDS_PER_COUNTER, uniforms


@dataclass(frozen=True)
class DpTask:
    """Parameters of D^T_{p,a,b}.

    p: chance that a position asks for the window's sum (z = 1); a: window length in positions;
    b: angular frequency in radians per unit of x; T: sequence length in positions;
    shift: 1 if the window excludes the present (the paper's task), 0 if it includes it (control).
    Raises MyopiaError for a value outside these domains.
    """

    p: float
    a: int
    b: float
    T: int
    shift: int = 1

    def __post_init__(self) -> None:
        _require(_is_number(self.p) and 0 <= self.p <= 1, "p", "a number between 0 and 1", self.p)
        _require(_is_whole(self.a) and self.a >= 1, "a", "a whole number of at least 1", self.a)
        _require(_is_number(self.b), "b", "a finite number", self.b)
        _require(_is_whole(self.T) and self.T >= 2, "T", "a whole number of at least 2", self.T)
        _require(_is_whole(self.shift) and self.shift in (0, 1), "shift", "0 or 1", self.shift)

    @classmethod
    def from_spec(cls, spec: Mapping[str, Any]) -> DpTask:
        """Build from a run spec's `data` mapping; MyopiaError names an unknown or missing key."""
        known = [field.name for field in fields(cls)]
        for key in spec:
            if key not in known:
                raise MyopiaError(f"Unknown key data.{key}: the synthetic task has {', '.join(known)}.")
        for key in known[:-1]:
            if key not in spec:
                raise MyopiaError(f"The synthetic task lacks the key data.{key}.")
        return cls(**spec)

    def sample(self, seed: int, first: int, count: int, stream: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """`sample` of this task."""
        return sample(self, seed, first, count, stream)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _require(holds: bool, key: str, domain: str, value: Any) -> None:
    if not holds:
        raise MyopiaError(f"data.{key} must be {domain}, but it is {value!r}.")


def sample(
    task: DpTask, seed: int, first: int, count: int, stream: str = "train"
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sequences first..first+count-1 of the endless stream (seed, stream).

    Returns (x_BT, z_BT, y_BT), float32 [count, T]. Pure function of (task, seed, stream, index): a slice
    of a larger request is bitwise the same as asking for the slice, so nothing needs storing. x does not
    depend on p, a, b or shift, and z grows with p only by more ones: tasks that share T are paired.
    Raises MyopiaError when `first` or `count` is negative.
    """
    if first < 0 or count < 0:
        raise MyopiaError(f"Sample indices must not be negative, but first is {first} and count {count}.")
    # Whole counter steps per sequence keep every sequence addressable, at a cost of at most two spare words.
    counters = -(-2 * task.T // WORDS_PER_COUNTER)
    words = uniforms(seed, stream, first * counters, count * counters * WORDS_PER_COUNTER)
    words = words.reshape(count, counters * WORDS_PER_COUNTER)
    x_BT = ndtri(words[:, : task.T]).astype(np.float32)
    one_BT = words[:, task.T : 2 * task.T] < task.p
    y_BT = np.where(one_BT, window_sum(task, x_BT), x_BT)
    return x_BT, one_BT.astype(np.float32), y_BT.astype(np.float32)


def window_sum(task: DpTask, x_BT: np.ndarray) -> np.ndarray:
    """sum_i sin(b x_{n-i}) over the task's window, float64 [B, T]; missing terms are 0.

    Computed from the float32 x that the model is shown, not from the normal before rounding.
    """
    sin_BT = np.sin(task.b * x_BT.astype(np.float64))
    total_BT = np.zeros_like(sin_BT)
    # A sum of a shifted copies, not a difference of cumulative sums, which would cancel.
    for lag in range(task.shift, min(task.shift + task.a, task.T)):
        total_BT[:, lag:] += sin_BT[:, : task.T - lag]
    return total_BT


def predict_zero(task: DpTask, x_BT: np.ndarray, z_BT: np.ndarray) -> np.ndarray:
    """The predictor that always says 0, float64 [B, T]."""
    return np.zeros(x_BT.shape)


def predict_trivial(task: DpTask, x_BT: np.ndarray, z_BT: np.ndarray) -> np.ndarray:
    """The predictor that copies x where z = 0 and says 0 elsewhere, float64 [B, T]."""
    return np.where(z_BT == 0, x_BT, 0.0).astype(np.float64)


def predict_present(task: DpTask, x_BT: np.ndarray, z_BT: np.ndarray) -> np.ndarray:
    """The predictor that knows only the terms of y_n that hold x_n, float64 [B, T].

    With shift=0 (control of protocol section 4b) it says sin(b x_n) where z = 1. With shift=1 the window
    holds no present term, and this is the trivial predictor.
    """
    if task.shift == 1:
        return predict_trivial(task, x_BT, z_BT)
    x = x_BT.astype(np.float64)
    return np.where(z_BT == 0, x, np.sin(task.b * x))


def huber(prediction: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Elementwise Huber loss with delta = 1 (the authors' `nn.HuberLoss()`), float64, shape of the inputs."""
    error = np.abs(prediction.astype(np.float64) - target.astype(np.float64))
    return np.where(error <= 1.0, 0.5 * error * error, error - 0.5)
