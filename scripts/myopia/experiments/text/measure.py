"""Text: held-out loss by document and position, learning curves, and pictures of influence."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from myopia.config.tables import TEXT_COMPONENTS, TEXT_CURVE, TEXT_LOSS
from myopia.data.tokens import TokenFile
from myopia.experiments.text import INFLUENCE
from myopia.measure.text import TextRun, text_components, text_curve, text_loss
from myopia.model.attach import to_myopic, to_vanilla
from myopia.model.build import load_language_model
from myopia.model.influence import influence


def measure(runs: list[dict[str, Any]], options: dict[str, Any], device: str) -> dict[str, pd.DataFrame]:
    """All tables of these runs; `runs` and `options` as `settings.units` and `settings.measuring` give them."""
    of: dict[str, list[TextRun]] = {"loss": [], "components": [], "curve": [], "influence": []}
    for entry in runs:
        for table in entry["tables"]:
            of[table].append(_opened(entry))
    return {
        TEXT_LOSS.name: text_loss(of["loss"], options["max_windows"], device),
        TEXT_COMPONENTS.name: text_components(of["components"]),
        TEXT_CURVE.name: text_curve(of["curve"]),
        INFLUENCE.name: influence_pictures(of["influence"], options["influence_tokens"], device),
    }


def _opened(entry: dict[str, Any]) -> TextRun:
    teacher = entry["teacher"]
    return TextRun(
        entry["run"], entry["arm"], entry["seed"], entry["corpus"], Path(entry["folder"]), Path(entry["tokens"]),
        Path(teacher) if teacher else None,
    )  # fmt: skip


def influence_pictures(runs: Sequence[TextRun], length: int, device: str = "cpu") -> pd.DataFrame:
    """Influence matrices of trained models on the start of the first test window, a row per entry (`INFLUENCE`).

    Each model is drawn with the gradients its training saw: the vanilla model as it is, the myopic one attached.
    The vanilla model is drawn attached too (arm `vanilla, cut`): same weights, what the cut alone removes.
    """
    from transformers import AutoTokenizer

    frames = []
    for run in runs:
        file = TokenFile.open(run.tokens, "test")
        ids_T = torch.from_numpy(np.asarray(file.tokens[0][:length]).astype(np.int64))
        tokenizer = AutoTokenizer.from_pretrained(run.folder)
        words = [tokenizer.decode([int(i)]) for i in ids_T]
        model = load_language_model(run.folder).to(device)
        pictures = {run.arm: run.arm != "vanilla"}
        if run.arm == "vanilla":
            pictures["vanilla, cut"] = True
        for arm, cut in pictures.items():
            matrix_TT = influence(to_myopic(model) if cut else to_vanilla(model), ids_T.to(device)).cpu().numpy()
            t, s = np.meshgrid(np.arange(len(ids_T)), np.arange(len(ids_T)), indexing="ij")
            frames.append(
                pd.DataFrame(
                    {
                        "model": run.run, "arm": arm, "seed": run.seed, "t": t.ravel(), "s": s.ravel(),
                        "influence": matrix_TT.ravel(), "token": [words[i] for i in s.ravel()],
                    },
                    columns=INFLUENCE.columns,
                )
            )  # fmt: skip
    if not frames:
        return pd.DataFrame(columns=INFLUENCE.columns)
    return pd.concat(frames).dropna(subset="influence")
