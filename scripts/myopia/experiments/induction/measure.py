"""Induction: loss on the repeat, what each attention head looks at, and what the loss is without it.

Scores of a head are mean attention weights on repeated random sequences (Olsson et al. 2022, "In-context Learning and
Induction Heads"): *previous*, on the token just before; *match*, on all tokens that stand right after an earlier
occurrence of the present token (their prefix-matching score: what an induction head looks at); *duplicate*, on earlier
occurrences of the present token itself. The first needs another position to be of use, the last does not.

Shape suffixes: N sequences, T positions, H heads, D their width, L layers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from myopia.common.errors import MyopiaError
from myopia.experiments.induction import CURVE, HEADS, LOSS
from myopia.experiments.induction.data import Induction, bag_nats
from myopia.experiments.induction.settings import BLOCK
from myopia.measure.text import position_losses
from myopia.model.build import load_language_model

TEST_SEED, TEST_STREAM = 0, "test"  # all runs are measured on the same sequences
SINCE = {"first": (-1, -1), "0": (0, 0), "1": (1, 1), "2-3": (2, 3), "4-7": (4, 7), "8 on": (8, 10**6)}
"""Groups of predicted tokens by their place in the present reading; `first`: before the first repeat."""


@dataclass(frozen=True)
class InductionRun:
    """One trained network: the steps it was kept at besides the last, and its stream."""

    run: str
    arm: str
    seed: int
    folder: Path
    data: Mapping[str, Any]
    steps: int
    snapshots: Sequence[int]

    @property
    def stream(self) -> Induction:
        return Induction.from_spec({key: value for key, value in self.data.items() if key != "kind"})


def measure(runs: list[dict[str, Any]], options: dict[str, Any], device: str) -> dict[str, pd.DataFrame]:
    """All tables of these runs; head scores are taken on the CPU, where weights of attention are exact.

    runs, options: as `settings.units` and `settings.measuring` give them.
    """
    opened = [InductionRun(**{**run, "folder": Path(run["folder"])}) for run in runs]
    return {
        LOSS.name: repeat_losses(opened, options["test_sequences"]),
        HEADS.name: head_scores(opened, options["head_sequences"]),
        CURVE.name: curves(opened),
    }


def repeat_losses(runs: Sequence[InductionRun], sequences: int) -> pd.DataFrame:
    """One row per run, block of test sequences, period and group of places: mean nats of n predictions.

    `loss_bag`: of a reader who knows which tokens the sequence repeats but not their order (its period known).
    """
    frames = []
    for run in runs:
        ids_NT, period_N, since_NT = run.stream.draw(TEST_SEED, 0, sequences, TEST_STREAM)
        loss_NP = position_losses(load_language_model(run.folder), ids_NT)  # place p predicts token p + 1
        since_NP = since_NT[:, 1:]
        for name, (low, high) in SINCE.items():
            inside = (since_NP >= low) & (since_NP <= high)
            rows = pd.DataFrame({"block": np.arange(sequences) // BLOCK, "period": period_N, "n": inside.sum(1),
                                 "total": np.where(inside, loss_NP, 0.0).sum(1)})  # fmt: skip
            sums = rows.groupby(["block", "period"], as_index=False).sum()
            sums = sums[sums["n"] > 0]
            fields = {"run": run.run, "arm": run.arm, "seed": run.seed, "since": name,
                    "loss": sums["total"] / sums["n"], "loss_bag": bag_nats(sums["period"])}  # fmt: skip
            frames.append(sums.assign(**fields))
    return pd.concat(frames)[[*LOSS.columns]].sort_values([*LOSS.columns[:6]], kind="stable")


def head_scores(runs: Sequence[InductionRun], sequences: int) -> pd.DataFrame:
    """One row per run, step and head: its three scores and, at the last step, the damage done by taking it away.

    damage: nats per predictable token that are lost when the head's output is replaced, at every position,
    by its mean over the sequences.
    """
    rows = []
    for run in runs:
        ids_NT, predicted_NT = run.stream.sample(TEST_SEED, 0, sequences, TEST_STREAM)
        damage_LH = _damage(load_language_model(run.folder), ids_NT, predicted_NT[:, 1:])
        for step in sorted({*run.snapshots, run.steps}):
            scores = attention_scores(_model_at(run, step), ids_NT)
            for layer, head in np.ndindex(damage_LH.shape):
                fields = {
                    "run": run.run,
                    "arm": run.arm,
                    "seed": run.seed,
                    "step": step,
                    "layer": layer + 1,
                    "head": head,
                }
                numbers = {name: values_LH[layer, head] for name, values_LH in scores.items()}
                damage = damage_LH[layer, head] if step == run.steps else np.nan
                rows.append(fields | numbers | {"damage": damage})
    return pd.DataFrame(rows, columns=HEADS.columns).sort_values([*HEADS.columns[:6]], kind="stable")


def curves(runs: Sequence[InductionRun]) -> pd.DataFrame:
    """Validation loss (of the tokens a reader can know) against training step, from each run's own curve."""
    frames = [
        pd.read_csv(run.folder / "curve.csv").assign(run=run.run, arm=run.arm, seed=run.seed)[[*CURVE.columns]]
        for run in runs
    ]
    return pd.concat(frames).sort_values([*CURVE.columns[:4]], kind="stable")


@torch.no_grad()
def attention_scores(model: nn.Module, ids_NT: np.ndarray) -> dict[str, np.ndarray]:
    """previous, match and duplicate of every head, each [L, H]; the model must run eager attention.

    previous is averaged over all positions but the first, the others over positions whose token stood earlier.
    """
    ids = torch.from_numpy(ids_NT)
    same_NTT = ids[:, :, None] == ids[:, None, :]
    earlier_TT = torch.ones(ids.shape[1], ids.shape[1], dtype=torch.bool).tril(-1)
    copies_NTT = same_NTT & earlier_TT
    after_NTT = torch.zeros_like(copies_NTT)
    after_NTT[:, :, 1:] = copies_NTT[:, :, :-1]  # key s stands right after an earlier occurrence, at s - 1
    seen_NT = copies_NTT.any(-1)
    found: dict[str, list[np.ndarray]] = {"previous": [], "match": [], "duplicate": []}
    for a_NHTT in model(input_ids=ids, use_cache=False, output_attentions=True).attentions:
        previous_NHT = a_NHTT.diagonal(offset=-1, dim1=-2, dim2=-1)
        found["previous"].append(previous_NHT.mean((0, 2)).double().numpy())
        for name, mask_NTT in (("match", after_NTT), ("duplicate", copies_NTT)):
            on_NHT = (a_NHTT * mask_NTT[:, None]).sum(-1)
            weight_NHT = seen_NT[:, None].expand_as(on_NHT)
            found[name].append(((on_NHT * weight_NHT).sum((0, 2)) / weight_NHT.sum((0, 2))).double().numpy())
    return {name: np.stack(layers) for name, layers in found.items()}


def _damage(model: nn.Module, ids_NT: np.ndarray, predicted_NP: np.ndarray) -> np.ndarray:
    """Nats lost per predicted token without each head, [L, H]."""

    def loss() -> float:
        return float(position_losses(model, ids_NT)[predicted_NP].mean())

    whole, heads = loss(), model.config.num_attention_heads
    damage_LH = np.zeros((len(model.transformer.h), heads))
    for layer, block in enumerate(model.transformer.h):
        mean_THD = _mean_output(model, block.attn.c_proj, ids_NT, heads)
        for head in range(heads):
            with _without(block.attn.c_proj, head, mean_THD):
                damage_LH[layer, head] = loss() - whole
    return damage_LH


@torch.no_grad()
def _mean_output(model: nn.Module, projection: nn.Module, ids_NT: np.ndarray, heads: int) -> Tensor:
    """Mean over sequences of what the heads hand to a layer's output projection, [T, H, D]."""
    seen: list[Tensor] = []
    handle = projection.register_forward_pre_hook(lambda _, args: seen.append(args[0].mean(0)))
    try:
        model(input_ids=torch.from_numpy(ids_NT), use_cache=False)
    finally:
        handle.remove()
    return seen[0].unflatten(-1, (heads, -1))


@contextmanager
def _without(projection: nn.Module, head: int, mean_THD: Tensor) -> Iterator[None]:
    """While active, one head hands its mean to the layer's output projection instead of its output."""

    def replace(_: nn.Module, args: tuple) -> tuple:
        merged_NTHD = args[0].unflatten(-1, mean_THD.shape[1:]).clone()
        merged_NTHD[:, :, head] = mean_THD[:, head]
        return (merged_NTHD.flatten(-2), *args[1:])

    handle = projection.register_forward_pre_hook(replace)
    try:
        yield
    finally:
        handle.remove()


def _model_at(run: InductionRun, step: int) -> nn.Module:
    """The run's network at a step it was asked to keep, or at its last, with attention that hands out its weights."""
    model = load_language_model(run.folder)
    model.set_attn_implementation("eager")
    if step == run.steps:
        return model
    path = run.folder / "snapshots" / f"step{step}" / "model.safetensors"
    if not path.is_file():
        raise MyopiaError(
            f"{path} is missing, though run {run.run} was asked to keep it; delete {run.folder} and its folder under "
            ".state, and train it again"
        )
    model.load_state_dict(load_file(path))
    return model
