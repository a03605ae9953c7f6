"""Figures of the toys: who gets the bits, hidden bits, and the three kinds of myopia."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from myopia.config.runs import PAIR
from myopia.show import style

COLORS, LEAD = "RdBu_r", Normalize(-1, 1)
HIDDEN = {
    "true": style.Look("reads the true value", "#0072B2", "o", "-"),
    "stopped": style.Look("the prediction, gradient stopped", "#E69F00", "s", "--"),
    "full": style.Look("the prediction, full gradient", "#D55E00", "^", "-"),
    "released": style.Look("full until half-way, then stopped", "#882255", "v", "-."),
}
LOOPS = {
    "offline": style.Look("before: recorded data", "#000000", "", "-"),
    "own": style.Look("its own samples", "#0072B2", "", "-"),
    "reward": style.Look("rewarded rollouts", "#D55E00", "", "-"),
    "mixed": style.Look("rollouts and truth", "#009E73", "", "-"),
}
"""Trainings of consequence-blindness and how they are drawn."""


def toy_capacity(frame: pd.DataFrame) -> Figure:
    """Who gets the bits, by capacity and balance, in both trained arms; and what myopia costs the future."""
    if frame.empty:
        return style.nothing()
    lead = frame[(frame["panel"] == "lead") & (frame["overlap"] == frame["overlap"].min())]
    cost = frame[frame["panel"] == "cost"]
    apart = cost[cost["overlap"] == cost["overlap"].min()]
    figure = style.new_figure(
        style.finding("Who gets the bits of a shared code", apart, "Myopic training leaves the future with fewer bits"),
        1, 3, 2.9, gridspec_kw={"width_ratios": [1, 1, 1.15]},
    )  # fmt: skip
    *maps, right = figure.axes
    for axis, arm in zip(maps, PAIR, strict=True):
        wide = lead[lead["series"] == arm].pivot(index="capacity", columns="balance", values="value").sort_index()
        axis.set(title=arm, xlabel="reliability of z2")
        if wide.empty:
            continue
        axis.imshow(wide.to_numpy(), cmap=COLORS, norm=LEAD, origin="lower", aspect="auto")
        axis.set_xticks(range(0, wide.shape[1], 2), [f"{b:g}".replace("0.", ".") for b in wide.columns[::2]])
        axis.set_yticks(range(wide.shape[0]), [f"{k:g}" for k in wide.index] if axis is maps[0] else [])
    maps[0].set_ylabel("values of the code")
    bar = figure.colorbar(
        ScalarMappable(LEAD, COLORS), ax=maps, location="bottom", shrink=0.8, aspect=22, pad=0.03, ticks=[-1, 0, 1]
    )
    bar.ax.set_xticklabels(["present", "both", "future"])
    for overlap, look in style.among(style.spread(sorted(cost["overlap"].unique()), 3)).items():
        style.points(right, cost[cost["overlap"] == overlap], "capacity", look, label=f"overlap {overlap:g}")
    style.zero(right)
    right.set(title="lost by the future, bits", xlabel="values of the code")
    right.legend(loc="best")
    return figure


def toy_hidden_bits(frame: pd.DataFrame) -> Figure:
    """Bits about the future found in the residual of the present's prediction, along the four trainings."""
    bits = frame[frame["panel"] == "bits"]
    if bits.empty:
        return style.nothing()
    found = bits[bits["kind"] == "found"]
    last = {name: part[part["step"] == part["step"].max()] for name, part in found.groupby("training")}
    none = found[:0]
    more = style.between(last.get("full", none), last.get("stopped", none), "step")
    title = style.finding("Bits about the future in a prediction of the present", more,
                          "Trained through its prediction, a network hides the future in it")  # fmt: skip
    figure = style.new_figure(title, width=style.WIDE, height=3.6)
    (axis,) = figure.axes
    for training, look in HIDDEN.items():
        style.line(axis, found[found["training"] == training], "step", look, markersize=4)
    expected = bits[bits["kind"] == "expected"].sort_values("step")
    axis.plot(expected["step"], expected["value"], color="#444444", linestyle=":", label="best code")
    axis.axvline(bits["step"].max() / 2, color="#BBBBBB", linewidth=0.8, zorder=0)
    axis.set(xlabel="training step", ylabel="bits in the residual (of 1)")
    style.shared_legend(figure)
    return figure


def three_myopias(frame: pd.DataFrame) -> Figure:
    """One panel for each kind of myopia the essay tells apart."""
    if frame.empty:
        return style.nothing()
    found = frame[frame["kind"] == "found"]
    told = found[(found["panel"] == "cognitive") & (found["arm"] == "myopic") & (found["x"] > 0)]
    figure = style.new_figure(
        style.finding(
            "Three kinds of myopia",
            told,
            "Myopically trained codes can still tell of the future: three kinds of myopia",
        ),
        1,
        3,
        3.3,
    )
    thinking, giving, acting = figure.axes
    for axis, panel in ((thinking, "cognitive"), (giving, "value")):
        for arm in PAIR:
            style.points(axis, found[(found["panel"] == panel) & (found["arm"] == arm)], "x", arm)
        exact = frame[(frame["panel"] == panel) & (frame["kind"] == "optimum")].sort_values("x")
        if len(exact):
            axis.plot(exact["x"], exact["value"], color="#444444", linestyle=":", label="vanilla, exact")
        axis.set_ylim(bottom=min(0, axis.get_ylim()[0]))
    _acting(acting, frame[frame["panel"] == "consequence"])
    thinking.set(title="is it thought of?", xlabel="overlap of the tasks", ylabel="bits about the future")
    giving.set(title="given up for it?", xlabel="reliability of z2", ylabel="bits of the present lost")
    acting.set(title="is it made likelier?", xlabel="step of the loop", ylabel="easy future, probability", ylim=(0, 1))
    style.shared_legend(figure)
    return figure


def _acting(axis: Axes, frame: pd.DataFrame) -> None:
    for training, look in LOOPS.items():
        here = frame[(frame["training"] == training) & (frame["arm"] == "vanilla") & (frame["kind"] == "found")]
        style.line(axis, here, "x", look)
    axis.axvline(0, color="#BBBBBB", linewidth=0.8, zorder=0)
