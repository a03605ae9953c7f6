"""Held-out loss of the second reading, in nats per token, by block of sequences."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from myopia.experiments._template import LOSS
from myopia.experiments._template.data import Copying
from myopia.measure.text import position_losses
from myopia.model.build import load_language_model

BLOCK = 64
"""Sequences to a block, the held-out unit that is resampled."""


def measure(runs: list[dict[str, Any]], options: dict[str, Any], device: str) -> dict[str, pd.DataFrame]:
    """All tables of these runs; `runs` as `settings.units` gives them."""
    frames = []
    for run in runs:
        stream = Copying.from_spec({key: value for key, value in run["data"].items() if key != "kind"})
        ids_NT, predicted_NT = stream.sample(0, 0, options["test_sequences"], "test")
        loss_NP = position_losses(load_language_model(Path(run["folder"])).to(device), ids_NT)
        loss_N = np.where(predicted_NT[:, 1:], loss_NP, 0.0).sum(1) / predicted_NT.sum(1)
        rows = pd.DataFrame({"block": np.arange(len(loss_N)) // BLOCK, "n": 1, "loss": loss_N})
        sums = rows.groupby("block", as_index=False).sum().assign(loss=lambda f: f["loss"] / f["n"])
        frames.append(sums.assign(run=run["run"], arm=run["arm"], seed=run["seed"]))
    return {LOSS.name: pd.concat(frames)[[*LOSS.columns]]}
