"""The figure of the zero-shot experiment, from its one table."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from myopia.show import style

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


def fig5_zero_shot(frame: pd.DataFrame) -> Figure:
    """Fig 5: vanilla's accuracy minus myopic's against parameters, on tasks that were run, the paper's four first."""
    gaps = frame[(frame["arm"] == "myopic") & frame["gap"].notna()]
    ours = gaps[gaps["kind"] == "ours"]
    if ours.empty:
        return style.nothing()
    run = list(ours["task"].unique())
    tasks = [*(task for task in TASKS if task in run), *sorted(set(run) - set(TASKS))][: style.PANELS]
    # Hollow by vanilla's standing: a task that it does not do better than a guess says nothing.
    able = set(
        frame.loc[(frame["arm"] == "vanilla") & (frame["above_chance"] > 0), ["task", "model"]].itertuples(
            index=False, name=None
        )
    )
    judged = ours[[(row.task, row.model) in able for row in ours.itertuples()]]
    figure = style.grid_of(
        style.finding(
            "Accuracy that training for later losses gains",
            judged,
            "Vanilla models answer more often right",
            "Vanilla models answer less often right",
            low="gap_low",
            high="gap_high",
        ),
        len(tasks),
    )
    look = style.look("gap")
    for axis, task in zip(figure.axes, tasks, strict=False):
        paper = gaps[(gaps["task"] == task) & (gaps["kind"] == "paper")].sort_values("parameters")
        style.paper(axis, paper["parameters"], paper["gap"], label="paper (Pythia)", joined=True)
        mine = ours[ours["task"] == task].sort_values("parameters")
        axis.errorbar(
            mine["parameters"],
            mine["gap"],
            style.bars(mine, "gap", "gap_low", "gap_high"),
            color=look.color,
            linestyle="none",
            capsize=2.5,
            elinewidth=1,
        )
        for full, some in mine.groupby(mine["model"].map(lambda model, t=task: (t, model) in able)):
            axis.plot(
                some["parameters"],
                some["gap"],
                look.marker,
                color=look.color,
                mfc=look.color if full else "white",
                label="ours" if full else "ours, no better than a guess",
            )
        style.zero(axis)
        axis.set(title=TASKS.get(task, task), xlabel="parameters")
        style.sizes(axis, [*mine["parameters"], *paper["parameters"]])
    for axis in figure.axes[::2] if len(tasks) > 1 else figure.axes:
        axis.set_ylabel("vanilla - myopic")
    style.shared_legend(figure)
    return figure
