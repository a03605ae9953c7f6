"""Figure of the beta sweep: what comes back as the off-diagonal gradient is let back in."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from myopia.show import style


def dose_response(frame: pd.DataFrame, caption: str = "") -> Figure:
    """Gap to vanilla (left) and share of the gap closed (right) against beta, one row per task."""
    if frame.empty:
        return style.nothing(caption)
    tasks = sorted(frame["task"].unique(), key=lambda task: (not task.startswith("D_p"), task))
    text = style.join(
        "Share beta of the gradient through past hidden states let through at every attention layer: 0 is the myopic arm,",
        "1 the A/A control. It acts per hop: a path through k attention layers carries beta^k, so the x axis is no share",
        "of all future gradient. Left: held-out loss minus vanilla's, paired by seed. Right: (L(0) - L(beta)) / (L(0) - L(vanilla)) per seed; small dots: single seeds;",
        "dotted: in proportion to beta; diamond: where half of the gap is closed, by straight lines between doses.",
        style.sample(frame, "held-out units"),
        caption,
    )
    figure = style.new_figure(6.6, 2.4 * len(tasks) + 0.3, len(tasks), 2, text)
    for (left, right), task in zip(style.grid(figure, 2), tasks, strict=True):
        here = frame[frame["task"] == task]
        unit = here["unit"].iloc[0]
        _gaps(left, here[here["metric"] == "gap"])
        left.set(title=f"{task}: gap", xlabel="beta", ylabel=f"gap to vanilla\n({unit})")
        _shares(right, here)
        right.set(title=f"{task}: gap closed", xlabel="beta", ylabel="share of the gap closed")
        for axis in (left, right):
            axis.set(xlim=(-0.05, 1.05), xticks=[0, 0.25, 0.5, 0.75, 1])
    style.shared_legend(figure, 3)
    return figure


def _gaps(axis: Axes, rows: pd.DataFrame) -> None:
    look = style.look("vanilla")
    axis.axhline(0, color=look.color, linestyle=look.line, linewidth=1, label=look.label)
    _curve(axis, rows)


def _curve(axis: Axes, rows: pd.DataFrame) -> None:
    """The curve, its ends in the looks of their arms."""
    style.points(axis, rows, "beta", "dose")
    for arm in ("myopic", "beta1"):
        end, look = rows[rows["arm"] == arm], style.look(arm)
        if len(end):
            axis.plot(
                end["beta"], end["value"], look.marker, color=look.color, markersize=6, zorder=5, label=look.label
            )


def _shares(axis: Axes, here: pd.DataFrame) -> None:
    axis.plot([0, 1], [0, 1], color="#777777", linestyle=":", linewidth=0.9, label="in proportion to beta", zorder=1)
    seeds = here[here["metric"] == "seed"]
    axis.plot(seeds["beta"], seeds["value"], ".", color=style.look("dose").color, markersize=3, alpha=0.6)
    _curve(axis, here[here["metric"] == "share"])
    half = here[here["metric"] == "half"]
    if len(half) and style.finite(half["value"].iloc[0]):
        one = half.iloc[0]
        error = None
        if style.finite(one["ci_low"]):
            low, high = np.clip([one["ci_low"], one["ci_high"]], 0, 1)
            error = [[max(one["value"] - low, 0)], [max(high - one["value"], 0)]]
        axis.errorbar([one["value"]], [0.5], xerr=error, fmt="D", color="#000000", mfc="white", capsize=2.5,
                      elinewidth=1, label="half of the gap", zorder=6)  # fmt: skip
    axis.axhline(0, color="#000000", linewidth=0.5)
    axis.axhline(1, color="#000000", linewidth=0.5)
