"""Arms, and what all run specs share. A spec says all that decides a run's result; experiments make them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from myopia.common.errors import MyopiaError

Spec = dict[str, Any]

CODE_VERSION = {"data": 1, "train": 1, "measure": 1}
"""Of each kind of work: raise a number when a change in its code alters results, and only then. It is in the digests that
rules depend on, and training's in the fingerprint of a run; Snakemake itself ignores code changes (profile default), so
that an edited comment retrains nothing."""

ARMS: dict[str, dict[str, Any]] = {
    "vanilla": {"kind": "vanilla"},
    "myopic": {"kind": "myopic", "cut": "hidden", "beta": 0.0},
    "myopic-kv": {"kind": "myopic", "cut": "kv", "beta": 0.0},
    "beta1": {"kind": "myopic", "cut": "hidden", "beta": 1.0},
    "beta0.25": {"kind": "myopic", "cut": "hidden", "beta": 0.25},
    "beta0.5": {"kind": "myopic", "cut": "hidden", "beta": 0.5},
    "beta0.75": {"kind": "myopic", "cut": "hidden", "beta": 0.75},
    "local-hidden": {"kind": "local", "form": "hidden"},
    "local-kv": {"kind": "local", "form": "kv"},
    "bigram-zeroed": {"kind": "bigram", "form": "zeroed"},
    "bigram-true": {"kind": "bigram", "form": "true"},
}
"""Arms by the name tables and figures use. `beta1` is the A/A control: our operator, nothing cut. The past of a
`local` arm is that of the vanilla model of the same seed; a `bigram` arm has none (protocol section 2)."""

PAIR = ("vanilla", "myopic")

BETA_SWEEP: dict[str, float] = {
    name: arm["beta"] for name, arm in ARMS.items() if arm["kind"] == "myopic" and 0 < arm["beta"] < 1
}
"""Arms between myopic (beta 0) and vanilla (beta 1), and their beta."""

INHERITS_LR_FROM = {
    "myopic-kv": "myopic",
    "beta1": "vanilla",
    "local-hidden": "vanilla",
    "local-kv": "vanilla",
    "bigram-zeroed": "vanilla",
    "bigram-true": "vanilla",
}
"""Arm -> the arm it varies or controls, at whose learning rate it runs if it has none of its own. An arm of the beta
sweep stands between two: where their rates differ it must have its own (`check_sweep_rates`)."""


def purpose_of(settings: Mapping[str, Any]) -> str:
    """What a scale's runs are for."""
    return "judged" if settings["judged"] else "smoke"


def common_spec(settings: Mapping[str, Any], section: Mapping[str, Any], arm: str, purpose: str) -> Spec:
    """What the specs of all experiments hold; `section` has optim, steps, batch_size, micro_batch and eval."""
    rates = section["optim"]["lr"]
    leader = INHERITS_LR_FROM.get(arm, "vanilla")  # an arm of the sweep without a rate: the one both ends have
    return {
        "arm": ARMS[arm],
        "arm_name": arm,
        "purpose": purpose,
        "optim": {**section["optim"], "lr": rates.get(arm, rates[leader])},
        "steps": section["steps"],
        "batch_size": section["batch_size"],
        "micro_batch": section["micro_batch"],
        "precision": settings["precision"],
        "eval": section["eval"],
    }


def seeds_phrase(seeds: Iterable[int]) -> str:
    """ "1 seed", "5 seeds": for captions."""
    n = len(list(seeds))
    return f"{n} seed{'' if n == 1 else 's'}"


def shape_phrase(kind: str, shape: Mapping[str, Any]) -> str:
    """A network in words: of what kind, how deep and wide."""
    layers, width = shape.get("n_layer"), shape.get("n_embd")
    return f"{kind} with {layers} layers of width {width}" if layers and width else f"{kind} in its usual size"


def add(specs: dict[str, Spec], spec: Spec) -> None:
    """Two runs must never share a folder: names show six digits of p and of a learning rate."""
    if spec["name"] in specs:
        raise MyopiaError(
            f"config: two runs would be called {spec['name']}; values of p, or learning rates in lr_grid, "
            "must differ in their first six digits"
        )
    specs[spec["name"]] = spec


def grid_specs(make: Callable[[str], Spec], rates: Iterable[float], arms: Iterable[str] = PAIR) -> dict[str, Spec]:
    """The spec that `make` gives an arm, at each learning rate, named by it: what tuning seeds train."""
    specs: dict[str, Spec] = {}
    for arm in arms:
        for rate in rates:
            spec = make(arm)
            spec["optim"]["lr"] = rate
            spec["name"] += f"-lr{rate:g}"
            add(specs, spec)
    return specs


def output_root(spec: Mapping[str, Any]) -> str:
    """Folder of a run under the results: models that only run with our code live apart (protocol section 2)."""
    return "arms" if spec["arm"]["kind"] in ("local", "bigram") else "runs"


# --- checks that sections of several experiments need ---


def check_batches(section: Mapping[str, Any], name: str) -> None:
    """Raise MyopiaError unless batches can be cut into micro-batches and the two arms of a pair have rates."""
    if section["batch_size"] % section["micro_batch"]:
        raise MyopiaError(
            f"config key {name}.batch_size: {section['batch_size']} is not a multiple of {name}.micro_batch "
            f"{section['micro_batch']}"
        )
    for arm in PAIR:
        if arm not in section["optim"]["lr"]:
            raise MyopiaError(f"config key {name}.optim.lr: the arm {arm} needs a learning rate")


def check_heads(model: Mapping[str, Any], name: str) -> None:
    """Raise MyopiaError unless d_model is divisible by n_heads."""
    if model["d_model"] % model["n_heads"]:
        raise MyopiaError(
            f"config key {name}.d_model: {model['d_model']} is not divisible by n_heads {model['n_heads']}"
        )


def check_sweep_rates(key: str, rates: Mapping[str, float], arms: Iterable[str]) -> None:
    """Refuse an arm of the beta sweep that would run at one end's rate where the two ends have different ones."""
    for arm in (arm for arm in arms if arm in BETA_SWEEP and arm not in rates):
        if rates["vanilla"] != rates["myopic"]:
            raise MyopiaError(
                f"config key {key}: {arm} stands between vanilla and myopic, whose learning rates differ "
                f"({rates['vanilla']:g} and {rates['myopic']:g}); give it one of its own"
            )
