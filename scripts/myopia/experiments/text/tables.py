"""The tables behind the language figures.

`series` is an arm, or `gap` for myopic - vanilla paired by seed; units are nats per token throughout.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from myopia.config.runs import BETA_SWEEP, PAIR
from myopia.config.tables import TEXT_CURVE, TEXT_LOSS
from myopia.experiments.text import EXPERIMENT, INFLUENCE
from myopia.judge.measures import NotRun, one_run
from myopia.judge.registry import Context
from myopia.judge.stats import Ratio, ratio_contrast, ratio_curve, seed_curve, settled
from myopia.judge.text_loss import TextLoss, text_loss


def _corpora(context: Context) -> list[tuple[str, list[str]]]:
    table = context.measures.table(TEXT_LOSS.name)
    by = table.groupby("corpus")["arm"].unique()
    return [(corpus, sorted(set(arms) - set(BETA_SWEEP))) for corpus, arms in by.items()]  # theirs is dose_response


def fig4_position(context: Context) -> pd.DataFrame:
    """Loss by position for both arms, their gap with a simultaneous band, and the paper's curves."""
    rows: list[dict[str, Any]] = []
    for corpus, arms in _corpora(context):
        for arm in (a for a in PAIR if a in arms):
            text = text_loss(context, corpus, [arm])
            rows += _curve_rows(corpus, arm, text, text.sums[arm])
        if set(PAIR) <= set(arms):
            text = text_loss(context, corpus, PAIR)
            rows += _curve_rows(corpus, "gap", text, text.sums["myopic"] - text.sums["vanilla"])
        rows += _paper_fig4(context, corpus)
    return _frame(rows, "fig4_position", ["corpus", "kind", "series", "position"])


def _curve_rows(corpus: str, series: str, text: TextLoss, sums: np.ndarray) -> list[dict[str, Any]]:
    curve = ratio_curve(sums, text.n)
    return [
        {
            "corpus": corpus,
            "kind": "ours",
            "series": series,
            "position": position,
            "value": curve.value[k],
            "ci_low": curve.low[k],
            "ci_high": curve.high[k],
            "band_low": curve.band_low[k],
            "band_high": curve.band_high[k],
            "seeds": curve.seeds,
            "documents": curve.documents,
        }
        for k, position in enumerate(text.positions)
    ]


def _paper_fig4(context: Context, corpus: str) -> list[dict[str, Any]]:
    paper = context.paper.frame
    points = paper[(paper["item"] == "Fig 4") & (paper["source"] == "paper") & (paper["x_name"] == "position")]
    return [
        {
            "corpus": corpus,
            "kind": "paper",
            "series": c.arm if isinstance(c.arm, str) else "gap",
            "position": int(c.x),
            "value": c.value,
            "seeds": 1,
            "documents": 1,
        }
        for c in points.itertuples()
    ]


def text_gap_by_step(context: Context) -> pd.DataFrame:
    """Validation loss and gap against training step; `settled` marks gaps shown to have settled."""
    table = context.measures.table(TEXT_CURVE.name)
    rows: list[dict[str, Any]] = []
    for corpus, group in table.groupby("corpus", sort=True):
        tokens = group.groupby("step")["tokens"].max()
        wide = {}
        for arm in (a for a in PAIR if a in set(group["arm"])):
            one = group[group["arm"] == arm]
            one_run(one, f"the curve of {corpus}, arm {arm},")
            wide[arm] = one.pivot_table(index="seed", columns="step", values="validation_loss").dropna(axis=1)
        if len(wide) == 2:
            gap = (wide["myopic"] - wide["vanilla"]).dropna(axis=1, how="all").dropna(axis=0)
            if not gap.empty:
                wide["gap"] = gap
        for series, values in wide.items():
            if values.empty:
                continue
            curve = seed_curve(values.to_numpy())
            steps = values.columns.to_numpy(dtype=float)
            has_settled = int(series == "gap" and settled(steps, values.to_numpy()))
            for k, step in enumerate(values.columns):
                rows.append(
                    {
                        "corpus": corpus,
                        "series": series,
                        "step": int(step),
                        "tokens": int(tokens[step]),
                        "value": curve.value[k],
                        "ci_low": curve.low[k],
                        "ci_high": curve.high[k],
                        "seeds": curve.seeds,
                        "settled": has_settled,
                    }
                )
    return _frame(rows, "text_gap_by_step", ["corpus", "series", "step"])


def table2_text_loss(context: Context) -> pd.DataFrame:
    """Held-out loss of every arm and its paired difference to vanilla, with the paper's Table 2."""
    rows: list[dict[str, Any]] = []
    for corpus, arms in _corpora(context):
        for arm in arms:
            text = text_loss(context, corpus, [arm])
            level = ratio_contrast([Ratio(text.sums[arm].sum(-1), text.n.sum(-1))])
            low, high = level.interval()
            row = {
                "corpus": corpus,
                "arm": arm,
                "kind": "ours",
                "value": level.value,
                "ci_low": low,
                "ci_high": high,
                "seeds": level.seeds,
                "documents": level.documents,
            }
            if arm != "vanilla" and "vanilla" in arms:
                try:
                    both = text_loss(context, corpus, [arm, "vanilla"])
                except NotRun:
                    rows.append(row)
                    continue
                difference = (both.sums[arm] - both.sums["vanilla"]).sum(-1)
                gap = ratio_contrast([Ratio(difference, both.n.sum(-1))])
                row |= {"gap": gap.value, "gap_low": gap.interval()[0], "gap_high": gap.interval()[1]}
            rows.append(row)
        rows += _paper_table2(context, corpus)
    return _frame(rows, "table2_text_loss", ["corpus", "kind", "arm"])


def _paper_table2(context: Context, corpus: str) -> list[dict[str, Any]]:
    paper = context.paper.frame
    cells = paper[(paper["item"] == "Table 2") & (paper["source"] == "paper")]
    vanilla = context.paper.get("table2-vanilla")[0]
    return [
        {
            "corpus": corpus,
            "arm": c.arm,
            "kind": "paper",
            "value": c.value,
            "seeds": 1,
            "documents": 0,
            "gap": c.value - vanilla if c.arm != "vanilla" else np.nan,
        }
        for c in cells.itertuples()
    ]


def influence(context: Context) -> pd.DataFrame:
    """Influence matrices of one matched pair (the lowest seed), as measured."""
    table = context.measures.table(INFLUENCE.name)
    table = table[table["seed"] == table["seed"].min()]
    return _frame(table, "influence", ["model", "arm", "seed", "t", "s", "token"])


def _frame(rows: list[dict[str, Any]] | pd.DataFrame, figure: str, keys: list[str]) -> pd.DataFrame:
    """Rows as the table of a figure, sorted by `keys`."""
    frame = pd.DataFrame(rows).reindex(columns=EXPERIMENT.figure(figure).columns)
    return frame.sort_values(keys, kind="stable").reset_index(drop=True)
