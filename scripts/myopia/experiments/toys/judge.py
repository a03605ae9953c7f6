"""Estimators of the toys (docs/protocol.md section 9): one value per training seed, nothing held out. Losses in bits."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from myopia.experiments.toys import CONSEQUENCE, HIDDEN, OPTIMUM, SHARED
from myopia.judge.measures import NotRun
from myopia.judge.registry import Context, estimator
from myopia.judge.stats import Array, Estimate, seed_mean

CELL = ["overlap", "balance", "capacity"]


def best(context: Context, aim: str, ties: str = "best") -> pd.DataFrame:
    """The exact optimum of every cell, indexed by CELL."""
    frame = context.measures.table(OPTIMUM.name)
    return frame[(frame["aim"] == aim) & (frame["ties"] == ties)].set_index(CELL)


def just_enough(context: Context) -> float:
    """The smallest capacity that lets f tell all of z1 where z1 and z2 compete; there z2 can only be served at z1's cost."""
    optimum = best(context, "myopic").reset_index()
    competing = optimum[optimum["overlap"] == optimum["overlap"].min()]
    loss1 = competing.groupby("capacity")["loss1"].sum()
    return float(loss1.index[loss1 <= loss1.min() + 1e-6].min())


def by_seed(frame: pd.DataFrame, value: str, what: str) -> pd.Series:
    """Mean of a column over the cells of each seed; every seed must have the same cells."""
    if frame.empty:
        raise NotRun(f"{what} was not measured")
    return frame.groupby("seed")[value].mean()


def part_of_grid(context: Context, overlap: str = "all", capacity: str = "all") -> pd.DataFrame:
    """Trained runs in part of the grid; overlap `least`, `most` or `all`, capacity `just enough`, `most` or `all`."""
    frame = context.measures.table(SHARED.name)
    if overlap != "all":
        frame = frame[frame["overlap"] == (frame["overlap"].min() if overlap == "least" else frame["overlap"].max())]
    if capacity != "all":
        wanted = just_enough(context) if capacity == "just enough" else frame["capacity"].max()
        frame = frame[frame["capacity"] == wanted]
    return frame


@estimator
def toy_shared(
    context: Context,
    *,
    value: str,
    arms: Sequence[str],
    overlap: str = "least",
    capacity: str = "just enough",
    balance: Sequence[float] = (0, 1),
) -> Estimate:
    """A column of the trained runs (loss1 or loss2), first arm minus second, mean over cells."""
    frame = part_of_grid(context, overlap, capacity)
    frame = frame[frame["balance"].between(*balance)]
    sides = [by_seed(frame[frame["arm"] == arm], value, f"shared computation, arm {arm},") for arm in arms]
    return seed_mean((sides[0] - sides[1]).dropna().to_numpy())


@estimator
def toy_thinking(context: Context, *, arm: str) -> Estimate:
    """Bits about z2 in y where z1's computation is z2's too, minus those where it is another."""
    sides = []
    for overlap in ("most", "least"):
        frame = part_of_grid(context, overlap, "just enough")
        sides.append(by_seed(frame[frame["arm"] == arm], "bits_future", f"shared computation, arm {arm},"))
    return seed_mean((sides[0] - sides[1]).dropna().to_numpy())


@estimator
def toy_regret(context: Context, *, arm: str) -> Estimate:
    """How far an arm ends above the exact optimum of its own aim, mean over all cells."""
    frame = context.measures.table(SHARED.name)
    frame = frame[frame["arm"] == arm].set_index(CELL)
    optimum = best(context, arm)
    aim = ["loss1", "loss2"] if arm == "vanilla" else ["loss1"]
    regret = frame[aim].sum(axis=1) - optimum.loc[frame.index, aim].sum(axis=1).to_numpy()
    return seed_mean(by_seed(frame.assign(regret=regret), "regret", f"shared computation, arm {arm},").to_numpy())


def last_bits(context: Context, training: str, value: str = "bits") -> pd.Series:
    """A column of the hidden-bits table at the end of training, by seed."""
    frame = context.measures.table(HIDDEN.name)
    frame = frame[(frame["training"] == training) & (frame["step"] == frame["step"].max())]
    return by_seed(frame, value, f"hidden bits, training {training},")


@estimator
def toy_hidden(
    context: Context, *, training: str, value: str = "bits", minus: Sequence[str] = (), minus_expected: bool = False
) -> Estimate:
    """Bits about z2 in z1's residual at the end of a training; minus those of the training of `minus` that has most,
    or minus those of the code that pays best.
    """
    found = last_bits(context, training, value)
    others = [last_bits(context, name, value) for name in minus]
    if minus_expected:
        others.append(last_bits(context, training, "bits_expected"))
    if others:
        found = (found - pd.concat(others, axis=1).max(axis=1)).dropna()
    return seed_mean(found.to_numpy())


def course(context: Context, training: str, arm: str, value: str) -> tuple[Array, Array]:
    """(steps [K], column [seeds, K]) of one training of consequence-blindness."""
    frame = context.measures.table(CONSEQUENCE.name)
    frame = frame[(frame["training"] == training) & (frame["arm"] == arm)]
    if frame.empty:
        raise NotRun(f"consequence-blindness, training {training}, arm {arm}, was not measured")
    wide = frame.pivot(index="seed", columns="step", values=value).sort_index()
    return wide.columns.to_numpy(dtype=float), wide.to_numpy(dtype=float)


@estimator
def toy_tilt(context: Context, *, training: str, arm: str, against: str = "half") -> Estimate:
    """P(z1 = 0) at the end of a training, minus 1/2, its value at the `start`, or what was `expected` of it."""
    _, p_SK = course(context, training, arm, "p_easy")
    if against == "expected":
        below = course(context, training, arm, "p_expected")[1][:, -1]
    else:
        below = p_SK[:, 0] if against == "start" else np.full(len(p_SK), 0.5)
    return seed_mean(p_SK[:, -1] - below)


@estimator
def toy_spread(context: Context, *, arm: str) -> Estimate:
    """Variance of P(z1 = 0) after training on own samples over the variance expected of the martingale, minus 1."""
    _, p_SK = course(context, "own", arm, "p_easy")
    _, spread_SK = course(context, "own", arm, "spread_expected")
    return seed_mean(((p_SK[:, -1] - p_SK[:, 0]) / spread_SK[:, -1]) ** 2 - 1)
