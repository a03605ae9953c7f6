"""What an experiment is to the rest of the pipeline: one declaration, which imports nothing heavy.

The core (common, config, data, model, train, measure, judge, show) names no experiment. It finds them here, by the one
list in `myopia.experiments`, and calls what they declare. A reference like "tables:fig4_position" is a function of a
module of the experiment's package, imported when it is called: planning needs no torch, drawing needs no training code.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from myopia.common.errors import MyopiaError

if TYPE_CHECKING:
    from myopia.config.dag import Dag

Settings = dict[str, Any]
Spec = dict[str, Any]


@dataclass(frozen=True)
class Table:
    """A csv file under `measure/`: written by measuring, read by judging, described nowhere else."""

    name: str
    columns: tuple[str, ...]
    text: frozenset[str]  # columns that hold text; all others hold numbers
    about: str = ""  # what a row is, and columns whose names do not say it

    @classmethod
    def of(cls, name: str, columns: str, text: str = "", about: str = "") -> Table:
        """`columns` and `text` as comma-separated names; run, arm and corpus are text wherever they stand."""
        return cls(name, tuple(columns.split(",")), frozenset(text.split(",")) | {"run", "arm", "corpus"}, about)


@dataclass(frozen=True)
class Figure:
    """A table under `tables/` that judging makes and, unless it is only read, the figure drawn from it alone.

    columns: what the table has, even when nothing was measured. table: function of a judge's `Context` -> DataFrame.
    draw: function of the table -> matplotlib figure; None for a table that is read. caption: function of the settings ->
    what is said beside the figure about this scale.
    """

    name: str
    columns: tuple[str, ...]
    table: str
    draw: str | None = None
    caption: Callable[[Settings], str] | None = None

    @classmethod
    def of(
        cls, name: str, columns: str, table: str, draw: str | None = None,
        caption: Callable[[Settings], str] | None = None,
    ) -> Figure:  # fmt: skip
        """`columns` as comma-separated names."""
        return cls(name, tuple(columns.split(",")), table, draw, caption)


@dataclass(frozen=True)
class Measurement:
    """A kind of measuring job: which runs it opens, what it writes.

    run: function of (runs, options, device) -> {table name: DataFrame}, where `runs` is a list of mappings with at least
    `folder`, the run's results (`also`: further files it reads; `trained: False`: it has no results). units: what can be
    measured apart, {name: runs}; where each seed is a process of its own a job measures one unit, elsewhere one job
    measures them all, in this order. files: what must be in the folder of every run. needs: further files, as paths. env:
    envs/<env>.yaml. priority: of Snakemake, for what takes longest.
    """

    name: str
    tables: tuple[Table, ...]
    run: str
    units: Callable[[Dag], dict[str, list[Spec]]]
    options: Callable[[Settings], Spec] = field(default=lambda settings: {})
    files: tuple[str, ...] = ("model.safetensors",)
    needs: Callable[[Dag], list[str]] = field(default=lambda dag: [])
    env: str = "evaluate"
    gpu: bool = True
    priority: int = 0


@dataclass(frozen=True)
class Experiment:
    """One experiment: its settings, runs, measurements, figures and claims.

    name: of its package and of its section in the settings. section: the pydantic model of that section. title: a line
    for lists. runs: settings -> {name: spec} of what is trained to be judged; tuning: the same for the learning-rate
    grids, trained on tuning seeds by the target `tuned`. prefix: with what the names of its runs begin. reads: other
    experiments whose runs, measurements or code it uses; it is refused where they do not run. corpora: settings ->
    corpora it trains on or reads, with the key that names them. resolve: completes the settings in place (data_root).
    check: raises MyopiaError for settings that make no sense together. streams: kind of made data -> "module:function".
    seeds: settings -> the seeds of its runs, where they are not the scale's. grid: settings -> (runs that tuning seeds train
    as part of `all` to choose a rate, those seeds). groups: settings -> {label: runs} that share a training job, in order.
    commands: sub-command of the command line -> "module:function", for its own rules; verbs: the same for people.
    checkpoints: dag -> records of downloaded checkpoints that are only measured. tuning_tables: tables the target `tuned`
    makes beside tuning.csv. optional: its figures are made by a target of its own, never by `all`.
    """

    name: str
    title: str
    section: type[BaseModel]
    runs: Callable[[Settings], dict[str, Spec]] = field(default=lambda settings: {})
    tuning: Callable[[Settings], dict[str, Spec]] = field(default=lambda settings: {})
    prefix: str = ""
    measurements: tuple[Measurement, ...] = ()
    figures: tuple[Figure, ...] = ()
    reads: tuple[str, ...] = ()
    corpora: Callable[[Settings], dict[str, str]] = field(default=lambda settings: {})
    resolve: Callable[[Settings, str | None], None] | None = None
    check: Callable[[Settings], None] | None = None
    streams: Mapping[str, str] = field(default_factory=dict)
    seeds: Callable[[Settings], list[int]] = field(default=lambda settings: settings["seeds"])
    grid: Callable[[Settings], tuple[list[str], list[int]]] = field(default=lambda settings: ([], []))
    groups: Callable[[Settings], dict[str, list[str]]] | None = None
    commands: Mapping[str, str] = field(default_factory=dict)
    verbs: Mapping[str, str] = field(default_factory=dict)
    checkpoints: Callable[[Dag], list[str]] | None = None
    tuning_tables: tuple[str, ...] = ()
    optional: bool = False

    def load(self, reference: str) -> Callable[..., Any]:
        """The function "module:function" (or "module:Class.method") of this experiment's package."""
        module, function = reference.split(":")
        found = importlib.import_module(f"myopia.experiments.{self.name}.{module}")
        for part in function.split("."):
            found = getattr(found, part)
        return found

    @property
    def folder(self) -> Path:
        """Of its package, with claims.yaml, section.yaml, scales.yaml and rules.smk where it has them."""
        return Path(importlib.import_module(f"myopia.experiments.{self.name}").__file__).parent

    @property
    def output(self) -> str:
        """Folder of its measurements, tables and figures within the results: "" but for optional experiments."""
        return self.name if self.optional else ""

    @property
    def has_claims(self) -> bool:
        """Whether it asks anything of the results."""
        return (self.folder / "claims.yaml").is_file()

    def register_estimators(self) -> None:
        """Import what its claims are judged by."""
        if self.has_claims:
            importlib.import_module(f"myopia.experiments.{self.name}.judge")

    @property
    def drawn(self) -> list[Figure]:
        """Figures that are drawn, tables that are only read left out."""
        return [figure for figure in self.figures if figure.draw]

    def figure(self, name: str) -> Figure:
        """One of its figures or tables."""
        return next(figure for figure in self.figures if figure.name == name)


def listed() -> tuple[str, ...]:
    """Names of all experiments in the list, in the order of reports."""
    return tuple(importlib.import_module("myopia.experiments").NAMES)


def known() -> tuple[str, ...]:
    """The listed experiments whose sources are listed, too; without a source there is nothing an experiment could do."""
    return tuple(name for name in listed() if absent(name) is None)


@functools.cache
def absent(name: str) -> str | None:
    """A source of a listed experiment that the list lacks, or that lacks one itself; None if all are there."""
    try:
        sources = importlib.import_module(f"myopia.experiments.{name}").EXPERIMENT.reads
    except ModuleNotFoundError as error:
        # It imports from the package of a source, which was removed together with its line in the list.
        source = (error.name or "").removeprefix("myopia.experiments.").partition(".")[0]
        if source in listed() or not (error.name or "").startswith("myopia.experiments."):
            raise
        return source
    missing = (source if source not in listed() else absent(source) for source in sources)
    return next((source for source in missing if source is not None), None)


@functools.cache
def experiment(name: str) -> Experiment:
    """One experiment by name."""
    if name not in known():
        raise MyopiaError(f"there is no experiment {name!r}; known are {', '.join(known())}")
    return importlib.import_module(f"myopia.experiments.{name}").EXPERIMENT


def chosen(names: Sequence[str] | None = None) -> list[Experiment]:
    """The named experiments (all without names), in the order of the list.

    Raises:
        MyopiaError: an unknown name, or an experiment whose declared sources are not among them.
    """
    wanted = listed() if names is None else tuple(names)
    for name in wanted:
        if name not in listed():
            raise MyopiaError(f"config key experiments: {name!r} is unknown; it must be one of {', '.join(known())}")
        if gone := absent(name):
            raise MyopiaError(
                f"config key experiments: {name} reads what {gone} made, and there is no {gone}; leave it out"
            )
        missing = [other for other in experiment(name).reads if other not in wanted]
        if missing:
            raise MyopiaError(
                f"config key experiments: {name} reads what {' and '.join(missing)} made; add "
                f"{'it' if len(missing) == 1 else 'them'}, or leave {name} out"
            )
    return [experiment(name) for name in listed() if name in wanted]


def stream_builder(kind: str) -> Callable[[Mapping[str, Any]], Any] | None:
    """What builds the made data of a kind, by whichever experiment brought it; None if none did."""
    for name in known():
        one = experiment(name)
        if kind in one.streams:
            return one.load(one.streams[kind])
    return None


def figure_named(name: str) -> tuple[Experiment, Figure]:
    """A figure by its name, and the experiment it belongs to."""
    for one in map(experiment, known()):
        for figure in one.figures:
            if figure.name == name:
                return one, figure
    raise MyopiaError(f"there is neither an experiment nor a figure {name!r}; experiments are {', '.join(known())}")


@functools.cache
def measured_table(name: str) -> Table:
    """The description of a measured csv file by its name, whichever experiment measures it."""
    for one in map(experiment, known()):
        for measurement in one.measurements:
            for table in measurement.tables:
                if table.name == name:
                    return table
    raise MyopiaError(f"no experiment measures {name}")
