"""Estimators of the gradient anatomy (Fig 11), the forward-bias quantity (Theorem 13) and the convex toys.

Units of the gradient anatomy are training seeds and blocks of text. Its quantities are no ratios of sums over blocks
(an unbiased norm needs pairs of them), so SE_doc is a jackknife: every quantity once without each block.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from myopia.experiments.gradients import ANATOMY, SPECTRA, THEORY
from myopia.judge.measures import Measures, NotRun, Paper, to_array
from myopia.judge.registry import Context, estimator
from myopia.judge.stats import Array, Estimate, seed_mean

GROUPS = {"all": ("embeddings", "no-embeddings"), "no-embeddings": ("no-embeddings",)}
PAPER_BATCHES = 15
"""The authors added up the mean gradients of 15 batches of 64 sequences (grad_angle.ipynb: 1,000 sequences, the last,
incomplete batch dropped); ours are means. Their norms are divided by this."""

PRODUCTS = ("m_m", "f_f", "m_f", "m_M", "f_F", "m_F", "f_M")


@dataclass(frozen=True)
class Inner:
    """An inner product of two parts: from all blocks [seeds, steps], and without each block [seeds, steps, K]."""

    raw: Array
    unbiased: Array
    raw_without: Array
    unbiased_without: Array

    @classmethod
    def of(cls, own: Array, first: Array, second: Array) -> Inner:
        """From a_k . b_k, a_k . B and b_k . A, each [seeds, steps, K]; A, B are sums over the blocks."""
        blocks = own.shape[-1]
        total = first.sum(-1)
        total_without = total[..., None] - first - second + own
        same = own.sum(-1)
        same_without = same[..., None] - own
        return cls(
            total / blocks**2,
            (total - same) / (blocks * (blocks - 1)),
            total_without / (blocks - 1) ** 2,
            (total_without - same_without) / ((blocks - 1) * (blocks - 2)),
        )

    def form(self, name: str) -> tuple[Array, Array]:
        """(from all blocks, without each) of `raw` or `unbiased`."""
        return getattr(self, name), getattr(self, f"{name}_without")


@dataclass(frozen=True)
class Series:
    """Products of the gradient's parts along training: squared norms of both and their inner product."""

    arm: str
    corpus: str
    seeds: list[int]
    steps: list[int]
    blocks: int
    mm: Inner
    ff: Inner
    mf: Inner

    def quantity(self, name: str, form: str) -> tuple[Array, Array]:
        """`myopic`, `future`, `total` (norms), `difference` (of squared norms) or `cosine`: (all, without each block)."""
        parts = [part.form(form) for part in (self.mm, self.ff, self.mf)]
        return tuple(_quantity(name, mm, ff, mf) for mm, ff, mf in zip(*parts, strict=True))


def _quantity(name: str, mm: Array, ff: Array, mf: Array) -> Array:
    with np.errstate(
        invalid="ignore", divide="ignore"
    ):  # an unbiased square may fall below 0, its root is then unknown
        if name == "cosine":
            return np.clip(mf / np.sqrt(np.where((mm > 0) & (ff > 0), mm * ff, np.nan)), -1, 1)
        if name == "difference":
            return mm - ff
        square = {"myopic": mm, "future": ff, "total": mm + ff + 2 * mf}[name]
        return np.sqrt(np.where(square >= 0, square, np.nan))


def series(context: Context, corpus: str, run: str, of: str, group: str) -> Series:
    """The checkpoints of one run (every seed), read once."""
    key = ("anatomy", corpus, run, of, group)
    if key not in context.measures.cache:
        context.measures.cache[key] = _series(context.measures, corpus, run, of, group)
    return context.measures.cache[key]


def _series(measures: Measures, corpus: str, run: str, of: str, group: str) -> Series:
    frame = measures.table(ANATOMY.name)
    frame = frame[(frame["corpus"] == corpus) & (frame["run"] == run) & (frame["of"] == of)]
    frame = frame[frame["group"].isin(GROUPS[group])]
    if frame.empty:
        raise NotRun(f"the gradients of {run} on {corpus} were not taken apart")
    names = ["seed", "step", "block"]
    summed = frame.groupby(names, as_index=False)[list(PRODUCTS)].sum()
    seeds = sorted(summed["seed"].astype(int).unique())
    axes = {"step": sorted(summed["step"].astype(int).unique()), "block": sorted(summed["block"].astype(int).unique())}
    p = {name: to_array(summed, name, seeds, axes) for name in PRODUCTS}
    return Series(
        frame["arm"].iloc[0], corpus, seeds, axes["step"], len(axes["block"]),
        Inner.of(p["m_m"], p["m_M"], p["m_M"]),
        Inner.of(p["f_f"], p["f_F"], p["f_F"]),
        Inner.of(p["m_f"], p["m_F"], p["f_M"]),
    )  # fmt: skip


def first_measured(context: Context, arms: Sequence[str], corpus: str, of: str, group: str) -> Series:
    """The first of `arms` that was measured: public checkpoints on whatever corpus, own runs on `corpus`."""
    frame = context.measures.table(ANATOMY.name)
    for arm in arms:
        rows = frame[frame["arm"] == arm]
        if arm != "public":
            rows = rows[rows["corpus"] == corpus]
        if len(rows):
            return series(context, rows["corpus"].iloc[0], rows["run"].iloc[0], of, group)
    where = f" on {corpus}" if corpus else ""
    raise NotRun(f"no gradients were taken apart of {' or '.join(arms)}{where}")


def jackknifed(per_seed: Array, without: Array) -> Estimate:
    """Mean over seeds; SE_doc from leaving out each block for all seeds at once. per_seed [S], without [S, K].

    One seed has an interval too, over blocks alone: it speaks of these weights, not of training them again.
    """
    blocks = without.shape[-1]
    means = without.mean(0)
    se_doc = float(np.sqrt((blocks - 1) / blocks * ((means - means.mean()) ** 2).sum()))
    if len(per_seed) == 1:
        return Estimate(float(per_seed[0]), se_doc, blocks - 1.0, np.nan, 1, blocks)
    return seed_mean(per_seed, se_doc, blocks)


@estimator
def anatomy_share(
    context: Context, *, arms: Sequence[str], corpus: str, of: str = "gradient", group: str = "no-embeddings"
) -> Estimate:
    """Share of checkpoints at which the unbiased squared norm of the myopic part exceeds that of the future part."""
    all_blocks, without = first_measured(context, arms, corpus, of, group).quantity("difference", "unbiased")
    return jackknifed((all_blocks > 0).mean(1), (without > 0).mean(1))


@estimator
def anatomy_lowest_cosine(
    context: Context, *, arms: Sequence[str], corpus: str, of: str = "gradient", group: str = "no-embeddings"
) -> Estimate:
    """Unbiased cosine of the parts at the checkpoint where it is lowest.

    The lowest of many noisy numbers is low by selection, so each seed's checkpoint is the one where the other seeds'
    mean cosine is lowest. With one seed it is the lowest itself. Only checkpoints count at which at least half of
    either part's raw square is signal (mean over seeds): elsewhere the cosine is one of noise.
    """
    found = first_measured(context, arms, corpus, of, group)
    all_blocks, without = found.quantity("cosine", "unbiased")
    signal = np.all([part.unbiased.mean(0) > part.raw.mean(0) / 2 for part in (found.mm, found.ff)], axis=0)
    seeds = len(all_blocks)
    at = []
    for s in range(seeds):
        others = np.delete(all_blocks, s, axis=0) if seeds > 1 else all_blocks
        known = signal & np.isfinite(others).all(0) & np.isfinite(all_blocks[s])
        if not known.any():
            raise NotRun("the text is too little for an unbiased cosine at any checkpoint")
        at.append(int(np.argmin(np.where(known, others.mean(0), np.inf))))
    rows = np.arange(seeds)
    return jackknifed(all_blocks[rows, at], without[rows, at])


@estimator
def anatomy_cosine_at(context: Context, *, arms: Sequence[str], corpus: str, step: int, form: str = "raw") -> Estimate:
    """Cosine of the parts at one step."""
    found = first_measured(context, arms, corpus, "gradient", "no-embeddings")
    if step not in found.steps:
        raise NotRun(f"step {step} is not among the checkpoints of the arm {found.arm}")
    all_blocks, without = found.quantity("cosine", form)
    k = found.steps.index(step)
    return jackknifed(all_blocks[:, k], without[:, k])


@estimator
def anatomy_distance(context: Context, *, what: str) -> Estimate:
    """Mean distance of the public checkpoints' raw numbers from the paper's: `norms` (relative) or `cosine`."""
    found = first_measured(context, ["public"], "", "gradient", "no-embeddings")
    names = ("myopic", "future", "total") if what == "norms" else ("cosine",)
    distances, without = [], []
    for name in names:
        numbers, fewer = found.quantity(name, "raw")
        for k, step in enumerate(found.steps):
            value = paper_value(context.paper, name, step)
            if value is not None:
                distance = _distance(what, value)
                distances.append(distance(numbers[:, k]))
                without.append(distance(fewer[:, k]))
    if not distances:
        raise NotRun("none of the paper's steps is among the public checkpoints")
    return jackknifed(np.mean(distances, axis=0), np.mean(without, axis=0))


def _distance(what: str, value: float) -> Callable[[Array], Array]:
    scale = abs(value) if what == "norms" else 1.0
    return lambda ours: np.abs(ours - value) / scale


def paper_value(paper: Paper, name: str, step: int) -> float | None:
    """The digitised point of Fig 11, norms on our scale; None where it could not be read."""
    key = f"fig11-cos-step{step}" if name == "cosine" else f"fig11-{name}-norm-step{step}"
    rows = paper.frame.loc[paper.frame["id"] == key, "value"]
    return None if rows.empty else float(rows.iloc[0]) / (1 if name == "cosine" else PAPER_BATCHES)


@estimator
def bias_lowest(context: Context, *, arm: str, matrix: str, task: str = "bias-dp") -> Estimate:
    """Smallest real part among the eigenvalues of `matrix`, in units of the largest modulus of the same network."""
    frame = context.measures.table(SPECTRA.name)
    frame = frame[(frame["task"] == task) & (frame["arm"] == arm) & (frame["matrix"] == matrix)]
    if frame.empty:
        raise NotRun(f"no spectrum of {matrix} was taken for the arm {arm} on {task}")
    return seed_mean(lowest_of(frame).to_numpy())


def lowest_of(frame: pd.DataFrame) -> pd.Series:
    """Smallest real part by seed, in units of the largest modulus; rows of one matrix."""
    modulus = np.hypot(frame["real"], frame["imaginary"])
    return frame.groupby("seed")["real"].min() / modulus.groupby(frame["seed"]).max()


@estimator
def theory_value(context: Context, *, toys: Sequence[str], quantity: str, pick: str = "max") -> Estimate:
    """`max` or `min` over x of a quantity of each random problem, and over `toys`; problems are the seeds."""
    frame = context.measures.table(THEORY.name)
    frame = frame[frame["toy"].isin(toys) & (frame["quantity"] == quantity)]
    if frame.empty:
        raise NotRun(f"{quantity} was not checked on {', '.join(toys)}")
    return seed_mean(frame.groupby("seed")["value"].agg(pick).to_numpy())
