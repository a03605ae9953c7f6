"""The induction experiment's runs: repeated random sequences, vanilla and myopic."""

from __future__ import annotations

from typing import Any

from myopia.common.errors import MyopiaError

PAIR = ("vanilla", "myopic")
SHORTEST = 3
"""Tokens of the shortest period: in a shorter one the token to copy is the one just before."""


def check_induction(settings: dict[str, Any]) -> None:
    """Refuse settings that make no task or no network, naming the key."""
    part = settings["induction"]
    if part["model"]["d_model"] % part["model"]["n_heads"]:
        raise MyopiaError(
            f"config key induction.model.d_model: {part['model']['d_model']} is not divisible by n_heads "
            f"{part['model']['n_heads']}"
        )
    if part["model"]["n_layers"] < 2:
        raise MyopiaError("config key induction.model.n_layers: a previous-token head needs a layer above that uses it")
    for arm in PAIR:
        if arm not in part["optim"]["lr"]:
            raise MyopiaError(f"config key induction.optim.lr: the arm {arm} needs a learning rate")
    if part["batch_size"] % part["micro_batch"]:
        raise MyopiaError(
            f"config key induction.batch_size: {part['batch_size']} is not a multiple of induction.micro_batch "
            f"{part['micro_batch']}"
        )
    late = [step for step in part["snapshots"] if step > part["steps"]]
    if late:
        raise MyopiaError(f"config key induction.snapshots: step {late[0]} lies beyond the last, {part['steps']}")
    wrong = why_no_task(**part["task"])
    if wrong:
        raise MyopiaError(f"config key induction.task.{wrong}")


def why_no_task(T: Any, vocab_size: Any, period: Any) -> str | None:
    """What is wrong with a task of repeated sequences, as `<key> must be ..., but it is ...`; None if nothing is.

    T: tokens in a sequence; vocab_size: different tokens; period: shortest and longest, in tokens.
    """
    for key, value in (("T", T), ("vocab_size", vocab_size)):
        if not _is_whole(value):
            return f"{key} must be a whole number, but it is {value!r}"
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


def induction_spec(settings: dict[str, Any], arm: str, common: dict[str, Any]) -> dict[str, Any]:
    """One run. `common`: what all runs of an arm share (`config.runs`)."""
    part = settings["induction"]
    model = part["model"]
    return {
        **common,
        "name": f"induction-{arm}",
        "model": {
            "kind": "language",
            "model_type": "gpt2",
            "config": {
                "vocab_size": part["task"]["vocab_size"], "n_positions": part["task"]["T"],
                "n_layer": model["n_layers"], "n_head": model["n_heads"], "n_embd": model["d_model"],
                "attn_pdrop": 0.0, "embd_pdrop": 0.0, "resid_pdrop": 0.0, "activation_function": "gelu_pytorch_tanh",
            },
        },
        "data": {"kind": "induction", **part["task"]},
    }  # fmt: skip
