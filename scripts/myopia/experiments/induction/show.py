"""Figure of the induction experiment: does a head form that only later positions can use?"""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from myopia.config.runs import PAIR
from myopia.show import style


def induction(frame: pd.DataFrame) -> Figure:
    """Loss on the repeat and attention of the best previous-token head, along training."""
    curve, head = (frame[frame["panel"] == panel] for panel in ("curve", "previous"))
    ours = curve[curve["arm"].isin(PAIR)]
    if ours.empty:
        return style.nothing()
    last = ours[ours["x"] == ours["x"].max()]
    worse = style.between(last[last["arm"] == "myopic"], last[last["arm"] == "vanilla"], "x")
    figure = style.new_figure(
        style.finding(
            "Copying what came before, along training", worse, "Cut off from later losses, networks copy worse"
        ),
        1,
        2,
    )
    loss, weight = figure.axes
    for axis, rows in ((loss, ours), (weight, head)):
        for arm in PAIR:
            style.line(axis, rows[rows["arm"] == arm], "x", arm, marker="")
        axis.set_xlabel("training step")
    for value in curve.loc[curve["arm"] == "bag", "value"]:
        look = style.look("bag")
        loss.axhline(value, color=look.color, linestyle=look.line, linewidth=1, label=look.label)
    # An interval of few seeds may be wider than all there is to see: curves decide how much of the axis is shown.
    loss.set(title="loss on the repeat", ylabel="nats/token", ylim=(0, 1.15 * curve["value"].max()))
    weight.set(title="best head on the token before", ylabel="attention weight", ylim=(0, 1.02))
    style.shared_legend(figure)
    return figure
