"""Stand-in networks with the interface of the regression model, so that the measurements are tested alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from myopia.experiments.synthetic.data import DpTask


class HandMadeNetwork(nn.Module):
    """The paper's Algorithm 1 by hand: block 1 stores sin(b x_n), block 2 sums it over the window.

    The hidden state of width D = 8 holds (x, z, n/T, sin(b x), window sum, 1) rotated by a fixed orthogonal
    matrix, so that no coordinate is a feature by itself. `gain` scales what block 2 reads; `blur` distorts
    the stored sine by a smooth error, while `faint_copy` stores it exactly, but small, where block 2 does not
    look.
    """

    def __init__(self, task: DpTask, gain: float = 1.0, blur: float = 0.0, faint_copy: float = 0.0) -> None:
        super().__init__()
        self.task, self.gain, self.blur, self.faint_copy = task, gain, blur, faint_copy
        generator = torch.Generator().manual_seed(0)
        self.rotation = torch.linalg.qr(torch.randn(8, 8, generator=generator, dtype=torch.float64)).Q

    def forward(self, inputs_BTC: Tensor, hidden_states: bool = False) -> Any:
        x, z = inputs_BTC.double().unbind(-1)
        place = torch.arange(x.shape[1]).expand_as(x) / x.shape[1]
        zero, one = torch.zeros_like(x), torch.ones_like(x)
        sine = torch.sin(self.task.b * x)
        stored = sine + self.blur * torch.cos(3 * self.task.b * x)
        embedded = torch.stack([x, z, place, zero, zero, one, zero, zero], dim=-1) @ self.rotation
        first = torch.stack([x, z, place, stored, zero, one, self.faint_copy * sine, zero], dim=-1) @ self.rotation
        last = self._second_block(first)
        y = self._output(last)
        states = [state.float() for state in (embedded, first, last)]
        return (y.float(), states) if hidden_states else y.float()

    def run_from(self, h_BTD: Tensor, layer: int) -> Tensor:
        assert layer == 1
        return self._output(self._second_block(h_BTD.double())).float()

    def _second_block(self, h_BTD: Tensor) -> Tensor:
        plain = (h_BTD @ self.rotation.T).clone()
        task = self.task
        for lag in range(task.shift, task.shift + task.a):
            plain[:, lag:, 4] += self.gain * plain[:, : plain.shape[1] - lag, 3]
        return plain @ self.rotation

    def _output(self, h_BTD: Tensor) -> Tensor:
        x, z, _, _, total, *_ = (h_BTD @ self.rotation.T).unbind(-1)
        return z * total + (1 - z) * x


@pytest.fixture
def hand_made() -> type[HandMadeNetwork]:
    """The class itself: tests build networks for their own tasks."""
    return HandMadeNetwork


@pytest.fixture
def laptop_task() -> DpTask:
    return DpTask(p=0.3, a=3, b=4.0, T=24)


@pytest.fixture
def noise() -> np.random.Generator:
    return np.random.default_rng(0)
