"""Figures of the authors' released checkpoints: loss, gap and learning rate against size, and the gap by position."""

from __future__ import annotations

import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, NullLocator

from myopia.config.runs import PAIR
from myopia.experiments.zero_shot.show import fig5_zero_shot
from myopia.show import style

ALONE = "One pair of runs per size: intervals (95%) cover held-out documents only, no other seed; nothing is judged."


def fig7_released(frame: pd.DataFrame, caption: str = "") -> Figure:
    """Fig 7 from the released weights: loss and gap against size on each corpus, the learning rates beside them."""
    ours = frame[frame["kind"] == "ours"]
    if ours.empty:
        return style.nothing(caption)
    corpora = sorted(ours["corpus"].unique())
    text = style.join(
        "The authors' released checkpoints on held-out text. Black: other text, the Pile; diamonds: the paper's Fig 7 (last",
        "training losses), triangles: the authors' 32 test sequences.",
        "Right: the peak learning rate in a file's name (hollow) and the one its checkpoint recorded (filled, none if absent).",
        f"n = {_documents(ours)} documents. {ALONE}",
        caption,
    )
    figure = style.new_figure(7.4, 2.4 * len(corpora) + 0.3, len(corpora), 3, text)
    for row, ((left, middle, right), corpus) in enumerate(zip(style.grid(figure, 3), corpora, strict=True)):
        mine = ours[ours["corpus"] == corpus]
        for arm in PAIR:
            style.points(left, mine[mine["series"] == arm], "parameters", arm)
            _theirs(left, frame, arm)
        style.points(middle, mine[mine["series"] == "gap"], "parameters", "gap")
        _theirs(middle, frame, "gap")
        middle.axhline(0, color="#000000", linewidth=0.5)
        left.set(title=f"{corpus}: loss", ylabel="cross-entropy (nats/token)")
        middle.set(title=f"{corpus}: gap", ylabel="myopic - vanilla (nats/token)")
        if row == 0:
            _rates(right, frame)
        else:
            right.set_axis_off()
        for axis in (left, middle, *([right] if row == 0 else [])):
            _sizes(axis, frame)
    style.shared_legend(figure, 5)
    return figure


def released_position(frame: pd.DataFrame, caption: str = "") -> Figure:
    """The gap by position, one line per size, and the control: the gap at position 0, where there is no past."""
    ours = frame[frame["kind"] == "ours"]
    if ours.empty:
        return style.nothing(caption)
    corpora = sorted(ours["corpus"].unique())
    sizes = ours.drop_duplicates("size").sort_values("parameters")["size"].tolist()
    colors = dict(zip(sizes, sns.color_palette("viridis_r", len(sizes) + 1)[1:], strict=True))
    text = style.join(
        "Left: gap by position, myopic - vanilla, in the released checkpoints (t predicts token t + 1, from 0).",
        "Right: control. Position 0 has no past that could have been planned, so a gap above 0 flags a badly tuned arm.",
        "Hollow: the authors' 2.8b on PG-19 windows (digitised).",
        f"n = {_documents(ours)} documents. {ALONE}",
        caption,
    )
    figure = style.new_figure(6.8, 2.4 * len(corpora) + 0.3, len(corpora), 2, text)
    for (left, right), corpus in zip(style.grid(figure, 2), corpora, strict=True):
        mine = ours[ours["corpus"] == corpus]
        theirs = frame[(frame["kind"] == "authors") & (frame["position"] <= mine["position"].max())]
        for size in sizes:
            curve = mine[mine["size"] == size].sort_values("position")
            left.plot(curve["position"], curve["value"], color=colors[size], label=size)
            left.fill_between(
                curve["position"].astype(float),
                curve["ci_low"],
                curve["ci_high"],
                color=colors[size],
                alpha=0.15,
                linewidth=0,
            )
        hollow = {"color": style.PAPER, "linestyle": "none", "marker": "D", "mfc": "none", "mew": 0.8}
        left.plot(theirs["position"], theirs["value"], label="paper, 2.8b", **hollow)
        style.points(
            right, mine[mine["position"] == 0], "parameters", "gap", linestyle="none", label="gap at position 0"
        )
        first = theirs[theirs["position"] == 0]
        right.plot(first["parameters"], first["value"], **hollow)
        _sizes(right, pd.concat([mine, first]))
        for axis in (left, right):
            axis.axhline(0, color="#000000", linewidth=0.5)
        left.set(title=f"{corpus}: gap by position", xlabel="position", ylabel="myopic - vanilla (nats/token)")
        right.set_title(f"{corpus}: gap at position 0")
    style.shared_legend(figure, 6)
    return figure


def fig5_released(frame: pd.DataFrame, caption: str = "") -> Figure:
    """Accuracy by task against parameters, as Fig 5 is drawn."""
    return fig5_zero_shot(frame, caption)


def _documents(ours: pd.DataFrame) -> str:
    low, high = int(ours["documents"].min()), int(ours["documents"].max())
    return f"{low}" if low == high else f"{low}-{high}"


def _theirs(axis: Axes, frame: pd.DataFrame, series: str) -> None:
    for kind, marker, label in (("paper", "D", "paper, Fig 7"), ("authors", "^", "paper, 32 sequences")):
        rows = frame[(frame["kind"] == kind) & (frame["series"] == series)].sort_values("parameters")
        axis.plot(
            rows["parameters"], rows["value"], color=style.PAPER, linestyle=style.look(series).line, linewidth=0.5,
            marker=marker, mfc="none", mew=0.7, markersize=3.5, label=label,
        )  # fmt: skip


def _rates(axis: Axes, frame: pd.DataFrame) -> None:
    for arm in PAIR:
        look = style.look(arm)
        for kind, face in (("rate in name", "none"), ("rate recorded", look.color)):
            rows = frame[(frame["kind"] == kind) & (frame["series"] == arm)].sort_values("parameters")
            size = 8 if kind == "rate in name" else 4
            axis.plot(
                rows["parameters"], rows["value"], color=look.color, marker=look.marker, mfc=face, markersize=size,
                linestyle=look.line if kind == "rate recorded" else "none", linewidth=0.8, mew=0.9,
            )  # fmt: skip
    axis.set(title="learning rate", ylabel="peak learning rate", yscale="log")


def _sizes(axis: Axes, frame: pd.DataFrame) -> None:
    """A logarithmic axis of parameters with the models' own names as ticks."""
    sizes = frame.dropna(subset="size").drop_duplicates("size").sort_values("parameters")
    axis.set_xscale("log")
    axis.set_xticks(sizes["parameters"], sizes["size"], rotation=90)
    axis.xaxis.set_minor_locator(NullLocator())
    axis.xaxis.set_minor_formatter(NullFormatter())
    axis.set_xlabel("parameters (Pythia)")
