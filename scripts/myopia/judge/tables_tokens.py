"""The tables behind the figures of "where planning pays", and the list of extreme tokens (protocol section 8)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from myopia.judge.estimands_tokens import GAP, PROBES, TOP, probe_cube, token_groups
from myopia.judge.measures import NotRun
from myopia.judge.registry import Context
from myopia.judge.stats import Array, ratio_curve

TOKEN_GAP = "corpus,by,bin,order,x,metric,value,ci_low,ci_high,band_low,band_high,share,seeds,documents".split(",")
FUTURE = "corpus,arm,layer,tau,metric,value,ci_low,ci_high,seeds,documents".split(",")
TOP_TOKENS = "corpus,list,rank,gap,kl,loss_vanilla,loss_myopic,token,context,copied,frequency,doc,position,seeds".split(
    ","
)
LISTED = 20


def token_gap(context: Context) -> pd.DataFrame:
    """Gap and KL of every group of tokens, with pointwise intervals and a simultaneous band over the groups."""
    table = context.measures.table(GAP)
    rows: list[dict[str, Any]] = []
    for corpus, by in sorted(set(zip(table["corpus"], table["by"], strict=True))):
        try:
            groups = token_groups(context, corpus, by)
        except NotRun:
            continue
        share = (groups.weight.sum(1) / groups.weight.sum((1, 2))[:, None]).mean(0)
        for metric, sums in (("gap", groups.gap), ("kl", groups.kl)):
            curve = ratio_curve(sums, groups.weight)
            for k, name in enumerate(groups.bins):
                rows.append(
                    {
                        "corpus": corpus, "by": by, "bin": name, "order": k, "x": groups.x[k], "metric": metric,
                        "value": curve.value[k], "ci_low": curve.low[k], "ci_high": curve.high[k],
                        "band_low": curve.band_low[k], "band_high": curve.band_high[k],
                        # A contrast weighs tokens against each other: it has no share of them.
                        "share": np.nan if by == "copied-matched" else share[k],
                        "seeds": curve.seeds, "documents": curve.documents,
                    }
                )  # fmt: skip
    return pd.DataFrame(rows, columns=TOKEN_GAP).sort_values(["corpus", "by", "metric", "order"], kind="stable")


def future_probes(context: Context) -> pd.DataFrame:
    """Gain over the table and hits of the probes, by layer and tau; the tables' own rows stand at layer -1.

    `difference` is vanilla minus myopic, paired by seed and document.
    """
    rows: list[dict[str, Any]] = []
    for corpus in sorted(context.measures.table(PROBES)["corpus"].unique()):
        gains: dict[str, dict[str, Array]] = {}
        for arm in ("vanilla", "myopic", "untrained"):
            try:
                values, frame = probe_cube(
                    context, corpus, arm, ["n", "ce", "ce_bigram", "ce_unigram", "hits", "hits_bigram"]
                )
            except NotRun:
                continue
            layers, taus = (sorted(frame[name].astype(int).unique()) for name in ("layer", "tau"))
            n = values["n"]
            gains[arm] = {"gain": values["ce_bigram"] - values["ce"], "top1": values["hits"], "n": n}
            for metric in ("gain", "top1"):
                rows += _curves(corpus, arm, layers, taus, metric, gains[arm][metric], n)
            if arm == "vanilla":
                one = slice(0, 1)  # the tables are the same for every model and layer
                for series, metric, sums in (
                    ("bigram", "top1", values["hits_bigram"]),
                    ("unigram", "gain", values["ce_bigram"] - values["ce_unigram"]),
                ):
                    rows += _curves(corpus, series, [-1], taus, metric, sums[:, :, one], n[:, :, one])
        if {"vanilla", "myopic"} <= set(gains) and np.array_equal(gains["vanilla"]["n"], gains["myopic"]["n"]):
            for metric in ("gain", "top1"):
                difference = gains["vanilla"][metric] - gains["myopic"][metric]
                rows += _curves(corpus, "difference", layers, taus, metric, difference, gains["vanilla"]["n"])
    return pd.DataFrame(rows, columns=FUTURE).sort_values(["corpus", "arm", "metric", "layer", "tau"], kind="stable")


def _curves(
    corpus: str, arm: str, layers: Sequence[int], taus: Sequence[int], metric: str, sums: Array, n: Array
) -> list[dict[str, Any]]:
    """One curve over tau for each layer; sums and n are [seeds, documents, layers, taus]."""
    rows = []
    for k, layer in enumerate(layers):
        curve = ratio_curve(sums[:, :, k], n[:, :, k])
        for a, tau in enumerate(taus):
            rows.append(
                {
                    "corpus": corpus, "arm": arm, "layer": layer, "tau": tau, "metric": metric,
                    "value": curve.value[a], "ci_low": curve.low[a], "ci_high": curve.high[a],
                    "seeds": curve.seeds, "documents": curve.documents,
                }
            )  # fmt: skip
    return rows


def top_tokens(context: Context) -> pd.DataFrame:
    """The tokens with the largest mean KL over seeds (as the authors list them), largest and smallest gap.

    Extremes of many tokens: their values are selected and carry no interval. A token is listed if it was among the
    most extreme of at least one seed.
    """
    table = context.measures.table(TOP)
    where = ["corpus", "doc", "window", "position"]
    frames = []
    for corpus, rows in table.groupby("corpus", sort=True):
        wide = rows.pivot_table(index=[*where, "seed"], columns="arm", values="loss")
        if not {"vanilla", "myopic"} <= set(wide.columns):
            continue
        wide = wide.dropna(subset=["vanilla", "myopic"])
        wide["kl"] = rows[rows["arm"] == "myopic"].set_index([*where, "seed"])["kl"]
        mean = wide.groupby(where).mean()
        mean["seeds"] = wide.groupby(where).size()
        mean = mean.join(rows.drop_duplicates(where).set_index(where)[["token", "context", "copied", "frequency"]])
        mean = mean.reset_index().rename(columns={"vanilla": "loss_vanilla", "myopic": "loss_myopic"})
        mean["gap"] = mean["loss_myopic"] - mean["loss_vanilla"]
        for name, column, ascending in (("kl", "kl", False), ("gap", "gap", False), ("myopic better", "gap", True)):
            listed = mean.sort_values(column, ascending=ascending, kind="stable").head(LISTED)
            frames.append(listed.assign(corpus=corpus, list=name, rank=np.arange(1, len(listed) + 1)))
    if not frames:
        raise NotRun("no token was measured in both arms")
    return pd.concat(frames)[TOP_TOKENS]
