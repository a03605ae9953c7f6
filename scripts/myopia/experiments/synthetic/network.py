"""What both measurements of the synthetic task share: a trained run, its network, its batches and hidden states."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from myopia.common.errors import MyopiaError
from myopia.experiments.synthetic.data import DpTask, sample
from myopia.model.regression import RegressionModel, load_regression_model


class Regressor(Protocol):
    """What is measured: `myopia.model.regression.RegressionModel`, or a test's stand-in."""

    def __call__(self, inputs_BTC: Tensor, hidden_states: bool = False) -> Any:
        """y_BT, or (y_BT, [h_BTD] * (layers + 1)); inputs are (x, z) in the last dimension."""
        ...

    def run_from(self, h_BTD: Tensor, layer: int) -> Tensor:
        """The output y_BT if hidden state `layer` were h_BTD."""
        ...


@dataclass(frozen=True)
class SyntheticRun:
    """One trained network: its name, arm, training seed, run folder, task and model spec."""

    run: str
    arm: str
    seed: int
    folder: Path
    task: DpTask
    model: Mapping[str, Any]

    @classmethod
    def of(cls, unit: Mapping[str, Any]) -> SyntheticRun:
        """From a mapping as `settings.units` makes it: run, arm, seed, folder, data {p, a, b, T, shift}, model."""
        named = {name: unit[name] for name in ("run", "arm", "seed", "model")}
        return cls(**named, folder=Path(unit["folder"]), task=DpTask.from_spec(unit["data"]))

    def label(self) -> str:
        """How log lines and error messages name the run."""
        return f"{self.run} seed {self.seed}"

    def trained(self, device: str) -> RegressionModel:
        """The trained network on a device ("cpu" or "cuda"); MyopiaError if its files are missing or broken."""
        return load_regression_model(self.folder).to(device)

    def untrained(self, device: str) -> RegressionModel:
        """The network it began as, the same in every arm."""
        return RegressionModel.from_spec(dict(self.model), self.seed).to(device)


def inputs(x_BT: np.ndarray, z_BT: np.ndarray, device: str = "cpu") -> Tensor:
    """The network's input (x_n, z_n), float32 [B, T, 2]."""
    return torch.from_numpy(np.stack([x_BT, z_BT], axis=-1)).to(device)


@torch.inference_mode()
def hidden_states(
    model: Regressor, task: DpTask, stream: str, data_seed: int, count: int, batch: int, device: str = "cpu"
) -> Iterator[tuple[np.ndarray, np.ndarray, list[Tensor]]]:
    """Yield (x_BT, z_BT, [h_BTD per hidden state]) over sequences 0..count-1 of a stream; states lie on `device`.

    Hidden state 0 is the embedded input, l > 0 the state after block l, the last one after the final layer
    norm (the paper's and Hugging Face's convention). Raises MyopiaError when a state is not finite.
    """
    for first in range(0, count, batch):
        x_BT, z_BT, _ = sample(task, data_seed, first, min(batch, count - first), stream)
        _, states = model(inputs(x_BT, z_BT, device), hidden_states=True)
        # A sum is finite only if everything in it is, and costs a fraction of asking each element.
        if not all(math.isfinite(state.sum()) for state in states):
            raise MyopiaError("A network has hidden states that are not finite, so it cannot be probed.")
        yield x_BT, z_BT, states
