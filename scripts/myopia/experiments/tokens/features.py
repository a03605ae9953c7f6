"""What a token of text is like, whatever a model makes of it: the groups that the gap is split by.

Everything here is about *predictions*: entry (n, p) of every [N, P] array belongs to position p of window n, which
predicts the token at p + 1; P = T - 1. Shape suffixes: N windows, T tokens, P = T - 1 predictions, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

QUANTILES = 5
"""Groups of a quantity that is cut into equal shares of tokens (frequency, easiness)."""

COPIED = ("new", "token seen", "pair seen")
PARTS = ("beginning", "middle", "end", "short document")


@dataclass(frozen=True)
class Grouping:
    """Groups of predictions: `of_NP` is the index of each one's label, -1 where it has none; `x_NP` their order."""

    labels: Sequence[str]
    of_NP: np.ndarray
    x_NP: np.ndarray

    @classmethod
    def ordinal(cls, labels: Sequence[str], of_NP: np.ndarray) -> Grouping:
        """Groups whose order is that of their labels."""
        return cls(labels, of_NP, of_NP.astype(float))


def by_position(shape: tuple[int, int]) -> Grouping:
    """Positions 0, 1, 2-3, 4-7, ...: each group twice as wide as the one before; x is the position."""
    N, P = shape
    position_P = np.arange(P)
    of_P = np.floor(np.log2(np.maximum(position_P, 1))).astype(int) + (position_P > 0)
    spans = [position_P[of_P == k] for k in range(of_P.max() + 1)]
    labels = [f"{span[0]}" if len(span) == 1 else f"{span[0]}-{span[-1]}" for span in spans]
    return Grouping(labels, np.tile(of_P, (N, 1)), np.tile(position_P.astype(float), (N, 1)))


def by_frequency(tokens_NT: np.ndarray, counts_V: np.ndarray, groups: int = QUANTILES) -> Grouping:
    """Equal shares of the *training* text, rarest tokens first; x is log10 of occurrences per million tokens.

    A token that training never shows counts as half an occurrence.
    """
    order_V = np.argsort(counts_V, kind="stable")
    share_V = counts_V[order_V] / counts_V.sum()
    middle_V = np.cumsum(share_V) - share_V / 2  # of the stretch of text each token owns, rarest first
    of_V = np.empty(len(counts_V), dtype=int)
    of_V[order_V] = np.minimum((middle_V * groups).astype(int), groups - 1)
    x_V = np.log10(np.maximum(counts_V, 0.5) / counts_V.sum() * 1e6)
    predicted_NP = tokens_NT[:, 1:]
    return Grouping(quantile_labels(groups), of_V[predicted_NP], x_V[predicted_NP])


def by_quantile(values_NP: np.ndarray, groups: int = QUANTILES) -> Grouping:
    """Equal shares of the predictions, smallest values first; NaN belongs nowhere; x is the value."""
    known = np.isfinite(values_NP)
    edges = np.quantile(values_NP[known], np.arange(1, groups) / groups)
    of_NP = np.where(known, np.searchsorted(edges, np.where(known, values_NP, 0.0), side="right"), -1)
    return Grouping(quantile_labels(groups), of_NP, np.where(known, values_NP, 0.0))


def quantile_labels(groups: int) -> list[str]:
    """`1/5` ... `5/5`."""
    return [f"{k + 1}/{groups}" for k in range(groups)]


def by_copying(tokens_NT: np.ndarray) -> Grouping:
    """Whether the predicted token stood earlier in its window, and whether after the same token as now.

    `pair seen`: (x_p, x_{p+1}) stood earlier, so that copying what followed x_p last time is right (an induction
    head's work); `token seen`: x_{p+1} did, but never after x_p; `new`: neither.
    """
    N, T = tokens_NT.shape
    token_seen = np.zeros((N, T - 1), dtype=bool)
    pair_seen = np.zeros((N, T - 1), dtype=bool)
    for back in range(1, T):
        same = tokens_NT[:, back:] == tokens_NT[:, :-back]  # (n, j): x_{j + back} = x_j
        token_seen[:, back - 1 :] |= same
        pair_seen[:, back:] |= same[:, 1:] & same[:, :-1]
    return Grouping.ordinal(COPIED, token_seen.astype(int) + pair_seen)


def by_part(docs: Sequence[str], chosen_N: np.ndarray, predictions: int) -> Grouping:
    """Third of the document a window lies in, by the rank of the window among all of its document's windows.

    Documents of fewer than three windows have no thirds. The place is the window's, so that it is not mixed up with
    the position inside the window.
    """
    rank, size = np.empty(len(docs), dtype=int), {}
    for index, doc in enumerate(docs):
        rank[index] = size[doc] = size.get(doc, -1) + 1
    count = np.array([size[doc] + 1 for doc in docs])
    third = np.where(count >= 3, 3 * rank // np.maximum(count, 1), len(PARTS) - 1)
    return Grouping.ordinal(PARTS, np.tile(third[chosen_N][:, None], (1, predictions)))


def matched_contrast(treated_NP: np.ndarray, cells_NP: np.ndarray) -> np.ndarray:
    """Weights w_NP of the difference between treated and other predictions of the same cell.

    sum(w y) / sum(w treated) is the coefficient of `treated` in a least-squares fit of y on it and one constant per
    cell: w is `treated` minus its mean in the cell. A cell with only one kind of prediction has weights 0.
    """
    cells = cells_NP.ravel()
    _, cell = np.unique(cells, return_inverse=True)
    treated = treated_NP.ravel().astype(float)
    mean = np.bincount(cell, weights=treated) / np.bincount(cell)
    return (treated - mean[cell]).reshape(treated_NP.shape)
