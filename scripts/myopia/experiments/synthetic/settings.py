"""Settings and runs of the synthetic task D_p: vanilla and myopic at each p, and controls at one of them."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Any, Literal

from annotated_types import Ge, Len
from pydantic import BeforeValidator, Strict

from myopia.common.errors import MyopiaError
from myopia.config.runs import (
    BETA_SWEEP,
    PAIR,
    Spec,
    add,
    check_batches,
    check_heads,
    check_sweep_rates,
    common_spec,
    grid_specs,
    purpose_of,
    seeds_phrase,
)
from myopia.config.schema import (
    Arm,
    Count,
    Distinct,
    Evaluation,
    Number,
    Optimizer,
    Positive,
    Rates,
    Section,
    Share,
    Text,
    key,
    optimizer,
)

if TYPE_CHECKING:
    from myopia.config.dag import Dag

BLOCK = 64
"""Test sequences to a block, the held-out unit that is resampled."""

PROBE_BATCH = 128
"""Sequences a forward pass of probing reads; the shuffled control permutes targets inside it."""

SHIFT0 = "shift0-"
"""What a control begins with whose window includes the present."""

Control = Literal["shift0-vanilla", "shift0-myopic", "myopic-kv", "beta1", "beta0.25", "beta0.5", "beta0.75"]


def _text_of_p(name: Any) -> Any:
    """A key of at_p: looked up as text, so 0.30, or 0.3 without quotes, would quietly be no p at all."""
    try:
        value = float(name)
    except (TypeError, ValueError):
        value = math.nan
    if not (isinstance(name, str) and math.isfinite(value) and f"{value:g}" == name):
        shown = f"{value:g}" if math.isfinite(value) else "0.3"
        raise ValueError(f'its keys must be values of p, written as text such as "{shown}"')
    return name


class Task(Section):
    """D_p: y_n = z_n sum_{i=1..a} sin(b x_{n-i}) + (1 - z_n) x_n."""

    a: Count = key("Window length.", unit="positions")
    b: Number = key("Angular frequency.", unit="radians per unit of x")
    T: Annotated[int, Strict(), Ge(2)] = key("Sequence length.", unit="positions")


class Model(Section):
    """GPT-2 blocks between linear maps."""

    n_layers: Count = key("Layers, the same in both arms.")
    n_heads: Count = key("Attention heads.")
    d_model: Count = key("Width.")
    activation: Text = key("MLP activation.")


class AtP(Section):
    """What replaces the experiment's settings at one p."""

    steps: Count | None = key("Optimiser steps.", None)
    lr: dict[Arm, Positive] | None = key("Peak learning rates that replace optim.lr, by arm.", None)


class Synthetic(Section):
    """The synthetic experiment (paper section 4.1, Table 3)."""

    task: Task = key("D_p: y_n = z_n sum_{i=1..a} sin(b x_{n-i}) + (1 - z_n) x_n.", {"a": 10, "b": 10, "T": 64})
    p: Annotated[list[Share], Len(1), Distinct] = key(
        "Chances that a position asks for the sum; one pair of runs each.", [0.01, 0.1, 0.3, 1.0]
    )
    control_p: Share = key("The p at which control runs are made.", 1.0)
    controls: Annotated[list[Control], Distinct] = key(
        "Control runs at control_p: `shift0-<arm>` has the present inside the window, `myopic-kv` cuts keys and values, "
        "`beta1` is the A/A control, `beta0.25` to `beta0.75` let that share of the off-diagonal gradient through.",
        ["shift0-myopic", "myopic-kv", "beta1"],
    )
    model: Model = key("The network.", {"n_layers": 2, "n_heads": 2, "d_model": 128, "activation": "relu"})
    optim: Optimizer = key("Optimiser and schedule.", optimizer(vanilla=1.0e-3, myopic=1.0e-3))
    at_p: dict[Annotated[str, BeforeValidator(_text_of_p)], AtP] = key(
        'Steps and rates at one p (the key, as text): {"0.3": {steps: 4000, lr: {vanilla: 0.01}}}.', {}
    )
    # extended once: best values lay at 1e-3 and 1e-2
    lr_grid: Rates = key(
        "Learning rates tried for both arms by the target `tuned`.", [3.0e-4, 1.0e-3, 3.0e-3, 1.0e-2, 3.0e-2]
    )
    batch_size: Count = key("Global batch.", 512, unit="sequences")
    micro_batch: Count = key("Sequences per forward pass; gradients are accumulated.", 512, unit="sequences")
    steps: Count = key("Optimiser steps.", 58594)
    eval: Evaluation = key("Validation while training.", {"every": 500, "sequences": 2048})
    test_sequences: Count = key(f"Held-out sequences of the loss table, a multiple of {BLOCK}.", 32768)
    probe_sequences: Annotated[int, Strict(), Ge(2)] = key(
        f"Sequences probes are fitted on, and as many others to score them; from {PROBE_BATCH} on a multiple of it.",
        16384,
    )
    lookback: Count = key("Largest lag probed.", 20, unit="positions")


def runs(settings: dict[str, Any]) -> dict[str, Spec]:
    """A pair of arms at each p, then the controls; arms of the beta sweep are controls."""
    section, specs = settings["synthetic"], {}
    for p in section["p"]:
        for arm in PAIR:
            add(specs, _spec(settings, arm, p, purpose_of(settings)))
    for control in section["controls"]:
        arm = control.removeprefix(SHIFT0)
        add(specs, _spec(settings, arm, section["control_p"], "control", shift=1 if arm == control else 0))
    return specs


def tuning_runs(settings: dict[str, Any]) -> dict[str, Spec]:
    """The learning-rate grid at each p. Arms of the beta sweep choose between the rates frozen for its two ends."""
    section, specs = settings["synthetic"], {}
    for p in section["p"]:
        specs |= grid_specs(lambda arm, p=p: _spec(settings, arm, p, "tuning"), section["lr_grid"])
    at = section["control_p"]
    ends = {at_p(section, at)["optim"]["lr"][arm] for arm in PAIR}
    if len(ends) > 1:
        sweep = [control for control in section["controls"] if control in BETA_SWEEP]
        specs |= grid_specs(lambda arm: _spec(settings, arm, at, "tuning"), sorted(ends), sweep)
    return specs


def at_p(section: dict[str, Any], p: float) -> dict[str, Any]:
    """The settings `synthetic` as they hold at one p: its own steps and learning rates where it has them."""
    own = section["at_p"].get(f"{p:g}", {})
    rates = {**section["optim"]["lr"], **(own.get("lr") or {})}
    return {**section, "steps": own.get("steps") or section["steps"], "optim": {**section["optim"], "lr": rates}}


def _spec(settings: dict[str, Any], arm: str, p: float, purpose: str, shift: int = 1) -> Spec:
    section = at_p(settings["synthetic"], p)
    return {
        **common_spec(settings, section, arm, purpose),
        "name": f"dp-p{p:g}{'' if shift else '-shift0'}-{arm}",
        "model": {"kind": "regression", **section["model"], "n_positions": section["task"]["T"]},
        "data": {"kind": "dp", "p": p, **section["task"], "shift": shift},
    }


def units(dag: Dag) -> dict[str, list[Spec]]:
    """Each run and seed can be evaluated alone."""
    return _units(dag, dag.of("synthetic"))


def probed_units(dag: Dag) -> dict[str, list[Spec]]:
    """The same without the beta sweep, whose arms have losses but no probes."""
    return _units(dag, [run for run in dag.of("synthetic") if dag.runs[run]["arm_name"] not in BETA_SWEEP])


def _units(dag: Dag, names: Iterable[str]) -> dict[str, list[Spec]]:
    return {
        f"{run}-seed{seed}": [
            {
                "run": run,
                "arm": spec["arm_name"],
                "seed": seed,
                "folder": dag.folder(run, seed),
                "data": {name: value for name, value in spec["data"].items() if name != "kind"},
                "model": spec["model"],
            }
        ]
        for run, spec in ((run, dag.runs[run]) for run in names)
        for seed in dag.seeds(run)
    }


def evaluating(settings: dict[str, Any]) -> Spec:
    """How many test sequences losses are measured on."""
    return {"test_sequences": settings["synthetic"]["test_sequences"]}


def probing(settings: dict[str, Any]) -> Spec:
    """How many sequences probes read, and how far back."""
    return {name: settings["synthetic"][name] for name in ("probe_sequences", "lookback")}


def caption(settings: dict[str, Any]) -> str:
    """What the figures' captions say about this scale."""
    section = settings["synthetic"]
    task, model = section["task"], section["model"]
    return (
        f"Scale {settings['scale']}: a = {task['a']}, b = {task['b']}; {model['n_layers']} layers of width"
        f" {model['d_model']}, {_steps(section)} steps of {section['batch_size']} sequences,"
        f" {seeds_phrase(settings['seeds'])}"
        " (paper: a = b = 10, width 128, 58,594 steps of 512, one run)."
    )


def _steps(section: dict[str, Any]) -> str:
    own = [f"{at['steps']} at p = {p}" for p, at in section["at_p"].items() if at.get("steps")]
    return f"{section['steps']}" + (f" ({', '.join(own)})" if own else "")


def check(settings: dict[str, Any]) -> None:
    """Refuse settings that make no task, no network or no measurement, naming the key."""
    section = settings["synthetic"]
    check_heads(section["model"], "synthetic.model")
    check_batches(section, "synthetic")
    if section["control_p"] not in section["p"]:
        raise MyopiaError(f"config key synthetic.control_p: {section['control_p']} is not among synthetic.p")
    task, lookback = section["task"], section["lookback"]
    if lookback >= task["T"] or task["a"] >= task["T"]:
        raise MyopiaError(
            f"config key synthetic.task.T: {task['T']} positions are too few for a window of {task['a']} and probes "
            f"back to {lookback}"
        )
    for name, multiple in (
        ("test_sequences", BLOCK),
        ("probe_sequences", min(PROBE_BATCH, section["probe_sequences"])),
    ):
        if section[name] % multiple:
            raise MyopiaError(f"config key synthetic.{name}: {section[name]} is not a multiple of {multiple}")
    at = section["control_p"]
    check_sweep_rates(f'synthetic.at_p."{at:g}".lr', at_p(section, at)["optim"]["lr"], section["controls"])
