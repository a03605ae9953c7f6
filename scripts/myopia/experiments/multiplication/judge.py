"""Estimators of the multiplication experiment (Figs 9 and 10): exact match by cell of digit counts, format and arm.

The seed is the unit of replication; blocks of problems are the held-out units. All formats, arms and seeds are asked
the same problems of a cell, so differences are paired by problem.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from myopia.common.errors import MyopiaError
from myopia.config.runs import PAIR
from myopia.experiments.multiplication import CELLS
from myopia.judge.measures import NotRun, common_seeds, select, to_array
from myopia.judge.registry import Context, estimator
from myopia.judge.stats import Array, Estimate, Ratio, ratio_contrast, ratio_statistic

Cell = tuple[int, int]  # digits of the first and of the second operand


@dataclass(frozen=True)
class Exact:
    """Right answers of one format and arm, summed by block: [seeds, blocks, cells]."""

    seeds: list[int]
    cells: list[Cell]
    correct: Array
    n: Array
    correct_new: Array  # of problems that training never showed
    n_new: Array

    @property
    def level(self) -> Array:
        """Exact match of every cell, averaged over seeds."""
        return (self.correct.sum(1) / self.n.sum(1)).mean(0)

    def of(self, cell: Cell, seeds: Sequence[int], coefficient: float = 1.0, *, new: bool = False) -> Ratio:
        """Exact match in a cell."""
        if cell not in self.cells:
            raise NotRun(f"multiplication of {cell[0]} x {cell[1]} digits was not measured")
        rows, k = [self.seeds.index(seed) for seed in seeds], self.cells.index(cell)
        top, below = (self.correct_new, self.n_new) if new else (self.correct, self.n)
        return Ratio(top[rows, :, k], below[rows, :, k], coefficient)


def exact(context: Context, role: str, arm: str) -> Exact:
    """All cells of one format, by the role it plays, and arm."""
    key = ("multiplication", role, arm)
    if key not in context.measures.cache:
        what = f"multiplication, format {role}, arm {arm},"
        frame = select(context.measures.part(CELLS.name, ["role", "arm"], [role, arm]), what, arm=arm)
        cells = sorted({(int(a), int(b)) for a, b in zip(frame["x_digits"], frame["y_digits"], strict=True)})
        frame = frame.assign(cell=[cells.index(c) for c in zip(frame["x_digits"], frame["y_digits"], strict=True)])
        seeds = common_seeds([frame], what)
        axes = {"block": sorted(frame["block"].unique()), "cell": range(len(cells))}
        sums = [to_array(frame, name, seeds, axes) for name in ("correct", "n", "correct_new", "n_new")]
        context.measures.cache[key] = Exact(seeds, cells, *sums)
    return context.measures.cache[key]


def together(context: Context, wanted: Sequence[tuple[str, str]]) -> tuple[list[Exact], list[int]]:
    """Several (role, arm) with the seeds they share; other problems in one of them are refused."""
    found = [exact(context, role, arm) for role, arm in wanted]
    seeds = sorted(set.intersection(*(set(one.seeds) for one in found)))
    if not seeds:
        raise NotRun(f"multiplication: {', '.join(f'{role} {arm}' for role, arm in wanted)} share no seed")
    if any(one.n.shape[1:] != found[0].n.shape[1:] or one.cells != found[0].cells for one in found):
        raise MyopiaError(f"{CELLS.name}: formats and arms were asked different problems; measure them again.")
    return found, seeds


def between_cells(context: Context, role: str, between: Sequence[float]) -> list[Cell]:
    """Cells of a format where vanilla's exact match, its mean over seeds, lies within the bounds; `NotRun` if none."""
    vanilla = exact(context, role, "vanilla")
    cells = [
        cell for cell, value in zip(vanilla.cells, vanilla.level, strict=True) if between[0] <= value <= between[1]
    ]
    if not cells:
        raise NotRun(f"no cell has a vanilla exact match within {between[0]:g}-{between[1]:g}")
    return cells


@estimator
def multiplication_gap(context: Context, *, arms: Sequence[str], between: Sequence[float]) -> Estimate:
    """Fig 9: exact match of the first arm minus the second's, summed over the cells that are off ceiling and floor."""
    (first, second), seeds = together(context, [("grid", arm) for arm in arms])
    cells = between_cells(context, "grid", between)
    return ratio_contrast([one.of(cell, seeds, sign) for cell in cells for one, sign in ((first, 1.0), (second, -1.0))])


@estimator
def multiplication_exact(context: Context, *, role: str, arm: str, cell: Sequence[int]) -> Estimate:
    """Exact match of one format and arm in one cell."""
    (one,), seeds = together(context, [(role, arm)])
    return ratio_contrast([one.of((cell[0], cell[1]), seeds)])


@estimator
def multiplication_distance(context: Context, *, between: Sequence[float]) -> Estimate:
    """Mean |our exact match - the paper's| over both arms and the cells of Fig 9 where the paper's vanilla is off ceiling."""
    arms, seeds = together(context, [("grid", arm) for arm in PAIR])
    terms, goals = [], []
    for cell in arms[0].cells:
        printed = [paper_cell(context, f"fig9-{arm}-{cell[0]}x{cell[1]}") for arm in PAIR]
        if between[0] <= printed[0] <= between[1]:
            terms += [one.of(cell, seeds) for one in arms]
            goals += printed
    if not terms:
        raise NotRun("Fig 9 of the paper is off ceiling only for more digits than were run")
    goal = np.array(goals)
    return ratio_statistic(terms, lambda ours: np.abs(ours - goal.reshape(-1, *[1] * (ours.ndim - 1))).mean(0))


def paper_cell(context: Context, key: str) -> float:
    """A printed value, nan where the paper has none."""
    rows = context.paper.frame
    found = rows.loc[rows["id"] == key, "value"]
    return float(found.iloc[0]) if len(found) else float("nan")


def effect_terms(context: Context, role: str, against: str, arms: Sequence[str], cells: Sequence[Cell]) -> list[Ratio]:
    """(role - against) of the first arm, minus the same of the second if there is one, averaged over cells."""
    found, seeds = together(context, [(name, arm) for arm in arms for name in (role, against)])
    signs = (1.0, -1.0, -1.0, 1.0)
    return [one.of(cell, seeds, sign / len(cells)) for cell in cells for one, sign in zip(found, signs, strict=False)]


@estimator
def filler_effect(
    context: Context, *, role: str, against: str, arms: Sequence[str], between: Sequence[float]
) -> Estimate:
    """Fig 10: change of exact match from format `against` to `role`, of one arm, or the first's minus the second's.

    The mean over the cells where vanilla with short padding is off ceiling and floor: in the paper, 5 x 5 alone.
    """
    cells = between_cells(context, "short", between)
    return ratio_contrast(effect_terms(context, role, against, arms, cells))
