"""Held-out loss and gap by the part of a mixture a document comes from (`ArXiv`, `PubMed Abstracts`, ...)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd

from myopia.config.runs import PAIR
from myopia.config.tables import TEXT_COMPONENTS, TEXT_LOSS
from myopia.experiments.text import EXPERIMENT
from myopia.judge.registry import Context
from myopia.judge.stats import Array, Estimate, Ratio, holm, ratio_contrast
from myopia.judge.text_loss import TextLoss, text_loss

_UNNAMED = "(none given)"


def text_by_component(context: Context) -> pd.DataFrame:
    """Nats per token of each arm, and the paired gap myopic - vanilla, in every component of every mixture.

    Documents are the clusters. `p_holm`: the gap against 0, Holm's correction over the components of a corpus. A
    component with one document, or one seed, has a value and no interval.
    """
    named = context.measures.table(TEXT_COMPONENTS.name)
    table = context.measures.table(TEXT_LOSS.name)
    rows: list[dict[str, Any]] = []
    for corpus, mixture in named.groupby("corpus"):
        component_of = dict(zip(mixture["doc"], mixture["component"], strict=True))
        arms = sorted(table.loc[table["corpus"] == corpus, "arm"].unique())
        series = [(arm, [arm]) for arm in arms]
        series += [("gap", [*PAIR])] if set(PAIR) <= set(arms) else []
        for name, needed in series:
            text = text_loss(context, corpus, needed)
            sums = text.sums["myopic"] - text.sums["vanilla"] if name == "gap" else text.sums[name]
            rows += _rows(corpus, name, text, sums, component_of)
    frame = pd.DataFrame(rows).reindex(columns=EXPERIMENT.figure("text_by_component").columns)
    return frame.sort_values(["corpus", "component", "series"], kind="stable")


def _rows(corpus: str, series: str, text: TextLoss, sums: Array, component_of: dict[str, str]) -> list[dict[str, Any]]:
    of_cluster = np.array([component_of.get(doc) or _UNNAMED for doc in text.clusters])
    names = sorted(set(of_cluster))
    found: list[Estimate] = []
    for name in names:
        here = of_cluster == name
        found.append(ratio_contrast([Ratio(sums[:, here].sum(-1), text.n[:, here].sum(-1))]))
    p_values = [estimate.p_value(0.0) if series == "gap" else math.nan for estimate in found]
    finite = [k for k, p in enumerate(p_values) if math.isfinite(p)]
    for k, p in zip(finite, holm([p_values[k] for k in finite]), strict=True):
        p_values[k] = p
    return [
        {
            "corpus": corpus,
            "component": name,
            "series": series,
            "value": estimate.value,
            "ci_low": estimate.interval()[0],
            "ci_high": estimate.interval()[1],
            "p_holm": p,
            "seeds": estimate.seeds,
            "documents": estimate.documents,
        }
        for name, estimate, p in zip(names, found, p_values, strict=True)
    ]
