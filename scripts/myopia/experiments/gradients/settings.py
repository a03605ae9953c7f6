"""Gradient anatomy and forward bias: which steps keep their weights, and the small networks whose Hessians are taken."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from myopia.common.errors import MyopiaError

DENSE_LIMIT = 2_000
"""Most parameters whose Hessians are written out: 2,000 squared is 32 MB, and eigenvalues take a minute."""

PRODUCT_LIMIT = 20_000_000
"""Most parameters for products alone: Lanczos keeps 20 vectors, and a product keeps the graph of a gradient."""

BIAS_TASK = "bias-dp"
"""How the small networks' task is named in the tables."""


def snapshot_steps(steps: int, ratio: float) -> list[int]:
    """Step 0, step 1 and each time the step has grown by `ratio`, as whole numbers below `steps`."""
    found, at = [0], 1.0
    while round(at) < steps:
        if round(at) > found[-1]:
            found.append(round(at))
        at *= ratio
    return found


def keeps_snapshots(settings: Mapping[str, Any], arm: str) -> bool:
    """Whether language runs of an arm keep their weights along training."""
    return arm in settings["anatomy"]["arms"]


def bias_spec(settings: Mapping[str, Any], arm: str, common: Mapping[str, Any]) -> dict[str, Any]:
    """One network small enough to write its Hessians out. `common`: what all runs of an arm share (`config.runs`)."""
    part = settings["anatomy"]["bias"]
    return {
        **common,
        "name": f"bias-{arm}",
        "precision": "fp32",  # at a point with small gradients
        "model": {"kind": "regression", **part["model"], "n_positions": part["task"]["T"]},
        "data": {"kind": "dp", **part["task"], "shift": 1},
    }


def check_anatomy(settings: Mapping[str, Any]) -> None:
    """What the schema cannot say.

    Raises:
        MyopiaError: names the key and the mend.
    """
    part = settings["anatomy"]
    for arm in part["arms"]:
        if arm not in settings["text"]["arms"]:
            raise MyopiaError(
                f"config key anatomy.arms: {arm} is not among text.arms, so it is not trained; add it there"
            )
    small = part["bias"]
    if small["batch_size"] % small["micro_batch"]:
        raise MyopiaError(
            f"config key anatomy.bias.batch_size: {small['batch_size']} is not a multiple of micro_batch "
            f"{small['micro_batch']}"
        )
    if small["model"]["d_model"] % small["model"]["n_heads"]:
        raise MyopiaError(
            f"config key anatomy.bias.model.d_model: {small['model']['d_model']} is not divisible by n_heads "
            f"{small['model']['n_heads']}"
        )
    if small["task"]["a"] >= small["task"]["T"]:
        raise MyopiaError(
            f"config key anatomy.bias.task.T: {small['task']['T']} positions are too few for a window of "
            f"{small['task']['a']}"
        )
    for arm in ("vanilla", "myopic"):
        if arm not in small["optim"]["lr"]:
            raise MyopiaError(f"config key anatomy.bias.optim.lr: the arm {arm} needs a learning rate")
    size, limit = bias_parameters(small), DENSE_LIMIT
    if size > limit:
        raise MyopiaError(
            f"config key anatomy.bias.model: it has {size:,} parameters, and Hessians are written out for at most "
            f"{limit:,}; lower d_model, d_mlp or n_layers"
        )
    public = part["revisions"]
    if public["steps"] and public["corpus"] not in settings["corpora"]:
        known = ", ".join(settings["corpora"])
        raise MyopiaError(
            f"config key anatomy.revisions.corpus: {public['corpus']!r} is not a corpus of this scale ({known}); name "
            "one whose tokenizer is the model's"
        )


def bias_parameters(part: Mapping[str, Any]) -> int:
    """Parameters of the small network: GPT-2 blocks between linear maps, learned positions."""
    model = part["model"]
    d, mlp = model["d_model"], model["d_mlp"]
    block = (4 * d * d + 4 * d) + (2 * d * mlp + mlp + d) + 4 * d
    return model["n_layers"] * block + 3 * d + part["task"]["T"] * d + 2 * d + d + 1
