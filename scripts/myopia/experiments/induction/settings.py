"""Settings and runs of the induction experiment: repeated random sequences, vanilla and myopic."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from annotated_types import Ge, Len, MultipleOf
from pydantic import Strict

from myopia.common.errors import MyopiaError
from myopia.config.runs import (
    PAIR,
    Spec,
    add,
    check_batches,
    check_heads,
    common_spec,
    grid_specs,
    purpose_of,
    seeds_phrase,
)
from myopia.config.schema import Count, Distinct, Evaluation, Natural, Optimizer, Rates, Section, key, optimizer

if TYPE_CHECKING:
    from myopia.config.dag import Dag

SHORTEST = 3
"""Tokens of the shortest period: in a shorter one the token to copy is the one just before."""

BLOCK = 64
"""Sequences to a block, the held-out unit that is resampled."""


class Task(Section):
    """Random sequences read again from random places."""

    T: Annotated[int, Strict(), Ge(2)] = key("Sequence length.", unit="tokens")
    vocab_size: Count = key("Different tokens.")
    period: Annotated[list[Count], Len(2, 2)] = key("Shortest and longest period.", unit="tokens")


class Model(Section):
    """GPT-2's shape, randomly initialised."""

    n_layers: Count = key("Layers; a previous-token head needs one above it.")
    n_heads: Count = key("Attention heads.")
    d_model: Count = key("Width.")


class Induction(Section):
    """Repeated random sequences (protocol section 10)."""

    task: Task = key("The sequences.", {"T": 24, "vocab_size": 12, "period": [4, 8]})
    # few heads, so that one head does one thing
    model: Model = key("The network.", {"n_layers": 2, "n_heads": 2, "d_model": 64})
    # frozen: best mean validation loss on seeds 100-102, 600 steps (docs/results/laptop/tuning-induction.csv)
    optim: Optimizer = key("Optimiser and schedule.", optimizer(vanilla=1.0e-3, myopic=1.0e-3))
    lr_grid: Rates = key("Learning rates tried for both arms by the target `tuned`.", [3.0e-4, 1.0e-3, 3.0e-3, 1.0e-2])
    batch_size: Count = key("Global batch.", 64, unit="sequences")
    micro_batch: Count = key("Sequences per forward pass; gradients are accumulated.", 64, unit="sequences")
    steps: Count = key("Optimiser steps.", 3000)
    eval: Evaluation = key("Validation while training.", {"every": 50, "sequences": 256})
    snapshots: Annotated[list[Natural], Distinct] = key(
        "Steps whose weights are kept; heads are scored there and at the end.",
        [0, 50, 100, 150, 200, 250, 300, 400, 600, 1000, 2000],
    )
    test_sequences: Annotated[int, Strict(), Ge(2 * BLOCK), MultipleOf(BLOCK)] = key(
        f"Held-out sequences of the loss table, a multiple of {BLOCK}.", 4096
    )
    head_sequences: Count = key("Held-out sequences heads are scored on.", 512)


def runs(settings: dict[str, Any]) -> dict[str, Spec]:
    """One run for each arm of the pair."""
    specs: dict[str, Spec] = {}
    for arm in PAIR:
        add(specs, {**_spec(settings, arm, purpose_of(settings)), "snapshots": settings["induction"]["snapshots"]})
    return specs


def tuning_runs(settings: dict[str, Any]) -> dict[str, Spec]:
    """The learning-rate grid."""
    return grid_specs(lambda arm: _spec(settings, arm, "tuning"), settings["induction"]["lr_grid"])


def _spec(settings: dict[str, Any], arm: str, purpose: str) -> Spec:
    section = settings["induction"]
    model = section["model"]
    return {
        **common_spec(settings, section, arm, purpose),
        "name": f"induction-{arm}",
        "model": {
            "kind": "language",
            "model_type": "gpt2",
            "config": {
                "vocab_size": section["task"]["vocab_size"], "n_positions": section["task"]["T"],
                "n_layer": model["n_layers"], "n_head": model["n_heads"], "n_embd": model["d_model"],
                "attn_pdrop": 0.0, "embd_pdrop": 0.0, "resid_pdrop": 0.0, "activation_function": "gelu_pytorch_tanh",
            },
        },
        "data": {"kind": "induction", **section["task"]},
    }  # fmt: skip


def units(dag: Dag) -> dict[str, list[Spec]]:
    """Each run and seed can be measured alone."""
    return {
        f"{run}-seed{seed}": [
            {
                "run": run,
                "arm": spec["arm_name"],
                "seed": seed,
                "folder": dag.folder(run, seed),
                "data": spec["data"],
                "steps": spec["steps"],
                "snapshots": spec["snapshots"],
            }
        ]
        for run, spec in ((run, dag.runs[run]) for run in dag.of("induction"))
        for seed in dag.seeds(run)
    }


def measuring(settings: dict[str, Any]) -> Spec:
    """How many test sequences losses and heads are measured on."""
    return {key: settings["induction"][key] for key in ("test_sequences", "head_sequences")}


def caption(settings: dict[str, Any]) -> str:
    """What the figure's caption says about this scale."""
    section = settings["induction"]
    task, model = section["task"], section["model"]
    return (
        f"Scale {settings['scale']}: gpt2 with {model['n_layers']} layers of width {model['d_model']}; sequences of"
        f" {task['vocab_size']} kinds of tokens that repeat after {task['period'][0]} to {task['period'][1]};"
        f" {section['steps']} steps of {section['batch_size']} sequences, {seeds_phrase(settings['seeds'])}."
    )


def check(settings: dict[str, Any]) -> None:
    """Refuse settings that make no task or no network, naming the key."""
    section = settings["induction"]
    check_heads(section["model"], "induction.model")
    check_batches(section, "induction")
    if section["model"]["n_layers"] < 2:
        raise MyopiaError("config key induction.model.n_layers: a previous-token head needs a layer above that uses it")
    late = [step for step in section["snapshots"] if step > section["steps"]]
    if late:
        raise MyopiaError(f"config key induction.snapshots: step {late[0]} lies beyond the last, {section['steps']}")
    wrong = why_no_task(**section["task"])
    if wrong:
        raise MyopiaError(f"config key induction.task.{wrong}")


def why_no_task(T: Any, vocab_size: Any, period: Any) -> str | None:
    """What is wrong with a task of repeated sequences, as `<key> must be ..., but it is ...`; None if nothing is.

    T: tokens in a sequence; vocab_size: different tokens; period: shortest and longest, in tokens.
    """
    for name, value in (("T", T), ("vocab_size", vocab_size)):
        if not _is_whole(value):
            return f"{name} must be a whole number, but it is {value!r}"
    if not (isinstance(period, (list, tuple)) and len(period) == 2 and all(map(_is_whole, period))):
        return f"period must be two whole numbers, the shortest and the longest, but it is {period!r}"
    shortest, longest = period
    if not SHORTEST <= shortest <= longest:
        return f"period must be at least {SHORTEST} and its end no shorter than its start, but it is {list(period)}"
    if longest > vocab_size:
        return (
            f"period must not exceed the {vocab_size} tokens of the vocabulary, as no token stands twice in a period, "
            f"but it is {list(period)}"
        )
    if longest + 2 > T:
        return (
            f"T must be at least {longest + 2}, where a longest period's repeat begins to tell something, but it is {T}"
        )
    return None


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
