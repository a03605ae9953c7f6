"""Reading the size sweep: its sizes, the best learning rates, pairs of runs to compare, their losses and curves.

A *choice* says which vanilla run is compared with which myopic run at a size:

    best          each arm at its own best rate: on the grid, or frozen after tuning (the headline)
    matched       both arms at vanilla's best rate
    as_run        the authors' unequal rates and warm-ups
    paper_table5  Table 5's rate and batch, equal in both arms
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import pandas as pd

from myopia.common.errors import MyopiaError
from myopia.config.runs import PAIR
from myopia.experiments.size_sweep import CURVE, LOSS, RUNS
from myopia.judge.measures import NotRun, one_run, to_array
from myopia.judge.registry import Context
from myopia.judge.stats import Array, Ratio, settled

CHOICES = ("best", "matched", "as_run", "paper_table5")
Made = TypeVar("Made")


@dataclass(frozen=True)
class Best:
    """The rate of one arm at one size with the lowest mean validation loss, and what it was chosen on."""

    lr: float
    edge: str  # "", "low", "high": lowest or highest of its grid; "only": the grid has one rate
    selected_on: str  # "config.yaml" | "tuning seeds" | "same seeds"
    validation: pd.Series  # mean validation loss by rate, of tuning seeds if there are some


@dataclass(frozen=True)
class Pair:
    """A vanilla and a myopic run to be compared at one size."""

    size: str
    n_params: float  # parameters without embeddings
    runs: dict[str, str]  # arm -> run
    lr: dict[str, float]
    edge: bool
    selected_on: str


def _once(context: Context, key: tuple[Any, ...], make: Callable[[], Made]) -> Made:
    """What `make` gives, made once for all claims and tables that read these measurements."""
    cache = context.measures.cache
    if ("size_sweep", *key) not in cache:
        cache["size_sweep", *key] = make()
    return cache["size_sweep", *key]


def sizes(context: Context) -> pd.Series:
    """Parameters without embeddings by size, smallest first."""
    frame = context.measures.table(RUNS.name)
    return _once(
        context,
        ("sizes",),
        lambda: frame.groupby("size")["parameters_without_embeddings"].max().sort_values(kind="stable"),
    )


def best_rates(context: Context, start: str) -> dict[tuple[str, str], Best]:
    """The best rate of every (size, arm) on the grid, by validation loss.

    That which config.yaml has frozen after tuning; else chosen on the tuning seeds where a scale has some, else on the
    judged seeds themselves: then on their validation text, never on the test text that gaps are measured on.
    """
    return _once(context, ("rates", start), lambda: _best_rates(context, start))


def _best_rates(context: Context, start: str) -> dict[tuple[str, str], Best]:
    grids = [
        _of(frame, "matched", start)
        for frame in (context.measures.tuning_rows(RUNS.name), context.measures.table(RUNS.name))
    ]
    tuning, judged = grids
    if judged.empty:
        raise NotRun(f"no grid of learning rates was trained from {_from(start)}")
    found = {}
    for (size, arm), rows in judged.groupby(["size", "arm"]):
        apart = tuning[(tuning["size"] == size) & (tuning["arm"] == arm)]
        by_rate = (rows if apart.empty else apart).groupby("lr")["validation_loss"].mean()
        best, selected_on = float(by_rate.idxmin()), "same seeds" if apart.empty else "tuning seeds"
        frozen = rows.loc[rows["frozen"] == 1, "lr"]
        if len(frozen):
            best, selected_on = float(frozen.iloc[0]), "config.yaml"
        place = list(by_rate.index).index(best)
        edge = "only" if len(by_rate) == 1 else {0: "low", len(by_rate) - 1: "high"}.get(place, "")
        found[size, arm] = Best(best, edge, selected_on, by_rate)
    return found


def _of(frame: pd.DataFrame, recipe: str, start: str) -> pd.DataFrame:
    return frame[(frame["recipe"] == recipe) & (frame["start"] == start)]


def _from(start: str) -> str:
    return "random initialisation" if start == "random" else f"a {start}"


def run_at(
    context: Context, size: str, recipe: str, start: str, arm: str, lr: float | None = None
) -> tuple[str, float]:
    """(name, rate) of the run that stands for a condition; `lr` where the recipe is a grid."""
    rows = _of(context.measures.table(RUNS.name), recipe, start)
    rows = rows[(rows["size"] == size) & (rows["arm"] == arm)]
    if lr is not None:
        rows = rows[np.isclose(rows["lr"], lr, rtol=1e-6)]
    if rows.empty:
        raise NotRun(f"{recipe} from {_from(start)} was not trained at {size}")
    one_run(rows, f"{recipe}, {size}, arm {arm},")
    return str(rows["run"].iloc[0]), float(rows["lr"].iloc[0])


def pair(context: Context, size: str, choice: str, start: str) -> Pair:
    """The two runs a choice compares at a size; `NotRun` if they were not trained."""
    edge, selected_on = False, ""
    frozen = choice == "best" and not _of(context.measures.table(RUNS.name), "best", start).empty
    if frozen:
        found = {arm: run_at(context, size, "best", start, arm) for arm in PAIR}
        selected_on = "config.yaml"
    elif choice in ("best", "matched"):
        rates = best_rates(context, start)
        if any((size, arm) not in rates for arm in PAIR):
            raise NotRun(f"no grid of learning rates was trained at {size}")
        leader = {arm: rates[size, arm if choice == "best" else "vanilla"] for arm in PAIR}
        found = {arm: run_at(context, size, "matched", start, arm, leader[arm].lr) for arm in PAIR}
        edge = any(best.edge for best in leader.values())
        selected_on = leader["vanilla"].selected_on
    elif choice in CHOICES:
        found = {arm: run_at(context, size, choice, start, arm) for arm in PAIR}
    else:
        raise MyopiaError(f"claims name the choice {choice}; known are {', '.join(CHOICES)}.")
    runs, rates_used = {a: run for a, (run, _) in found.items()}, {a: lr for a, (_, lr) in found.items()}
    return Pair(size, float(sizes(context)[size]), runs, rates_used, edge, selected_on)


def pairs(context: Context, choice: str, start: str) -> list[Pair]:
    """The pair of every size that has one, smallest first."""
    return _once(context, ("pairs", choice, start), lambda: _pairs(context, choice, start))


def _pairs(context: Context, choice: str, start: str) -> list[Pair]:
    found, missing = [], ""
    for size in sizes(context).index:
        try:
            found.append(pair(context, size, choice, start))
        except NotRun as reason:
            missing = str(reason)
    if not found:
        raise NotRun(missing)
    return found


# --- held-out loss ---


@dataclass(frozen=True)
class Sums:
    """Summed loss and token counts of one run, [seeds, documents, stretches of positions]."""

    total: Array
    n: Array
    seeds: list[int]


def documents(context: Context) -> pd.DataFrame:
    """Every held-out document once, with its component; the order of the axis of all sums."""
    frame = context.measures.table(LOSS.name)[["doc", "component"]]
    return _once(
        context, ("documents",), lambda: frame.drop_duplicates("doc").sort_values("doc").reset_index(drop=True)
    )


def stretches(context: Context) -> list[int]:
    """First positions of the stretches that losses were pooled over."""
    frame = context.measures.table(LOSS.name)
    return _once(context, ("stretches",), lambda: sorted(frame["position"].astype(int).unique()))


def sums(context: Context, run: str) -> Sums:
    """A run's losses; another set of tokens than its siblings' is refused."""
    return _once(context, ("sums", run), lambda: _sums(context, run))


def _sums(context: Context, run: str) -> Sums:
    frame = context.measures.part(LOSS.name, ["run"], [run])
    if frame.empty:
        raise NotRun(f"the held-out loss of run {run} was not measured")
    seeds = sorted(frame["seed"].astype(int).unique())
    axes = {"doc": list(documents(context)["doc"]), "position": stretches(context)}
    n = to_array(frame, "n", seeds, axes)
    total = n * to_array(frame, "loss", seeds, axes)
    if np.isnan(total).any():
        raise MyopiaError(f"{LOSS.name} holds an undefined loss of {run}; measure it again.")
    if not (n == _once(context, ("tokens",), lambda: n[0])).all():
        raise MyopiaError(f"{LOSS.name}: run {run} was measured on other tokens than its siblings; measure it again.")
    return Sums(total, n, seeds)


def common_seeds(context: Context, chosen: Sequence[Pair]) -> list[int]:
    """Seeds that every run of the pairs has: only those are paired."""
    have = [set(sums(context, run).seeds) for one in chosen for run in one.runs.values()]
    seeds = sorted(set.intersection(*have))
    if not seeds:
        raise NotRun("the runs of the size sweep share no seed")
    return seeds


def gap_terms(
    context: Context,
    chosen: Sequence[Pair],
    coefficients: Sequence[float] | None = None,
    at: Sequence[int] | None = None,
    component: str | None = None,
) -> list[Ratio]:
    """Myopic - vanilla of each pair over the same seeds and documents, for `ratio_contrast`.

    at: first positions of the stretches to use, all if not given. component: its documents alone.
    """
    seeds = common_seeds(context, chosen)
    keep = slice(None) if at is None else np.isin(stretches(context), list(at))
    docs = slice(None) if component is None else (documents(context)["component"] == component).to_numpy()
    terms = []
    for one, coefficient in zip(chosen, coefficients or [1.0] * len(chosen), strict=True):
        arms = {}
        for arm, run in one.runs.items():
            held = sums(context, run)
            rows = [held.seeds.index(seed) for seed in seeds]
            arms[arm] = (held.total[rows][:, docs][..., keep].sum(-1), held.n[rows][:, docs][..., keep].sum(-1))
        difference = arms["myopic"][0] - arms["vanilla"][0]
        terms.append(Ratio(difference, arms["vanilla"][1], coefficient))
    return terms


def level_term(context: Context, run: str) -> Ratio:
    """Held-out loss of one run."""
    held = sums(context, run)
    return Ratio(held.total.sum(-1), held.n.sum(-1))


# --- learning curves ---


@dataclass(frozen=True)
class Curves:
    """Validation loss of the vanilla run and gap of a pair along training: [steps] and [seeds, steps]."""

    steps: Array
    tokens: Array
    vanilla_SK: Array
    gap_SK: Array


def curves(context: Context, one: Pair) -> Curves:
    """A pair's learning curves over the seeds and steps both runs have."""
    return _once(context, ("curves", *sorted(one.runs.items())), lambda: _curves(context, one))


def _curves(context: Context, one: Pair) -> Curves:
    wide = {}
    for arm, run in one.runs.items():
        rows = context.measures.part(CURVE.name, ["run"], [run])
        if rows.empty:
            raise NotRun(f"the learning curve of run {run} was not measured")
        wide[arm] = rows.pivot(index="seed", columns="step", values="validation_loss")
        tokens = rows.groupby("step")["tokens"].max()
    gap = (wide["myopic"] - wide["vanilla"]).dropna(axis=1, how="all").dropna(axis=0)
    if gap.empty:
        raise NotRun(f"the arms at {one.size} share no seed or step")
    vanilla = wide["vanilla"].loc[gap.index, gap.columns]
    steps = gap.columns.to_numpy(dtype=float)
    return Curves(steps, tokens[gap.columns].to_numpy(dtype=float), vanilla.to_numpy(), gap.to_numpy())


def change(context: Context, run: str) -> Array:
    """Validation loss at a run's end minus at its start, by seed: what training did at all; [seeds]."""
    rows = context.measures.part(CURVE.name, ["run"], [run])
    wide = rows.pivot(index="seed", columns="step", values="validation_loss").sort_index(axis=1)
    return (wide.iloc[:, -1] - wide.iloc[:, 0]).to_numpy()


def unsettled(context: Context, one: Pair) -> bool:
    """Whether the pair's gap is not shown to have settled: its size is no answer yet (drawn hollow, left out of slopes)."""
    found = curves(context, one)
    key = ("unsettled", *sorted(one.runs.items()))
    return _once(context, key, lambda: not settled(found.steps, found.gap_SK))


def gap_at_loss(vanilla_SK: Array, gap_SK: Array, level: float) -> Array:
    """Each seed's gap at the moment its vanilla loss has first fallen to `level`, linear between points; [seeds].

    NaN where the loss starts at or below the level (fine-tuning a better network) or never gets there.
    """
    result = np.full(len(vanilla_SK), np.nan)
    for seed, (vanilla, gap) in enumerate(zip(vanilla_SK, gap_SK, strict=True)):
        reached = np.flatnonzero(vanilla <= level)
        if len(reached) and reached[0] > 0:
            k = reached[0]
            share = (vanilla[k - 1] - level) / (vanilla[k - 1] - vanilla[k])
            result[seed] = (1 - share) * gap[k - 1] + share * gap[k]
    return result


def gaps_at_equal_loss(context: Context, chosen: Sequence[Pair]) -> tuple[float, list[Array]]:
    """(the common vanilla loss, each pair's gap by seed at that loss).

    The loss is the highest that any size ends at in any seed: all sizes pass it, the smallest one at its end.
    """
    found = [curves(context, one) for one in chosen]
    if len({len(c.gap_SK) for c in found}) > 1:
        raise NotRun("the sizes do not share their seeds")
    level = float(max(c.vanilla_SK[:, -1].max() for c in found))
    gaps = [gap_at_loss(c.vanilla_SK, c.gap_SK, level) for c in found]
    if np.isnan(np.concatenate(gaps)).any():
        raise NotRun("no vanilla loss is passed by every size: this needs runs from random initialisation")
    return level, gaps
