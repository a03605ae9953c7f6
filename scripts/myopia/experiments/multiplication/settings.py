"""Settings and runs of the multiplication experiment: formats x arms, all at the same learning rates."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Any, Literal

from annotated_types import Ge, Le, Len
from pydantic import Strict

from myopia.common.errors import MyopiaError
from myopia.config.runs import PAIR, Spec, add, common_spec, grid_specs, purpose_of, seeds_phrase, shape_phrase
from myopia.config.schema import Count, Distinct, Evaluation, Optimizer, Rates, Section, Text, key, optimizer
from myopia.experiments.multiplication.formats import MAX_DIGITS, SYMBOLS, Planned, formats, roles_of

if TYPE_CHECKING:
    from myopia.config.dag import Dag

Digits = Annotated[int, Strict(), Ge(1), Le(MAX_DIGITS)]
LossOn = Literal["answer", "all"]


class Grid(Section):
    """Fig 9: exact match over digit counts."""

    digits: Digits = key("Most digits of an operand; counts are uniform from 1 on.")
    pad: Count = key("Digits an operand is padded to; at least `digits`.")
    loss_on: LossOn = key("Tokens whose prediction is trained: the answer's, or all but the first.")
    batch_size: Count = key("Global batch.", unit="problems")


class Filler(Section):
    """Fig 10: the same problems with short and with long padding."""

    digits: Digits = key("Most digits of an operand.")
    pads: Annotated[list[Count], Len(2, 2)] = key("Digits operands are padded to, short and long; at least `digits`.")
    controls: Annotated[list[Literal["after", "lead"]], Distinct] = key(
        "With as many filler symbols as long padding adds: `after` puts them between the equals sign and the answer, "
        "`lead` before the operands, where they see nothing and only lengthen the distance."
    )
    loss_on: LossOn = key("Tokens whose prediction is trained: the answer's, or all but the first.")
    batch_size: Count = key("Global batch.", unit="problems")


class Multiplication(Section):
    """Paper D.3: digits least significant first, zeros fill up; GPT-2's shape from random initialisation."""

    # batch of Table 4 and of the authors' 8-digit script
    grid: Grid = key(
        "Fig 9: exact match over digit counts, operands padded to one length.",
        {"digits": 8, "pad": 8, "loss_on": "answer", "batch_size": 512},
    )
    # as the authors' 5-digit script had it
    filler: Filler = key(
        "Fig 10: the same problems with short and with long padding; a format that Fig 9 has too is trained once.",
        {"digits": 5, "pads": [5, 10], "controls": ["after", "lead"], "loss_on": "answer", "batch_size": 1024},
    )
    tokenizer: Text | None = key(
        "Folder whose tokenizer is used, such as GPT-2's; it must have one token for every digit and sign. null: a "
        "vocabulary of the 13 symbols alone.",
        None,
    )
    examples: Count = key("Training problems of every run.", 10_000_000, unit="problems")
    micro_batch: Count = key("Most problems per forward pass; gradients are accumulated.", 512, unit="problems")
    # attention dropout is 0 in every arm (protocol section 2)
    model: dict[str, Any] = key(
        "Settings of GPT-2's config; positions follow from the format, attention dropout is 0 unless set.",
        {
            "n_layer": 12,
            "n_embd": 768,
            "n_head": 12,
            "embd_pdrop": 0.1,
            "resid_pdrop": 0.1,
            "activation_function": "gelu_pytorch_tanh",
        },
    )
    optim: Optimizer = key("Optimiser and schedule, the same in all formats.", optimizer(vanilla=6.0e-4, myopic=6.0e-4))
    lr_grid: Rates = key(
        "Learning rates tried for both arms by the target `tuned`, on the grid and on short padding; all formats run at "
        "the rates of optim.lr.",
        [3.0e-4, 6.0e-4, 1.2e-3],
    )
    eval: Evaluation = key("Validation while training.", {"every": 500, "sequences": 8192})
    test_problems: Annotated[int, Strict(), Ge(32)] = key(
        "Fresh problems for each pair of digit counts.", 1024, unit="problems"
    )


def runs(settings: dict[str, Any]) -> dict[str, Spec]:
    """One run for each format and arm; formats that are not in the paper are controls."""
    specs: dict[str, Spec] = {}
    for planned in formats(settings["multiplication"]):
        for arm in PAIR:
            add(specs, _spec(settings, planned, arm, "control" if planned.control else purpose_of(settings)))
    return specs


def tuning_runs(settings: dict[str, Any]) -> dict[str, Spec]:
    """The learning-rate grid, of the formats rates are chosen on."""
    section = settings["multiplication"]
    specs: dict[str, Spec] = {}
    for planned in (one for one in formats(section) if one.tuned):
        specs |= grid_specs(lambda arm, one=planned: _spec(settings, one, arm, "tuning"), section["lr_grid"])
    return specs


def _spec(settings: dict[str, Any], planned: Planned, arm: str, purpose: str) -> Spec:
    """One run: GPT-2's shape with as many positions as the format has tokens."""
    section, form, batch = settings["multiplication"], planned.format, planned.batch_size
    tokenizer = section["tokenizer"]
    batched = {
        **section,
        "batch_size": batch,
        "micro_batch": min(section["micro_batch"], batch),
        "steps": math.ceil(section["examples"] / batch),
    }
    # The type's defaults name special tokens of its own tokenizer, which ours need not have.
    config = {"attn_pdrop": 0.0, "n_positions": form.T, "bos_token_id": None, "eos_token_id": None, **section["model"]}
    if tokenizer is None:
        config.setdefault("vocab_size", len(SYMBOLS))
    return {
        **common_spec(settings, batched, arm, purpose),
        "name": f"{form.name}-{arm}",
        "model": {"kind": "language", "model_type": "gpt2", "config": config},
        "data": form.data(tokenizer),
    }


def units(dag: Dag) -> dict[str, list[Spec]]:
    """Each run and seed can be measured alone."""
    section = dag.settings["multiplication"]
    return {
        f"{run}-seed{seed}": [
            {
                "run": run,
                "arm": dag.runs[run]["arm_name"],
                "seed": seed,
                "folder": dag.folder(run, seed),
                "roles": roles_of(section, run),
                "data": dag.runs[run]["data"],
                "examples": dag.runs[run]["steps"] * dag.runs[run]["batch_size"],
            }
        ]
        for run in dag.of("multiplication")
        for seed in dag.seeds(run)
    }


def options(settings: dict[str, Any]) -> Spec:
    """How many problems of each pair of digit counts a run is asked."""
    return {"problems": settings["multiplication"]["test_problems"]}


def caption(settings: dict[str, Any]) -> str:
    """What the figures' captions say about this scale."""
    section = settings["multiplication"]
    return (
        f"Scale {settings['scale']}: {shape_phrase('gpt2', section['model'])}, {section['examples']:,} training problems,"
        f" {seeds_phrase(settings['seeds'])} (paper: GPT-2 small, 10,000,000 problems, one run)."
    )


def check(settings: dict[str, Any]) -> None:
    """Refuse an experiment that could not be trained; MyopiaError names the key."""
    section = settings["multiplication"]
    for one in formats(section):
        if one.batch_size % min(section["micro_batch"], one.batch_size):
            raise MyopiaError(
                f"config key multiplication.micro_batch: {section['micro_batch']} does not divide the batch of "
                f"{one.batch_size}"
            )
        positions = section["model"].get("n_positions", one.format.T)
        if not isinstance(positions, int) or positions < one.format.T:
            raise MyopiaError(
                f"config key multiplication.model.n_positions: {one.format.name} has {one.format.T} tokens, more than "
                f"{positions!r}; leave n_positions out"
            )
    width, heads = section["model"].get("n_embd", 768), section["model"].get("n_head", 12)
    if width % heads:
        raise MyopiaError(f"config key multiplication.model: n_embd {width} is not divisible by n_head {heads}")
    for arm in PAIR:
        if arm not in section["optim"]["lr"]:
            raise MyopiaError(f"config key multiplication.optim.lr: the arm {arm} needs a learning rate")
