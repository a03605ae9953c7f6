"""Figures of the authors' released checkpoints: the gap against size and by position, and the tasks.

One pair of runs per size, so nothing is judged: intervals cover held-out documents alone, and titles name the topic.
"""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from myopia.experiments.zero_shot.show import fig5_zero_shot
from myopia.show import style

NATS = "gap (nats/token)"


def fig7_released(frame: pd.DataFrame) -> Figure:
    """Fig 7 from the released weights: the gap against size, one panel for each corpus."""
    gaps = frame[frame["series"] == "gap"].sort_values("parameters")
    ours = gaps[gaps["kind"] == "ours"]
    if ours.empty:
        return style.nothing()
    corpora = style.spread(sorted(ours["corpus"].unique()))
    figure = style.grid_of("The authors' released checkpoints: gap against size", len(corpora))
    for axis, corpus in zip(figure.axes, corpora, strict=False):
        style.points(axis, ours[ours["corpus"] == corpus], "parameters", "gap")
        for kind, label, marker in (("paper", "paper, Fig 7", "D"), ("authors", "paper's code, 32 sequences", "^")):
            theirs = gaps[gaps["kind"] == kind]
            style.paper(axis, theirs["parameters"], theirs["value"], label=label, marker=marker, joined=True)
        style.zero(axis)
        axis.set(title=corpus, xlabel="parameters (Pythia)")
        style.sizes(axis, gaps["parameters"])
    for axis in figure.axes[::2] if len(corpora) > 1 else figure.axes:
        axis.set_ylabel(NATS)
    style.shared_legend(figure)
    return figure


def released_position(frame: pd.DataFrame) -> Figure:
    """The gap by position, one line per size. Position 0, which has no past, is the control."""
    ours = frame[frame["kind"] == "ours"]
    if ours.empty:
        return style.nothing()
    corpora = style.spread(sorted(ours["corpus"].unique()))
    looks = style.among(style.spread(ours.drop_duplicates("size").sort_values("parameters")["size"]))
    figure = style.grid_of("The authors' released checkpoints: gap by position", len(corpora))
    for axis, corpus in zip(figure.axes, corpora, strict=False):
        mine = ours[ours["corpus"] == corpus]
        for size, look in looks.items():
            style.line(axis, mine[mine["size"] == size], "position", look, marker="")
        theirs = frame[(frame["kind"] == "authors") & (frame["position"] <= mine["position"].max())]
        style.paper(axis, theirs["position"], theirs["value"], label="paper's code, 2.8b")
        style.zero(axis)
        axis.set(title=corpus, xlabel="position")
    for axis in figure.axes[::2] if len(corpora) > 1 else figure.axes:
        axis.set_ylabel(NATS)
    style.shared_legend(figure)
    return figure


def fig5_released(frame: pd.DataFrame) -> Figure:
    """Accuracy by task against parameters, as Fig 5 is drawn."""
    return fig5_zero_shot(frame)
