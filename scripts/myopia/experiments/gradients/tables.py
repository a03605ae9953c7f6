"""The tables behind the figures of gradient anatomy, forward bias and the convex toys."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from myopia.experiments.gradients import ANATOMY, EXPERIMENT, POINTS, SPECTRA, THEORY
from myopia.experiments.gradients.judge import GROUPS, jackknifed, lowest_of, paper_value, series
from myopia.judge.measures import NotRun
from myopia.judge.registry import Context
from myopia.judge.stats import seed_mean

QUANTITIES = ("myopic", "future", "total", "cosine")


def fig11_gradient_anatomy(context: Context) -> pd.DataFrame:
    """Norms of the gradient's parts, of the AdamW step's, and their cosine, by training step.

    `form`: raw or unbiased; the paper's points are raw, without embeddings, on our scale: norms beside the public checkpoints,
    cosines beside every run.
    """
    table = context.measures.table(ANATOMY.name)
    rows: list[dict[str, Any]] = []
    for corpus, run in sorted(set(zip(table["corpus"], table["run"], strict=True))):
        for of in ("gradient", "adamw"):
            for group in GROUPS:
                found = series(context, corpus, run, of, group)
                fields = {"corpus": corpus, "run": run, "arm": found.arm, "kind": "ours", "of": of, "group": group}
                for quantity in QUANTITIES:
                    for form in ("raw", "unbiased"):
                        numbers = found.quantity(quantity, form)
                        rows += [
                            fields | {"step": step, "quantity": quantity, "form": form}
                            | _estimated(numbers[0][:, k], numbers[1][:, k])
                            for k, step in enumerate(found.steps)
                        ]  # fmt: skip
        rows += _paper_rows(context, corpus, run, found.arm, found.steps)
    return pd.DataFrame(rows, columns=[*EXPERIMENT.figure("fig11_gradient_anatomy").columns])


def _estimated(per_seed: np.ndarray, without: np.ndarray) -> dict[str, Any]:
    """Value and interval over the seeds for which the quantity is known (an unbiased square may be negative)."""
    known = np.isfinite(per_seed) & np.isfinite(without).all(1)
    if not known.any():
        return {"seeds": 0, "documents": without.shape[1]}
    estimate = jackknifed(per_seed[known], without[known])
    low, high = estimate.interval()
    return {"value": estimate.value, "ci_low": low, "ci_high": high,
            "seeds": estimate.seeds, "documents": estimate.documents}  # fmt: skip


def _paper_rows(context: Context, corpus: str, run: str, arm: str, steps: Sequence[int]) -> list[dict[str, Any]]:
    """The paper's points: all up to our last step beside runs of ours, whose norms share no scale with the paper's."""
    fields = {"corpus": corpus, "run": run, "arm": arm, "kind": "paper", "of": "gradient",
            "group": "no-embeddings", "form": "raw", "seeds": 1, "documents": 0}  # fmt: skip
    if arm != "public":
        known = context.paper.frame.loc[context.paper.frame["id"].str.startswith("fig11-cos-step"), "x"].astype(int)
        steps = [step for step in known if step <= max(steps)]
    quantities = QUANTITIES if arm == "public" else ("cosine",)
    values = {(q, step): paper_value(context.paper, q, step) for q in quantities for step in steps}
    return [fields | {"quantity": q, "step": step, "value": v} for (q, step), v in values.items() if v is not None]


def forward_bias(context: Context) -> pd.DataFrame:
    """Spectra of trained networks; every network's eigenvalues in units of its largest modulus in that matrix.

    kind `spectrum`: eigenvalues by rank (x: share of eigenvalues below), mean over seeds; `plane`: J's eigenvalues
    of the first seed; `untied`: lowest eigenvalue of a position's block (x: position), in units of the largest of all
    blocks; `lowest`: of the whole matrix; `ends`: Lanczos, not rescaled; `point`: what was measured where (matrix: name).
    """
    table = context.measures.table(SPECTRA.name)
    rows: list[dict[str, Any]] = []
    for (task, arm, matrix), part in table.groupby(["task", "arm", "matrix"], sort=True):
        fields = {"task": task, "arm": arm, "matrix": matrix, "method": part["method"].iloc[0]}
        if fields["method"] == "lanczos":
            for index, end in zip(sorted(part["index"].unique()), ("lowest", "highest"), strict=False):
                values = part.loc[part["index"] == index, "real"].to_numpy()
                rows.append(fields | {"kind": "ends", "matrix": f"{matrix}, {end}"} | _over_seeds(values))
            continue
        part = part.assign(scale=np.hypot(part["real"], part["imaginary"]).groupby(part["seed"]).transform("max"))
        part = part.assign(real=part["real"] / part["scale"], imaginary=part["imaginary"] / part["scale"])
        rows.append(fields | {"kind": "lowest"} | _over_seeds(lowest_of(part).to_numpy()))
        if matrix == "untied":
            lowest = part.groupby(["position", "seed"])["real"].min()
            rows += [
                fields | {"kind": "untied", "x": position} | _over_seeds(values.to_numpy())
                for position, values in lowest.groupby("position")
            ]
            continue
        size = part["index"].max() + 1
        rows += [
            fields | {"kind": "spectrum", "x": (index + 0.5) / size} | _over_seeds(values.to_numpy())
            for index, values in part.groupby("index")["real"]
        ]
        if matrix == "jacobian":
            first = part[part["seed"] == part["seed"].min()]
            rows += [
                fields | {"kind": "plane", "x": k, "value": re, "imaginary": im, "seeds": 1}
                for k, (re, im) in enumerate(zip(first["real"], first["imaginary"], strict=True))
            ]
    return pd.DataFrame([*rows, *_points(context)], columns=[*EXPERIMENT.figure("forward_bias").columns])


def _points(context: Context) -> list[dict[str, Any]]:
    table = context.measures.table(POINTS.name)
    names = ["parameters", "sequences", "loss", "weights", "gradient_total", "gradient_myopic", "gradient_future"]
    return [
        {"task": task, "arm": arm, "kind": "point", "matrix": name} | _over_seeds(part[name].to_numpy(dtype=float))
        for (task, arm), part in table.groupby(["task", "arm"], sort=True)
        for name in names
    ]


def _over_seeds(values: np.ndarray) -> dict[str, Any]:
    estimate = seed_mean(values)
    low, high = estimate.interval()
    return {"value": estimate.value, "ci_low": low, "ci_high": high, "seeds": estimate.seeds}


def theory(context: Context) -> pd.DataFrame:
    """Every quantity of every toy: median over the random problems, and the span of their middle 80 %.

    Distances are in units of the first one, bonus and malus in units of the problem's gap.
    """
    table = context.measures.table(THEORY.name)
    if table.empty:
        raise NotRun("no toy was checked")
    wide = table.set_index(["toy", "seed", "quantity", "x"])["value"]
    gap = wide.xs("gap", level="quantity").droplevel("x")
    rows = []
    for (toy, quantity), part in table.groupby(["toy", "quantity"], sort=True):
        values = part.set_index(["seed", "x"])["value"].unstack("x")
        if quantity in ("bonus", "malus"):
            values = values.div(gap.loc[toy].reindex(values.index), axis=0)
        elif quantity.endswith(("distance", "bound")):
            name = quantity.rsplit(",", 1)[0] + ", distance"
            values = values.div(wide.xs((toy, name, 0), level=("toy", "quantity", "x")).reindex(values.index), axis=0)
        low, middle, high = (values.quantile(q) for q in (0.1, 0.5, 0.9))
        rows += [
            {"toy": toy, "quantity": quantity, "x": x, "value": middle[x], "low": low[x], "high": high[x],
             "seeds": len(values)}
            for x in values.columns
        ]  # fmt: skip
    return pd.DataFrame(rows, columns=[*EXPERIMENT.figure("theory").columns])
