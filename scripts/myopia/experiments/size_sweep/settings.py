"""Settings of the size sweep: recipes, networks, and what cannot be trained."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from annotated_types import Len
from pydantic import StringConstraints

from myopia.common.errors import MyopiaError
from myopia.config.runs import seeds_phrase
from myopia.config.schema import (
    ByArm,
    Count,
    Distinct,
    Natural,
    Positive,
    Schedule,
    Section,
    Seeds,
    Text,
    defaults,
    key,
)
from myopia.experiments.size_sweep.runs import finetune_grid, sweep

Grid = Annotated[list[Positive], Len(1), Distinct]
Starts = Annotated[list[Literal["checkpoint", "random"]], Distinct]
Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9.-]+$", strict=True)]
NETWORKS = yaml.safe_load(Path(__file__).with_name("networks.yaml").read_text())
EQUAL_WARMUP = {"vanilla": 0.05, "myopic": 0.05}


class Recipes(Section):
    """Which recipe is trained from which start."""

    matched: Starts = key("Both arms over one grid of learning rates.")
    best: Annotated[list[Literal["random"]], Distinct] = key(
        "Each arm at the rate frozen for it in networks.<name>.scratch_lr."
    )
    as_run: Starts = key("Rates and warm-ups as the authors' scripts really set them, unequal between the arms.")
    paper_table5: Starts = key(
        "Rate and batch of the paper's Table 5, equal in both arms; sizes the table does not list are left out."
    )


class Warmup(Section):
    """Linear warm-up of each recipe, as a share of all steps."""

    matched: ByArm = key("Also that of pretraining (vanilla).")
    best: ByArm = key("From random initialisation.")
    as_run: ByArm = key("The authors' (protocol section 2).")
    paper_table5: ByArm = key("That of the Pythia suite.")


class Pretrain(Section):
    """Vanilla training of the checkpoints that fine-tuning starts from, where none are released."""

    steps: Count = key("Optimiser steps.")
    batch_size: Count = key("Global batch.", unit="sequences")


class Scratch(Section):
    """Recipes that start from random initialisation."""

    steps: Count = key("Optimiser steps.")
    batch_size: Count = key("Global batch.", unit="sequences")
    lr_grid: Grid = key("Learning rates of both arms; the target `tuned` tries them on tuning_seeds.")


class Finetune(Section):
    """Training from a checkpoint."""

    sequences: Count = key("Text of every run, whatever its batch.", unit="sequences")
    batch_size: Count = key("Global batch (Table 5 has its own).", unit="sequences")
    micro_batch: Count = key("Most sequences per forward pass, here and from random initialisation.", unit="sequences")
    lr_grid: Grid = key("Learning rates of both arms.")


class Points(Section):
    """Validation while training."""

    points: Count = key("Points of the learning curve of a run.")
    sequences: Count = key("Validation set during training.", unit="sequences")


class Table5(Section):
    """A line of the paper's Table 5."""

    lr: Positive = key("Learning rate.")
    batch_size: Count = key("Batch.", unit="sequences")


class Network(Section):
    """A network: trained here (config), or started from released weights (pretrained); null is as if left out."""

    pretrained: Text | None = key(
        "Weights to start from: a folder that save_pretrained wrote, or a hub id with its revision, which the target "
        "`fetch` downloads.",
        None,
    )
    revision: Text | None = key("Branch, tag or commit on the hub; none for a folder.", None)
    config: dict[str, Any] | None = key("Shape of a network trained here, laid over size_sweep.config.", None)
    scratch_lr: ByArm | None = key(
        "Each arm's best rate from random initialisation, frozen after tuning; pretraining uses vanilla's.", None
    )
    finetune_lr: ByArm | None = key(
        "Each arm's best rate of the fine-tuning grid, frozen after tuning; without it tuning_seeds choose in the same run.",
        None,
    )
    as_run: ByArm | None = key("Learning rates of the recipe as_run.", None)
    table5: Table5 | None = key("Its line of Table 5.", None)
    lr_grid: Grid | None = key("Fine-tuning rates of this size, in place of finetune.lr_grid.", None)
    micro_batch: Count | None = key("In place of finetune.micro_batch.", None, unit="sequences")


class SizeSweep(Section):
    """Gap against model size (paper section 5.2, Table 5, Fig 7); recipes: docs/protocol.md section 2."""

    corpus: Text = key("Name of the corpus, cut into windows of context_length tokens like all others.", "docstrings")
    sizes: Annotated[list[Text], Distinct] = key(
        "Names under networks, smallest first; none means that nothing is trained here at this scale.", []
    )
    seeds: Seeds = key("Training seeds of the size sweep; a slope is judged from 5 on.", [0, 1, 2, 3, 4])
    tuning_seeds: Annotated[list[Natural], Distinct] = key(
        "Seeds that choose the best learning rates; none means that the seeds themselves choose, by their validation loss.",
        [100, 101, 102],
    )
    recipes: Recipes = key(
        "Which recipe is trained from which start: from a checkpoint (released, or pretrained here) or from random "
        "initialisation.",
        {"matched": ["checkpoint"], "best": ["random"], "as_run": ["checkpoint"], "paper_table5": []},
    )
    warmup: Warmup = key(
        "Linear warm-up of each recipe.",
        {
            "matched": EQUAL_WARMUP,
            "best": EQUAL_WARMUP,
            "as_run": {"vanilla": 0.05, "myopic": 0.01},  # as the authors' scripts had it
            "paper_table5": {"vanilla": 0.01, "myopic": 0.01},
        },
        unit="share of all steps",
    )
    optim: Schedule = key(
        "Optimiser and schedule of every run; learning rates and warm-ups are those of the recipe.", defaults(Schedule)
    )
    pretrain: Pretrain = key(
        "Vanilla training of the checkpoints that fine-tuning starts from, where none are released.",
        {"steps": 800, "batch_size": 32},
    )
    scratch: Scratch = key(
        "Recipes that start from random initialisation.",
        {"steps": 1200, "batch_size": 32, "lr_grid": [4.0e-3, 8.0e-3, 1.6e-2, 3.2e-2]},
    )
    finetune: Finetune = key(
        "Training from a checkpoint.",
        {"sequences": 12800, "batch_size": 32, "micro_batch": 32, "lr_grid": [2.56e-3, 6.4e-3, 1.6e-2, 5.12e-2]},
    )
    eval: Points = key("Validation while training.", {"points": 10, "sequences": 256})
    test_windows: Count = key("Most test windows evaluated, spread over documents.", 1024)
    model_type: Text = key("transformers model type of the networks trained here.", "gpt_neox")
    config: dict[str, Any] = key(
        "Settings of that type common to all networks trained here.",
        {
            "num_hidden_layers": 2,
            "max_position_embeddings": 64,
            # heads are tiny: all of a head is rotated
            "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 1.0},
        },
    )
    networks: dict[Name, Network] = key("Networks by name; sizes says which of them a scale uses.", NETWORKS)


def resolve(settings: dict[str, Any], data_root: str | None) -> None:
    """Leave out what a network's description sets to null: it takes back what a default or a scale gives."""
    networks = settings["size_sweep"]["networks"]
    for name, network in networks.items():
        networks[name] = {key: value for key, value in network.items() if value is not None}


def conditions(settings: dict[str, Any]) -> list[dict[str, Any]]:
    """Every condition that a run stands for, in the order they are made.

    Keys: size, recipe, start, arm, run (its name), lr, warmup, batch_size, frozen (whether the settings have frozen this
    rate of a grid), tuned (whether tuning seeds choose it).
    """
    return sweep(settings).conditions()


def corpora(settings: dict[str, Any]) -> dict[str, str]:
    """The one corpus, if anything is trained."""
    section = settings["size_sweep"]
    return {section["corpus"]: "size_sweep.corpus"} if section["sizes"] else {}


def options(settings: dict[str, Any]) -> dict[str, Any]:
    """How much test text losses are measured on."""
    return {"max_windows": settings["size_sweep"]["test_windows"]}


def caption(settings: dict[str, Any]) -> str:
    """What the figures' captions say about this scale."""
    section = settings["size_sweep"]
    given = [size for size in section["sizes"] if "pretrained" in section["networks"][size]]
    pretrain, scratch = section["pretrain"], section["scratch"]
    start = "from given weights" if given else f"pretrained for {pretrain['steps']} steps of {pretrain['batch_size']}"
    return (
        f"Scale {settings['scale']}: {', '.join(given) or section['model_type']} on {section['corpus']}; {start},"
        f" fine-tuned on {section['finetune']['sequences']} sequences of {settings['context_length']} tokens; from random"
        f" initialisation {scratch['steps']} steps of {scratch['batch_size']}; {seeds_phrase(section['seeds'])}"
        " (paper: released Pythia weights, 10,000,000 sequences of the Pile, one run)."
    )


def check(settings: dict[str, Any]) -> None:
    """Refuse a sweep that could not be trained; MyopiaError names the key."""
    section = settings["size_sweep"]
    for size in section["sizes"]:
        if size not in section["networks"]:
            raise MyopiaError(
                f"config key size_sweep.sizes: {size!r} is not described under size_sweep.networks (known: "
                f"{', '.join(section['networks'])})"
            )
        _check_network(settings, size)
    overlap = set(section["seeds"]) & set(section["tuning_seeds"])
    if overlap:
        raise MyopiaError(
            f"config key size_sweep.tuning_seeds: seed {min(overlap)} is also judged; tune on other seeds"
        )
    for spec in sweep(settings).specs.values():
        if spec["batch_size"] % spec["micro_batch"]:
            raise MyopiaError(
                f"config key size_sweep: run {spec['name']} would cut its batch of {spec['batch_size']} into "
                f"micro-batches of {spec['micro_batch']}; set micro_batch to a divisor"
            )


def _check_network(settings: dict[str, Any], size: str) -> None:
    section, network = settings["size_sweep"], settings["size_sweep"]["networks"][size]
    where = f"config key size_sweep.networks.{size}"
    if ("pretrained" in network) == ("config" in network):
        raise MyopiaError(f"{where}: give either config (trained here) or pretrained (released weights)")
    if "pretrained" in network:
        _check_released(network, settings["context_length"], f"{where}.pretrained")
    elif "scratch_lr" not in network:
        raise MyopiaError(f"{where}: the key 'scratch_lr' is missing")
    for recipe, rates in (("as_run", "as_run"), ("best", "scratch_lr")):
        if section["recipes"][recipe] and rates not in network:
            raise MyopiaError(
                f"{where}: the key {rates!r} is missing; give it, or set size_sweep.recipes.{recipe} to []"
            )
    grid = finetune_grid(section, size)
    for arm, rate in network.get("finetune_lr", {}).items():
        if rate not in grid:
            raise MyopiaError(
                f"{where}.finetune_lr.{arm}: {rate:g} is not in the grid this size is fine-tuned over "
                f"({', '.join(f'{tried:g}' for tried in grid)}); freeze one of these"
            )
    if "config" in network:
        config = {**section["config"], **network["config"]}
        width, heads = config.get("hidden_size"), config.get("num_attention_heads")
        if width and heads and width % heads:
            raise MyopiaError(f"{where}.config: width {width} is not divisible by {heads} heads")
        _check_positions(config.get("max_position_embeddings"), settings["context_length"], f"{where}.config")


def _check_released(network: dict[str, Any], T: int, where: str) -> None:
    """A hub id has a revision; anything else must be a folder with a model that can read windows of T tokens."""
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
    _check_positions(config.get("max_position_embeddings") or config.get("n_positions"), T, where)


def _check_positions(positions: int | None, T: int, where: str) -> None:
    if positions and positions < T:
        raise MyopiaError(f"{where}: windows of {T} tokens (context_length) do not fit into its {positions} positions")
