"""Which figures are made from which runs, and what that costs before anything has run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from myopia.config.plan import experiments, family_experiments, plan
from myopia.config.runs import run_specs
from myopia.experiments.size_sweep.settings import family

FIGURES_OF = {
    "synthetic": [
        "table1_loss_by_p",
        "fig2_probe_r2",
        "fig3_neuron_correlation",
        "fig6_probe_estimate",
        "intervention",
        "dose_response",
    ],
    "text": [
        "influence",
        "fig4_position",
        "text_gap_by_step",
        "table2_text_loss",
        "token_gap",
        "future_probes",
        "fig5_zero_shot",
        "fig11_gradient_anatomy",
        "dose_response",
    ],
    "family": ["fig7_gap_by_size", "audit_gap_by_lr", "fig5_zero_shot"],
    "multiplication": ["fig9_multiplication", "fig10_filler", "multiplication_digits"],
    "small": ["forward_bias"],
    "induction": ["induction"],
}
"""Experiment -> figures; toys and theory train no network of their own."""

BEGINNINGS = {
    "dp-": "synthetic",
    "text-": "text",
    "mult-": "multiplication",
    "bias-": "small",
    "induction-": "induction",
}


def experiment_of(run: str) -> str:
    """The experiment a run belongs to, by its name."""
    return next(experiment for beginning, experiment in BEGINNINGS.items() if run.startswith(beginning))


def plan_by_experiment(settings: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One row per experiment that a scale runs, and one for its text: figures, networks, runs, device-hours, memory, disk.

    Sums of `plan`'s rows. The family's choice of rates on tuning seeds is part of it; the learning-rate grids of `tuned`
    are not, because `all` does not run them.
    """
    groups: dict[str, dict[str, Any]] = {}
    for name, spec in run_specs(settings).items():
        groups.setdefault(experiment_of(name), {})[name] = spec
    rows = [_sum(name, experiments(settings, specs, settings["seeds"], "")) for name, specs in groups.items()]
    sizes = family(settings)
    if sizes.specs:
        grid = {name: sizes.specs[name] for name in sizes.tuning_runs() if settings["family"]["tuning_seeds"]}
        related = family_experiments(settings, sizes, "")
        rows.append(_sum("family", related + experiments(settings, grid, settings["family"]["tuning_seeds"], "")))
    rows.sort(key=lambda row: list(FIGURES_OF).index(row["experiment"]))
    texts = [row for row in plan(settings) if row["experiment"].startswith("data: ")]
    total = {key: sum(row[key] or 0 for row in texts) for key in ("disk_gb", "download_gb")}
    return [
        *rows,
        {"experiment": "text corpora", "figures": [], "models": [], "runs": 0, "device_hours": 0.0, "memory_gb": 0.0}
        | total,
    ]


def _sum(experiment: str, rows: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "experiment": experiment,
        "figures": FIGURES_OF[experiment],
        "models": list(dict.fromkeys(row["model"] for row in rows)),
        "runs": sum(row["runs"] * row["seeds"] for row in rows),
        "device_hours": sum(row.get("device_hours") or 0.0 for row in rows),
        "memory_gb": max(row.get("memory_gb") or 0.0 for row in rows),
        "disk_gb": sum(row.get("disk_gb") or 0.0 for row in rows),
        "download_gb": sum(row.get("download_gb") or 0.0 for row in rows),
    }
