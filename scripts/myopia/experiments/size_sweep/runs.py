"""What the size sweep trains (paper section 5.2): sizes x recipes x arms as run specs, and what each run stands for.

A *recipe* says how the two arms of a pair are trained (protocol section 2), a *start* where from:

    matched       both arms over one grid of rates; which are compared is frozen in `finetune_lr` after tuning, or else
                  chosen by validation loss, later, by `judge`
    best          each arm at its best rate, frozen after tuning: where a grid on every seed would cost too much
    as_run        each arm at the learning rate and warm-up the authors' scripts really gave it
    paper_table5  both arms at the rate and batch of the paper's Table 5

    checkpoint    fine-tuned from a vanilla model: released weights, or our own pretraining run of the same seed
    random        from random initialisation: the gap the paper defines, which a fine-tuning gap is not

Two recipes that ask for the same training share one run.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from myopia.common.errors import MyopiaError
from myopia.common.files import canonical_json
from myopia.config.runs import ARMS, PAIR, Spec, purpose_of

if TYPE_CHECKING:
    from myopia.config.dag import Dag

RECIPES = ("matched", "best", "as_run", "paper_table5")  # the grid first: its runs are named by their rate
STARTS = ("checkpoint", "random")


@dataclass(frozen=True)
class SweepRun:
    """One run and a condition it stands for: an arm of a recipe at a size."""

    size: str
    recipe: str
    start: str
    arm: str
    run: str
    lr: float
    warmup: float
    batch_size: int
    frozen: bool  # of a grid: its arm's best rate, say the settings


@dataclass(frozen=True)
class Sweep:
    """All runs of a scale's sweep by name, and every condition that some run stands for."""

    specs: dict[str, Spec]
    size_of: dict[str, str]
    members: tuple[SweepRun, ...]

    def runs_of(self, *sizes: str) -> list[str]:
        """Runs of some sizes, each after the run it starts from."""
        return [name for name in self.specs if self.size_of[name] in sizes]

    def tuning_runs(self) -> list[str]:
        """Runs that tuning seeds train: grids with a rate to choose, and the pretraining they start from."""
        grid = {member.run for member in self.to_choose()}
        grid |= {self.specs[run]["init_from"] for run in grid if "init_from" in self.specs[run]}
        return [name for name in self.specs if name in grid]

    def to_choose(self) -> list[SweepRun]:
        """Members of grids of more than one rate, of which none is frozen."""
        grids: dict[tuple[str, ...], list[SweepRun]] = {}
        for one in self.members:
            if one.recipe == "matched":
                grids.setdefault((one.size, one.start, one.arm), []).append(one)
        found = [grid for grid in grids.values() if len(grid) > 1 and not any(one.frozen for one in grid)]
        return [one for grid in found for one in grid]

    def conditions(self) -> list[dict[str, Any]]:
        """The members as plain mappings; `tuned`: tuning seeds are trained too."""
        tuned = set(self.to_choose())
        return [{**asdict(member), "tuned": member in tuned} for member in self.members]


def sweep(settings: dict[str, Any]) -> Sweep:
    """Everything the size sweep trains at this scale. Seeds are not part of a spec."""
    making = _Making(settings, purpose_of(settings))
    section = settings["size_sweep"]
    for size in section["sizes"]:
        for recipe in RECIPES:
            for start in section["recipes"][recipe]:
                making.add(size, recipe, start)
    return Sweep(making.specs, making.size_of, tuple(making.members))


def runs(settings: dict[str, Any]) -> dict[str, Spec]:
    """Every run by name, each after the run it starts from."""
    return sweep(settings).specs


def tuning_runs(settings: dict[str, Any]) -> dict[str, Spec]:
    """The grids that freeze `scratch_lr` and `finetune_lr`; trained on tuning seeds by the target `tuned`."""
    making, section = _Making(settings, "tuning"), settings["size_sweep"]
    for size in section["sizes"]:
        if "random" in section["recipes"]["best"]:
            making.add(size, "matched", "random")
        if "finetune_lr" in section["networks"][size] and "checkpoint" in section["recipes"]["matched"]:
            making.add(size, "matched", "checkpoint")
    # Folders of their own: a scale may train the same grid on its judged seeds as well.
    named = {name: name.replace(f"family-{size}", f"family-{size}-tuning") for name, size in making.size_of.items()}
    return {
        named[name]: {**spec, "name": named[name], "purpose": "tuning"}
        | ({"init_from": named[spec["init_from"]]} if "init_from" in spec else {})
        for name, spec in making.specs.items()
    }


def seeds(settings: dict[str, Any]) -> list[int]:
    """The sweep has seeds of its own: a slope is judged from 5 on."""
    return settings["size_sweep"]["seeds"]


def grid(settings: dict[str, Any]) -> tuple[list[str], list[int]]:
    """(runs whose rates are chosen as part of `all`, the seeds that choose them)."""
    tuning_seeds = settings["size_sweep"]["tuning_seeds"]
    return (sweep(settings).tuning_runs() if tuning_seeds else []), tuning_seeds


def groups(settings: dict[str, Any]) -> dict[str, list[str]]:
    """Runs that share a training job, each after the run it starts from: those of a size; where nothing is judged, all."""
    made, sizes = sweep(settings), settings["size_sweep"]["sizes"]
    if not settings["judged"]:
        return {"size-sweep": made.runs_of(*sizes)} if made.specs else {}
    return {f"size-sweep-{size}": made.runs_of(size) for size in sizes if made.runs_of(size)}


def units(dag: Dag) -> dict[str, list[Spec]]:
    """Each size can be measured alone: an entry for each of its runs and seeds, with the conditions the run stands for.

    On tuning seeds only a run's final validation loss is read, and only where there is a rate to choose.
    """
    section = dag.settings["size_sweep"]
    conditions: dict[str, dict[str, list[dict[str, Any]]]] = {size: {} for size in section["sizes"]}
    for one in sweep(dag.settings).conditions():
        conditions[one["size"]].setdefault(one["run"], []).append(one)
    return {
        size: [
            entry
            for run, stands_for in found.items()
            for entry in (
                *(_entry(dag, run, seed, stands_for, tuning=False) for seed in section["seeds"]),
                *(_entry(dag, run, seed, stands_for, tuning=True) for seed in section["tuning_seeds"]),
            )
            if entry["conditions"]
        ]
        for size, found in conditions.items()
        if found
    }


def _entry(dag: Dag, run: str, seed: int, stands_for: list[dict[str, Any]], *, tuning: bool) -> Spec:
    folder, corpus = dag.folder(run, seed), dag.settings["size_sweep"]["corpus"]
    return {
        "run": run,
        "arm": stands_for[0]["arm"],
        "seed": seed,
        "folder": folder,
        "corpus": corpus,
        "tokens": dag.tokens(corpus),
        "conditions": [one for one in stands_for if one["tuned"] or not tuning],
        "trained": not tuning,  # of tuning seeds only this file is read
        "also": [f"{folder}/metrics.json"] if tuning else [],
    }


def finetune_grid(section: dict[str, Any], size: str) -> list[float]:
    """The learning rates both arms of a size are fine-tuned at; `section` is the settings' `size_sweep`."""
    return section["networks"][size].get("lr_grid", section["finetune"]["lr_grid"])


class _Making:
    """Specs as they come, equal ones once."""

    def __init__(self, settings: dict[str, Any], purpose: str) -> None:
        self.settings, self.section, self.purpose = settings, settings["size_sweep"], purpose
        self.specs: dict[str, Spec] = {}
        self.size_of: dict[str, str] = {}
        self.members: list[SweepRun] = []
        self.known: dict[tuple[str, str], str] = {}

    def add(self, size: str, recipe: str, start: str) -> None:
        """All runs of one recipe from one start; a size that Table 5 does not list has no such recipe."""
        network = self.section["networks"][size]
        for arm in PAIR:
            if recipe == "matched":
                tuned = start == "checkpoint"
                for rate in finetune_grid(self.section, size) if tuned else self.section["scratch"]["lr_grid"]:
                    self.member(size, recipe, start, arm, rate, f"{arm}-lr{rate:g}")
            elif recipe == "best":
                self.member(size, recipe, start, arm, network["scratch_lr"][arm], arm)
            elif recipe == "as_run":
                self.member(size, recipe, start, arm, network["as_run"][arm], f"{arm}-as-run")
            elif "table5" in network:
                self.member(size, recipe, start, arm, network["table5"]["lr"], f"{arm}-table5")

    def member(self, size: str, recipe: str, start: str, arm: str, rate: float, name: str) -> None:
        section, network = self.section, self.section["networks"][size]
        warmup = section["warmup"][recipe][arm]
        if start == "checkpoint":
            batch = network["table5"]["batch_size"] if recipe == "paper_table5" else section["finetune"]["batch_size"]
            # Equal tokens in every recipe, whatever its batch; the authors' 10M sequences in 6,144s are 1,628 steps.
            steps = math.ceil(section["finetune"]["sequences"] / batch)
            spec = self.spec(size, arm, rate, warmup, batch, steps)
            if "pretrained" not in network:
                spec["init_from"] = self.pretraining(size)
                # The order of windows goes on where pretraining stopped: fine-tuning reads text it has not seen.
                spec["data"]["first_sample"] = section["pretrain"]["steps"] * section["pretrain"]["batch_size"]
        else:
            name = f"scratch-{name}"
            batch = section["scratch"]["batch_size"]
            spec = self.spec(size, arm, rate, warmup, batch, section["scratch"]["steps"], random=True)
        run = self.keep(size, {**spec, "name": f"family-{size}-{name}", "purpose": self.purpose})
        frozen = recipe == "matched" and start == "checkpoint" and network.get("finetune_lr", {}).get(arm) == rate
        self.members.append(SweepRun(size, recipe, start, arm, run, rate, warmup, batch, frozen))

    def pretraining(self, size: str) -> str:
        """The vanilla run from random initialisation that stands for a released checkpoint."""
        pretrain, rate = self.section["pretrain"], self.section["networks"][size]["scratch_lr"]["vanilla"]
        warmup = self.section["warmup"]["matched"]["vanilla"]
        spec = self.spec(size, "vanilla", rate, warmup, pretrain["batch_size"], pretrain["steps"])
        return self.keep(size, {**spec, "name": f"family-{size}-pretrain", "purpose": "pretraining"})

    def keep(self, size: str, spec: Spec) -> str:
        """Name of the run that trains this; an equal one of the size that is already there serves."""
        content = canonical_json({key: value for key, value in spec.items() if key not in ("name", "purpose")})
        if (size, content) in self.known:
            return self.known[size, content]
        name = spec["name"]
        if name in self.specs:
            raise MyopiaError(
                f"config: two runs would be called {name}; learning rates in size_sweep must differ in their first six "
                "digits"
            )
        self.known[size, content] = name
        self.specs[name], self.size_of[name] = spec, size
        return name

    def spec(
        self, size: str, arm: str, rate: float, warmup: float, batch: int, steps: int, *, random: bool = False
    ) -> Spec:
        section, network = self.section, self.section["networks"][size]
        if "pretrained" in network:
            model: dict[str, Any] = {"pretrained": released_source(size, network)}
            if random:
                model["weights"] = "random"
        else:
            model = {"model_type": section["model_type"], "config": {**section["config"], **network["config"]}}
        return {
            "arm": ARMS[arm],
            "arm_name": arm,
            "optim": {**section["optim"], "lr": rate, "warmup": warmup},
            "steps": steps,
            "batch_size": batch,
            "micro_batch": min(network.get("micro_batch", section["finetune"]["micro_batch"]), batch),
            "precision": self.settings["precision"],
            "eval": {"every": max(1, steps // section["eval"]["points"]), "sequences": section["eval"]["sequences"]},
            "model": {"kind": "language", **model},
            "data": {"kind": "tokens", "corpus": section["corpus"], "T": self.settings["context_length"]},
        }


def released_source(size: str, network: dict[str, Any]) -> dict[str, Any]:
    """What a spec says of released weights: a folder as it is, or a hub id, fetched into networks/<size>."""
    if "revision" not in network:
        return {"id": str(Path(network["pretrained"]).expanduser())}
    return {"id": network["pretrained"], "revision": network["revision"], "network": size}


def measured_tables(dag: Dag) -> list[str]:
    """What the target `gap` is made from; MyopiaError at a scale without networks."""
    tables = dag.measured(dag.experiment("size_sweep"))
    if not tables:
        raise MyopiaError(
            "config key size_sweep.sizes: this scale has no networks; name some under size_sweep.networks "
            "(docs/tutorial.md, section 5)"
        )
    return tables
