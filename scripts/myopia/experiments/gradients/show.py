"""Figures of the gradient anatomy (Fig 11), the forward-bias quantity (Theorem 13) and the convex toys."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

from myopia.show import style

PARTS = ("myopic", "future")
TRAINED = {"public": "Pythia, public checkpoints", "vanilla": "trained vanilla", "myopic": "trained myopically"}
"""Way of training -> how its networks are named; the first that a corpus has is drawn."""


def fig11_gradient_anatomy(frame: pd.DataFrame) -> Figure:
    """Fig 11: norms of both parts of the gradient and their cosine along training, a row for each corpus."""
    frame = frame[
        (frame["group"] == "no-embeddings") & (frame["of"] == "gradient") & frame["value"].notna() & (frame["step"] > 0)
    ]
    ours = frame[(frame["kind"] == "ours") & (frame["form"] == "unbiased")]
    arms = {corpus: min(set(part["arm"]), key=[*TRAINED].index) for corpus, part in ours.groupby("corpus")}
    # Two corpora have room; those with the paper's own networks first.
    corpora = sorted(arms, key=lambda corpus: (arms[corpus] != "public", corpus))[:2]
    if not corpora:
        return style.nothing()
    ours = ours[[row.corpus in corpora and row.arm == arms[row.corpus] for row in ours.itertuples()]]
    angle = ours[ours["quantity"] == "cosine"]
    late = angle[angle["step"] == angle["step"].max()]
    figure = style.new_figure(
        style.finding(
            "Gradient of a position's own loss, and of later losses",
            late,
            by="corpus",
            above="Late in training, the two parts of the gradient agree (cosine above 0)",
            below="Late in training, the two parts of the gradient oppose each other (cosine below 0)",
        ),
        len(corpora),
        2,
    )
    for (left, right), corpus in zip(np.reshape(figure.axes, (-1, 2)), corpora, strict=True):
        here, paper = ours[ours["corpus"] == corpus], frame[(frame["kind"] == "paper") & (frame["corpus"] == corpus)]
        for part in PARTS:
            style.line(left, here[here["quantity"] == part], "step", f"part-{part}", markersize=4)
            # Norms of networks of another size share no scale with ours: drawn beside the paper's own networks alone.
            one = paper[(paper["quantity"] == part) & (arms[corpus] == "public")]
            style.paper(left, one["step"], one["value"], label="paper (raw)")
        style.line(
            right,
            here[here["quantity"] == "cosine"],
            "step",
            style.look("gap"),
            label="angle between the parts",
            markersize=4,
        )
        one = paper[paper["quantity"] == "cosine"]
        style.paper(right, one["step"], one["value"], label="paper (raw)")
        style.zero(right)
        known = here.loc[here["quantity"].isin(PARTS) & (here["value"] > 0), "value"]
        left.set(yscale="log", ylim=(known.min() / 2, known.max() * 2), title=f"{corpus}, {TRAINED[arms[corpus]]}")
        left.yaxis.set_minor_locator(NullLocator())
        right.set(ylim=(-1.05, 1.05), ylabel="cosine")
        left.set_ylabel("gradient norm")
    for axis in figure.axes:
        axis.set_xscale("log")
        axis.xaxis.set_major_locator(LogLocator(numticks=7))
        axis.xaxis.set_minor_locator(NullLocator())
        axis.set_xlabel("training step" if axis.get_subplotspec().is_last_row() else "")
    style.shared_legend(figure)
    return figure


MATRICES = {
    "untied": "untied, worst position",
    "present": "present part alone",
    "jacobian": "whole, real parts",
    "symmetric": "symmetric part (Theorem 13)",
}
"""Matrix -> how its lowest eigenvalue is named; the last is what Theorem 13 asks of."""


def forward_bias(frame: pd.DataFrame) -> Figure:
    """Lowest eigenvalue of each matrix at trained networks; the spectra stay in the table."""
    lowest = frame[(frame["kind"] == "lowest") & frame["matrix"].isin(MATRICES)]
    if lowest.empty:
        return style.nothing()
    asked = lowest[(lowest["matrix"] == "symmetric") & (lowest["arm"] == "myopic")]
    figure = style.new_figure(
        style.finding(
            "Forward bias at trained networks: lowest eigenvalues",
            asked,
            "The condition of Theorem 13 holds at trained networks",
            "The condition of Theorem 13 fails at trained networks",
        ),
        width=style.WIDE,
    )
    (axis,) = figure.axes
    for arm, side in zip(style.in_order(lowest["arm"]), (-0.15, 0.15), strict=False):
        rows, look = lowest[lowest["arm"] == arm], style.look(arm)
        at = [[*MATRICES].index(matrix) + side for matrix in rows["matrix"]]
        axis.errorbar(
            rows["value"],
            at,
            xerr=style.bars(rows),
            color=look.color,
            marker=look.marker,
            linestyle="none",
            capsize=2.5,
            label=f"trained {look.label}",
        )
    axis.axvline(0, color="#000000", linewidth=0.6, zorder=0)
    axis.set_yticks(range(len(MATRICES)), list(MATRICES.values()))
    axis.set(xlabel="lowest eigenvalue / largest modulus", ylim=(-0.5, len(MATRICES) - 0.5))
    style.shared_legend(figure)
    return figure


CURVES = {
    "theorem 8": style.Look("descent, untied (Theorem 8)", "#0072B2", "", "-"),
    "theorem 9": style.Look("descent, tied (Theorem 9)", "#009E73", "", "--"),
    "theorem 10": style.Look("myopic, untied (Theorem 10)", "#D55E00", "", "-."),
}
BIASED = {
    "forward-biased": style.Look("myopic, forward-biased", "#882255", "", "-"),
    "not forward-biased": style.Look("myopic, not forward-biased", "#777777", "", "--"),
}


def theory(frame: pd.DataFrame) -> Figure:
    """Distances against proved bounds, and Theorem 13 with and without its condition: medians and the middle 80 %."""
    if frame.empty:
        return style.nothing()
    figure = style.new_figure("Descent on random convex problems against the proved bounds (thin)", 1, 2, 3.6)
    left, right = figure.axes
    for name, look in CURVES.items():
        _course(left, frame[frame["toy"] == "planning, quadratic"], name, look)
    for toy, look in BIASED.items():
        _course(right, frame[frame["toy"] == toy], "theorem 13", look)
    for axis, title in ((left, "Theorems 8 to 10"), (right, "Theorem 13")):
        axis.set(yscale="log", xlabel="step", title=title)
        axis.set_ylim(bottom=max(axis.get_ylim()[0], 1e-12))
        axis.yaxis.set_major_locator(LogLocator(numticks=5))
        axis.yaxis.set_minor_locator(NullLocator())
    left.set_ylabel("squared distance, share of the first")
    style.shared_legend(figure)
    return figure


def _course(axis: Axes, frame: pd.DataFrame, name: str, look: style.Look) -> None:
    found, bound = (frame[frame["quantity"] == f"{name}, {what}"] for what in ("distance", "bound"))
    style.line(axis, found.rename(columns={"low": "ci_low", "high": "ci_high"}), "x", look)
    bound = bound.sort_values("x")
    axis.plot(bound["x"], bound["value"], color=look.color, linewidth=0.6, alpha=0.8)
