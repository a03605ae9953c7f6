"""Estimators of the induction experiment: loss on the repeat, and scores of heads, paired by seed.

Losses are nats per predictable token, on blocks of test sequences (the held-out unit). A score of a head
has no held-out units: its test sequences are thousands, and the seed is what varies. Layers are counted from 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import pandas as pd

from myopia.experiments.induction import HEADS, LOSS
from myopia.judge.measures import NotRun, common_seeds, select, to_array
from myopia.judge.registry import Context, estimator
from myopia.judge.stats import Array, Estimate, Ratio, ratio_contrast, seed_mean

UNKNOWABLE = ("first", "0")
"""Groups of places whose token nobody can know: before the first repeat, and the first token of each."""


def repeats(
    context: Context, arms: Sequence[str], since: str | None = None, period: int | None = None
) -> tuple[dict[str, Array], Array, Array]:
    """(summed loss by arm, summed loss of the bag, counts), [seeds, blocks], over all knowable places or one group."""
    table = context.measures.table(LOSS.name)
    frames = []
    for arm in arms:
        rows = select(table, f"induction, arm {arm},", arm=arm)
        rows = rows[rows["since"] == since] if since is not None else rows[~rows["since"].isin(UNKNOWABLE)]
        rows = rows if period is None else rows[rows["period"] == period]
        if rows.empty:
            raise NotRun(f"induction, arm {arm}, has no such place or period")
        summed = rows.assign(total=rows["n"] * rows["loss"], bag=rows["n"] * rows["loss_bag"])
        frames.append(summed.groupby(["seed", "block"], as_index=False)[["n", "total", "bag"]].sum())
    seeds = common_seeds(frames, "induction")
    axes = {"block": sorted(set().union(*(frame["block"] for frame in frames)))}
    sums = {arm: to_array(frame, "total", seeds, axes) for arm, frame in zip(arms, frames, strict=True)}
    return sums, to_array(frames[0], "bag", seeds, axes), to_array(frames[0], "n", seeds, axes)


@estimator
def induction_gap(context: Context, *, arms: Sequence[str]) -> Estimate:
    """Loss of the first arm minus the second's on the repeat's predictable tokens."""
    sums, _, n = repeats(context, arms)
    return ratio_contrast([Ratio(sums[arms[0]] - sums[arms[1]], n)])


@estimator
def induction_skill(context: Context, *, arm: str) -> Estimate:
    """1 - L / L_bag: 1 for perfect copying, 0 for knowing which tokens are repeated but not their order."""
    sums, bag, _ = repeats(context, [arm])
    return ratio_contrast([Ratio(bag - sums[arm], bag)])


def heads_at(context: Context, arm: str, step: Literal["first", "last"] = "last") -> pd.DataFrame:
    """Scores of an arm's heads after or before training."""
    rows = select(context.measures.table(HEADS.name), f"heads of induction, arm {arm},", arm=arm)
    rows = rows[rows["step"] == (rows["step"].max() if step == "last" else 0)]
    if rows.empty:
        raise NotRun(f"heads of induction, arm {arm}, were not kept at step 0")
    return rows


def in_layers(rows: pd.DataFrame, layers: Literal["first", "later"]) -> pd.DataFrame:
    """Heads of layer 1, or of all layers above it."""
    return rows[(rows["layer"] == 1) == (layers == "first")]


def best(rows: pd.DataFrame, score: str, layers: Literal["first", "later"]) -> pd.Series:
    """Each seed's highest score among the heads of layer 1 or of the layers above."""
    return in_layers(rows, layers).groupby("seed")[score].max()


def _paired(first: pd.Series, second: pd.Series) -> Estimate:
    seeds = sorted(set(first.index) & set(second.index))
    if not seeds:
        raise NotRun("induction: the arms share no seed")
    return seed_mean((first.loc[seeds] - second.loc[seeds]).to_numpy(dtype=float))


@estimator
def induction_head(context: Context, *, arms: Sequence[str], score: str, layers: Literal["first", "later"]) -> Estimate:
    """Best head's score of the first arm minus the second's, per seed; the second may be `untrained` (the first's step 0)."""
    first = best(heads_at(context, arms[0]), score, layers)
    rows = heads_at(context, arms[0], "first") if arms[1] == "untrained" else heads_at(context, arms[1])
    return _paired(first, best(rows, score, layers))


def head_damage(rows: pd.DataFrame, score: str, layers: Literal["first", "later"]) -> tuple[pd.Series, pd.Series]:
    """Damage of ablating the head with the highest score, and mean damage of its layer's others, per seed."""
    here = in_layers(rows, layers).sort_values(["seed", "layer", "head"], kind="stable")
    top = here.loc[here.groupby("seed")[score].idxmax()]
    # Beside the best head stand the others of its own layer: heads above it have other work.
    beside = here.merge(top[["seed", "layer", "head"]].rename(columns={"head": "top"}), on=["seed", "layer"])
    rest = beside[beside["head"] != beside["top"]].groupby("seed")["damage"].mean()
    return top.set_index("seed")["damage"], rest


@estimator
def induction_damage(context: Context, *, arms: Sequence[str], score: str = "previous") -> Estimate:
    """Nats lost without layer 1's best head: the first arm's minus the second's, or minus those of its other heads.

    `arms` with `others` in second place compares with the mean of the other heads of the same layer.
    """
    top, rest = head_damage(heads_at(context, arms[0]), score, "first")
    if arms[1] == "others":
        return _paired(top, rest)
    return _paired(top, head_damage(heads_at(context, arms[1]), score, "first")[0])


def by_step(context: Context, arm: str, score: str, layers: Literal["first", "later"]) -> pd.DataFrame:
    """Best head's score at every step kept, a row per seed and a column per step."""
    rows = select(context.measures.table(HEADS.name), f"heads of induction, arm {arm},", arm=arm)
    wide = in_layers(rows, layers).pivot_table(index="seed", columns="step", values=score, aggfunc=np.max)
    return wide.dropna(axis=1)
