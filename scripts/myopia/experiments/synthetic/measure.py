"""Held-out Huber loss of trained networks on D_p, beside the predictors that plan nothing (paper Table 1)."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
import torch

from myopia.common.errors import MyopiaError
from myopia.experiments.synthetic.data import DpTask, huber, predict_present, predict_trivial, predict_zero, sample
from myopia.experiments.synthetic.runs import Regressor, SyntheticRun, inputs
from myopia.model.regression import load_regression_model

log = logging.getLogger(__name__)

TEST_STREAM = "test"
OPTIONS: dict[str, Any] = {"n_sequences": 4096, "block": 64, "data_seed": 0}
"""Defaults of the measurement spec, sizes in sequences; `data_seed` names the held-out data, not a run."""

COLUMNS = [
    *("run", "arm", "p", "a", "b", "shift", "seed", "block", "n_sequences", "n_tokens", "n_z1"),
    *("loss", "loss_z1", "loss_zero", "loss_zero_z1", "loss_trivial", "loss_trivial_z1", "loss_present"),
]


def evaluate_runs(runs: Iterable[SyntheticRun], *, n_sequences: int, block: int, data_seed: int = 0) -> pd.DataFrame:
    """One row per run and block of held-out sequences, the columns of the design's `synthetic_loss.csv`.

    Block k holds sequences k*block..(k+1)*block-1 of the test stream, the same for every run whose task is
    the same: arms and seeds are paired, and a block is the unit to resample. Losses are means over the
    block's tokens in float64 (`_z1`: over those with z = 1, empty where there are none).
    Raises MyopiaError when n_sequences is no multiple of block, or a network's output is not finite.
    """
    if n_sequences % block:
        raise MyopiaError(f"The key n_sequences ({n_sequences}) must be a multiple of block ({block}).")
    by_task: dict[DpTask, list[SyntheticRun]] = {}
    for run in runs:
        by_task.setdefault(run.task, []).append(run)
    rows: list[dict[str, Any]] = []
    for task, members in by_task.items():
        loaded = [(run, load_regression_model(run.folder)) for run in members]
        for index in range(n_sequences // block):
            rows += _block_rows(task, loaded, index, block, data_seed)
        for run in members:
            losses = [row["loss"] for row in rows if row["run"] == run.run and row["seed"] == run.seed]
            log.info("[%s] held-out loss %.4f on %d sequences", run.label(), np.mean(losses), n_sequences)
    return pd.DataFrame(rows, columns=COLUMNS).sort_values(["run", "seed", "block"], kind="stable")


@torch.inference_mode()
def _block_rows(
    task: DpTask, loaded: list[tuple[SyntheticRun, Regressor]], index: int, block: int, data_seed: int
) -> list[dict[str, Any]]:
    x_BT, z_BT, y_BT = sample(task, data_seed, index * block, block, TEST_STREAM)
    asked = z_BT == 1
    zero, trivial, present = (
        huber(predict(task, x_BT, z_BT), y_BT) for predict in (predict_zero, predict_trivial, predict_present)
    )
    shared = {
        **{key: getattr(task, key) for key in ("p", "a", "b", "shift")},
        "block": index,
        "n_sequences": block,
        "n_tokens": y_BT.size,
        "n_z1": int(asked.sum()),
        "loss_zero": zero.mean(),
        "loss_zero_z1": _mean(zero[asked]),
        "loss_trivial": trivial.mean(),
        "loss_trivial_z1": _mean(trivial[asked]),
        "loss_present": present.mean(),
    }
    batch = inputs(x_BT, z_BT)
    rows = []
    for run, model in loaded:
        loss = huber(model(batch).numpy(), y_BT)
        if not np.isfinite(loss).all():
            raise MyopiaError(f"The network of {run.label()} in {run.folder} gives outputs that are not finite.")
        identity = {"run": run.run, "arm": run.arm, "seed": run.seed}
        rows.append({**identity, **shared, "loss": loss.mean(), "loss_z1": _mean(loss[asked])})
    return rows


def _mean(values: np.ndarray) -> float:
    """Mean, or NaN without numpy's warning where there is nothing to average."""
    return float(values.mean()) if values.size else float("nan")
