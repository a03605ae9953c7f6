"""The figure of the zero-shot experiment, from its one table."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from myopia.config.runs import PAIR
from myopia.show import style

COLUMNS = 3
TASKS = {
    "lambada_openai": "LAMBADA",
    "piqa": "PIQA",
    "sciq": "SciQ",
    "arc_easy": "ARC-Easy",
    "winogrande": "WinoGrande",
    "wsc": "WSC",
    "arc_challenge": "ARC-Challenge",
    "logiqa": "LogiQA",
}
"""lm-eval's name -> the usual one; the paper's four tasks first."""
RELEASED = "#888888"


def fig5_zero_shot(frame: pd.DataFrame, caption: str = "") -> Figure:
    """Fig 5: accuracy against parameters, one panel per task; tasks that were not run keep their reference points."""
    if frame.empty:
        return style.nothing(caption)
    frame = frame.assign(arm=frame["arm"].fillna(""))
    ours = frame[frame["kind"] == "ours"]
    known = [task for task in TASKS if task in set(frame["task"])]
    tasks = sorted(set(frame["task"]) - set(known)) + known
    text = style.join(
        "Zero-shot accuracy through lm-eval on the same items in both arms. Hollow: vanilla is not above chance",
        "(dotted), so the task is not judged. Black: the paper's digitised points, of the last four tasks those in the",
        "authors' notebook. Grey: Pythia as released, published by EleutherAI. Under a title: vanilla - myopic.",
        _editions(ours),
        style.sample(ours, "held-out units"),
        "One seed: intervals over items alone." if len(ours) and ours["seeds"].min() == 1 else "",
        caption,
    )
    rows = -(-len(tasks) // COLUMNS)
    figure = style.new_figure(7.0, 1.9 * rows + 0.35, rows, COLUMNS, text)
    for k, (axis, task) in enumerate(zip(figure.axes, tasks, strict=False)):
        _panel(axis, frame[frame["task"] == task], TASKS.get(task, task))
        if k + COLUMNS >= len(tasks):  # nothing below
            axis.set_xlabel("parameters")
        if k % COLUMNS == 0:
            axis.set_ylabel("accuracy")
    for axis in figure.axes[len(tasks) :]:
        axis.set_axis_off()
    style.shared_legend(figure, 5)
    return figure


def _editions(ours: pd.DataFrame) -> str:
    """Which edition of each task was scored: lm-eval's release, the task's version, the split."""
    if ours.empty:
        return ""
    harness = ", ".join(sorted({str(release) for release in ours["harness"]}))
    parts = []
    for task, one in ours.groupby("task", sort=True):
        notes = [f"version {one['version'].iloc[0]}"]
        if one["truncated"].max() > 0:
            notes.append(f"up to {one['truncated'].max():.0%} of prompts cut to the model's positions")
        if one["left_out"].max() > 0:
            notes.append(f"up to {one['left_out'].max():.0f} items do not fit")
        parts.append(f"{TASKS.get(task, task)} {one['split'].iloc[0]} split ({', '.join(notes)})")
    return f"lm-eval {harness}: {', '.join(parts)}."


def _panel(axis: Axes, rows: pd.DataFrame, title: str) -> None:
    # Both arms have the same size; a small step aside keeps their intervals apart.
    step = max(1.12, (rows["parameters"].max() / rows["parameters"].min()) ** 0.03)
    aside = rows["parameters"] * np.where((rows["kind"] == "ours") & (rows["arm"] == "myopic"), step, 1.0)
    rows = rows.assign(at=aside)
    ours = rows[rows["kind"] == "ours"]
    axis.set_xscale("log")
    axis.xaxis.set_minor_locator(NullLocator())
    axis.set_title(f"{title}\n{_gap(ours) if len(ours) else 'not run at this scale'}")
    for arm in PAIR:
        paper = rows[(rows["kind"] == "paper") & (rows["arm"] == arm)].sort_values("parameters")
        look = style.look(arm)
        if len(paper):
            axis.plot(
                paper["parameters"], paper["value"], color=style.PAPER, linewidth=0.7, linestyle=look.line,
                marker=look.marker, markersize=3, mfc="none", mew=0.7, label=f"paper, {arm}",
            )  # fmt: skip
        _ours(axis, ours, arm)
    released = rows[rows["kind"] == "published"]
    if len(released):
        axis.plot(
            released["parameters"], released["value"], color=RELEASED, linestyle="none", marker="x", markersize=4,
            mew=0.9, label="Pythia as released (EleutherAI)",
        )  # fmt: skip
    if len(ours):
        if rows["parameters"].nunique() == 1:
            size = ours["parameters"].iloc[0]
            axis.set_xlim(size / 2, size * 2)
            axis.set_xticks([size], [f"{size:,.0f}"])
        axis.axhline(ours["chance"].mean(), color="#000000", linewidth=0.6, linestyle=":")
    axis.grid(axis="y", linewidth=0.4, alpha=0.5)


def _ours(axis: Axes, ours: pd.DataFrame, arm: str) -> None:
    rows = ours[ours["arm"] == arm]
    if rows.empty:
        return
    # Hollow by vanilla's standing, in both arms: it is the task that is not judged.
    above = ours[ours["arm"] == "vanilla"].set_index("model")["above_chance"]
    full = rows[rows["model"].map(above).fillna(0) > 0]
    style.points(axis, full, "at", arm)
    hollow = rows.drop(full.index)
    style.points(
        axis,
        hollow,
        "at",
        arm,
        mfc="white",
        linestyle="none",
        label="_" if len(full) else style.look(arm).label,
    )


def _gap(ours: pd.DataFrame) -> str:
    """The paired difference in words; of several models the range, their intervals stand in the table."""
    gaps = ours[ours["gap"].notna()]
    if gaps.empty:
        return "one arm"
    if len(gaps) > 1:
        return f"{gaps['gap'].min():+.3f} to {gaps['gap'].max():+.3f} ({len(gaps)} models)"
    gap = gaps.iloc[0]
    interval = f" [{gap['gap_low']:+.3f}, {gap['gap_high']:+.3f}]" if style.finite(gap["gap_low"]) else ""
    return f"{gap['gap']:+.3f}{interval}"
