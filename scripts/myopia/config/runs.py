"""From a scale's settings to named run specs: the one place that says what is trained."""

from __future__ import annotations

import math
from typing import Any

from myopia.common.errors import MyopiaError
from myopia.experiments.gradients.settings import bias_spec, keeps_snapshots, snapshot_steps
from myopia.experiments.induction.settings import induction_spec
from myopia.experiments.multiplication.settings import SYMBOLS, Planned, formats

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

DOSES: dict[str, float] = {
    name: arm["beta"] for name, arm in ARMS.items() if arm["kind"] == "myopic" and 0 < arm["beta"] < 1
}
"""Arms between myopic (beta 0) and vanilla (beta 1), and their beta."""

FOLLOWS = {
    "myopic-kv": "myopic",
    "beta1": "vanilla",
    "local-hidden": "vanilla",
    "local-kv": "vanilla",
    "bigram-zeroed": "vanilla",
    "bigram-true": "vanilla",
}
"""Arm -> the arm it varies or controls, at whose learning rate it runs if it has none of its own. A dose stands between
two arms: where their rates differ it must have its own (`check_rates`)."""


def run_specs(settings: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Every judged or control run of a scale, by name. Seeds are not part of a spec."""
    specs: dict[str, dict[str, Any]] = {}
    purpose = "judged" if settings["judged"] else "smoke"
    part = settings["synthetic"]
    for p in part["p"]:
        for arm in ("vanilla", "myopic"):
            spec = synthetic_spec(settings, arm, p, purpose=purpose)
            _add(specs, spec)
    for control in part["controls"]:
        shifted = control.startswith("shift0-")
        spec = synthetic_spec(
            settings,
            control.removeprefix("shift0-"),
            part["control_p"],
            shift=0 if shifted else 1,
            purpose="control",
        )
        _add(specs, spec)
    for corpus in settings["text"]["corpora"]:
        for arm in settings["text"]["arms"]:
            spec = text_spec(settings, corpus, arm, purpose if arm in ("vanilla", "myopic") else "control")
            if keeps_snapshots(settings, arm):
                spec["snapshots"] = snapshot_steps(spec["steps"], settings["anatomy"]["snapshot_ratio"])
            _add(specs, spec)
    for planned in formats(settings["multiplication"]):
        for arm in ("vanilla", "myopic"):
            _add(specs, multiplication_spec(settings, planned, arm, "control" if planned.control else purpose))
    for arm in ("vanilla", "myopic"):
        _add(specs, bias_spec(settings, arm, _common(settings, settings["anatomy"]["bias"], arm, purpose)))
        spec = induction_spec(settings, arm, _common(settings, settings["induction"], arm, purpose))
        _add(specs, {**spec, "snapshots": settings["induction"]["snapshots"]})
    return specs


def tuning_specs(settings: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The learning-rate grid, the same for both arms; trained on the tuning seeds only."""
    specs: dict[str, dict[str, Any]] = {}
    for arm in ("vanilla", "myopic"):
        grids = [(settings["synthetic"], lambda a, p=p: synthetic_spec(settings, a, p, purpose="tuning"))
                 for p in settings["synthetic"]["p"]]  # fmt: skip
        grids += [(settings["text"], lambda a, c=c: text_spec(settings, c, a, "tuning"))
                  for c in settings["text"]["corpora"]]  # fmt: skip
        grids += [(settings["multiplication"], lambda a, f=f: multiplication_spec(settings, f, a, "tuning"))
                  for f in formats(settings["multiplication"]) if f.tuned]  # fmt: skip
        small = settings["anatomy"]["bias"]
        grids.append((small, lambda a, s=small: bias_spec(settings, a, _common(settings, s, a, "tuning"))))
        copying = settings["induction"]
        grids.append((copying, lambda a, s=copying: induction_spec(settings, a, _common(settings, s, a, "tuning"))))
        for part, make in grids:
            for rate in part["lr_grid"]:
                spec = make(arm)
                spec["optim"]["lr"] = rate
                spec["name"] += f"-lr{rate:g}"
                _add(specs, spec)
    # Doses of D_p choose between the rates frozen for their two ends; those of text run at the one both ends share.
    part = settings["synthetic"]
    ends = {_rates_at(part, part["control_p"])[arm] for arm in ("vanilla", "myopic")}
    for arm in (control for control in part["controls"] if control in DOSES and len(ends) > 1):
        for rate in sorted(ends):
            spec = synthetic_spec(settings, arm, part["control_p"], purpose="tuning")
            spec["optim"]["lr"] = rate
            spec["name"] += f"-lr{rate:g}"
            _add(specs, spec)
    return specs


def check_rates(settings: dict[str, Any]) -> None:
    """Refuse a dose that would run at one end's learning rate where the two ends have different ones."""
    part = settings["synthetic"]
    p = f"{part['control_p']:g}"
    places = [
        (f'synthetic.lr_at_p."{p}"', _rates_at(part, part["control_p"]), part["controls"]),
        ("text.optim.lr", settings["text"]["optim"]["lr"], settings["text"]["arms"]),
    ]
    for corpus, own in settings["text"]["at_corpus"].items():
        if "lr" in own:
            rates = _at_corpus(settings["text"], corpus)["optim"]["lr"]
            places.append((f"text.at_corpus.{corpus}.lr", rates, settings["text"]["arms"]))
    for key, rates, arms in places:
        for arm in (arm for arm in arms if arm in DOSES and arm not in rates):
            if rates["vanilla"] != rates["myopic"]:
                raise MyopiaError(
                    f"config key {key}: {arm} stands between vanilla and myopic, whose learning rates differ "
                    f"({rates['vanilla']:g} and {rates['myopic']:g}); give it one of its own"
                )


def _rates_at(part: dict[str, Any], p: float) -> dict[str, float]:
    """Learning rates of D_p's arms at one p."""
    return {**part["optim"]["lr"], **part["lr_at_p"].get(f"{p:g}", {})}


def _at_corpus(part: dict[str, Any], corpus: str) -> dict[str, Any]:
    """The `text` settings of one corpus: its own steps and learning rates where it has them."""
    own = part["at_corpus"].get(corpus, {})
    rates = {**part["optim"]["lr"], **own.get("lr", {})}
    return {**part, "steps": own.get("steps", part["steps"]), "optim": {**part["optim"], "lr": rates}}


def _add(specs: dict[str, dict[str, Any]], spec: dict[str, Any]) -> None:
    """Two runs must never share a folder: names show six digits of p and of a learning rate."""
    if spec["name"] in specs:
        raise MyopiaError(
            f"config: two runs would be called {spec['name']}; values of p, or learning rates in lr_grid, "
            "must differ in their first six digits"
        )
    specs[spec["name"]] = spec


def synthetic_spec(settings: dict[str, Any], arm: str, p: float, *, shift: int = 1, purpose: str) -> dict[str, Any]:
    """One D_p run."""
    part = settings["synthetic"]
    middle = "" if shift == 1 else "-shift0"
    part = {**part, "optim": {**part["optim"], "lr": _rates_at(part, p)}}
    return {
        **_common(settings, part, arm, purpose),
        "name": f"dp-p{p:g}{middle}-{arm}",
        "model": {"kind": "regression", **part["model"], "n_positions": part["task"]["T"]},
        "data": {"kind": "dp", "p": p, **part["task"], "shift": shift},
    }


def text_spec(settings: dict[str, Any], corpus: str, arm: str, purpose: str) -> dict[str, Any]:
    """One language run from random initialisation."""
    part = _at_corpus(settings["text"], corpus)
    model = part["model"]
    config = {"attn_pdrop": 0.0} if model["model_type"] == "gpt2" else {"attention_dropout": 0.0}
    if model["model_type"] == "gpt2":
        config["n_positions"] = part["T"]
    return {
        **_common(settings, part, arm, purpose),
        "name": f"text-{corpus}-{arm}",
        "model": {
            "kind": "language",
            "model_type": model["model_type"],
            "config": {**config, **model["config"]},
        },
        "data": {"kind": "tokens", "corpus": corpus, "T": part["T"]},
        **({"teacher": f"text-{corpus}-vanilla"} if ARMS[arm]["kind"] == "local" else {}),
    }


def multiplication_spec(settings: dict[str, Any], planned: Planned, arm: str, purpose: str) -> dict[str, Any]:
    """One run of the multiplication experiment: GPT-2's shape with as many positions as the format has tokens."""
    part, form, tokenizer = settings["multiplication"], planned.format, settings["multiplication"]["tokenizer"]
    batch = planned.batch_size
    part = {
        **part,
        "batch_size": batch,
        "micro_batch": min(part["micro_batch"], batch),
        "steps": math.ceil(part["examples"] / batch),
    }
    # The type's defaults name special tokens of its own tokenizer, which ours need not have.
    config = {"attn_pdrop": 0.0, "n_positions": form.T, "bos_token_id": None, "eos_token_id": None, **part["model"]}
    if tokenizer is None:
        config.setdefault("vocab_size", len(SYMBOLS))
    return {
        **_common(settings, part, arm, purpose),
        "name": f"{form.name}-{arm}",
        "model": {"kind": "language", "model_type": "gpt2", "config": config},
        "data": form.data(tokenizer),
    }


def root(spec: dict[str, Any]) -> str:
    """Folder of a run under the results: models that only run with our code live apart (protocol section 2)."""
    return "arms" if spec["arm"]["kind"] in ("local", "bigram") else "runs"


def _common(settings: dict[str, Any], part: dict[str, Any], arm: str, purpose: str) -> dict[str, Any]:
    rates = part["optim"]["lr"]
    leader = FOLLOWS.get(arm, "vanilla")  # a dose without a rate: the one both ends have
    return {
        "arm": ARMS[arm],
        "arm_name": arm,
        "purpose": purpose,
        "optim": {**part["optim"], "lr": rates.get(arm, rates[leader])},
        "steps": part["steps"],
        "batch_size": part["batch_size"],
        "micro_batch": part["micro_batch"],
        "precision": settings["precision"],
        "eval": part["eval"],
    }
