"""The exact optimum of shared computation: every function f with at most K values, looked at.

What matters of f is only which inputs share a value, a partition of the X inputs; there are sum_{k<=K} S(X, k) of
them (Stirling numbers of the second kind; 21,147 for X = K = 9). A stochastic f does no better: with the best g1 and g2
the losses are concave in f, so that some deterministic f is optimal.

Losses in bits: loss1 = H(z1 | y), loss2 = H(z2 | y, z1), z1 the true one. Shapes: P partitions, X inputs, K classes.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from myopia.experiments.toys.data import Array
from myopia.experiments.toys.settings import check_search

SAME = 1e-9
"""Losses closer than this (bits) are a tie: entropies are sums of some dozens of floats."""

TIES = ("best", "mean", "worst")
"""What a tie leaves to z2: of all f that serve the arm's aim equally well, the one best for z2, their mean, the worst."""


def set_partitions(inputs: int, classes: int) -> NDArray[np.uint8]:
    """Every partition of `inputs` things into at most `classes` classes once, [P, X].

    As restricted growth strings: the first thing is in class 0, and a new class gets the next free number.
    """
    strings = np.zeros((1, 1), dtype=np.uint8)
    for _ in range(inputs - 1):
        choices = np.minimum(strings.max(1) + 2, classes).astype(np.int64)  # a class in use, or the next one
        grown = np.repeat(strings, choices, axis=0)
        first = np.repeat(np.cumsum(choices) - choices, choices)
        added = (np.arange(len(grown)) - first).astype(np.uint8)
        strings = np.concatenate([grown, added[:, None]], axis=1)
    return strings


def partition_losses(partitions_PX: NDArray[np.uint8], joint_XZW: Array) -> tuple[Array, Array]:
    """(loss1_P, loss2_P) in bits of the best g1 and g2 on each partition."""
    classes, (inputs, Z, W) = int(partitions_PX.max()) + 1, joint_XZW.shape
    member_PKX = (partitions_PX[:, None, :] == np.arange(classes)[None, :, None]).astype(float)
    joint_PKZW = (member_PKX @ joint_XZW.reshape(inputs, Z * W)).reshape(-1, classes, Z, W)
    h_y, h_yz, h_yzw = (_entropy(joint_PKZW.sum(axes)) for axes in ((2, 3), (3,), ()))
    return h_yz - h_y, h_yzw - h_yz


def _entropy(p: Array) -> Array:
    """Entropy in bits over all axes but the first."""
    p = p.reshape(len(p), -1)
    return -np.sum(p * np.log2(p, out=np.zeros_like(p), where=p > 0), axis=1)


def optima(joint_XZW: Array, capacities: list[int]) -> pd.DataFrame:
    """Best losses at every capacity: `capacity, aim, ties, loss1, loss2`.

    aim: `vanilla` minimises loss1 + loss2, `myopic` loss1 alone; `ties` as in TIES. `frontier` rows are the partitions
    that no other beats in both losses, ordered by loss1.

    Raises:
        MyopiaError: too many partitions.
    """
    inputs = len(joint_XZW)
    check_search(inputs, capacities)
    partitions_PX = set_partitions(inputs, min(max(capacities), inputs))
    loss1_P, loss2_P = partition_losses(partitions_PX, joint_XZW)
    used_P = partitions_PX.max(1) + 1
    rows: list[tuple[int, str, str, float, float]] = []
    for capacity in capacities:
        loss1, loss2 = loss1_P[used_P <= capacity], loss2_P[used_P <= capacity]
        for aim, goal in (("vanilla", loss1 + loss2), ("myopic", loss1)):
            tied = goal <= goal.min() + SAME
            for ties, one in zip(TIES, (np.argmin(loss2[tied]), None, np.argmax(loss2[tied])), strict=True):
                pair = (loss1[tied].mean(), loss2[tied].mean()) if one is None else (loss1[tied][one], loss2[tied][one])
                rows.append((capacity, aim, ties, *map(float, pair)))
        rows += [(capacity, "frontier", "", float(a), float(b)) for a, b in zip(*frontier(loss1, loss2), strict=True)]
    return pd.DataFrame(rows, columns=["capacity", "aim", "ties", "loss1", "loss2"])


def frontier(loss1: Array, loss2: Array) -> tuple[Array, Array]:
    """Pairs that no other pair beats in both losses, by rising loss1; equal pairs once."""
    order = np.lexsort((loss2, np.round(loss1 / SAME)))  # losses that differ in their last digits are equal
    best_so_far = np.minimum.accumulate(np.concatenate([[np.inf], loss2[order][:-1]]))
    kept = order[loss2[order] < best_so_far - SAME]
    return loss1[kept], loss2[kept]
