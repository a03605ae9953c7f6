"""Figures of the toys: who gets the bits, hidden bits, and the three kinds of myopia."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from myopia.config.runs import PAIR
from myopia.show import style

COLORS, LEAD = "RdBu_r", Normalize(-1, 1)
MAPS = {
    "vanilla optimum": "vanilla, exact optimum",
    "vanilla": "vanilla, trained",
    "myopic optimum": "myopic, exact optimum",
    "myopic": "myopic, trained",
}
"""Series of the panel `lead` -> title of its map."""

HIDDEN = {
    "true": {"label": "g2 reads the true z1", "color": "#0072B2", "marker": "o", "linestyle": "-"},
    "stopped": {"label": "the prediction, gradient stopped", "color": "#E69F00", "marker": "s", "linestyle": "--"},
    "full": {"label": "the prediction, full gradient", "color": "#D55E00", "marker": "^", "linestyle": "-"},
    "released": {"label": "full until half-way, then stopped", "color": "#882255", "marker": "v", "linestyle": "-."},
}
LOOPS = {
    "offline": {"label": "offline", "color": "#000000"},
    "own": {"label": "own samples", "color": "#0072B2"},
    "reward": {"label": "rollouts, reward", "color": "#D55E00"},
    "mixed": {"label": "rollouts, reward, and truth", "color": "#009E73"},
}
"""Trainings of consequence-blindness and how they are drawn."""

EXPECTED = {"color": "#444444", "linestyle": ":", "linewidth": 1.2}


def toy_capacity(frame: pd.DataFrame, caption: str = "") -> Figure:
    """Above: who gets the bits, by capacity and balance. Below: trade-off for each overlap, and the cost of myopia."""
    if frame.empty:
        return style.nothing(caption)
    balance = frame.loc[frame["panel"] == "tradeoff", "balance"].iloc[0]
    text = style.join(
        "y = f(x) has K values; z1 is predicted from y, z2 from y and z1. Top, z1 and z2 compete for f: the share of the",
        "bits about z2 that f tells minus the share of those about z1 (1: the future gets all it could and the present",
        "nothing; 0: both alike), of all f that are optimal alike the mean. Reliability of z2: the rest is z1's. Bottom",
        f"left: losses at reliability {balance:g}, lines: all f with at most K values, numbers: K, points: seeds; right:",
        "loss of z2, myopic - vanilla.",
        style.sample(frame[(frame["panel"] == "lead") & (frame["seeds"] > 0)]),
        caption,
    )
    figure = style.new_figure(7.4, 4.3, 2, 4, text)
    maps, below = style.grid(figure, 4)
    lead = frame[(frame["panel"] == "lead") & (frame["overlap"] == frame["overlap"].min())]
    for axis, (series, title) in zip(maps, MAPS.items(), strict=True):
        _map(axis, lead[lead["series"] == series], title)
    maps[0].set_ylabel("values of f, K")
    bar = figure.colorbar(ScalarMappable(LEAD, COLORS), ax=maps, shrink=0.9, aspect=14, pad=0.01, ticks=[-1, 0, 1])
    bar.ax.set_yticklabels(["present", "both", "future"])
    overlaps = sorted(frame["overlap"].dropna().unique())
    drawn = [overlaps[0], overlaps[len(overlaps) // 2], overlaps[-1]]
    for axis, overlap in zip(below, dict.fromkeys(drawn), strict=False):
        here = frame[(frame["panel"] == "tradeoff") & (frame["overlap"] == overlap)]
        _tradeoff(axis, here, f"overlap {overlap:g}")
    for axis in below[len(set(drawn)) : 3]:
        axis.set_axis_off()
    below[0].set_ylabel("loss of z2 (bits)")
    below[len(set(drawn)) - 1].legend(loc="center")
    _cost(below[3], frame[frame["panel"] == "cost"], overlaps)
    return figure


def _map(axis: Axes, frame: pd.DataFrame, title: str) -> None:
    if frame.empty:
        axis.set_axis_off()
        return
    wide = frame.pivot(index="capacity", columns="balance", values="value").sort_index()
    axis.imshow(wide.to_numpy(), cmap=COLORS, norm=LEAD, origin="lower", aspect="auto")
    for row, column in np.ndindex(*wide.shape):
        value = wide.to_numpy()[row, column]
        shown = f"{value:+.1f}".replace("0.", ".").removesuffix(".0") if abs(value) >= 0.05 else "0"
        axis.text(column, row, shown, ha="center", va="center", fontsize=style.FONT - 2.5,
                  color="white" if abs(value) > 0.6 else "black")  # fmt: skip
    axis.set_xticks(range(wide.shape[1]), [f"{b:g}" for b in wide.columns])
    axis.set_yticks(range(wide.shape[0]), [f"{k:g}" for k in wide.index])
    axis.set_title(title)
    axis.set_xlabel("reliability of z2")
    axis.tick_params(length=0)


def _tradeoff(axis: Axes, frame: pd.DataFrame, title: str) -> None:
    ends: dict[tuple[float, float], list[str]] = {}
    for capacity, line in frame[frame["series"] == "frontier"].groupby("capacity"):
        line = line.sort_values("x")
        axis.plot(line["x"], line["value"], color="#999999", marker=".", markersize=2.5, linewidth=0.8)
        end = line.iloc[0]
        ends.setdefault((round(end["x"], 6), round(end["value"], 6)), []).append(f"{capacity:g}")
    for end, names in ends.items():
        alone = len(names) == 1
        label, place = (names[0], (-4, 0)) if alone else (f"{names[0]}-{names[-1]}", (3, 4))
        axis.annotate(label, end, xytext=place, textcoords="offset points", ha="right" if alone else "left",
                      va="center" if alone else "bottom", fontsize=style.FONT - 2, color="#666666")  # fmt: skip
    for arm in PAIR:
        points, look = frame[frame["series"] == arm], style.look(arm)
        axis.plot(points["x"], points["value"], color=look.color, marker=look.marker, linestyle="", label=look.label,
                  markersize=3, alpha=0.6, markeredgewidth=0)  # fmt: skip
    axis.set_title(title)
    axis.set_xlabel("loss of z1 (bits)")
    axis.margins(x=0.2, y=0.08)


def _cost(axis: Axes, frame: pd.DataFrame, overlaps: list[float]) -> None:
    shades = np.linspace(0.0, 0.65, max(len(overlaps), 2))
    for overlap, shade, marker in zip(overlaps, shades, "osD^vPX", strict=False):
        line = frame[frame["overlap"] == overlap]
        style.points(axis, line, "capacity", "gap", color=_lighter("#882255", shade), marker=marker, linestyle="-",
                     label=f"overlap {overlap:g}")  # fmt: skip
    axis.axhline(0, color="#999999", linewidth=0.6)
    axis.set_title("what myopia costs z2")
    axis.set_xlabel("values of f, K")
    axis.set_ylabel("bits")
    if len(frame):
        axis.legend(loc="best")


def _lighter(color: str, share: float) -> tuple[float, ...]:
    parts = [int(color[k : k + 2], 16) / 255 for k in (1, 3, 5)]
    return tuple(part + (1 - part) * share for part in parts)


def toy_hidden_bits(frame: pd.DataFrame, caption: str = "") -> Figure:
    """Bits found in the residual, and the size of the code, along the four trainings."""
    if frame.empty:
        return style.nothing(caption)
    text = style.join(
        "g1 predicts z1; its residual is its prediction minus E[z1 given x]. Left: bits about z2 (of 1) that a histogram",
        "finds in the residual, read at the precision g2 reads it with, on held-out samples; crosses: the same with z2",
        "permuted. Right: half the difference between mean residuals where z2 = 1 and z2 = 0. Dotted: the code that pays",
        "best.",
        style.sample(frame[frame["kind"] == "found"]),
        caption,
    )
    figure = style.new_figure(7.0, 2.6, 1, 2, text)
    for axis, panel in zip(figure.axes, ("bits", "amplitude"), strict=True):
        here = frame[frame["panel"] == panel]
        for training, look in HIDDEN.items():
            line = here[(here["training"] == training) & (here["kind"] == "found")]
            axis.plot(line["step"], line["value"], markersize=3, **look)
            axis.fill_between(
                line["step"], line["ci_low"], line["ci_high"], color=look["color"], alpha=0.2, linewidth=0
            )
        permuted = here[here["kind"] == "permuted"].groupby("step")["value"].mean()
        if len(permuted):
            axis.plot(permuted.index, permuted, color="#777777", marker="x", linestyle="", markersize=3,
                      label="z2 permuted")  # fmt: skip
        expected = here[here["kind"] == "expected"].sort_values("step")
        axis.plot(expected["step"], expected["value"], label="best code", **EXPECTED)
        axis.axvline(here["step"].max() / 2, color="#BBBBBB", linewidth=0.6, zorder=0)
        axis.set_xlabel("step")
    figure.axes[0].set(title="bits about z2 in the residual of z1", ylabel="bits")
    figure.axes[1].set(title="size of the code", ylabel="in units of z1's spread")
    style.shared_legend(figure, 3)
    return figure


def three_myopias(frame: pd.DataFrame, caption: str = "") -> Figure:
    """One panel for each kind of myopia the essay tells apart."""
    if frame.empty:
        return style.nothing(caption)
    acting = frame[(frame["panel"] == "consequence") & (frame["kind"] == "found")]
    text = style.join(
        "Cognitive: bits about z2 in y (at overlap 1/2, z2 tells less of either letter). Value: loss of z1 above the least possible with as many values of f; dotted:",
        "vanilla's exact optimum, dots: seeds, far above: stuck in a local optimum. Both: f has just enough values for z1. Consequence: chance of the z1 that is followed",
        "by an easy z2; offline until step 0, then in closed loops; shaded: mean +- sd over seeds; solid vanilla, dashed",
        "myopic; dotted: expected course, of own samples the expected sd.",
        style.sample(frame[(frame["kind"] == "found") & (frame["panel"] != "consequence")]),
        f"Consequence: {int(acting['seeds'].max())} seeds." if len(acting) else "",
        caption,
    )
    figure = style.new_figure(7.4, 2.7, 1, 3, text, gridspec_kw={"width_ratios": [1, 1, 1.5]})
    for axis, panel in zip(figure.axes, ("cognitive", "value"), strict=False):
        here = frame[frame["panel"] == panel]
        for arm in PAIR:
            style.points(axis, here[(here["arm"] == arm) & (here["kind"] == "found")], "x", arm)
            seeds = here[(here["arm"] == arm) & (here["kind"] == "seed")]
            axis.plot(seeds["x"], seeds["value"], color=style.look(arm).color, marker=".", linestyle="", markersize=5,
                      alpha=0.6, markeredgewidth=0)  # fmt: skip
        exact = here[here["kind"] == "optimum"].sort_values("x")
        axis.plot(exact["x"], exact["value"], **EXPECTED)
        axis.set_ylim(bottom=min(0, axis.get_ylim()[0]))
    figure.axes[0].set(title="1 cognitive: is the\nfuture thought of?", xlabel="overlap of the computations",
                       ylabel="bits about z2 in y")  # fmt: skip
    figure.axes[1].set(title="2 value: is the present\ngiven up for the future?", xlabel="reliability of z2",
                       ylabel="bits of z1 given up")  # fmt: skip
    figure.axes[0].legend(loc="upper left")
    _acting(figure.axes[2], frame[frame["panel"] == "consequence"])
    return figure


def _acting(axis: Axes, frame: pd.DataFrame) -> None:
    for training, look in LOOPS.items():
        for arm, line in (("vanilla", "-"), ("myopic", "--")):
            here = frame[(frame["training"] == training) & (frame["arm"] == arm)].sort_values("x")
            found, expected = here[here["kind"] == "found"], here[here["kind"] == "expected"]
            label = look["label"] if arm == "vanilla" else None
            axis.plot(found["x"], found["value"], color=look["color"], linestyle=line, linewidth=1.2, label=label)
            if arm == "myopic":
                continue
            if found["sd"].notna().any():
                axis.fill_between(found["x"], found["value"] - found["sd"], found["value"] + found["sd"],
                                  color=look["color"], alpha=0.15, linewidth=0)  # fmt: skip
            if training == "own":
                for sign in (-1, 1):
                    axis.plot(found["x"], found["value"].iloc[0] + sign * found["sd_expected"], **EXPECTED)
            elif training != "offline":
                axis.plot(expected["x"], expected["value"], **EXPECTED)
    axis.axvline(0, color="#BBBBBB", linewidth=0.6, zorder=0)
    axis.axhline(0.5, color="#BBBBBB", linewidth=0.6, zorder=0)
    axis.set(title="3 consequence: is an easy\nfuture made likelier?", xlabel="step (offline before 0)",
             ylabel="P(z1 = 0), the easy future", ylim=(0, 1))  # fmt: skip
    axis.legend(loc="lower left")
