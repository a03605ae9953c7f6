"""The figure, drawn from its table alone."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from myopia.show import style


def losses(frame: pd.DataFrame) -> Figure:
    """Loss of each arm with its interval; the title says no more than the intervals do."""
    if frame.empty:
        return style.nothing()
    arms = {arm: frame[frame["arm"] == arm].assign(x=k) for k, arm in enumerate(style.in_order(frame["arm"]))}
    worse = style.between(arms["myopic"].assign(x=0), arms["vanilla"], "x") if len(arms) == 2 else frame[:0]
    figure = style.new_figure(
        style.finding("Loss of the second reading", worse, "Cut off from later losses, networks repeat worse")
    )
    (axis,) = figure.axes
    for arm, rows in arms.items():
        style.points(axis, rows, "x", arm)
    axis.set(
        xticks=range(len(arms)),
        xticklabels=list(arms),
        xlabel="training",
        ylabel="nats/token",
        xlim=(-0.6, len(arms) - 0.4),
    )
    return figure
