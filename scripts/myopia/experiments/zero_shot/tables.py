"""The table behind Fig 5: accuracy by task, model and arm, beside the paper's points and the released Pythia's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from myopia.config.runs import PAIR
from myopia.experiments.zero_shot import EXPERIMENT, SCORES
from myopia.experiments.zero_shot.judge import PAPER_TASKS, gap_of, scores
from myopia.experiments.zero_shot.paired import Pair
from myopia.judge.measures import NotRun
from myopia.judge.registry import Context
from myopia.judge.stats import Ratio, ratio_contrast

# Tasks the authors ran and left out of the paper; their points are in the authors' notebook.
_CODE_TASKS = ("winogrande", "wsc", "arc_challenge", "logiqa")


def fig5_zero_shot(context: Context) -> pd.DataFrame:
    """Accuracies of every measured (task, model, arm) with the paired difference, and every reference point."""
    table = context.measures.table(SCORES.name)
    rows = _reference(context)
    for (task, model), part in table.groupby(["task", "model"]):
        rows += _measured(context, str(task), str(model), part)
    frame = pd.DataFrame(rows).reindex(columns=EXPERIMENT.figure("fig5_zero_shot").columns)
    keys = ["task", "kind", "parameters", "model", "arm"]
    return frame.sort_values(keys, kind="stable").reset_index(drop=True)


def _measured(context: Context, task: str, model: str, part: pd.DataFrame) -> list[dict[str, Any]]:
    rows = []
    for arm in sorted(part["arm"].unique()):
        score = scores(context, task, model, [arm])
        level = ratio_contrast([Ratio(score.correct[arm], score.n)], one_seed_counts=True)
        over = ratio_contrast([Ratio(score.correct[arm] - score.chance, score.n)], one_seed_counts=True)
        first = part[part["arm"] == arm].iloc[0]
        low, high = level.interval()
        rows.append(
            {
                "task": task, "kind": "ours", "model": model, "arm": arm, "parameters": first["parameters"],
                "value": level.value, "se": level.se, "ci_low": low, "ci_high": high,
                "chance": score.chance.sum() / score.n.sum(), "above_chance": int(over.interval()[0] > 0),
                "seeds": level.seeds, "documents": level.documents, "items": int(score.n[0].sum()),
                "truncated": part.loc[part["arm"] == arm, "truncated"].mean(), "left_out": first["left_out"],
                "split": first["split"], "version": first["version"], "harness": first["harness"],
            }
        )  # fmt: skip
        if arm == "myopic" and set(PAIR) <= set(part["arm"]):
            rows[-1] |= _gap(context, task, model)
    return rows


def _gap(context: Context, task: str, model: str) -> dict[str, Any]:
    try:
        gap = gap_of(scores(context, task, model, PAIR))
    except NotRun:
        return {}
    low, high = gap.interval()
    test = "mcnemar" if isinstance(gap, Pair) else "seeds" if gap.seeds > 1 else "clusters"
    return {"gap": gap.value, "gap_low": low, "gap_high": high, "p": gap.p_value(0.0), "test": test}


def _reference(context: Context) -> list[dict[str, Any]]:
    paper = context.paper.frame
    names = paper["series"].astype(str).str.rsplit(" ", n=1).str[0]
    task = names.map(PAPER_TASKS).fillna(names.where(names.isin(_CODE_TASKS)))
    kinds = {("Fig 5", "paper"): "paper", ("Fig 5 (not in the paper)", "code"): "paper",
             ("Fig 5 (Pythia as released)", "eleutherai"): "published"}  # fmt: skip
    kind = pd.Series(list(zip(paper["item"], paper["source"], strict=True)), index=paper.index).map(kinds)
    rows = []
    for k in paper.index[kind.notna() & task.notna()]:
        row = paper.loc[k]
        arm = row["arm"] if isinstance(row["arm"], str) else ""
        gap = np.nan
        if arm == "myopic":
            other = paper[(names == names[k]) & (paper["x"] == row["x"]) & (paper["arm"] == "vanilla")]
            gap = float(other["value"].iloc[0]) - float(row["value"])
        rows.append(
            {"task": task[k], "kind": kind[k], "model": row["x"], "arm": arm, "parameters": parameters(row["x"]),
             "value": float(row["value"]), "gap": gap, "seeds": 1, "documents": 0}
        )  # fmt: skip
    return rows


def parameters(size: str) -> float:
    """A Pythia size's nominal number of parameters: 70m -> 70e6."""
    return float(size[:-1]) * {"m": 1e6, "b": 1e9}[size[-1]]
