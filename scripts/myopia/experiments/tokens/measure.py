"""Where planning pays: loss of the vanilla and the myopic twin on single tokens of held-out text.

Twins are a vanilla and a myopic run of one seed. Each is measured on the same windows; a row of the table adds up the
predictions of one document that fall into one group (`token_features`), so that any gap and its interval can be
recomputed: sum(loss of myopic - loss of vanilla) / sum(weight).

Easiness. A token that a model happens to predict well is, on average, predicted less well by any other model: cutting
the tokens by the loss of the very vanilla model whose gap is measured (`ease-own`) tilts the gap upwards on "easy"
tokens and downwards on "hard" ones, with no planning anywhere (regression to the mean). `ease` asks the vanilla
model of the *next* seed instead, which shares the text but none of the luck. It still favours what vanilla models, as
a kind, are good at; `ease-both` asks both twins of the next seed, and takes no side between the arms either.

Shape suffixes: N windows, T tokens, P = T - 1 predictions, B windows of a batch, V vocabulary, D documents.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from myopia.common.errors import MyopiaError
from myopia.data.tokens import TokenFile
from myopia.experiments.tokens import features as features
from myopia.experiments.tokens.features import Grouping
from myopia.measure.text import TextRun, choose_windows
from myopia.model.build import load_language_model

BATCH = 16
"""Windows per forward pass; small, because all probabilities of both twins are held at once."""

ARMS = ("vanilla", "myopic")
CONTEXT = 12
"""Tokens shown before a token in the list of extremes."""

GAP_COLUMNS = "corpus,run,arm,seed,doc,group,by,bin,weight,x,loss,kl".split(",")
MAP_COLUMNS = "corpus,run,arm,seed,doc,group,window,position,token,loss".split(",")
MAP_WINDOWS = 6
"""Windows of a corpus whose every token is kept; evenly spaced among those measured, so nobody chose them."""

TOP_COLUMNS = "corpus,run,arm,seed,doc,group,window,position,token,context,copied,frequency,loss,kl".split(",")


@dataclass(frozen=True)
class Twins:
    """A vanilla and a myopic run of one seed on one corpus."""

    corpus: str
    seed: int
    vanilla: TextRun
    myopic: TextRun

    def runs(self) -> tuple[TextRun, TextRun]:
        """Both runs, in the order of `ARMS`."""
        return self.vanilla, self.myopic


def pair_up(runs: Sequence[TextRun]) -> dict[str, list[Twins]]:
    """Twins by corpus, in the order of their seeds; a run without its twin is refused."""
    found: dict[tuple[str, int], dict[str, TextRun]] = {}
    for run in runs:
        if run.arm in ARMS:
            found.setdefault((run.corpus, run.seed), {})[run.arm] = run
    corpora: dict[str, list[Twins]] = {}
    for (corpus, seed), arms in sorted(found.items()):
        if len(arms) < len(ARMS):
            raise MyopiaError(f"corpus {corpus}, seed {seed}: the vanilla and the myopic run are both needed")
        corpora.setdefault(corpus, []).append(Twins(corpus, seed, **arms))
    return corpora


def spread_windows(docs: Sequence[str], limit: int) -> np.ndarray:
    """`choose_windows`, but documents evenly spaced in the file if there are more of them than windows.

    Files are sorted by source, so the first documents alone would be the text of a few sources.
    """
    documents = len(set(docs))
    if documents <= limit:
        return choose_windows(docs, limit)
    one_of_each = choose_windows(docs, documents)
    return one_of_each[np.linspace(0, documents - 1, limit).round().astype(int)]


def log_probabilities(model: nn.Module, ids_BT: Tensor) -> Tensor:
    """log p(. | x_<=p) of every prediction, fp32 [B, P, V]."""
    predicting = torch.arange(ids_BT.shape[1] - 1, device=ids_BT.device)
    logits = model(input_ids=ids_BT, use_cache=False, logits_to_keep=predicting).logits
    return logits.float().log_softmax(-1)


def token_batches(tokens_NT: np.ndarray, device: torch.device | str = "cpu") -> Iterator[Tensor]:
    """The windows as int64 batches on a device."""
    for first in range(0, len(tokens_NT), BATCH):
        yield torch.from_numpy(tokens_NT[first : first + BATCH].astype(np.int64)).to(device)


@torch.no_grad()
def twin_losses(
    vanilla: nn.Module, myopic: nn.Module, tokens_NT: np.ndarray, device: torch.device | str = "cpu"
) -> tuple[np.ndarray, np.ndarray]:
    """Losses of both twins [2, N, P] in the order of `ARMS`, and KL(vanilla || myopic) [N, P]; nats, float64."""
    losses, divergences = [], []
    for ids_BT in token_batches(tokens_NT, device):
        first, second = log_probabilities(vanilla, ids_BT), log_probabilities(myopic, ids_BT)
        picked = [-each.gather(-1, ids_BT[:, 1:, None])[..., 0] for each in (first, second)]
        losses.append(torch.stack(picked).double().cpu().numpy())
        kl = nn.functional.kl_div(second, first, reduction="none", log_target=True).sum(-1)
        divergences.append(kl.double().cpu().numpy())
    return np.concatenate(losses, axis=1), np.concatenate(divergences)


def count_tokens(tokens_NT: np.ndarray, vocabulary: int, block: int = 65536) -> np.ndarray:
    """Occurrences of every token, int64 [V]; the file is read in blocks of windows."""
    counts = np.zeros(vocabulary, dtype=np.int64)
    for first in range(0, len(tokens_NT), block):
        counts += np.bincount(tokens_NT[first : first + block].ravel(), minlength=vocabulary)
    return counts


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
    twins: Sequence[Twins], windows: int, top: int, device: torch.device | str = "cpu"
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Gap table, extreme tokens and planning map of one corpus (`GAP_COLUMNS`, `TOP_COLUMNS`, `MAP_COLUMNS`)."""
    test, train = (TokenFile.open(twins[0].vanilla.tokens, split) for split in ("test", "train"))
    sample = Sample.draw(twins[0].corpus, test, count_tokens(train.tokens, train.vocab_size), windows)
    measured = []
    for pair in twins:
        models = [load_language_model(run.folder).to(device) for run in pair.runs()]
        measured.append(twin_losses(*models, sample.tokens_NT, device))
    losses = [loss_2NP for loss_2NP, _ in measured]
    rows = []
    for k, (pair, (loss_2NP, kl_NP)) in enumerate(zip(twins, measured, strict=True)):
        rows += _rows(pair, sample, sample.groupings | _easiness(losses, k), loss_2NP, kl_NP)
    gap = pd.concat(rows)[GAP_COLUMNS].sort_values(["corpus", "run", "seed", "by", "bin", "doc"], kind="stable")
    return gap, _top_tokens(twins, sample, measured, top), _planning_map(twins, sample, losses)


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
    pair: Twins, sample: Sample, groupings: dict[str, Grouping], loss_2NP: np.ndarray, kl_NP: np.ndarray
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
    twins: Sequence[Twins], sample: Sample, measured: Sequence[tuple[np.ndarray, np.ndarray]], top: int
) -> pd.DataFrame:
    """Predictions among the `top` of any seed by KL, gap or negative gap: a row per prediction, seed and arm."""
    from transformers import AutoTokenizer

    extremes: set[int] = set()
    for (vanilla_NP, myopic_NP), kl_NP in measured:
        for values in (kl_NP, myopic_NP - vanilla_NP, vanilla_NP - myopic_NP):
            extremes |= set(np.argsort(-values.ravel(), kind="stable")[:top].tolist())
    tokenizer = AutoTokenizer.from_pretrained(twins[0].vanilla.folder)
    copied, frequency = sample.groupings["copied"], sample.groupings["frequency"]
    rows: list[dict[str, Any]] = []
    for n, p in (divmod(index, copied.of_NP.shape[1]) for index in sorted(extremes)):
        tokens_T = sample.tokens_NT[n]
        told = {
            "corpus": sample.corpus, "doc": sample.doc_N[n], "group": sample.group_N[n],
            "window": sample.window_N[n], "position": p,
            "token": shown(tokenizer.decode(tokens_T[p + 1 : p + 2])),
            "context": shown(tokenizer.decode(tokens_T[max(0, p + 1 - CONTEXT) : p + 1])),
            "copied": copied.labels[copied.of_NP[n, p]], "frequency": 10 ** frequency.x_NP[n, p],
        }  # fmt: skip
        for pair, (loss_2NP, kl_NP) in zip(twins, measured, strict=True):
            for arm, run in enumerate(pair.runs()):
                numbers = {"loss": loss_2NP[arm, n, p], "kl": kl_NP[n, p] if arm else 0.0}
                rows.append(told | {"run": run.run, "arm": run.arm, "seed": pair.seed} | numbers)
    frame = pd.DataFrame(rows, columns=TOP_COLUMNS)
    return frame.sort_values(["corpus", "run", "seed", "window", "position"], kind="stable")


def _planning_map(twins: Sequence[Twins], sample: Sample, losses: Sequence[np.ndarray]) -> pd.DataFrame:
    """Loss of every arm and seed on every token of a few windows; position p predicts `token`.

    The window's first token stands at position -1 without a loss: it is read, and nothing predicts it.
    """
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(twins[0].vanilla.folder)
    N, T = sample.tokens_NT.shape
    rows: list[dict[str, Any]] = []
    for n in np.unique(np.linspace(0, N - 1, min(MAP_WINDOWS, N)).round().astype(int)):
        words = [shown(tokenizer.decode([token])) for token in sample.tokens_NT[n].tolist()]
        for pair, loss_2NP in zip(twins, losses, strict=True):
            for run, loss_NP in zip(pair.runs(), loss_2NP, strict=True):
                told = {
                    "corpus": sample.corpus, "run": run.run, "arm": run.arm, "seed": pair.seed,
                    "doc": sample.doc_N[n], "group": sample.group_N[n], "window": sample.window_N[n],
                }  # fmt: skip
                for position in range(-1, T - 1):
                    loss = loss_NP[n, position] if position >= 0 else np.nan
                    rows.append(told | {"position": position, "token": words[position + 1], "loss": loss})
    frame = pd.DataFrame(rows, columns=MAP_COLUMNS)
    return frame.sort_values(["corpus", "run", "seed", "window", "position"], kind="stable")


def shown(text: str) -> str:
    """Text on one line: a csv reader may translate line ends inside a field."""
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r").replace("\t", "\\t")
