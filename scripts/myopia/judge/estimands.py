"""Every estimator a claim may name (importing this module registers them)."""

from myopia.judge import (
    estimands_anatomy,
    estimands_dose,
    estimands_family,
    estimands_induction,
    estimands_multiplication,
    estimands_synthetic,
    estimands_text,
    estimands_tokens,
    estimands_toys,
    estimands_zero_shot,
)
from myopia.judge.registry import ESTIMATORS, Context, run_estimator

__all__ = [
    "ESTIMATORS",
    "Context",
    "estimands_anatomy",
    "estimands_dose",
    "estimands_family",
    "estimands_induction",
    "estimands_multiplication",
    "estimands_synthetic",
    "estimands_text",
    "estimands_tokens",
    "estimands_toys",
    "estimands_zero_shot",
    "run_estimator",
]
