"""Estimators of the zero-shot experiment (Fig 5): accuracy of both arms on the same items.

Several seeds: the seed is the unit, items (passages of one document together) are the clusters. One pair of models:
McNemar's exact test on the shared items.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from myopia.common.errors import MyopiaError
from myopia.config.runs import PAIR
from myopia.experiments.zero_shot import SCORES
from myopia.experiments.zero_shot.paired import pair
from myopia.judge.measures import NotRun, common_seeds, select, to_array
from myopia.judge.registry import Context, estimator
from myopia.judge.stats import Array, Estimate, Ratio, bootstrap_weights, ratio_contrast

PAPER_TASKS = {"LAMBADA": "lambada_openai", "PIQA": "piqa", "SciQ": "sciq", "ARC-Easy": "arc_easy"}
"""The paper's name of a task -> lm-eval's. LAMBADA has two versions; the paper does not say which it used."""


@dataclass(frozen=True)
class Scores:
    """What the arms got right on the same items of one task, summed by cluster: [seeds, clusters]."""

    correct: dict[str, Array]
    n: Array
    chance: Array  # expected score of a guess, summed like `correct`
    seeds: list[int]
    clusters: list[str]
    items: dict[str, dict[int, Array]]  # arm -> seed -> 0/1 of every item, in the order of items


def scores(context: Context, task: str, model: str, arms: Sequence[str]) -> Scores:
    """All arms on the same items and seeds; different items in two arms are refused."""
    key = ("zero_shot", task, model, tuple(arms))
    if key not in context.measures.cache:
        context.measures.cache[key] = _scores(context, task, model, arms)
    return context.measures.cache[key]


def _scores(context: Context, task: str, model: str, arms: Sequence[str]) -> Scores:
    what = f"zero-shot {task} of {model}"
    frames = [
        select(
            context.measures.part(SCORES.name, ["task", "model", "arm"], [task, model, arm]),
            f"{what}, arm {arm},",
            arm=arm,
        )
        for arm in arms
    ]
    seeds = common_seeds(frames, what)
    items = {
        arm: {int(seed): rows.sort_values("item") for seed, rows in frame.groupby("seed")}
        for arm, frame in zip(arms, frames, strict=True)
    }
    reference = items[arms[0]][seeds[0]]
    if reference["item"].duplicated().any():
        raise MyopiaError(f"{SCORES.name}: an item of {what} appears twice for one seed; measure it again.")
    for of_arm in items.values():
        for seed in seeds:
            if not np.array_equal(of_arm[seed]["item"], reference["item"]):
                raise MyopiaError(f"{SCORES.name}: the models of {what} saw different items; measure them again.")
    clusters = sorted(reference["cluster"].unique())
    axes = {"cluster": clusters}
    sums = [
        frame.assign(n=1).groupby(["seed", "cluster"], as_index=False)[["correct", "chance", "n"]].sum()
        for frame in frames
    ]
    return Scores(
        {arm: to_array(total, "correct", seeds, axes) for arm, total in zip(arms, sums, strict=True)},
        to_array(sums[0], "n", seeds, axes),
        to_array(sums[0], "chance", seeds, axes),
        seeds,
        clusters,
        {arm: {seed: items[arm][seed]["correct"].to_numpy(dtype=float) for seed in seeds} for arm in arms},
    )


def models_of(context: Context, task: str, models: Sequence[str] | None = None) -> list[str]:
    """Models measured on a task, all of `models` if given; `NotRun` names what is missing.

    Where sizes of the paper's were measured they alone stand for its claims, not what else was trained here.
    """
    table = context.measures.table(SCORES.name)
    found = sorted(table.loc[table["task"] == task, "model"].unique())
    missing = sorted(set(models or ()) - set(found))
    if missing or not found:
        raise NotRun(f"zero-shot {task}{' of ' + ', '.join(missing) if missing else ''} was not measured")
    papers = set(paper_cells(context)["model"])
    return list(models or [model for model in found if model in papers] or found)


def gap_of(score: Scores, arms: Sequence[str] = PAIR) -> Estimate:
    """Accuracy of the first arm minus the second's on the items of one task and model."""
    if len(score.seeds) == 1 and len(score.clusters) == len(score.items[arms[0]][score.seeds[0]]):
        first, second = (score.items[arm][score.seeds[0]] for arm in arms)
        return pair(int((first > second).sum()), int((second > first).sum()), len(first))
    difference = score.correct[arms[0]] - score.correct[arms[1]]
    return ratio_contrast([Ratio(difference, score.n)], one_seed_counts=True)


def _over_models(
    context: Context, task: str, arms: Sequence[str], models: Sequence[str] | None, *, chance: bool
) -> Estimate:
    """Mean over models of (first arm - second arm), or of (arm - chance), paired by seed and item."""
    names = models_of(context, task, models)
    found = [scores(context, task, model, arms) for model in names]
    if len(found) == 1 and not chance:
        return gap_of(found[0], arms)
    seeds = sorted(set.intersection(*(set(s.seeds) for s in found)))
    if not seeds:
        raise NotRun(f"zero-shot {task}: {', '.join(names)} share no seed")
    clusters = sorted(set().union(*(s.clusters for s in found)))
    terms = []
    for score in found:
        top = score.correct[arms[0]] - (score.chance if chance else score.correct[arms[1]])
        rows = [score.seeds.index(seed) for seed in seeds]
        at = pd.Index(clusters).get_indexer(score.clusters)
        spread = [np.zeros((len(seeds), len(clusters))) for _ in range(2)]
        for target, values in zip(spread, (top, score.n), strict=True):
            target[:, at] = values[rows]
        terms.append(Ratio(spread[0], spread[1], 1 / len(found)))
    return ratio_contrast(terms, one_seed_counts=True)


@estimator
def zero_shot_gap(context: Context, *, task: str, arms: Sequence[str], models: Sequence[str] | None = None) -> Estimate:
    """Accuracy of the first arm minus the second's, averaged over the models measured on the task."""
    return _over_models(context, PAPER_TASKS.get(task, task), arms, models, chance=False)


@estimator
def zero_shot_above_chance(context: Context, *, task: str, arm: str, models: Sequence[str] | None = None) -> Estimate:
    """Accuracy of one arm minus what a guess scores, averaged over the models measured on the task."""
    return _over_models(context, PAPER_TASKS.get(task, task), [arm], models, chance=True)


@estimator
def cloze_gap(context: Context, *, corpus: str, arms: Sequence[str]) -> Estimate:
    """`zero_shot_gap` on the last-word cloze of a corpus, of the models trained on that corpus."""
    return zero_shot_gap(context, task=f"cloze-{corpus}", arms=arms, models=[corpus])


@estimator
def cloze_above_chance(context: Context, *, corpus: str, arm: str) -> Estimate:
    """`zero_shot_above_chance` on the last-word cloze of a corpus."""
    return zero_shot_above_chance(context, task=f"cloze-{corpus}", arm=arm, models=[corpus])


def paper_cells(context: Context) -> pd.DataFrame:
    """Fig 5's digitised accuracies: task (lm-eval's name), model, vanilla, myopic; rows by model size."""
    paper = context.paper.frame
    rows = paper[(paper["item"] == "Fig 5") & (paper["source"] == "paper")]
    names = rows["series"].str.rsplit(" ", n=1).str[0]
    wide = rows.assign(task=names.map(PAPER_TASKS)).pivot(index=["task", "x"], columns="arm", values="value")
    return wide.reset_index().rename(columns={"x": "model"})


def _cells(context: Context) -> list[tuple[Scores, dict[str, float]]]:
    """Measured cells that the paper has too, each with the paper's accuracies; all tasks and sizes must be there."""
    return [
        (scores(context, cell.task, models_of(context, cell.task, [cell.model])[0], PAIR),
         {arm: float(getattr(cell, arm)) for arm in PAIR})
        for cell in paper_cells(context).itertuples()
    ]  # fmt: skip


def _resampled(cells: Sequence[Scores], summary: Callable[[dict[str, Array]], float]) -> tuple[float, float, int]:
    """(value, standard error, items) of a summary of all cells' accuracies {arm: [cells]}.

    Items of a task are resampled together in all its models: its cells share a matrix of draws through their size.
    """
    value = summary({arm: np.array([c.correct[arm].sum() / c.n.sum() for c in cells]) for arm in PAIR})
    drawn: dict[str, list[Array]] = {arm: [] for arm in PAIR}
    for cell in cells:
        weights = bootstrap_weights(cell.n.shape[1])
        below = weights @ cell.n.sum(0)
        for arm in PAIR:
            drawn[arm].append(weights @ cell.correct[arm].sum(0) / below)
    samples = [
        summary({arm: np.array([column[k] for column in drawn[arm]]) for arm in PAIR}) for k in range(len(below))
    ]
    return float(value), float(np.std(samples, ddof=1)), min(cell.n.shape[1] for cell in cells)


@estimator
def zero_shot_distance(context: Context) -> Estimate:
    """Largest |our accuracy - the paper's| over all cells of Fig 5; the error is that of sampling items."""
    cells = _cells(context)
    paper = {arm: np.array([values[arm] for _, values in cells]) for arm in PAIR}
    value, se, n = _resampled(
        [score for score, _ in cells], lambda ours: max(np.abs(ours[arm] - paper[arm]).max() for arm in PAIR)
    )
    return Estimate(value, se, n - 1.0, float("nan"), min(len(score.seeds) for score, _ in cells), n)


@estimator
def zero_shot_signs(context: Context, *, above: float) -> Estimate:
    """Share of the cells with a paper gap beyond `above` in which our gap (vanilla - myopic) has the paper's sign."""
    cells = [(score, values) for score, values in _cells(context) if abs(values["vanilla"] - values["myopic"]) > above]
    sign = np.sign([values["vanilla"] - values["myopic"] for _, values in cells])
    value, se, n = _resampled(
        [score for score, _ in cells], lambda ours: np.mean(np.sign(ours["vanilla"] - ours["myopic"]) == sign)
    )
    return Estimate(value, se, n - 1.0, float("nan"), min(len(score.seeds) for score, _ in cells), n)
