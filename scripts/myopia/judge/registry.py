"""The table of estimators a claim may name; each turns measurements into one `Estimate`.

An experiment's estimators stand in its `judge.py`; judging it imports that module, which registers them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from myopia.common.errors import MyopiaError
from myopia.judge.measures import Measures, Paper
from myopia.judge.stats import Estimate


@dataclass(frozen=True)
class Context:
    """What an estimator may read: the measurements and the paper's numbers, nothing else."""

    measures: Measures
    paper: Paper


Estimator = Callable[..., Estimate]
ESTIMATORS: dict[str, Estimator] = {}


def estimator(function: Estimator) -> Estimator:
    """Register under the function's own name."""
    ESTIMATORS[function.__name__] = function
    return function


def run_estimator(name: str, context: Context, args: dict[str, Any]) -> Estimate:
    """Call a registered estimator; an unknown name or argument is one clear sentence."""
    if name not in ESTIMATORS:
        raise MyopiaError(f"claims name the estimator {name}; known are {', '.join(sorted(ESTIMATORS))}.")
    try:
        return ESTIMATORS[name](context, **args)
    except TypeError as error:
        if name in str(error):
            raise MyopiaError(f"claims give the estimator {name} wrong arguments ({error}).") from None
        raise
