"""Held-out Huber loss of trained networks on D_p, beside the predictors that plan nothing (paper Table 1)."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch

from myopia.common.errors import MyopiaError
from myopia.experiments.synthetic import LOSS
from myopia.experiments.synthetic.data import DpTask, huber, predict_present, predict_trivial, predict_zero, sample
from myopia.experiments.synthetic.network import Regressor, SyntheticRun, inputs
from myopia.experiments.synthetic.settings import BLOCK

log = logging.getLogger(__name__)

TEST_SEED, TEST_STREAM = 0, "test"  # all runs are measured on the same sequences


def measure(runs: Sequence[dict[str, Any]], options: dict[str, Any], device: str) -> dict[str, pd.DataFrame]:
    """The loss table of these runs; runs, options: as `settings.units` and `settings.evaluating` give them."""
    opened = [SyntheticRun.of(run) for run in runs]
    return {LOSS.name: evaluate_runs(opened, options["test_sequences"], device=device)}


def evaluate_runs(
    runs: Iterable[SyntheticRun], n_sequences: int, block: int = BLOCK, device: str = "cpu"
) -> pd.DataFrame:
    """One row per run and block of held-out sequences, the columns of `LOSS`.

    Block k holds sequences k*block..(k+1)*block-1 of the test stream, the same for every run whose task is
    the same: arms and seeds are paired, and a block is the unit to resample. Losses are means over the
    block's tokens in float64 (`_z1`: over those with z = 1, empty where there are none).
    Raises MyopiaError when a network's output is not finite, or n_sequences is no multiple of block.
    """
    if n_sequences % block:
        raise MyopiaError(f"{n_sequences} test sequences are no multiple of a block of {block}.")
    by_task: dict[DpTask, list[SyntheticRun]] = {}
    for run in runs:
        by_task.setdefault(run.task, []).append(run)
    rows: list[dict[str, Any]] = []
    for task, members in by_task.items():
        loaded = [(run, run.trained(device)) for run in members]
        for index in range(n_sequences // block):
            rows += _block_rows(task, loaded, index, block, device)
        for run in members:
            losses = [row["loss"] for row in rows if row["run"] == run.run and row["seed"] == run.seed]
            log.info("[%s] held-out loss %.4f on %d sequences", run.label(), np.mean(losses), n_sequences)
    return pd.DataFrame(rows, columns=LOSS.columns).sort_values(["run", "seed", "block"], kind="stable")


@torch.inference_mode()
def _block_rows(
    task: DpTask, loaded: list[tuple[SyntheticRun, Regressor]], index: int, block: int, device: str
) -> list[dict[str, Any]]:
    x_BT, z_BT, y_BT = sample(task, TEST_SEED, index * block, block, TEST_STREAM)
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
    batch = inputs(x_BT, z_BT, device)
    rows = []
    for run, model in loaded:
        loss = huber(model(batch).cpu().numpy(), y_BT)
        if not np.isfinite(loss).all():
            raise MyopiaError(f"The network of {run.label()} in {run.folder} gives outputs that are not finite.")
        identity = {"run": run.run, "arm": run.arm, "seed": run.seed}
        rows.append({**identity, **shared, "loss": loss.mean(), "loss_z1": _mean(loss[asked])})
    return rows


def _mean(values: np.ndarray) -> float:
    """Mean, or NaN without numpy's warning where there is nothing to average."""
    return float(values.mean()) if values.size else float("nan")
