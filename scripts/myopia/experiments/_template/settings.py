"""Settings and runs: what can be set, and what is trained."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from annotated_types import Ge
from pydantic import Strict

from myopia.common.errors import MyopiaError
from myopia.config.runs import PAIR, Spec, add, check_batches, check_heads, common_spec, grid_specs, purpose_of
from myopia.config.schema import Count, Evaluation, Optimizer, Rates, Section, key, optimizer

if TYPE_CHECKING:
    from myopia.config.dag import Dag


class Model(Section):
    """GPT-2's shape, randomly initialised."""

    n_layers: Count = key("Layers.")
    n_heads: Count = key("Attention heads.")
    d_model: Count = key("Width.")


class Template(Section):
    """A sequence of random tokens and the same sequence again."""

    length: Annotated[int, Strict(), Ge(2)] = key("Tokens of one reading.", 8, unit="tokens")
    vocab_size: Annotated[int, Strict(), Ge(2)] = key("Different tokens.", 16)
    model: Model = key("The network.", {"n_layers": 2, "n_heads": 2, "d_model": 64})
    optim: Optimizer = key("Optimiser and schedule.", optimizer(vanilla=1.0e-3, myopic=1.0e-3))
    lr_grid: Rates = key("Learning rates tried for both arms by the target `tuned`.", [3.0e-4, 1.0e-3, 3.0e-3])
    batch_size: Count = key("Global batch.", 64, unit="sequences")
    micro_batch: Count = key("Sequences per forward pass; gradients are accumulated.", 64, unit="sequences")
    steps: Count = key("Optimiser steps.", 1000)
    eval: Evaluation = key("Validation while training.", {"every": 100, "sequences": 256})
    test_sequences: Count = key("Held-out sequences.", 2048)


def runs(settings: dict[str, Any]) -> dict[str, Spec]:
    """Run specs by name: everything that decides a result, but the seed."""
    specs: dict[str, Spec] = {}
    for arm in PAIR:
        add(specs, _spec(settings, arm, purpose_of(settings)))
    return specs


def tuning_runs(settings: dict[str, Any]) -> dict[str, Spec]:
    """The learning-rate grid."""
    return grid_specs(lambda arm: _spec(settings, arm, "tuning"), settings["_template"]["lr_grid"])


def _spec(settings: dict[str, Any], arm: str, purpose: str) -> Spec:
    section = settings["_template"]
    model, length = section["model"], section["length"]
    shape = {"n_layer": model["n_layers"], "n_head": model["n_heads"], "n_embd": model["d_model"]}
    return {
        **common_spec(settings, section, arm, purpose),
        "name": f"_template-{arm}",
        "model": {
            "kind": "language",
            "model_type": "gpt2",
            "config": {"vocab_size": section["vocab_size"], "n_positions": 2 * length, **shape, "attn_pdrop": 0.0},
        },
        "data": {"kind": "_template", "length": length, "vocab_size": section["vocab_size"]},
    }


def units(dag: Dag) -> dict[str, list[Spec]]:
    """What can be measured apart: each run and seed."""
    return {
        f"{run}-seed{seed}": [
            {"run": run, "arm": dag.runs[run]["arm_name"], "seed": seed, "folder": dag.folder(run, seed),
             "data": dag.runs[run]["data"]}
        ]
        for run in dag.of("_template")
        for seed in dag.seeds(run)
    }  # fmt: skip


def caption(settings: dict[str, Any]) -> str:
    """What the figure's caption says about this scale."""
    section = settings["_template"]
    return f"Scale {settings['scale']}: two readings of {section['length']} tokens, {section['steps']} steps."


def check(settings: dict[str, Any]) -> None:
    """What types cannot say; MyopiaError names the key."""
    section = settings["_template"]
    check_heads(section["model"], "_template.model")
    check_batches(section, "_template")
    if section["vocab_size"] < 3:
        raise MyopiaError("config key _template.vocab_size: with two tokens there is little to copy; take at least 3")
