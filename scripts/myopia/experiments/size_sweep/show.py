"""Figures of the size sweep: gap against size, and gap against learning rate."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from myopia.show import style

NATS = "gap (nats/token)"
STARTS = {"checkpoint": "fine-tuned", "random": "from scratch"}
CHOICES = {
    "best": style.Look("each arm at its best rate", "#882255", "o", "-"),
    "as_run": style.Look("unequal rates, as the authors ran it", "#DDAA33", "^", "-."),
}
LEVEL = style.Look("at equal vanilla loss", "#44AA99", "v", ":")
EQUAL = style.Look("both arms at this rate", "#555555", "D", "-")


def fig7_gap_by_size(frame: pd.DataFrame) -> Figure:
    """Fig 7 and the headline: does the gap grow with size once the recipes match? Fine-tuned, and from scratch."""
    ours = frame[frame["kind"] == "ours"]
    gaps = ours[ours["panel"].isin(["gap", "equal_loss"])]
    if gaps.empty:
        return style.nothing()
    slopes = ours[(ours["panel"] == "slope") & (ours["choice"] == "best") & (ours["group"] == "tokens")]
    starts = [start for start in STARTS if (gaps["start"] == start).any()]
    figure = style.new_figure(
        style.finding(
            "Gap against model size",
            slopes.assign(start=slopes["start"].map(STARTS)),
            by="start",
            word="when",
            above="The gap grows with model size",
            below="The gap shrinks with model size",
        ),
        1,
        len(starts),
        height=3.2,
    )
    for axis, start in zip(figure.axes, starts, strict=True):
        here = gaps[gaps["start"] == start]
        for choice, look in CHOICES.items():
            _series(axis, here[(here["panel"] == "gap") & (here["choice"] == choice)], look)
        _series(axis, here[here["panel"] == "equal_loss"], LEVEL)
        if start == "checkpoint":
            paper = frame[
                (frame["kind"] == "paper") & (frame["panel"] == "gap") & (frame["group"] == "last training losses")
            ]
            paper = paper.assign(at=paper["n_params"].fillna(paper["x"])).sort_values("at")
            style.paper(axis, paper["at"], paper["value"], label="paper (Pythia)", joined=True)
        style.zero(axis)
        axis.set(title=STARTS[start], xlabel="parameters without embeddings")
        style.sizes(axis, [*here["n_params"], *(paper["at"] if start == "checkpoint" else ())])
    figure.axes[0].set_ylabel(NATS)
    if gaps["edge"].max() > 0:
        figure.axes[0].plot(
            [], [], "x", color=style.PAPER, markersize=3, mew=0.7, label="crossed: best rate at the end of its grid"
        )
    if gaps["hollow"].max() > 0:
        figure.axes[0].plot([], [], "o", color="#555555", mfc="white", label="hollow: not shown to have settled")
    style.shared_legend(figure)
    return figure


def _series(axis: Axes, rows: pd.DataFrame, look: style.Look) -> None:
    """A line through all points; a size that has not settled is hollow, one chosen at a grid's edge is crossed."""
    if rows.empty:
        return
    rows = rows.sort_values("n_params")
    style.points(axis, rows, "n_params", look, marker="", label="_")
    for hollow, some in rows.groupby(rows["hollow"].fillna(0) > 0):
        face = "white" if hollow else look.color
        axis.plot(
            some["n_params"], some["value"], linestyle="", marker=look.marker, color=look.color, mfc=face, zorder=3
        )
    axis.plot([], [], color=look.color, linestyle=look.line, marker=look.marker, label=look.label)
    edge = rows[rows["edge"].fillna(0) > 0]
    axis.plot(edge["n_params"], edge["value"], "x", color=style.PAPER, markersize=3, mew=0.7, zorder=4)


def audit_gap_by_lr(frame: pd.DataFrame) -> Figure:
    """gap(lr) at up to four sizes: of arms at equal rates, and of the compared pairs at their myopic arm's rate."""
    gaps = frame[frame["panel"].isin(["gap", "choice"])]
    if gaps.empty:
        return style.nothing()
    # A grid of one rate is no curve: shown only where there is nothing else.
    rates = gaps[gaps["panel"] == "gap"].groupby(["start", "size"])["lr"].nunique()
    least = min(2, rates.max() if len(rates) else 0)
    sizes = {
        start: [size for size in _order(gaps[gaps["start"] == start]) if rates.get((start, size), 0) >= least]
        for start in STARTS
    }
    start = next((start for start in STARTS if sizes[start]), "checkpoint")
    drawn = style.spread(sizes[start])
    gaps = gaps[(gaps["start"] == start) & gaps["size"].isin(drawn)]
    largest = {choice: gaps[(gaps["choice"] == choice) & (gaps["size"] == drawn[-1])] for choice in CHOICES}
    figure = style.grid_of(
        style.finding(
            f"Gap against learning rate, {STARTS[start]}",
            style.between(largest["as_run"], largest["best"], "size"),
            f"Unequal learning rates alone widen the gap of {drawn[-1]}",
        ),
        len(drawn),
    )
    for axis, size in zip(figure.axes, drawn, strict=False):
        here = gaps[gaps["size"] == size]
        style.points(axis, here[here["panel"] == "gap"], "lr", EQUAL, markersize=4)
        for choice, look in CHOICES.items():
            style.points(axis, here[here["choice"] == choice], "lr", look, linestyle="none", markersize=7, zorder=3)
        style.zero(axis)
        ticks = style.spread(sorted(set(here.loc[here["panel"] == "gap", "lr"].dropna())))
        axis.set(title=size, xlabel="learning rate", xscale="log")
        axis.set_xticks(ticks, [f"{rate:.1g}" for rate in ticks])
        axis.xaxis.set_minor_locator(NullLocator())
    for axis in figure.axes[::2] if len(drawn) > 1 else figure.axes:
        axis.set_ylabel(NATS)
    style.shared_legend(figure)
    return figure


def _order(rows: pd.DataFrame) -> Sequence[str]:
    return list(rows.drop_duplicates("size").sort_values("n_params")["size"])
