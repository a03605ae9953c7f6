"""Settings of the gradients experiment, and the small networks it trains: two arms whose Hessians can be written out."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from annotated_types import Ge
from pydantic import Strict

from myopia.common.errors import MyopiaError
from myopia.config.runs import PAIR, Spec, add, check_batches, check_heads, common_spec, grid_specs, purpose_of
from myopia.config.schema import (
    Count,
    Distinct,
    Evaluation,
    Natural,
    Number,
    Optimizer,
    Rates,
    Section,
    Share,
    Text,
    defaults,
    key,
    optimizer,
)
from myopia.config.shapes import shape_of

DENSE_LIMIT = 2_000
"""Most parameters whose Hessians are written out: 2,000 squared is 32 MB, and eigenvalues take a minute."""

PRODUCT_LIMIT = 20_000_000
"""Most parameters for products alone: Lanczos keeps 20 vectors, and a product keeps the graph of a gradient."""


class Revisions(Section):
    """Public training revisions of a model on the hub, measured as well: the checkpoints of the paper's Fig 11."""

    repo: Text = key("Hub id.")
    corpus: Text = key("Corpus its gradients are taken on; its tokenizer must be the model's.")
    steps: Annotated[list[Natural], Distinct] = key(
        "Training steps; step k is the revision `step<k>`. None means that nothing is fetched."
    )


class Task(Section):
    """The small networks' task (as synthetic.task)."""

    p: Share = key("Chance that a position asks for the sum.")
    a: Count = key("Window length.", unit="positions")
    b: Number = key("Angular frequency.", unit="radians per unit of x")
    T: Annotated[int, Strict(), Ge(2)] = key("Sequence length.", unit="positions")


class Model(Section):
    """GPT-2 blocks between linear maps, at most 2,000 parameters."""

    n_layers: Count = key("Layers.")
    n_heads: Count = key("Attention heads.")
    d_model: Count = key("Width.")
    d_mlp: Count = key("Width inside the MLP.")
    activation: Literal["gelu", "gelu_pytorch_tanh", "tanh", "silu"] = key(
        "MLP activation; smooth, since Theorem 13 asks for second derivatives."
    )


class Bias(Section):
    """Networks small enough to write their Hessians out, one per arm, trained on the synthetic task."""

    task: Task = key("Their task (as synthetic.task).", {"p": 0.5, "a": 2, "b": 2, "T": 6})
    model: Model = key(
        "GPT-2 blocks between linear maps, at most 2,000 parameters.",
        {"n_layers": 2, "n_heads": 1, "d_model": 4, "d_mlp": 8, "activation": "gelu_pytorch_tanh"},
    )
    # best mean validation loss on seeds 100-102 at laptop's 1,500 steps (docs/results/laptop/tuning-bias.csv)
    optim: Optimizer = key("Optimiser and schedule.", optimizer(vanilla=3.0e-2, myopic=1.0e-2))
    # extended once: vanilla's best was 3e-2, then the highest
    lr_grid: Rates = key("Learning rates tried for both arms by the target `tuned`.", [3.0e-3, 1.0e-2, 3.0e-2, 1.0e-1])
    batch_size: Count = key("Global batch.", 64, unit="sequences")
    micro_batch: Count = key("Sequences per forward pass.", 64, unit="sequences")
    steps: Count = key("Optimiser steps.", 3000)
    eval: Evaluation = key("Validation while training.", {"every": 500, "sequences": 256})
    sequences: Count = key("Held-out sequences whose mean loss is differentiated.", 48, unit="sequences")


class Lanczos(Section):
    """Ends of the spectrum of language runs, from Hessian products (at most 20,000,000 parameters)."""

    seeds: Natural = key("How many of the seeds; 0 means none.")
    windows: Count = key("Test windows whose mean loss is differentiated.", unit="windows")


class Gradients(Section):
    """Where gradients come from (paper D.4, Fig 11), whether myopic descent is forward-biased (Theorem 13), and convex
    toys of the theory (Appendix C)."""

    arms: Annotated[list[Literal["vanilla", "myopic"]], Distinct] = key(
        "Language runs whose gradients are followed along their training, at the steps of text.snapshots.", [*PAIR]
    )
    blocks: Annotated[int, Strict(), Ge(3)] = key(
        "Disjoint blocks of test windows; pairs of blocks give unbiased norms.", 8
    )
    block_windows: Count = key("Windows of a block.", 16, unit="windows")
    moment_blocks: Count = key(
        "Batches of validation windows, as large as training's, whose mean squared gradient stands for AdamW's second "
        "moments.",
        4,
    )
    revisions: Revisions = key(
        "Public training revisions of a model on the hub, measured as well.",
        {"repo": "EleutherAI/pythia-410m-deduped", "corpus": "pile-hub", "steps": []},
    )
    bias: Bias = key(
        "Networks small enough to write their Hessians out, one per arm, trained on the synthetic task.", defaults(Bias)
    )
    lanczos: Lanczos = key(
        "Ends of the spectrum for the language runs of gradients.arms, from Hessian products (at most 20,000,000 "
        "parameters).",
        {"seeds": 1, "windows": 8},
    )
    problems: Count = key("Random convex toys of each kind.", 20)


def runs(settings: dict[str, Any]) -> dict[str, Spec]:
    """The small networks, one for each arm of the pair; language runs belong to the experiment `text`."""
    specs: dict[str, Spec] = {}
    for arm in PAIR:
        add(specs, _spec(settings, arm, purpose_of(settings)))
    return specs


def tuning_runs(settings: dict[str, Any]) -> dict[str, Spec]:
    """The small networks' learning-rate grid."""
    return grid_specs(lambda arm: _spec(settings, arm, "tuning"), settings["gradients"]["bias"]["lr_grid"])


def _spec(settings: dict[str, Any], arm: str, purpose: str) -> Spec:
    small = settings["gradients"]["bias"]
    return {
        **common_spec(settings, small, arm, purpose),
        "name": f"bias-{arm}",
        "precision": "fp32",  # at a point with small gradients
        "model": _model(small),
        "data": {"kind": "dp", **small["task"], "shift": 1},
    }


def _model(small: dict[str, Any]) -> Spec:
    return {"kind": "regression", **small["model"], "n_positions": small["task"]["T"]}


def corpora(settings: dict[str, Any]) -> dict[str, str]:
    """The corpus that public revisions are measured on, if any are."""
    public = settings["gradients"]["revisions"]
    return {public["corpus"]: "gradients.revisions.corpus"} if public["steps"] else {}


def options(settings: dict[str, Any]) -> Spec:
    """How much text, how many sequences and how many toys are measured."""
    section = settings["gradients"]
    return {
        **{key: section[key] for key in ("blocks", "block_windows", "moment_blocks", "problems")},
        "bias_sequences": section["bias"]["sequences"],
        "lanczos_windows": section["lanczos"]["windows"],
    }


def anatomy_caption(settings: dict[str, Any]) -> str:
    """How much text gradients are taken on."""
    section = settings["gradients"]
    return (
        f"Scale {settings['scale']}: {section['blocks']} blocks of {section['block_windows']} windows of"
        f" {settings['context_length']} tokens (paper: Pythia-410m-deduped, 15 batches of 64 sequences)."
    )


def bias_caption(settings: dict[str, Any]) -> str:
    """The small networks and their task."""
    small = settings["gradients"]["bias"]
    task, model = small["task"], small["model"]
    return (
        f"Scale {settings['scale']}: D_p with a = {task['a']}, b = {task['b']}, p = {task['p']};"
        f" {model['n_layers']} layers of width {model['d_model']}, {small['steps']} steps of {small['batch_size']}"
        " sequences."
    )


def toys_caption(settings: dict[str, Any]) -> str:
    """How many toys."""
    problems = settings["gradients"]["problems"]
    return f"Scale {settings['scale']}: {problems} random problems of each kind, drawn from their seeds."


def check(settings: dict[str, Any]) -> None:
    """Refuse what the types cannot; MyopiaError names the key and the mend."""
    section = settings["gradients"]
    text = settings["text"]
    for arm in section["arms"]:
        for place, arms in (("text.arms", text["arms"]), ("text.snapshots.arms", text["snapshots"]["arms"])):
            if arm not in arms:
                raise MyopiaError(
                    f"config key gradients.arms: {arm} is not among {place}, so no weights of its training are kept; add "
                    "it there"
                )
    small = section["bias"]
    check_batches(small, "gradients.bias")
    check_heads(small["model"], "gradients.bias.model")
    if small["task"]["a"] >= small["task"]["T"]:
        raise MyopiaError(
            f"config key gradients.bias.task.T: {small['task']['T']} positions are too few for a window of "
            f"{small['task']['a']}"
        )
    size = shape_of(_model(small), None).parameters
    if size > DENSE_LIMIT:
        raise MyopiaError(
            f"config key gradients.bias.model: it has {size:,} parameters, and Hessians are written out for at most "
            f"{DENSE_LIMIT:,}; lower d_model, d_mlp or n_layers"
        )
