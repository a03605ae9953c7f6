"""Figure of the induction experiment: does a head form that only later positions can use?"""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from myopia.show import style

ARMS = ("vanilla", "myopic")
WIDTH = 0.18
"""Half the distance between the two arms' marks in panels of kinds."""


def induction(frame: pd.DataFrame, caption: str = "") -> Figure:
    """Learning curve and heads along training (top); loss by place and period, damage of ablations (bottom)."""
    if frame.empty:
        return style.nothing(caption)
    text = style.join(
        "Random sequences read again from random places; loss on the tokens a reader can know (not a reading's first). Heads:",
        "mean attention weight of each seed's best head; layer 1 on the token just before (filled: of use to later positions",
        "only) and on earlier copies of the present token (hollow, dotted: of use to itself); above it on tokens that",
        "follow such copies (prefix matching). Damage: nats lost when that head's output is replaced by its mean.",
        "Dashed grey: a reader who knows which tokens are repeated, but not their order.",
        style.sample(frame[frame["documents"] != 0], "blocks of test sequences"),
        caption,
    )
    figure = style.new_figure(7.2, 4.3, 2, 3, text)
    (curve, first, above), (since, period, damage) = style.grid(figure, 3)
    panels = {name: rows for name, rows in frame.groupby("panel")}
    empty = frame.iloc[:0]
    _lines(curve, panels.get("curve", empty))
    bag = panels.get("curve", empty)
    for value in bag.loc[bag["arm"] == "bag", "value"]:
        curve.axhline(value, **_bag())
    curve.set(title="learning curve: loss on the repeat", xlabel="training step", ylabel="nats/token", ylim=(0, None))
    _lines(first, panels.get("previous", empty))
    _lines(first, panels.get("duplicate", empty), mfc="white", linestyle=":", label="_duplicate")
    first.set(
        title="layer 1: token before, own copies", xlabel="training step", ylabel="attention weight", ylim=(0, 1.02)
    )
    _lines(above, panels.get("match", empty))
    above.set(title="above: prefix matching", xlabel="training step", ylabel="attention weight", ylim=(0, 1.02))
    _kinds(since, panels.get("since", empty), joined=True)
    since.set(
        title="loss by place in the reading",
        xlabel="tokens since the reading began",
        ylabel="nats/token",
        ylim=(0, None),
    )
    _lines(period, panels.get("period", empty), x="x")
    _reference(period, panels.get("period", empty))
    period.set(title="loss on the repeat by period", xlabel="period (tokens)", ylabel="nats/token", ylim=(0, None))
    _kinds(damage, panels.get("damage", empty), joined=False)
    damage.axhline(0, color="#000000", linewidth=0.5)
    damage.set(title="damage without one head", xlabel="head taken away", ylabel="nats/token")
    # An interval of few seeds may be wider than all there is to see: curves decide how much of the axis is shown.
    for axis, names in ((curve, ["curve"]), (first, ["previous", "duplicate"])):
        values = frame.loc[frame["panel"].isin(names), "value"]
        if len(values):
            axis.set_ylim(0, 1.3 * values.max())
    style.shared_legend(figure, 3)
    return figure


def _bag() -> dict[str, object]:
    look = style.look("bag")
    return {"color": look.color, "linestyle": look.line, "linewidth": 0.9, "label": look.label}


def _lines(axis: Axes, rows: pd.DataFrame, x: str = "x", **options: object) -> None:
    for arm in ARMS:
        style.line(axis, rows[rows["arm"] == arm], x, arm, markersize=3, **options)


def _reference(axis: Axes, rows: pd.DataFrame) -> None:
    bag = rows[rows["arm"] == "bag"].sort_values("x")
    if len(bag):
        axis.plot(bag["x"], bag["value"], **_bag())


def _kinds(axis: Axes, rows: pd.DataFrame, joined: bool) -> None:
    """Arms side by side at named places of the axis."""
    for arm, side in zip(ARMS, (-WIDTH, WIDTH), strict=True):
        here = rows[rows["arm"] == arm]
        shift = 0.0 if joined else side
        look = {"markersize": 3.5} if joined else {"linestyle": "none"}
        style.points(axis, here.assign(x=here["x"] + shift), "x", arm, **look)
    _reference(axis, rows)
    names = rows.drop_duplicates("x").sort_values("x")
    axis.set_xticks(names["x"], [str(name).replace(" on", "+").replace(" ", "\n") for name in names["label"]])
    axis.margins(x=0.08 if joined else 0.25)
