"""Where planning pays: loss of a matched vanilla and myopic run on single tokens of held-out text.

A matched pair is a vanilla and a myopic run of one seed. Both are measured on the same windows; a row of the table adds
up the predictions of one document that fall into one group (`features`), so that any gap and its interval can be
recomputed: sum(loss of myopic - loss of vanilla) / sum(weight).

Easiness. A token that a model happens to predict well is, on average, predicted less well by any other model: cutting
the tokens by the loss of the very vanilla model whose gap is measured (`ease-own`) tilts the gap upwards on "easy"
tokens and downwards on "hard" ones, with no planning anywhere (regression to the mean). `ease` asks the vanilla
model of the *next* seed instead, which shares the text but none of the luck. It still favours what vanilla models, as
a kind, are good at; `ease-both` asks both arms of the next seed, and takes no side between the arms either.

Shape suffixes: N windows, T tokens, P = T - 1 predictions, V vocabulary, D documents.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from myopia.common.errors import MyopiaError
from myopia.config.experiment import Table
from myopia.data.tokens import TokenFile
from myopia.experiments.tokens import GAP, INFLUENCE, MAP, PROBES, TOP, features
from myopia.experiments.tokens.features import Grouping
from myopia.experiments.tokens.future_probes import probe_models
from myopia.experiments.tokens.influence import influence_sent
from myopia.experiments.tokens.pairs import MatchedPair, count_tokens, pair_losses, pair_up
from myopia.measure.text import TextRun, spread_windows
from myopia.model.build import load_language_model

CONTEXT = 12
"""Tokens shown before a token in the list of extremes."""

MAP_WINDOWS = 6
"""Windows of a corpus whose every token is kept; evenly spaced among those measured, so nobody chose them."""


def measure(runs: list[dict[str, Any]], options: dict[str, Any], device: str) -> dict[str, pd.DataFrame]:
    """All tables of these runs, corpus by corpus; `runs` and `options` as `settings.units` and `settings.measuring` give."""
    opened = [TextRun(**{**run, "folder": Path(run["folder"]), "tokens": Path(run["tokens"])}) for run in runs]
    found: dict[Table, list[pd.DataFrame]] = {table: [] for table in (GAP, TOP, MAP, INFLUENCE, PROBES)}
    for pairs in pair_up(opened).values():
        by_token = measure_corpus(pairs, options["windows"], options["top_tokens"], device)
        for table, frame in zip((GAP, TOP, MAP), by_token, strict=True):
            found[table].append(frame)
        found[INFLUENCE].append(influence_sent(pairs, options["influence_windows"], device))
        found[PROBES].append(
            probe_models(
                pairs,
                max_tau=options["max_tau"],
                windows=options["probe_windows"],
                named=options["probe_tokens"],
                table_windows=options["table_windows"],
                device=device,
            )
        )
    return {
        table.name: pd.concat(frames) if frames else pd.DataFrame(columns=table.columns)
        for table, frames in found.items()
    }


@dataclass(frozen=True)
class Sample:
    """The test windows of a corpus that are measured, and what is known of their tokens without any model."""

    corpus: str
    window_N: np.ndarray  # rows of the token file
    doc_N: np.ndarray
    group_N: np.ndarray
    tokens_NT: np.ndarray
    groupings: dict[str, Grouping]
    matched: dict[str, tuple[np.ndarray, np.ndarray]]  # treated, weights of each contrast

    @classmethod
    def draw(cls, corpus: str, file: TokenFile, counts_V: np.ndarray, windows: int) -> Sample:
        """At most `windows` windows of a test file; `counts_V` are the occurrences in training."""
        chosen_N = spread_windows(file.docs, windows)
        if not len(chosen_N):
            raise MyopiaError(f"{file.folder}: the test split is empty; take more text or larger test fractions")
        tokens_NT = np.asarray(file.tokens[chosen_N]).astype(np.int64)
        shape = (len(tokens_NT), tokens_NT.shape[1] - 1)
        copied = features.by_copying(tokens_NT)
        groupings = {
            "position": features.by_position(shape),
            "frequency": features.by_frequency(tokens_NT, counts_V),
            "copied": copied,
            "part": features.by_part(file.docs, chosen_N, shape[1]),
        }
        docs, groups = (np.array(names, dtype=object)[chosen_N] for names in (file.docs, file.groups))
        matched = _matched(tokens_NT, counts_V, copied)
        return cls(corpus, chosen_N, docs, groups, tokens_NT, groupings, matched)


def measure_corpus(
    pairs: Sequence[MatchedPair], windows: int, top: int, device: torch.device | str = "cpu"
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Gap table, extreme tokens and planning map of one corpus (`GAP`, `TOP`, `MAP`)."""
    test, train = (TokenFile.open(pairs[0].vanilla.tokens, split) for split in ("test", "train"))
    sample = Sample.draw(pairs[0].corpus, test, count_tokens(train.tokens, train.vocab_size), windows)
    measured = []
    for pair in pairs:
        models = [load_language_model(run.folder).to(device) for run in pair.runs()]
        measured.append(pair_losses(*models, sample.tokens_NT, device))
    losses = [loss_2NP for loss_2NP, _ in measured]
    rows = []
    for k, (pair, (loss_2NP, kl_NP)) in enumerate(zip(pairs, measured, strict=True)):
        rows += _rows(pair, sample, sample.groupings | _easiness(losses, k), loss_2NP, kl_NP)
    gap = pd.concat(rows)[[*GAP.columns]].sort_values(["corpus", "run", "seed", "by", "bin", "doc"], kind="stable")
    return gap, _top_tokens(pairs, sample, measured, top), _planning_map(pairs, sample, losses)


def _easiness(losses: Sequence[np.ndarray], k: int) -> dict[str, Grouping]:
    """Groupings of seed k's predictions by how easy they are; without another seed only the biased one."""
    own, other = losses[k], losses[(k + 1) % len(losses)]
    found = {"ease-own": features.by_quantile(own[0])}
    if len(losses) > 1:
        before = np.full_like(other[0], np.nan)
        before[:, 1:] = other[0][:, :-1]  # the loss at which the current token was predicted
        found |= {
            "ease": features.by_quantile(other[0]),
            "ease-both": features.by_quantile(other.mean(0)),
            "ease-before": features.by_quantile(before),
        }
    return found


def _matched(tokens_NT: np.ndarray, counts_V: np.ndarray, copied: Grouping) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """(treated, weights) of the copying contrasts at equal position and equal frequency of the predicted token."""
    frequency_NP = features.by_frequency(tokens_NT, counts_V, groups=2 * features.QUANTILES).of_NP
    position_NP = np.arange(frequency_NP.shape[1])
    cells_NP = position_NP * (frequency_NP.max() + 1) + frequency_NP
    seen, pair = copied.of_NP >= 1, copied.of_NP == 2
    # Apart from all others, tokens that were never seen say nothing about a pair seen against a token seen.
    among_seen = np.where(seen, cells_NP, -1)
    return {
        "seen - new": (seen, features.matched_contrast(seen, cells_NP)),
        "pair seen - token seen": (pair, features.matched_contrast(pair, among_seen)),
    }


def _rows(
    pair: MatchedPair, sample: Sample, groupings: dict[str, Grouping], loss_2NP: np.ndarray, kl_NP: np.ndarray
) -> list[pd.DataFrame]:
    """Sums over the predictions of a document in a group; in a matched contrast, weighted sums."""
    documents, first, doc_N = np.unique(sample.doc_N, return_index=True, return_inverse=True)
    zeros, ones = np.zeros_like(kl_NP), np.ones_like(kl_NP)
    frames = []
    for run, loss_NP, divergence_NP in zip(pair.runs(), loss_2NP, (zeros, kl_NP), strict=True):
        parts = []
        for by, group in groupings.items():
            values = [ones, group.x_NP, loss_NP, divergence_NP]
            sums = _sums(doc_N, group, (group.of_NP >= 0).astype(float), values)
            parts.append((by, group.labels, sums, sums[0] > 0))
        for label, (treated_NP, weight_NP) in sample.matched.items():
            everything = Grouping.ordinal([label], zeros.astype(int))
            sums = _sums(doc_N, everything, weight_NP, [treated_NP.astype(float), zeros, loss_NP, divergence_NP])
            parts.append(("copied-matched", [label], sums, np.ones(sums.shape[1:], dtype=bool)))
        for by, labels, sums_4DK, kept_DK in parts:
            d, k = np.nonzero(kept_DK)
            weight, x, loss, kl = sums_4DK[:, d, k]
            frames.append(
                pd.DataFrame(
                    {
                        "corpus": pair.corpus, "run": run.run, "arm": run.arm, "seed": pair.seed,
                        "doc": documents[d], "group": sample.group_N[first][d], "by": by,
                        "bin": np.array(labels, dtype=object)[k], "weight": weight, "x": x, "loss": loss, "kl": kl,
                    }
                )
            )  # fmt: skip
    return frames


def _sums(doc_N: np.ndarray, group: Grouping, weight_NP: np.ndarray, values: list[np.ndarray]) -> np.ndarray:
    """sum(weight * value) per document and group, [len(values), D, groups]."""
    shape = (doc_N.max() + 1, len(group.labels))
    cell = (doc_N[:, None] * shape[1] + np.maximum(group.of_NP, 0)).ravel()
    size = shape[0] * shape[1]
    return np.stack([np.bincount(cell, (weight_NP * v).ravel(), minlength=size).reshape(shape) for v in values])


def _top_tokens(
    pairs: Sequence[MatchedPair], sample: Sample, measured: Sequence[tuple[np.ndarray, np.ndarray]], top: int
) -> pd.DataFrame:
    """Predictions among the `top` of any seed by KL, gap or negative gap: a row per prediction, seed and arm."""
    from transformers import AutoTokenizer

    extremes: set[int] = set()
    for (vanilla_NP, myopic_NP), kl_NP in measured:
        for values in (kl_NP, myopic_NP - vanilla_NP, vanilla_NP - myopic_NP):
            extremes |= set(np.argsort(-values.ravel(), kind="stable")[:top].tolist())
    tokenizer = AutoTokenizer.from_pretrained(pairs[0].vanilla.folder)
    copied, frequency = sample.groupings["copied"], sample.groupings["frequency"]
    rows: list[dict[str, Any]] = []
    for n, p in (divmod(index, copied.of_NP.shape[1]) for index in sorted(extremes)):
        tokens_T = sample.tokens_NT[n]
        fields = {
            "corpus": sample.corpus, "doc": sample.doc_N[n], "group": sample.group_N[n],
            "window": sample.window_N[n], "position": p,
            "token": shown(tokenizer.decode(tokens_T[p + 1 : p + 2])),
            "context": shown(tokenizer.decode(tokens_T[max(0, p + 1 - CONTEXT) : p + 1])),
            "copied": copied.labels[copied.of_NP[n, p]], "frequency": 10 ** frequency.x_NP[n, p],
        }  # fmt: skip
        for pair, (loss_2NP, kl_NP) in zip(pairs, measured, strict=True):
            for arm, run in enumerate(pair.runs()):
                numbers = {"loss": loss_2NP[arm, n, p], "kl": kl_NP[n, p] if arm else 0.0}
                rows.append(fields | {"run": run.run, "arm": run.arm, "seed": pair.seed} | numbers)
    frame = pd.DataFrame(rows, columns=TOP.columns)
    return frame.sort_values(["corpus", "run", "seed", "window", "position"], kind="stable")


def _planning_map(pairs: Sequence[MatchedPair], sample: Sample, losses: Sequence[np.ndarray]) -> pd.DataFrame:
    """Loss of every arm and seed on every token of a few windows; position p predicts `token`.

    The window's first token stands at position -1 without a loss: it is read, and nothing predicts it.
    """
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(pairs[0].vanilla.folder)
    N, T = sample.tokens_NT.shape
    rows: list[dict[str, Any]] = []
    for n in np.unique(np.linspace(0, N - 1, min(MAP_WINDOWS, N)).round().astype(int)):
        words = [shown(tokenizer.decode([token])) for token in sample.tokens_NT[n].tolist()]
        for pair, loss_2NP in zip(pairs, losses, strict=True):
            for run, loss_NP in zip(pair.runs(), loss_2NP, strict=True):
                fields = {
                    "corpus": sample.corpus, "run": run.run, "arm": run.arm, "seed": pair.seed,
                    "doc": sample.doc_N[n], "group": sample.group_N[n], "window": sample.window_N[n],
                }  # fmt: skip
                for position in range(-1, T - 1):
                    loss = loss_NP[n, position] if position >= 0 else np.nan
                    rows.append(fields | {"position": position, "token": words[position + 1], "loss": loss})
    frame = pd.DataFrame(rows, columns=MAP.columns)
    return frame.sort_values(["corpus", "run", "seed", "window", "position"], kind="stable")


def shown(text: str) -> str:
    """Text on one line: a csv reader may translate line ends inside a field."""
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r").replace("\t", "\\t")
