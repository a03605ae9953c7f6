"""Settings of the beta sweep: none of its own. Its arms are declared by `synthetic.controls` and `text.arms`, whose
experiments also check their learning rates.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from myopia.config.experiment import experiment
from myopia.config.runs import ARMS, BETA_SWEEP, PAIR, Spec, seeds_phrase
from myopia.config.schema import Section
from myopia.experiments.text.settings import steps_phrase

SWEPT = {"myopic": 0.0, **BETA_SWEEP, "beta1": 1.0}
"""Arm -> beta, ascending."""


class DoseResponse(Section):
    """Arms between myopic and vanilla (protocol section 10); it has no keys of its own."""


def caption(settings: dict[str, Any]) -> str:
    """What the figure's caption says about this scale: sizes and learning rates of both tasks."""
    section, text = settings["synthetic"], settings["text"]
    task, runs = section["task"], _swept("synthetic", settings)
    sentences = [
        f"D_p with a = {task['a']}, b = {task['b']}, T = {task['T']},"
        f" {section['steps']} steps of {section['batch_size']} sequences, learning rates "
        + _rates(run for run in runs if run["data"]["p"] == section["control_p"])
    ]
    if set(text["arms"]) & set(BETA_SWEEP):
        runs = _swept("text", settings)
        at = {corpus: _rates(run for run in runs if run["data"]["corpus"] == corpus) for corpus in text["corpora"]}
        alike = len(set(at.values())) == 1
        sentences.append(
            f"text {steps_phrase(text)} of {text['batch_size']} x {settings['context_length']} tokens, learning rates "
            + (at[text["corpora"][0]] if alike else "; ".join(f"{corpus} {rates}" for corpus, rates in at.items()))
        )
    return f"Scale {settings['scale']}: {'; '.join(sentences)}; {seeds_phrase(settings['seeds'])}."


def _swept(name: str, settings: dict[str, Any]) -> list[Spec]:
    """Runs of an experiment that are part of the sweep: both ends and what lies between."""
    return [spec for spec in experiment(name).runs(settings).values() if spec["arm_name"] in (*PAIR, *BETA_SWEEP)]


def _rates(specs: Iterable[Spec]) -> str:
    """One learning rate, or that of each beta."""
    pairs = sorted({(ARMS[spec["arm_name"]].get("beta", 1.0), spec["optim"]["lr"]) for spec in specs})
    if len({rate for _, rate in pairs}) == 1:
        return f"{pairs[0][1]:g} throughout"
    return ", ".join(f"{rate:g} at beta = {beta:g}" for beta, rate in pairs)
