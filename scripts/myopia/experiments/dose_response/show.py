"""Figure of the beta sweep: what comes back as the off-diagonal gradient is let back in."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from myopia.show import style

UNITS = {"share of trivial loss": "gap (trivial losses)", "nats/token": "gap (nats/token)"}


def dose_response(frame: pd.DataFrame) -> Figure:
    """Gap to vanilla against beta, one panel for each task; the share of the gap that is closed stays in the table."""
    gaps = frame[frame["metric"] == "gap"]
    if gaps.empty:
        return style.nothing()
    tasks = style.spread(sorted(gaps["task"].unique(), key=lambda task: (not task.startswith("D_p"), task)))
    ends = gaps.assign(beta=0.0)  # both ends at one place, for their difference
    falls = pd.concat(
        [
            style.between(part[part["arm"] == "myopic"], part[part["arm"] == "beta0.75"], "beta").assign(task=task)
            for task, part in ends.groupby("task")
        ]
    )
    figure = style.grid_of(
        style.finding(
            "The gap as some of the gradient through the past is let back in",
            falls,
            by="task",
            above="Letting three quarters of the gradient through closes part of the gap",
        ),
        len(tasks),
    )
    for axis, task in zip(figure.axes, tasks, strict=False):
        rows = gaps[gaps["task"] == task]
        style.points(axis, rows, "beta", "dose")
        for arm in ("myopic", "beta1"):
            end, look = rows[rows["arm"] == arm], style.look(arm)
            axis.plot(
                end["beta"], end["value"], look.marker, color=look.color, markersize=7, zorder=5, label=look.label
            )
        style.zero(axis)
        axis.set(
            title=task,
            xlabel="beta: share let through per attention layer",
            ylabel=UNITS.get(rows["unit"].iloc[0], ""),
            xlim=(-0.06, 1.06),
            xticks=[0, 0.25, 0.5, 0.75, 1],
            xticklabels=["0", ".25", ".5", ".75", "1"],
        )
        if len(tasks) > 1:
            axis.set_xlabel("beta")
    style.shared_legend(figure)
    return figure
