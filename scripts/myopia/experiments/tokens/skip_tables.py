"""Tables P(x_{t+tau} | x_t) from training text: what the token at hand alone says about the token tau places later.

Tokens to come are told apart into the K most frequent ones and one class for all others (index K): only for these
does a probe of a few thousand samples have a direction to learn. Shape suffixes: N windows, T tokens, V vocabulary,
C = K + 1 classes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from myopia.common.errors import MyopiaError

STRENGTHS = (0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0)
"""Candidate weights of the unigram in a row of the table, in occurrences."""

BLOCK = 65536  # windows counted at once


def frequent_classes(counts_V: np.ndarray, named: int) -> np.ndarray:
    """Class of every token, int64 [V]: 0 .. named - 1 by falling frequency, `named` for all others."""
    if named >= len(counts_V):
        raise MyopiaError(
            f"config key tokens.probe_tokens: {named} tokens cannot be told apart in a vocabulary of {len(counts_V)}; "
            "take fewer"
        )
    classes = np.full(len(counts_V), named)
    classes[np.argsort(-counts_V, kind="stable")[:named]] = np.arange(named)
    return classes


@dataclass(frozen=True)
class SkipTable:
    """log P(class of x_{t+tau} | x_t), float32 [V, C], and log P(class), float32 [C]."""

    bigram_VC: np.ndarray
    unigram_C: np.ndarray


def count_pairs(tokens_NT: np.ndarray, classes_V: np.ndarray, tau: int) -> np.ndarray:
    """How often class c stands tau places after token v, int64 [V, C]."""
    V, C = len(classes_V), int(classes_V.max()) + 1
    counts = np.zeros(V * C, dtype=np.int64)
    for first in range(0, len(tokens_NT), BLOCK):
        block = np.asarray(tokens_NT[first : first + BLOCK]).astype(np.int64)
        pairs = block[:, :-tau] * C + classes_V[block[:, tau:]]
        counts += np.bincount(pairs.ravel(), minlength=V * C)
    return counts.reshape(V, C)


def skip_table(counts_VC: np.ndarray, now_N: np.ndarray, later_N: np.ndarray) -> SkipTable:
    """Smoothed table: each row is mixed with the unigram as if that had been seen `strength` times more.

    `strength` is the candidate with the smallest cross-entropy on (now, later class) pairs of other text, so that
    the control is as good as such a table gets.
    """
    unigram = (counts_VC.sum(0) + 0.5) / (counts_VC.sum() + 0.5 * counts_VC.shape[1])
    seen = counts_VC.sum(1, keepdims=True)
    best, chosen = np.inf, STRENGTHS[0]
    for strength in STRENGTHS:
        probability_N = (counts_VC[now_N, later_N] + strength * unigram[later_N]) / (seen[now_N, 0] + strength)
        loss = -np.log(probability_N).mean()
        if loss < best:
            best, chosen = loss, strength
    table = np.log((counts_VC + chosen * unigram) / (seen + chosen))
    return SkipTable(table.astype(np.float32), np.log(unigram).astype(np.float32))
