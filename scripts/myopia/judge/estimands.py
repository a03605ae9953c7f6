"""Every estimator a claim may name (importing this module registers them)."""

import importlib

from myopia.judge.registry import ESTIMATORS, Context, run_estimator

EXPERIMENTS = (
    "dose_response gradients induction multiplication size_sweep synthetic text tokens toys zero_shot"
).split()

for name in EXPERIMENTS:
    importlib.import_module(f"myopia.experiments.{name}.judge")

__all__ = ["ESTIMATORS", "Context", "run_estimator"]
