"""Estimators of "where planning pays" (protocol section 8): gaps of groups of tokens, influence sent, future probes.

Clusters are documents. Every quantity is a ratio of sums over documents, so that one bootstrap serves all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from myopia.common.errors import MyopiaError
from myopia.config.runs import PAIR
from myopia.experiments.tokens import GAP, INFLUENCE, PROBES
from myopia.judge.measures import NotRun, common_seeds, select, to_array
from myopia.judge.registry import Context, estimator
from myopia.judge.stats import Array, Estimate, Ratio, ratio_contrast


@dataclass(frozen=True)
class TokenGroups:
    """One way of grouping predictions, bins in the order of x; sums are [seeds, documents, bins]."""

    bins: list[str]
    x: Array  # mean of the ordering quantity in each bin
    weight: Array
    gap: Array
    kl: Array


def token_groups(context: Context, corpus: str, by: str) -> TokenGroups:
    """Sums of myopic - vanilla and of KL(vanilla, myopic); arms on different tokens are refused."""
    key = ("token_groups", corpus, by)
    if key not in context.measures.cache:
        context.measures.cache[key] = _token_groups(context, corpus, by)
    return context.measures.cache[key]


def _token_groups(context: Context, corpus: str, by: str) -> TokenGroups:
    frames = {}
    for arm in PAIR:
        part = context.measures.part(GAP.name, ["corpus", "by", "arm"], [corpus, by, arm])
        frames[arm] = select(part, f"the tokens of {corpus} by {by}, arm {arm},", arm=arm)
    vanilla, myopic = frames["vanilla"], frames["myopic"]
    seeds = common_seeds([vanilla, myopic], f"the tokens of {corpus} by {by}")
    total = vanilla.groupby("bin")[["x", "weight"]].sum()
    order = (total["x"] / total["weight"]).sort_values(kind="stable")
    axes = {"doc": sorted(vanilla["doc"].unique()), "bin": list(order.index)}
    weight = to_array(vanilla, "weight", seeds, axes)
    if not np.array_equal(weight, to_array(myopic, "weight", seeds, axes)):
        raise MyopiaError(f"The arms of {corpus} saw different tokens by {by}; measure them again.")
    gap = to_array(myopic, "loss", seeds, axes) - to_array(vanilla, "loss", seeds, axes)
    return TokenGroups(list(order.index), order.to_numpy(), weight, gap, to_array(myopic, "kl", seeds, axes))


@estimator
def token_gap(
    context: Context, *, corpus: str, by: str, bin: str, minus: str | None = None, value: str = "gap"
) -> Estimate:
    """Mean gap (or `kl`) of the tokens of one bin, or of one bin minus another."""
    groups = token_groups(context, corpus, by)
    terms = []
    for name, sign in ((bin, 1.0), (minus, -1.0)):
        if name is not None:
            if name not in groups.bins:
                raise NotRun(f"the tokens of {corpus} by {by} have no group {name}")
            k = groups.bins.index(name)
            numerator = {"gap": groups.gap, "kl": groups.kl}[value]
            terms.append(Ratio(numerator[..., k], groups.weight[..., k], sign))
    return ratio_contrast(terms)


@estimator
def influence_rank(context: Context, *, corpus: str, arms: Sequence[str], value: str = "sent") -> Estimate:
    """Spearman's correlation, within positions, of own loss and influence sent: first arm, minus the second's if given.

    Ranks are taken over the windows at one position and centred, so that the position explains nothing. Without ties
    both have the same sum of squares, and the correlation is the ratio of sums 2 xy / (x^2 + y^2).
    """
    frames = []
    for arm in arms:
        part = context.measures.part(INFLUENCE.name, ["corpus", "arm"], [corpus, arm])
        frames.append(select(part, f"the influence sent in {corpus}, arm {arm},", arm=arm))
    seeds = common_seeds(frames, f"the influence sent in {corpus}")
    docs = sorted(set().union(*(frame["doc"].unique() for frame in frames)))
    terms = []
    for frame, sign in zip(frames, (1.0, -1.0), strict=False):
        x, y = (centred_rank(frame, column) for column in ("loss", value))
        products = frame[["seed", "doc"]].assign(above=x * y, below=(x**2 + y**2) / 2)
        products = products.groupby(["seed", "doc"], as_index=False).sum()
        terms.append(Ratio(*(to_array(products, name, seeds, {"doc": docs}) for name in ("above", "below")), sign))
    return ratio_contrast(terms)


def centred_rank(frame: pd.DataFrame, column: str) -> pd.Series:
    """Rank of a column over the windows at one position of one seed, minus the mean rank."""
    groups = frame.groupby(["seed", "position"])[column]
    return groups.rank() - (groups.transform("count") + 1) / 2


def probe_sums(
    context: Context, corpus: str, arm: str, columns: Sequence[str]
) -> tuple[dict[str, Array], pd.DataFrame]:
    """Columns of the probe table as [seeds, documents, layers, taus], and its rows of that arm."""
    part = context.measures.part(PROBES.name, ["corpus", "arm"], [corpus, arm])
    frame = select(part, f"the probes of tokens to come in {corpus}, arm {arm},", arm=arm)
    axes = {name: sorted(frame[name].unique()) for name in ("doc", "layer", "tau")}
    seeds = sorted(frame["seed"].astype(int).unique())
    return {column: to_array(frame, column, seeds, axes) for column in columns}, frame


@estimator
def probe_gain(context: Context, *, corpus: str, arms: Sequence[str], taus: Sequence[int]) -> Estimate:
    """Cross-entropy of the table minus the probe's, first arm's, minus the second's if given.

    The mean over tau = first..last of `taus` (those measured) and over the states after every block.
    """
    sums, seeds = [], []
    for arm in arms:
        values, frame = probe_sums(context, corpus, arm, ["n", "ce", "ce_bigram"])
        known = np.array(sorted(frame["tau"].unique()))
        chosen = (known >= taus[0]) & (known <= taus[1])
        if not chosen.any():
            raise NotRun(f"no tokens {taus[0]} to {taus[1]} ahead were probed in {corpus}")
        # Layer 0 holds the embeddings: nothing of the past is in them.
        sums.append({name: value[:, :, 1:, chosen].sum((2, 3)) for name, value in values.items()})
        seeds.append(sorted(frame["seed"].astype(int).unique()))
    if any(other != seeds[0] for other in seeds[1:]) or any(
        not np.array_equal(each["n"], sums[0]["n"]) for each in sums[1:]
    ):
        raise MyopiaError(f"The probes of {corpus} in {', '.join(arms)} saw different tokens; measure them again.")
    gain = sums[0]["ce_bigram"] - sums[0]["ce"]
    if len(arms) > 1:
        gain = gain - (sums[1]["ce_bigram"] - sums[1]["ce"])
    return ratio_contrast([Ratio(gain, sums[0]["n"])])
