"""Held-out losses of language runs as arrays: what every experiment that measures them is judged from.

Position p is the 0-based place of the token that predicts token p + 1; clusters are documents, or groups (books,
package directories) where a claim says so. Losses are nats per token.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from myopia.common.errors import MyopiaError
from myopia.config.tables import TEXT_CURVE, TEXT_LOSS
from myopia.judge.measures import common_seeds, select, to_array
from myopia.judge.registry import Context
from myopia.judge.stats import Array


@dataclass(frozen=True)
class TextLoss:
    """Summed loss of each arm and token counts, [seeds, clusters, positions], and the names of the clusters."""

    sums: dict[str, Array]
    n: Array
    seeds: list[int]
    positions: list[int]
    clusters: list[str]


def text_loss(
    context: Context,
    corpus: str,
    arms: Sequence[str],
    cluster: str = "doc",
    runs: dict[str, str] | None = None,
) -> TextLoss:
    """All arms on the same tokens and seeds; different tokens in two arms are refused."""
    key = ("text_loss", corpus, tuple(arms), cluster, tuple(sorted((runs or {}).items())))
    if key not in context.measures.cache:
        context.measures.cache[key] = _text_loss(context, corpus, arms, cluster, runs)
    return context.measures.cache[key]


def rows_of(context: Context, corpus: str, arm: str, runs: dict[str, str] | None) -> pd.DataFrame:
    """Losses of one arm on one corpus, of the run named for it if `runs` names one."""
    part = context.measures.part(TEXT_LOSS.name, ["corpus", "arm"], [corpus, arm])
    return select(part, f"text {corpus}, arm {arm},", runs, arm=arm)


def _text_loss(
    context: Context, corpus: str, arms: Sequence[str], cluster: str, runs: dict[str, str] | None
) -> TextLoss:
    frames = [rows_of(context, corpus, arm, runs) for arm in arms]
    seeds = common_seeds(frames, f"text {corpus}")
    clusters = sorted(set().union(*(f[cluster].unique() for f in frames)))
    positions = sorted(set().union(*(f["position"].astype(int).unique() for f in frames)))
    axes = {cluster: clusters, "position": positions}
    sums, counts = {}, []
    for arm, frame in zip(arms, frames, strict=True):
        if cluster != "doc":
            frame = _merge(frame, cluster)
        n = to_array(frame, "n", seeds, axes)
        counts.append(n)
        sums[arm] = n * to_array(frame, "loss", seeds, axes)
        if np.isnan(sums[arm]).any():
            raise MyopiaError(f"text_loss.csv.gz holds an undefined loss of {corpus}, {arm}; measure it again.")
    for n in counts[1:]:
        if not np.array_equal(n, counts[0]):
            raise MyopiaError(f"The arms {', '.join(arms)} of {corpus} saw different tokens; measure them again.")
    return TextLoss(sums, counts[0], seeds, positions, clusters)


def _merge(frame: pd.DataFrame, cluster: str) -> pd.DataFrame:
    """Documents of one cluster added up, keeping n and the mean loss."""
    frame = frame.assign(total=frame["n"] * frame["loss"])
    merged = frame.groupby(["seed", cluster, "position"], as_index=False)[["n", "total"]].sum()
    return merged.assign(loss=merged["total"] / merged["n"])


def trained_steps(context: Context, corpus: str, arms: Sequence[str], runs: dict[str, str] | None) -> int:
    """Steps of the shortest of the arms' runs: language gaps are unstable early (protocol section 3)."""
    curves = context.measures.table(TEXT_CURVE.name)
    steps = []
    for arm in arms:
        # By run, not by corpus: a model may be judged on a text it was not trained on (Fig 4).
        run = rows_of(context, corpus, arm, runs)["run"].iloc[0]
        rows = select(curves, f"the curve of run {run}", run=run)
        steps.append(rows.groupby("seed")["step"].max().min())
    return int(min(steps))
