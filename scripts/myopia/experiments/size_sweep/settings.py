"""The model family (paper section 5.2): sizes x recipes x arms as run specs, and which run stands for what.

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

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from myopia.common.errors import MyopiaError
from myopia.common.files import canonical_json
from myopia.config.runs import ARMS

RECIPES = ("matched", "best", "as_run", "paper_table5")  # the grid first: its runs are named by their rate
STARTS = ("checkpoint", "random")
PAIR = ("vanilla", "myopic")


@dataclass(frozen=True)
class Member:
    """One run in the role it plays: an arm of a recipe at a size."""

    size: str
    recipe: str
    start: str
    arm: str
    run: str
    lr: float
    warmup: float
    batch_size: int
    frozen: bool  # of a grid: its arm's best rate, says config.yaml


@dataclass(frozen=True)
class Family:
    """All runs of a scale's family by name, and every role they play."""

    specs: dict[str, dict[str, Any]]
    size_of: dict[str, str]
    members: tuple[Member, ...]

    def runs_of(self, *sizes: str) -> list[str]:
        """Runs of some sizes, each after the run it starts from."""
        return [name for name in self.specs if self.size_of[name] in sizes]

    def tuning_runs(self) -> list[str]:
        """Runs that tuning seeds train: grids of more than one rate, and the pretraining they start from."""
        grid = {member.run for member in self.members if self._tuned(member)}
        grid |= {self.specs[run]["init_from"] for run in grid if "init_from" in self.specs[run]}
        return [name for name in self.specs if name in grid]

    def _tuned(self, member: Member) -> bool:
        """Whether there is a rate to choose where this run stands."""

        def grid(m: Member) -> tuple[str, ...]:
            return m.recipe, m.size, m.start, m.arm

        tried = [other for other in self.members if grid(other) == grid(member)]
        return member.recipe == "matched" and len(tried) > 1 and not any(other.frozen for other in tried)

    def roles(self) -> list[dict[str, Any]]:
        """The members as plain mappings for `evaluate_family.py`; `tuned`: tuning seeds were trained too."""
        return [{**asdict(member), "tuned": self._tuned(member)} for member in self.members]


def family(settings: dict[str, Any]) -> Family:
    """Everything the family trains at this scale. Seeds are not part of a spec."""
    made = _Making(settings, "judged" if settings["judged"] else "smoke")
    for size in settings["family"]["sizes"]:
        for recipe in RECIPES:
            for start in settings["family"]["recipes"].get(recipe, []):
                made.add(size, recipe, start)
    return Family(made.specs, made.size_of, tuple(made.members))


def frozen_rate_specs(settings: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The grids that freeze `scratch_lr` and `finetune_lr`; trained on tuning seeds by the `tuned` target."""
    made, part = _Making(settings, "tuning"), settings["family"]
    for size in part["sizes"]:
        if "random" in part["recipes"].get("best", []):
            made.add(size, "matched", "random")
        if "finetune_lr" in part["networks"][size] and "checkpoint" in part["recipes"].get("matched", []):
            made.add(size, "matched", "checkpoint")
    # Folders of their own: a scale may train the same grid on its judged seeds as well.
    named = {name: name.replace(f"family-{size}", f"family-{size}-tuning") for name, size in made.size_of.items()}
    return {
        named[name]: {**spec, "name": named[name], "purpose": "tuning"}
        | ({"init_from": named[spec["init_from"]]} if "init_from" in spec else {})
        for name, spec in made.specs.items()
    }


def finetune_grid(part: dict[str, Any], size: str) -> list[float]:
    """The learning rates both arms of a size are fine-tuned at; `part` is the config's `family`."""
    return part["networks"][size].get("lr_grid", part["finetune"]["lr_grid"])


class _Making:
    """Specs as they come, equal ones once."""

    def __init__(self, settings: dict[str, Any], purpose: str) -> None:
        self.settings, self.part, self.purpose = settings, settings["family"], purpose
        self.specs: dict[str, dict[str, Any]] = {}
        self.size_of: dict[str, str] = {}
        self.members: list[Member] = []
        self.known: dict[tuple[str, str], str] = {}

    def add(self, size: str, recipe: str, start: str) -> None:
        """All runs of one recipe from one start; a size that Table 5 does not list has no such recipe."""
        network = self.part["networks"][size]
        for arm in PAIR:
            if recipe == "matched":
                grid = finetune_grid(self.part, size) if start == "checkpoint" else self.part["scratch"]["lr_grid"]
                for rate in grid:
                    self.member(size, recipe, start, arm, rate, f"{arm}-lr{rate:g}")
            elif recipe == "best":
                self.member(size, recipe, start, arm, network["scratch_lr"][arm], arm)
            elif recipe == "as_run":
                self.member(size, recipe, start, arm, network["as_run"][arm], f"{arm}-as-run")
            elif "table5" in network:
                self.member(size, recipe, start, arm, network["table5"]["lr"], f"{arm}-table5")

    def member(self, size: str, recipe: str, start: str, arm: str, rate: float, name: str) -> None:
        part, network = self.part, self.part["networks"][size]
        warmup = part["warmup"][recipe][arm]
        if start == "checkpoint":
            batch = network["table5"]["batch_size"] if recipe == "paper_table5" else part["finetune"]["batch_size"]
            # Equal tokens in every recipe, whatever its batch; the authors' 10M sequences in 6,144s are 1,628 steps.
            steps = math.ceil(part["finetune"]["sequences"] / batch)
            spec = self.spec(size, arm, rate, warmup, batch, steps)
            if "pretrained" not in network:
                spec["init_from"] = self.pretraining(size)
                # The order of windows goes on where pretraining stopped: fine-tuning reads text it has not seen.
                spec["data"]["first_sample"] = part["pretrain"]["steps"] * part["pretrain"]["batch_size"]
        else:
            name = f"scratch-{name}"
            batch = part["scratch"]["batch_size"]
            spec = self.spec(size, arm, rate, warmup, batch, part["scratch"]["steps"], random=True)
        run = self.keep(size, {**spec, "name": f"family-{size}-{name}", "purpose": self.purpose})
        frozen = recipe == "matched" and start == "checkpoint" and network.get("finetune_lr", {}).get(arm) == rate
        self.members.append(Member(size, recipe, start, arm, run, rate, warmup, batch, frozen))

    def pretraining(self, size: str) -> str:
        """The vanilla run from random initialisation that stands for a released checkpoint."""
        pretrain, rate = self.part["pretrain"], self.part["networks"][size]["scratch_lr"]["vanilla"]
        warmup = self.part["warmup"]["matched"]["vanilla"]
        spec = self.spec(size, "vanilla", rate, warmup, pretrain["batch_size"], pretrain["steps"])
        return self.keep(size, {**spec, "name": f"family-{size}-pretrain", "purpose": "pretraining"})

    def keep(self, size: str, spec: dict[str, Any]) -> str:
        """Name of the run that trains this; an equal one of the size that is already there serves."""
        content = canonical_json({key: value for key, value in spec.items() if key not in ("name", "purpose")})
        if (size, content) in self.known:
            return self.known[size, content]
        name = spec["name"]
        if name in self.specs:
            raise MyopiaError(
                f"config: two runs would be called {name}; learning rates in family must differ in their first six "
                "digits"
            )
        self.known[size, content] = name
        self.specs[name], self.size_of[name] = spec, size
        return name

    def spec(
        self, size: str, arm: str, rate: float, warmup: float, batch: int, steps: int, *, random: bool = False
    ) -> dict[str, Any]:
        part, network = self.part, self.part["networks"][size]
        if "pretrained" in network:
            model: dict[str, Any] = {"pretrained": released_source(size, network)}
            if random:
                model["weights"] = "random"
        else:
            model = {"model_type": part["model_type"], "config": {**part["config"], **network["config"]}}
        return {
            "arm": ARMS[arm],
            "arm_name": arm,
            "optim": {**part["optim"], "lr": rate, "warmup": warmup},
            "steps": steps,
            "batch_size": batch,
            "micro_batch": min(network.get("micro_batch", part["finetune"]["micro_batch"]), batch),
            "precision": self.settings["precision"],
            "eval": {"every": max(1, steps // part["eval"]["points"]), "sequences": part["eval"]["sequences"]},
            "model": {"kind": "language", **model},
            "data": {"kind": "tokens", "corpus": part["corpus"], "T": self.settings["text"]["T"]},
        }


def check_family(settings: dict[str, Any]) -> None:
    """Refuse a family that could not be trained.

    Raises:
        MyopiaError: the message names the key.
    """
    part = settings["family"]
    known = ", ".join(part["networks"])
    for size in part["sizes"]:
        if size not in part["networks"]:
            raise MyopiaError(
                f"config key family.sizes: {size!r} is not described under family.networks (known: {known})"
            )
        _check_network(settings, size)
    overlap = set(part["seeds"]) & set(part["tuning_seeds"])
    if overlap:
        raise MyopiaError(f"config key family.tuning_seeds: seed {min(overlap)} is also judged; tune on other seeds")
    for spec in family(settings).specs.values():
        if spec["batch_size"] % spec["micro_batch"]:
            raise MyopiaError(
                f"config key family: run {spec['name']} would cut its batch of {spec['batch_size']} into "
                f"micro-batches of {spec['micro_batch']}; set micro_batch to a divisor"
            )


def _check_network(settings: dict[str, Any], size: str) -> None:
    part, network = settings["family"], settings["family"]["networks"][size]
    where = f"config key family.networks.{size}"
    if ("pretrained" in network) == ("config" in network):
        raise MyopiaError(f"{where}: give either config (trained here) or pretrained (released weights)")
    if "pretrained" in network:
        _check_released(settings, size, f"{where}.pretrained")
    elif "scratch_lr" not in network:
        raise MyopiaError(f"{where}: the key 'scratch_lr' is missing")
    for recipe, key in (("as_run", "as_run"), ("best", "scratch_lr")):
        if part["recipes"].get(recipe) and key not in network:
            raise MyopiaError(f"{where}: the key {key!r} is missing; give it, or set family.recipes.{recipe} to []")
    grid = finetune_grid(part, size)
    for arm, rate in network.get("finetune_lr", {}).items():
        if rate not in grid:
            raise MyopiaError(
                f"{where}.finetune_lr.{arm}: {rate:g} is not in the grid this size is fine-tuned over "
                f"({', '.join(f'{tried:g}' for tried in grid)}); freeze one of these"
            )
    if "config" in network:
        config = {**part["config"], **network["config"]}
        width, heads = config.get("hidden_size"), config.get("num_attention_heads")
        if width and heads and width % heads:
            raise MyopiaError(f"{where}.config: width {width} is not divisible by {heads} heads")
        positions = config.get("max_position_embeddings")
        if positions and positions < settings["text"]["T"]:
            raise MyopiaError(
                f"{where}.config: windows of {settings['text']['T']} tokens (text.T) do not fit into its "
                f"{positions} positions"
            )


def released_source(size: str, network: dict[str, Any]) -> dict[str, Any]:
    """What a spec says of released weights: a folder as it is, or a hub id, fetched into networks/<size>."""
    if "revision" not in network:
        return {"id": str(Path(network["pretrained"]).expanduser())}
    return {"id": network["pretrained"], "revision": network["revision"], "network": size}


def fetched_networks(settings: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Networks of this scale's family whose weights come from the hub."""
    part = settings["family"]
    return {size: part["networks"][size] for size in part["sizes"] if "revision" in part["networks"][size]}


def _check_released(settings: dict[str, Any], size: str, where: str) -> None:
    """A hub id has a revision; anything else must be a folder with a model that can read the windows."""
    network, T = settings["family"]["networks"][size], settings["text"]["T"]
    folder = Path(network["pretrained"]).expanduser()
    if "revision" in network:
        if folder.is_dir():
            raise MyopiaError(f"{where}: {network['pretrained']} is a folder here: leave out its revision")
        return
    if not folder.is_dir():
        raise MyopiaError(
            f"{where}: there is no folder {network['pretrained']}; for a model on the hub give its revision, too"
        )
    try:
        config = json.loads((folder / "config.json").read_text())
    except (OSError, ValueError) as error:
        raise MyopiaError(f"{where}: {folder / 'config.json'} cannot be read ({error})") from None
    if not any(folder.glob("*.safetensors")):
        raise MyopiaError(f"{where}: {folder} holds no .safetensors file; save the model with save_pretrained")
    positions = config.get("max_position_embeddings") or config.get("n_positions")
    if positions and positions < T:
        raise MyopiaError(f"{where}: windows of {T} tokens (text.T) do not fit into the {positions} positions it has")
