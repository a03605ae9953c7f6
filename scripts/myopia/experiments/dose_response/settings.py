"""Settings of the beta sweep: none of its own. Its arms are declared by `synthetic.controls` and `text.arms`, whose
experiments also check their learning rates.
"""

from __future__ import annotations

from typing import Any

from myopia.config.runs import BETA_SWEEP, seeds_phrase
from myopia.config.schema import Section
from myopia.experiments.text.settings import steps_phrase

SWEPT = {"myopic": 0.0, **BETA_SWEEP, "beta1": 1.0}
"""Arm -> beta, ascending."""


class DoseResponse(Section):
    """Arms between myopic and vanilla (protocol section 10); it has no keys of its own."""


def caption(settings: dict[str, Any]) -> str:
    """What is said beside the figure about this scale: the sizes of both tasks."""
    section, text = settings["synthetic"], settings["text"]
    task = section["task"]
    parts = [
        f"D_p with a = {task['a']}, b = {task['b']}, {section['steps']} steps of {section['batch_size']} sequences"
    ]
    if set(text["arms"]) & set(BETA_SWEEP):
        parts.append(f"text {steps_phrase(text)} of {text['batch_size']} x {settings['context_length']} tokens")
    return f"Scale {settings['scale']}: {'; '.join(parts)}; {seeds_phrase(settings['seeds'])}."
