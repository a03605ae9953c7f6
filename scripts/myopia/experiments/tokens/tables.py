"""The tables behind the figures of "where planning pays", and the list of extreme tokens (protocol section 8)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from myopia.config.runs import PAIR
from myopia.experiments.tokens import EXPERIMENT, GAP, MAP, PROBES, TOP
from myopia.experiments.tokens.judge import probe_sums, token_groups
from myopia.judge.measures import NotRun
from myopia.judge.registry import Context
from myopia.judge.stats import Array, Ratio, ratio_contrast, ratio_curve, seed_curve

SUMS = ["n", "ce", "ce_bigram", "ce_unigram", "hits", "hits_bigram"]
LISTED = 20


def token_gap(context: Context) -> pd.DataFrame:
    """Gap and KL of every group of tokens; the gap also with a simultaneous band over the groups."""
    table = context.measures.table(GAP.name)
    rows: list[dict[str, Any]] = []
    for corpus, by in sorted(set(zip(table["corpus"], table["by"], strict=True))):
        try:
            groups = token_groups(context, corpus, by)
        except NotRun:
            continue
        share = (groups.weight.sum(1) / groups.weight.sum((1, 2))[:, None]).mean(0)
        band = ratio_curve(groups.gap, groups.weight)
        for k, name in enumerate(groups.bins):
            # A contrast weighs tokens against each other: it has no share of them.
            fields = {"corpus": corpus, "by": by, "bin": name, "order": k, "x": groups.x[k],
                    "share": np.nan if by == "copied-matched" else share[k]}  # fmt: skip
            for metric, sums in (("gap", groups.gap), ("kl", groups.kl)):
                rows.append(fields | {"metric": metric} | _numbers(sums[..., k], groups.weight[..., k]))
            rows[-2] |= {"band_low": band.band_low[k], "band_high": band.band_high[k]}
    frame = pd.DataFrame(rows, columns=EXPERIMENT.figure("token_gap").columns)
    return frame.sort_values(["corpus", "by", "metric", "order"], kind="stable")


def _numbers(sums: Array, n: Array) -> dict[str, Any]:
    """Value, interval and sample of sum(sums) / sum(n), both [seeds, documents]; from the documents that have any."""
    some = (n != 0).any(0)
    estimate = ratio_contrast([Ratio(sums[:, some], n[:, some])])
    low, high = estimate.interval()
    return {"value": estimate.value, "ci_low": low, "ci_high": high,
            "seeds": estimate.seeds, "documents": estimate.documents}  # fmt: skip


def future_probes(context: Context) -> pd.DataFrame:
    """Probes by layer and tau: `gain` in cross-entropy and `top1_gain` in hits over the table, `top1` itself.

    The tables' own rows stand at layer -1; `difference` is vanilla minus myopic, paired by seed and document.
    """
    rows: list[dict[str, Any]] = []
    for corpus in sorted(context.measures.table(PROBES.name)["corpus"].unique()):
        arms: dict[str, dict[str, Array]] = {}
        for arm in (*PAIR, "untrained"):
            try:
                values, frame = probe_sums(context, corpus, arm, SUMS)
            except NotRun:
                continue
            layers, taus = (sorted(frame[name].astype(int).unique()) for name in ("layer", "tau"))
            arms[arm] = {
                "gain": values["ce_bigram"] - values["ce"],
                "top1": values["hits"],
                "top1_gain": values["hits"] - values["hits_bigram"],
            }
            n = values["n"]
            for metric, sums in arms[arm].items():
                rows += _by_layer(corpus, arm, layers, taus, metric, sums, n)
        # The tables are the same for every model and layer.
        for series, metric, sums in (
            ("bigram", "top1", values["hits_bigram"]),
            ("unigram", "gain", values["ce_bigram"] - values["ce_unigram"]),
        ):
            rows += _by_layer(corpus, series, [-1], taus, metric, sums, n)
        if set(PAIR) <= set(arms) and arms["vanilla"]["gain"].shape == arms["myopic"]["gain"].shape:
            for metric in arms["vanilla"]:
                difference = arms["vanilla"][metric] - arms["myopic"][metric]
                rows += _by_layer(corpus, "difference", layers, taus, metric, difference, n)
    frame = pd.DataFrame(rows, columns=EXPERIMENT.figure("future_probes").columns)
    return frame.sort_values(["corpus", "arm", "metric", "layer", "tau"], kind="stable")


def _by_layer(
    corpus: str, arm: str, layers: Sequence[int], taus: Sequence[int], metric: str, sums: Array, n: Array
) -> list[dict[str, Any]]:
    """One row for each layer and tau; sums and n are [seeds, documents, layers, taus]."""
    return [
        {"corpus": corpus, "arm": arm, "layer": layer, "tau": tau, "metric": metric}
        | _numbers(sums[:, :, k, a], n[:, :, k, a])
        for k, layer in enumerate(layers)
        for a, tau in enumerate(taus)
    ]


def top_tokens(context: Context) -> pd.DataFrame:
    """The tokens with the largest mean KL over seeds (as the authors list them), largest and smallest gap.

    Extremes of many tokens: their values are selected and carry no interval. A token is listed if it was among the
    most extreme of at least one seed.
    """
    table = context.measures.table(TOP.name)
    where = ["corpus", "doc", "window", "position"]
    frames = []
    for corpus, rows in table.groupby("corpus", sort=True):
        wide = rows.pivot_table(index=[*where, "seed"], columns="arm", values="loss")
        if not set(PAIR) <= set(wide.columns):
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
    return pd.concat(frames)[[*EXPERIMENT.figure("top_tokens").columns]]


def planning_map(context: Context) -> pd.DataFrame:
    """Every token of a few windows with its mean gap over seeds and a 95 % interval (seeds; the token is given).

    A window's first token has no gap: it is read before anything is predicted.
    """
    where = ["doc", "window", "position", "token"]
    frames = []
    for corpus, rows in context.measures.table(MAP.name).groupby("corpus", sort=True):
        arms = {arm: part.set_index([*where, "seed"])["loss"].unstack() for arm, part in rows.groupby("arm")}
        if not set(PAIR) <= set(arms):
            continue
        seeds = arms["vanilla"].columns.intersection(arms["myopic"].columns)
        vanilla, myopic = (arms[arm][seeds] for arm in PAIR)
        myopic = myopic.reindex(vanilla.index)
        curve = seed_curve((myopic - vanilla).to_numpy(dtype=float).T)
        frames.append(
            vanilla.index.to_frame(index=False).assign(
                corpus=corpus, gap=curve.value, ci_low=curve.low, ci_high=curve.high,
                loss_vanilla=vanilla.mean(axis=1).to_numpy(), loss_myopic=myopic.mean(axis=1).to_numpy(), seeds=len(seeds),
            )
        )  # fmt: skip
    if not frames:
        raise NotRun("no window was read by both arms")
    frame = pd.concat(frames)[[*EXPERIMENT.figure("planning_map").columns]]
    return frame.sort_values(["corpus", "window", "position"], kind="stable")
