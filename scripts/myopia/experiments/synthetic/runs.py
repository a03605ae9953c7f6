"""What every measurement of the synthetic task shares: the list of runs, their networks, their batches."""

from __future__ import annotations

import json
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

RUN_KEYS = ("run", "arm", "seed", "folder", "data", "model")
MAY_BE_ZERO = ("data_seed", "max_lookback")


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

    def label(self) -> str:
        """How log lines and error messages name the run."""
        return f"{self.run} seed {self.seed}"


def read_spec(path: str, options: Mapping[str, Any]) -> tuple[list[SyntheticRun], dict[str, Any]]:
    """Read `{"runs": [...], **options}` from JSON text or a JSON file; absent options take the given defaults.

    Each run has the keys run, arm, seed, folder, data {p, a, b, T, shift} and model. Raises MyopiaError for
    an unreadable file, an unknown or missing key, an option outside its domain, a repeated run or none.
    """
    text, path = (path, "--spec") if str(path).lstrip().startswith("{") else (None, path)
    try:
        spec = json.loads(Path(path).read_text() if text is None else text)
    except (OSError, ValueError) as error:
        raise MyopiaError(f"Cannot read the measurement spec {path}: {error}.") from error
    if not isinstance(spec, dict):
        raise MyopiaError(f"The measurement spec {path} must be a JSON object.")
    known = ["runs", *options]
    for key in spec:
        if key not in known:
            raise MyopiaError(f"Unknown key {key} in {path}: known are {', '.join(known)}.")
    runs = spec.get("runs")
    if not isinstance(runs, list) or not runs:
        raise MyopiaError(f"The key runs in {path} must be a list with at least one run.")
    chosen = {key: _option(path, key, spec.get(key, default), default) for key, default in options.items()}
    parsed = [_run(path, entry) for entry in runs]
    for index, run in enumerate(parsed):
        if any((run.run, run.seed) == (other.run, other.seed) for other in parsed[:index]):
            raise MyopiaError(f"The run {run.label()} stands twice in {path}.")
    return parsed, chosen


def _option(path: str | Path, key: str, value: Any, default: Any) -> Any:
    """A number above 0 where the default is a float, else a whole number of at least 1 (0 where of use)."""
    if value is None and default is None:
        return None
    least = 0 if key in MAY_BE_ZERO else 1
    if isinstance(default, float):
        fits, domain = isinstance(value, (int, float)) and value > 0, "a number above 0"
    else:
        fits, domain = isinstance(value, int) and value >= least, f"a whole number of at least {least}"
    if isinstance(value, bool) or not fits:
        raise MyopiaError(f"The key {key} in {path} must be {domain}, but it is {value!r}.")
    return value


def _run(path: str | Path, entry: Any) -> SyntheticRun:
    if not isinstance(entry, dict) or set(entry) != set(RUN_KEYS):
        raise MyopiaError(f"Every run in {path} must have exactly the keys {', '.join(RUN_KEYS)}: {entry!r}.")
    return SyntheticRun(
        run=entry["run"],
        arm=entry["arm"],
        seed=entry["seed"],
        folder=Path(entry["folder"]),
        task=DpTask.from_spec(entry["data"]),
        model=entry["model"],
    )


def inputs(x_BT: np.ndarray, z_BT: np.ndarray) -> Tensor:
    """The network's input (x_n, z_n), float32 [B, T, 2]."""
    return torch.from_numpy(np.stack([x_BT, z_BT], axis=-1))


@torch.inference_mode()
def hidden_states(
    model: Regressor, task: DpTask, stream: str, data_seed: int, count: int, batch: int
) -> Iterator[tuple[np.ndarray, np.ndarray, list[Tensor]]]:
    """Yield (x_BT, z_BT, [h_BTD per hidden state]) over sequences 0..count-1 of a stream.

    Hidden state 0 is the embedded input, l > 0 the state after block l, the last one after the final layer
    norm (the paper's and Hugging Face's convention). Raises MyopiaError when a state is not finite.
    """
    for first in range(0, count, batch):
        x_BT, z_BT, _ = sample(task, data_seed, first, min(batch, count - first), stream)
        _, states = model(inputs(x_BT, z_BT), hidden_states=True)
        # A sum is finite only if everything in it is, and costs a fraction of asking each element.
        if not all(math.isfinite(state.sum()) for state in states):
            raise MyopiaError("A network has hidden states that are not finite, so it cannot be probed.")
        yield x_BT, z_BT, states
