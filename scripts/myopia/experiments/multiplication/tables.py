"""The tables behind Figs 9 and 10 and behind the figure by answer digit: means over seeds, intervals, paper's cells."""

from __future__ import annotations

from typing import Any

import pandas as pd

from myopia.config.runs import PAIR
from myopia.experiments.multiplication import CELLS, DIGITS, EXPERIMENT
from myopia.experiments.multiplication.judge import Cell, between_cells, effect_terms, exact, paper_cell, together
from myopia.judge.measures import NotRun, select
from myopia.judge.registry import Context
from myopia.judge.stats import Estimate, ratio_contrast, seed_curve

OFF_CEILING = (0.05, 0.95)
ROLES = ("short", "long", "after", "lead")


def _interval(estimate: Estimate) -> dict[str, Any]:
    low, high = estimate.interval()
    return {"value": estimate.value, "ci_low": low, "ci_high": high, "seeds": estimate.seeds,
            "documents": estimate.documents}  # fmt: skip


def _form(context: Context, role: str) -> dict[str, int]:
    rows = context.measures.table(CELLS.name)
    rows = rows[rows["role"] == role]
    return {name: int(rows[name].iloc[0]) for name in ("digits", "pad", "T")}


def _judged(context: Context, role: str) -> list[Cell]:
    try:
        return between_cells(context, role, OFF_CEILING)
    except NotRun:
        return []


def _arms(context: Context, role: str) -> list[str]:
    rows = context.measures.table(CELLS.name)
    return [arm for arm in PAIR if ((rows["role"] == role) & (rows["arm"] == arm)).any()]


def fig9_multiplication(context: Context) -> pd.DataFrame:
    """Exact match by digit counts, both arms and their difference, and the paper's cells where sizes are the paper's.

    series: an arm, or `difference` (vanilla - myopic). judged: 1 if the cell counts in the verdict. share_new: share of
    the test problems that training never showed; value_new: exact match on those alone.
    """
    arms = _arms(context, "grid")
    if not arms:
        raise NotRun("the grid of digit counts was not measured")
    found, seeds = together(context, [("grid", arm) for arm in arms])
    form = {name: value for name, value in _form(context, "grid").items() if name != "T"}
    judged = _judged(context, "grid")
    rows: list[dict[str, Any]] = []
    for cell in found[0].cells:
        common = {**form, "x_digits": cell[0], "y_digits": cell[1], "judged": int(cell in judged)}
        for arm, one in zip(arms, found, strict=True):
            new = _new(one, cell, seeds)
            rows.append(
                {**common, "kind": "ours", "series": arm, **_interval(ratio_contrast([one.of(cell, seeds)])), **new}
            )
        if len(arms) == 2:
            gap = ratio_contrast([found[0].of(cell, seeds), found[1].of(cell, seeds, -1.0)])
            rows.append({**common, "kind": "ours", "series": "difference", **_interval(gap)})
    return _frame(rows + _paper_fig9(context, form), "fig9_multiplication")


def _new(one: Any, cell: Cell, seeds: list[int]) -> dict[str, float]:
    right, n = (
        part.sum() for part in (one.of(cell, seeds, new=True).numerator, one.of(cell, seeds, new=True).denominator)
    )
    return {"share_new": n / one.of(cell, seeds).denominator.sum(), "value_new": right / n if n else float("nan")}


def _paper_fig9(context: Context, form: dict[str, int]) -> list[dict[str, Any]]:
    paper = context.paper.frame
    cells = paper[(paper["item"] == "Fig 9") & (paper["source"] == "paper")]
    if int(cells["x"].str.split("x").str[0].max()) != form["digits"]:
        return []
    wide = cells.pivot(index="x", columns="arm", values="value")
    rows = []
    for x, printed in wide.iterrows():
        a, b = (int(part) for part in str(x).split("x"))
        values = {arm: float(printed[arm]) for arm in PAIR} | {"difference": printed[PAIR[0]] - printed[PAIR[1]]}
        for series, value in values.items():
            rows.append({"kind": "paper", "series": series, **form, "x_digits": a, "y_digits": b, "value": value,
                         "seeds": 1, "documents": 0, "judged": 0})  # fmt: skip
    return rows


def fig10_filler(context: Context) -> pd.DataFrame:
    """Exact match by format, arm and cell; over the judged cells its mean, and what a format changes against `short`.

    measure: `exact` in every cell; `level` its mean over the judged cells, `effect` that mean minus `short`'s (neither has
    digits). judged: 1 if vanilla with short padding is off ceiling and floor in the cell.
    """
    present = [(role, arm) for role in ROLES for arm in _arms(context, role)]
    if not present:
        raise NotRun("no format with filler was measured")
    judged = _judged(context, "short")
    rows: list[dict[str, Any]] = []
    for role, arm in present:
        one = exact(context, role, arm)
        common = {"kind": "ours", "role": role, "arm": arm, **_form(context, role)}
        for cell in one.cells:
            level = _interval(ratio_contrast([one.of(cell, one.seeds)]))
            place = {"x_digits": cell[0], "y_digits": cell[1], "share_new": _new(one, cell, one.seeds)["share_new"]}
            rows.append({**common, "measure": "exact", **place, **level, "judged": int(cell in judged)})
        if judged:
            terms = [one.of(cell, one.seeds, 1 / len(judged)) for cell in judged]
            rows.append({**common, "measure": "level", **_interval(ratio_contrast(terms)), "judged": 1})
        if judged and role != "short" and ("short", arm) in present:
            terms = effect_terms(context, role, "short", [arm], judged)
            rows.append({**common, "measure": "effect", **_interval(ratio_contrast(terms)), "judged": 1})
    return _frame(rows + _paper_fig10(context, rows), "fig10_filler")


def _paper_fig10(context: Context, ours: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The paper's cells where formats are the paper's; their mean and change over the cells that are off ceiling there."""
    rows = []
    for role, pad in (("short", 5), ("long", 10)):
        mine = [r for r in ours if (r["role"], r["digits"], r["pad"], r["measure"]) == (role, 5, pad, "exact")]
        for row in mine:
            key = f"fig10-{row['arm']}-pad{pad}-{row['x_digits']}x{row['y_digits']}"
            judged = OFF_CEILING[0] <= paper_cell(context, f"fig10-vanilla-pad5-{key[-3:]}") <= OFF_CEILING[1]
            place = {name: row[name] for name in ("role", "arm", "digits", "pad", "T", "x_digits", "y_digits")}
            rows.append({"kind": "paper", "measure": "exact", **place, "value": paper_cell(context, key), "seeds": 1,
                         "documents": 0, "judged": int(judged)})  # fmt: skip
    if not rows:
        return []
    cells = pd.DataFrame(rows)
    mean = cells[cells["judged"] == 1].groupby(["role", "arm"])["value"].mean()
    for role, arm in mean.index:
        form = cells[cells["role"] == role].iloc[0]
        place = {"kind": "paper", "role": role, "arm": arm, "digits": 5, "pad": form["pad"], "T": form["T"], "seeds": 1,
                 "documents": 0, "judged": 1}  # fmt: skip
        rows.append({**place, "measure": "level", "value": mean[role, arm]})
        if role == "long" and ("short", arm) in mean.index:
            rows.append({**place, "measure": "effect", "value": mean[role, arm] - mean["short", arm]})
    return rows


def multiplication_digits(context: Context) -> pd.DataFrame:
    """Loss and accuracy by answer digit in the hardest cell, by format and arm."""
    table = context.measures.table(DIGITS.name)
    rows: list[dict[str, Any]] = []
    for role in ROLES:
        for arm in PAIR:
            here = table[(table["role"] == role) & (table["arm"] == arm)]
            if here.empty:
                continue
            here = select(here, f"answer digits, format {role}, arm {arm},", arm=arm)
            top = int(here["digits"].iloc[0])
            here = here[(here["x_digits"] == top) & (here["y_digits"] == top)]
            common = {"role": role, "arm": arm, **{name: int(here[name].iloc[0]) for name in
                                                   ("digits", "pad", "T", "x_digits", "y_digits")}}  # fmt: skip
            for metric in ("loss", "right_given", "right_greedy"):
                wide = here.pivot(index="seed", columns="position", values=metric)
                curve = seed_curve(wide.to_numpy())
                for k, position in enumerate(wide.columns):
                    rows.append({**common, "position": int(position), "metric": metric, "value": curve.value[k],
                                 "ci_low": curve.low[k], "ci_high": curve.high[k], "seeds": curve.seeds})  # fmt: skip
    if not rows:
        raise NotRun("no format with filler was measured")
    return _frame(rows, "multiplication_digits")


def _frame(rows: list[dict[str, Any]], figure: str) -> pd.DataFrame:
    """Rows as a figure's table, in the order of its keys."""
    columns = EXPERIMENT.figure(figure).columns
    frame = pd.DataFrame(rows).reindex(columns=[*columns])
    keys = [
        c
        for c in columns
        if c in ("kind", "measure", "series", "role", "arm", "x_digits", "y_digits", "metric", "position")
    ]
    return frame.sort_values(keys, kind="stable").reset_index(drop=True)
