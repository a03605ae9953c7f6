"""Multiplication measured: exact match over digit counts, and loss and accuracy by answer digit.

A model is plain transformers, in eval mode and fp32 (dropout left on costs the authors' best model .16 of its
accuracy). Answers are greedy. Every answer is computed twice, with a key/value cache token by token and without one in
a single pass over the right answer; as far as the two see the same prefix they must agree, or nothing is written.

Shape suffixes: N problems, T tokens, A answer digits.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from myopia.common.errors import MyopiaError
from myopia.config.runs import ARMS
from myopia.experiments.multiplication import CELLS, DIGITS
from myopia.experiments.multiplication.data import Multiplication, cell_problems, pair_keys, read_symbols, trained_pairs
from myopia.model.build import load_trained

LOG = logging.getLogger(__name__)

BATCH = 1024  # problems per forward pass; no result depends on it beyond rounding
BLOCK = 32  # problems that are counted together: the held-out unit
CHECKED = 64  # problems whose wrong answers are continued without a cache as well
TIE = 1e-3  # two symbols whose logits are closer may be ordered either way by rounding


@dataclass(frozen=True)
class MultiplicationRun:
    """One trained model, the roles its format plays, and how many problems it was trained on."""

    run: str
    arm: str
    seed: int
    folder: Path
    roles: tuple[str, ...]
    data: Mapping[str, Any]
    examples: int


@dataclass(frozen=True)
class Answers:
    """What a model says to N problems."""

    greedy_NA: np.ndarray  # its own answer, token by token, with a cache
    given_NA: np.ndarray  # its likeliest digit after the right ones before
    loss_NA: np.ndarray  # nats, after the right ones before


def measure(runs: list[dict[str, Any]], options: dict[str, Any], device: str) -> dict[str, pd.DataFrame]:
    """Both tables of these runs.

    runs, options: as `settings.units` and `settings.options` give them.
    """
    opened = [MultiplicationRun(**{**run, "folder": Path(run["folder"]), "roles": tuple(run["roles"])}) for run in runs]
    return exact_match(opened, options["problems"], device)


def exact_match(runs: Sequence[MultiplicationRun], count: int, device: str = "cpu") -> dict[str, pd.DataFrame]:
    """`CELLS` and `DIGITS` of every run on `count` problems for each pair of digit counts.

    Raises:
        MyopiaError: a folder's tokenizer is not that of its training, or the two ways of answering disagree.
    """
    known: dict[tuple[int, int, int], np.ndarray] = {}
    found: dict[str, list[pd.DataFrame]] = {table.name: [] for table in (CELLS, DIGITS)}
    for run in runs:
        stream = Multiplication.from_spec({k: v for k, v in run.data.items() if k != "kind"})
        numbers, _ = read_symbols(run.folder)
        if not np.array_equal(numbers, stream.symbol_ids):
            raise MyopiaError(
                f"{run.folder}: its tokenizer numbers the symbols otherwise than training did; train again"
            )
        model = load_trained(run.folder, ARMS[run.arm]).to(device)
        key = (stream.form.digits, run.seed, run.examples)
        if key not in known:
            known[key] = trained_pairs(*key)
        cells, digits = _one_run(run, stream, model, known[key], count)
        for role in run.roles:
            found[CELLS.name].append(cells.assign(role=role))
            found[DIGITS.name].append(digits.assign(role=role))
        right = cells["correct"].sum() / len(cells) / BLOCK
        LOG.info("%s seed %d: %.3f of all answers are right", run.run, run.seed, right)
    return {table.name: _sorted(found[table.name], table.columns) for table in (CELLS, DIGITS)}


def _sorted(frames: list[pd.DataFrame], columns: Sequence[str]) -> pd.DataFrame:
    frame = pd.concat(frames) if frames else pd.DataFrame(columns=columns)
    keys = [c for c in ("role", "run", "seed", "x_digits", "y_digits", "block", "position") if c in columns]
    return frame[[*columns]].sort_values(keys, kind="stable")


def _one_run(
    run: MultiplicationRun, stream: Multiplication, model: nn.Module, trained: np.ndarray, count: int
) -> tuple[pd.DataFrame, pd.DataFrame]:
    form = stream.form
    pairs = [(a, b) for a in range(1, form.digits + 1) for b in range(1, form.digits + 1)]
    operands = [cell_problems(a, b, count) for a, b in pairs]
    x_N, y_N = (np.concatenate(parts) for parts in zip(*operands, strict=True))
    ids_NT = stream.encode(x_N, y_N)
    answers = answer(model, ids_NT, form.prompt, f"{run.run} seed {run.seed}")
    truth_NA = ids_NT[:, form.prompt :]
    new_N = ~np.isin(pair_keys(form.digits, x_N, y_N), trained)
    common = {
        "run": run.run, "arm": run.arm, "seed": run.seed, "digits": form.digits, "pad": form.pad, "T": form.T,
    }  # fmt: skip
    cells, digits = [], []
    for k, (a, b) in enumerate(pairs):
        rows = slice(k * count, (k + 1) * count)
        right_NA = answers.greedy_NA[rows] == truth_NA[rows]
        exact, new = right_NA[:, : a + b].all(1), new_N[rows]
        block = np.arange(count) // BLOCK
        sums = pd.DataFrame({"n": 1, "correct": exact, "n_new": new, "correct_new": exact & new}).groupby(block).sum()
        cells.append(sums.astype(int).rename_axis("block").reset_index().assign(**common, x_digits=a, y_digits=b))
        digits.append(
            pd.DataFrame(
                {
                    **common, "x_digits": a, "y_digits": b, "position": np.arange(form.answer), "n": count,
                    "loss": answers.loss_NA[rows].mean(0),
                    "right_given": (answers.given_NA[rows] == truth_NA[rows]).mean(0),
                    "right_greedy": right_NA.mean(0),
                }
            )
        )  # fmt: skip
    return pd.concat(cells), pd.concat(digits)


def answer(model: nn.Module, ids_NT: np.ndarray, prompt: int, label: str) -> Answers:
    """Answers to N problems whose first `prompt` tokens are the question and whose others are the right answer.

    Raises:
        MyopiaError: answers with and without a cache differ by more than rounding.
    """
    device = next(model.parameters()).device
    parts: list[tuple[Tensor, Tensor, Tensor]] = []
    for first in range(0, len(ids_NT), BATCH):
        ids = torch.from_numpy(ids_NT[first : first + BATCH]).to(device)
        truth_BA = ids[:, prompt:]
        greedy_BA, _ = greedy(model, ids[:, :prompt], truth_BA.shape[1])
        given_BA, loss_BA, margin_BA = given_answer(model, ids, prompt)
        # Up to and with the first digit that is wrong, both ways have seen the same tokens.
        wrong = given_BA != truth_BA
        same_prefix = wrong.cumsum(1) - wrong.int() == 0
        _refuse_disagreement((greedy_BA != given_BA) & same_prefix, margin_BA, label)
        if first == 0:
            some = slice(0, CHECKED)
            plain, margin = greedy(model, ids[some, :prompt], truth_BA.shape[1], use_cache=False)
            differ = plain != greedy_BA[some]
            _refuse_disagreement(differ & (differ.cumsum(1) == 1), margin, label)
        parts.append((greedy_BA, given_BA, loss_BA))
    return Answers(*(torch.cat(column).cpu().numpy() for column in zip(*parts, strict=True)))


def _refuse_disagreement(differ: Tensor, margin: Tensor, label: str) -> None:
    real = differ & (margin > TIE)
    if real.any():
        raise MyopiaError(
            f"{label}: {int(real.any(1).sum())} of {len(real)} answers differ with and without a key/value cache, by "
            f"up to {float(margin[real].max()):.2g} in logits; the model's cache cannot be trusted"
        )


@torch.no_grad()
def greedy(model: nn.Module, prompt_BP: Tensor, length: int, use_cache: bool = True) -> tuple[Tensor, Tensor]:
    """(the likeliest next tokens, one after another [B, length], by how much each led the second [B, length])."""
    ids, fed, past = prompt_BP, prompt_BP, None
    margins = []
    for _ in range(length):
        out = model(input_ids=fed, past_key_values=past, use_cache=use_cache, logits_to_keep=1)
        best, margin = _best(out.logits[:, -1])
        margins.append(margin)
        ids = torch.cat([ids, best[:, None]], 1)
        past, fed = (out.past_key_values, best[:, None]) if use_cache else (None, ids)
    return ids[:, prompt_BP.shape[1] :], torch.stack(margins, 1)


@torch.no_grad()
def given_answer(model: nn.Module, ids_BT: Tensor, prompt: int) -> tuple[Tensor, Tensor, Tensor]:
    """(likeliest digit, nats of the right digit, lead of the likeliest), each [B, A], after the right ones before."""
    predicting = torch.arange(prompt - 1, ids_BT.shape[1] - 1, device=ids_BT.device)
    logits = model(input_ids=ids_BT, use_cache=False, logits_to_keep=predicting).logits.float()
    loss = nn.functional.cross_entropy(logits.transpose(1, 2), ids_BT[:, prompt:], reduction="none")
    best, margin = _best(logits)
    return best, loss.double(), margin


def _best(logits: Tensor) -> tuple[Tensor, Tensor]:
    top = logits.float().topk(2, dim=-1)
    return top.indices[..., 0], top.values[..., 0] - top.values[..., 1]
