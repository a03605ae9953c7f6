"""What Snakemake must know of a scale: runs and their folders, training and measuring jobs, what each reads and writes.

One object, `Dag`, made from resolved settings; rules ask it for lists of paths and for digests, and hold no logic of
their own. The command line makes the same object from settings.json, so a command names runs instead of spelling them.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from myopia.common.errors import MyopiaError
from myopia.common.files import sha256_file
from myopia.config.corpora import from_hub
from myopia.config.experiment import Experiment, Measurement, chosen
from myopia.config.load import digest, settings_path
from myopia.config.plan import run_shape
from myopia.config.runs import CODE_VERSION, Spec, output_root

SPLITS = ("train", "validation", "test")
SHORT = 100_000
"""Tokens of a run that trains faster than torch starts; such runs of an experiment share a job."""


@dataclass(frozen=True)
class Job:
    """A training job: these runs, one after another, each on these seeds."""

    name: str
    runs: tuple[str, ...]
    seeds: tuple[int, ...]


class Dag:
    """All jobs of a scale and their files; `settings` as `load_config` resolves them."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self.settings = settings
        self.results: str = settings["results"]
        self.experiments: list[Experiment] = chosen(settings["experiments"])
        self.running = [one for one in self.experiments if not one.optional]
        self.shared: bool = settings["share_process"]
        self.runs: dict[str, Spec] = {}
        self.tuning: dict[str, Spec] = {}
        self.owner: dict[str, Experiment] = {}
        for one in self.experiments:
            for specs, into in ((one.runs(settings), self.runs), (one.tuning(settings), self.tuning)):
                into |= specs
                self.owner |= dict.fromkeys(specs, one)
        # Asked for once per job: some are whole families of runs, made anew at every call.
        self._grids = {one.name: one.grid(settings) for one in self.experiments}
        self._seeds = {one.name: one.seeds(settings) for one in self.experiments}
        self._units: dict[str, dict[str, list[Spec]]] = {}

    @property
    def settings_file(self) -> str:
        return str(settings_path(self.settings))

    def experiment(self, name: str) -> Experiment:
        """An experiment that runs at this scale."""
        found = next((one for one in self.experiments if one.name == name), None)
        if found is None:
            names = ", ".join(one.name for one in self.experiments)
            raise MyopiaError(f"experiment {name} does not run here: {self.settings_file} has {names}")
        return found

    # --- runs ---

    def of(self, experiment: str, *arms: str) -> list[str]:
        """Judged and control runs of an experiment, of some arms or of all."""
        found = [run for run in self.runs if self.owner[run].name == experiment]
        return [run for run in found if self.runs[run]["arm_name"] in arms] if arms else found

    def spec(self, run: str, seeds: Iterable[int] = ()) -> Spec:
        """A run's spec; on the seeds that choose an experiment's rates it says that it is there for tuning."""
        spec = self.runs.get(run) or self.tuning[run]
        _, tuning_seeds = self._grids[self.owner[run].name]
        return {**spec, "purpose": "tuning"} if seeds and set(seeds) <= set(tuning_seeds) else spec

    def seeds(self, run: str) -> list[int]:
        """The seeds a run is judged on, or tuned on."""
        if run not in self.runs:
            return self.settings["tuning_seeds"]
        return self._seeds[self.owner[run].name]

    def seeds_of(self, one: Experiment) -> list[int]:
        """The seeds an experiment's runs are judged on."""
        return self._seeds[one.name]

    def folder(self, run: str, seed: int | str) -> str:
        """Where a finished run lies."""
        return f"{self.results}/{output_root(self.spec(run))}/{run}/seed{seed}"

    def files(self, runs: Iterable[str], file: str, seeds: Sequence[int] | None = None) -> list[str]:
        """That file of every run on each of its seeds."""
        return [f"{self.folder(run, s)}/{file}" for run in runs for s in (self.seeds(run) if seeds is None else seeds)]

    def everything(self, file: str) -> list[str]:
        """That file of all runs that `all` trains, those that choose rates included."""
        files = self.files(self.runs, file)
        for one in self.experiments:
            names, seeds = self._grids[one.name]
            files += self.files(names, file, seeds)
        return files

    def run_folders(self) -> list[str]:
        """Folders of all runs that `all` trains."""
        return [os.path.dirname(path) for path in self.everything("metrics.json")]

    # --- text ---

    def tokens(self, corpus: str) -> str:
        """Folder of an encoded corpus."""
        return f"{self.results}/data/{corpus}/tokens"

    def manifest(self, corpus: str) -> str:
        """What says that a corpus is encoded."""
        return f"{self.tokens(corpus)}/tokens.manifest.json"

    def text_files(self, corpora: Iterable[str], file: str) -> list[str]:
        """That file of every corpus."""
        return [f"{self.results}/data/{corpus}/{file}" for corpus in corpora]

    def corpus_digest(self, *parts: str, **further: Any) -> Callable[[Any], str]:
        """Function of wildcards: a rule's dependence on parts of its corpus's description, and on what else is given."""

        def of_corpus(wildcards: Any) -> str:
            corpus = self.settings["corpora"][wildcards.corpus]
            return digest([[corpus[part] for part in parts], further, CODE_VERSION["data"]])

        return of_corpus

    def hub_texts(self) -> list[str]:
        """Corpora that are downloaded."""
        return [name for name, corpus in self.settings["corpora"].items() if corpus["source"]["kind"] == "hub"]

    def hub_tokenizers(self) -> list[str]:
        """Corpora whose tokenizer is downloaded."""
        return [name for name, corpus in self.settings["corpora"].items() if from_hub(corpus["tokenizer"])]

    def networks(self) -> dict[str, Spec]:
        """Released weights that runs start from and that are fetched, by name: {"id", "revision"}."""
        found = {}
        for spec in self.runs.values():
            source = spec["model"].get("pretrained") or {}
            if "network" in source:
                found[source["network"]] = source
        return found

    # --- training jobs ---

    def jobs(self) -> list[Job]:
        """Training jobs where all seeds of a run share a process; short runs of an experiment share one, too."""
        made = []
        for one in self.experiments:
            names, tuning_seeds = self._grids[one.name]
            for name, group in (one.groups(self.settings) if one.groups else self._groups(one)).items():
                label = re.sub(r"[^a-z0-9]+", "_", name)
                made.append(Job(f"train_{label}", tuple(group), tuple(self._seeds[one.name])))
                chosen_by = tuple(run for run in group if run in names)
                if chosen_by and tuning_seeds:
                    made.append(Job(f"tune_{label}", chosen_by, tuple(tuning_seeds)))
        return made + self.tuning_jobs()

    def _groups(self, one: Experiment) -> dict[str, list[str]]:
        groups: dict[str, list[str]] = {}
        for run in self.of(one.name):
            spec = self.runs[run]
            short = spec["steps"] * spec["batch_size"] * spec["data"].get("T", 1) <= SHORT
            label = f"{one.name}-{output_root(spec)}-{spec['data'].get('corpus', 'made')}" if short else run
            groups.setdefault(label, []).append(run)
        return groups

    def tuning_jobs(self) -> list[Job]:
        """A job for each run of the learning-rate grids, on all tuning seeds."""
        seeds = tuple(self.settings["tuning_seeds"])
        return [Job("tune_" + re.sub(r"[^a-z0-9]+", "_", run), (run,), seeds) for run in self.tuning]

    def training_inputs(self, runs: Sequence[str], seeds: Sequence[int | str]) -> list[str]:
        """What a job reads: encoded corpora, models of other jobs that teach or begin its runs, fetched weights."""
        specs = [self.spec(run) for run in runs]
        corpora = sorted({spec["data"]["corpus"] for spec in specs if "corpus" in spec["data"]})
        models = sorted({spec[key] for spec in specs for key in ("teacher", "init_from") if key in spec} - {*runs})
        networks = sorted({(spec["model"].get("pretrained") or {}).get("network") for spec in specs} - {None})
        return [
            *map(self.manifest, corpora),
            *self.files(models, "model.safetensors", seeds),
            *(f"{self.results}/networks/{name}/revision.json" for name in networks),
        ]

    def training_outputs(self, runs: Iterable[str], seeds: Sequence[int]) -> list[str]:
        """What a job writes, for every run and seed."""
        found = []
        for run in runs:
            record = ["myopia.json"] if output_root(self.spec(run)) == "arms" else []
            for file in ("model.safetensors", "config.json", *record, "curve.csv", "metrics.json"):
                found += self.files([run], file, seeds)
        return found

    def training_digest(self, runs: Iterable[str], seeds: Iterable[int]) -> str:
        """What a training job depends on beside its inputs."""
        return digest([[self.spec(run, seeds) for run in runs], list(seeds), CODE_VERSION["train"]])

    def in_folder(self, root: str) -> list[str]:
        """All runs, grids included, whose results lie under a folder: runs, or arms."""
        return [run for run in (*self.runs, *self.tuning) if output_root(self.spec(run)) == root]

    def fetched_checkpoints(self) -> list[str]:
        """What says that released weights are here: those that runs start from, and those that are only measured."""
        networks = [f"{self.results}/networks/{name}/revision.json" for name in self.networks()]
        return networks + [path for one in self.experiments if one.checkpoints for path in one.checkpoints(self)]

    def memory(self, runs: Iterable[str], processes: int) -> int:
        """Host memory of a job that opens these networks, MB: of every process its libraries, and a state as it is read."""
        shapes = [run_shape(self.settings, self.spec(run)) for run in runs]
        largest = max((shape.parameters for shape in shapes if shape is not None), default=0)
        return processes * (3000 + 16 * largest // 10**6)

    def memory_asked(
        self, runs: Iterable[str] | None = None, processes: int | None = None
    ) -> Callable[[Any, int], int]:
        """Function of (wildcards, attempt): memory of a job with these runs, or with the run its wildcard names."""
        count = processes or self.settings["devices"]
        known = None if runs is None else self.memory(runs, count)
        return lambda wildcards, attempt: scale_by_attempt(
            self.memory([wildcards.run], count) if known is None else known, attempt
        )

    # --- measuring jobs ---

    def measurement(self, name: str) -> tuple[Experiment, Measurement]:
        """A measurement by its name, and whose it is."""
        for one in self.experiments:
            for m in one.measurements:
                if m.name == name:
                    return one, m
        raise MyopiaError(f"{self.settings_file} has no measurement {name}")

    def measured(self, *experiments: Experiment) -> list[str]:
        """Tables that measuring writes for these experiments."""
        return [path for one in experiments for m in one.measurements for path in self.tables_measured(m)]

    def tables_measured(self, m: Measurement) -> list[str]:
        """Tables of one measurement; none where there is nothing to measure."""
        return [f"{self.results}/measure/{table.name}" for table in m.tables] if self.units(m) else []

    def units(self, m: Measurement) -> dict[str, list[Spec]]:
        """What is measured together: all of it in one job, or each unit in its own. Nothing to measure: {}."""
        if m.name not in self._units:
            units = m.units(self)
            whole = {"all": [run for runs in units.values() for run in runs]}
            self._units[m.name] = whole if self.shared and units else units
        return self._units[m.name]

    def part(self, m: Measurement, unit: str) -> str:
        """Folder a measuring job writes its tables to."""
        return f"{self.results}/measure" if self.shared else f"{self.results}/measure/parts/{m.name}/{unit}"

    def parts(self, m: Measurement) -> list[str]:
        """Tables of all units of a measurement."""
        return [f"{self.part(m, unit)}/{table.name}" for unit in self.units(m) for table in m.tables]

    def unit_outputs(self, m: Measurement) -> list[str]:
        """What the measuring rule writes; with the wildcard {unit} where each unit is a job."""
        return [f"{self.part(m, '{unit}')}/{table.name}" for table in m.tables]

    def unit_file(self, m: Measurement, folder: str, suffix: str) -> str:
        """Log or benchmark of the measuring rule."""
        return f"{folder}/{m.name}{'' if self.shared else '/{unit}'}.{suffix}"

    def unit_inputs(self, m: Measurement) -> Callable[[Any], list[str]]:
        """Function of wildcards: files of the runs that a unit opens, and what else its measurement reads."""

        def files(wildcards: Any) -> list[str]:
            runs = self.units(m)["all" if self.shared else wildcards.unit]
            folders = dict.fromkeys(run["folder"] for run in runs if run.get("trained", True))
            also = dict.fromkeys(path for run in runs for path in run.get("also", ()))
            return [*(f"{folder}/{file}" for folder in folders for file in m.files), *also, *m.needs(self)]

        return files

    def unit_digest(self, m: Measurement) -> Callable[[Any], str]:
        """Function of wildcards: what the job depends on beside its inputs."""
        return lambda wildcards: digest(
            [self.units(m)["all" if self.shared else wildcards.unit], m.options(self.settings), CODE_VERSION["measure"]]
        )

    # --- judging and drawing ---

    def sources(self, one: Experiment) -> list[Experiment]:
        """An experiment and those it reads, directly or through others."""
        found = [one]
        for name in one.reads:
            found += [source for source in self.sources(self.experiment(name)) if source not in found]
        return found

    def captions(self, one: Experiment) -> dict[str, str]:
        """What the captions of an experiment's figures say about this scale."""
        return {f.name: f.caption(self.settings) if f.caption else "" for f in one.drawn}

    def figures(self) -> list[str]:
        """Every figure of `all`."""
        return [figure.name for one in self.running for figure in one.drawn]

    def tables(self) -> list[str]:
        """Every table of `all` that is drawn or read."""
        return [figure.name for one in self.running for figure in one.figures]

    def targets(self) -> list[str]:
        """What `all` makes."""
        return [
            *(f"{self.results}/figures/{figure}.svg" for figure in self.figures()),
            *(f"{self.results}/tables/{table}.csv" for table in (*self.tables(), "verdicts", "seeds")),
            f"{self.results}/report.html",
        ]

    def tables_of(self, one: Experiment) -> list[str]:
        """Paths of an experiment's tables."""
        return [f"{self.results}/tables/{figure.name}.csv" for figure in one.figures]

    def judging_digest(self, one: Experiment) -> str:
        """What judging an experiment depends on beside what was measured and claimed."""
        return digest([self.settings["scale"], [figure.columns for figure in one.figures]])

    def section_files(self) -> list[str]:
        """Texts of the report's sections."""
        return [os.path.relpath(path) for one in self.experiments if (path := one.folder / "section.yaml").is_file()]

    def rules_files(self) -> list[Path]:
        """Rules that experiments bring beside the core's."""
        return [path for one in self.experiments if (path := one.folder / "rules.smk").is_file()]

    def optional_tables(self) -> list[str]:
        """Tables of optional experiments that are there, with a hash of what they hold."""
        places = [Path(self.results, one.output, "tables") for one in self.experiments if one.optional]
        return [f"{path.name} {sha256_file(path)[:16]}" for place in places for path in sorted(place.glob("*.csv"))]

    def claim_files(self, one: Experiment) -> list[str]:
        """Claims files that judging an experiment reads: its own, and those its claims may lean on."""
        paths = [source.folder / "claims.yaml" for source in self.sources(one)]
        return [os.path.relpath(path) for path in paths if path.is_file()]


def scale_by_attempt(amount: int, attempt: int) -> int:
    """What a later attempt is given: one stopped for time or memory needs more, but no queue is endless."""
    return amount * min(attempt, 3)


def regex_any(names: Iterable[str]) -> str:
    """A wildcard constraint; no names match nothing."""
    return "|".join(re.escape(name) for name in names) or "(?!)"
