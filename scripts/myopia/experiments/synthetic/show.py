"""Figures of the synthetic experiment: one function each, from its one table to a drawn figure."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from myopia.config.runs import PAIR
from myopia.show import style

FEATURES = {"x": "$x$", "sin": r"$\sin(b\,x)$"}
LAYER = 1
"""Where the value is first available and not yet used."""


def table1_loss_by_p(frame: pd.DataFrame) -> Figure:
    """Table 1: loss of both arms in units of the trivial predictor's, a pair of bars for each p."""
    share = frame[(frame["on"] == "share") & (frame["shift"] == 1)]
    ours = share[share["kind"] == "ours"]
    if ours.empty:
        return style.nothing()
    gaps = ours[ours["series"] == "gap"].assign(place=[f"p = {p:g}" for p in ours.loc[ours["series"] == "gap", "p"]])
    figure = style.new_figure(
        style.finding(
            "Loss where only planning solves the task",
            gaps,
            by="place",
            word="at",
            above="Cut off from later losses, networks do worse where only planning solves the task",
        ),
    )
    (axis,) = figure.axes
    ps = sorted(ours["p"].unique())
    for arm, side in zip(PAIR, (-0.2, 0.2), strict=True):
        look, at = style.look(arm), {p: k + side for k, p in enumerate(ps)}
        mine = ours[ours["series"] == arm]
        axis.bar(mine["p"].map(at), mine["value"], 0.36, color=look.color, alpha=0.75, label=look.label)
        axis.errorbar(
            mine["p"].map(at),
            mine["value"],
            style.bars(mine),
            color="#000000",
            linestyle="none",
            capsize=3,
            elinewidth=1,
        )
        paper = share[(share["kind"] == "paper") & (share["series"] == arm) & share["p"].isin(ps)]
        style.paper(axis, paper["p"].map(at), paper["value"], arm)
    look = style.look("trivial")
    axis.axhline(1, color=look.color, linestyle=look.line, linewidth=1, label=look.label, zorder=0)
    axis.set_xticks(range(len(ps)), [f"{p:g}" for p in ps])
    axis.set(
        xlim=(-0.6, len(ps) - 0.4),
        ylim=(0, None),
        xlabel="p: how often the sum of sines is asked for",
        ylabel="loss / trivial loss",
    )
    style.shared_legend(figure)
    return figure


def fig2_probe_r2(frame: pd.DataFrame) -> Figure:
    """Fig 2: probe R^2 of sin(b x_{n-i}) in layer 1 by lookback, one panel for each p."""
    frame = frame[(frame["feature"] == "sin") & (frame["layer"] == LAYER)]
    ours = frame[(frame["kind"] == "ours") & (frame["metric"] == "noisy")]
    if ours.empty:
        return style.nothing()
    ps = style.spread(sorted(ours["p"].unique()))
    networks = {
        "vanilla": ours[(ours["arm"] == "vanilla") & (ours["weights"] == "trained")],
        "myopic": ours[(ours["arm"] == "myopic") & (ours["weights"] == "trained")],
        "untrained": ours[(ours["arm"] == ours["arm"].max()) & (ours["weights"] == "untrained")],
    }
    now = {name: rows[rows["lookback"] == 0] for name, rows in networks.items()}
    more = pd.concat([style.between(now["vanilla"], now[other], "p") for other in ("myopic", "untrained")])
    figure = style.grid_of(
        style.finding(
            "What a linear probe of layer 1 reads of present and past values",
            more.assign(place=[f"p = {p:g}" for p in more["p"]]),
            by="place",
            word="at",
            above="Vanilla networks compute the value before it is needed, myopic ones less so",
        ),
        len(ps),
        sharey=True,
    )
    for axis, p in zip(figure.axes, ps, strict=False):
        here = {name: rows[rows["p"] == p] for name, rows in networks.items()}
        window = ours.loc[ours["p"] == p, "a"].max()
        axis.axvspan(0.5, window + 0.5, color="#F2E6C9", alpha=0.6, linewidth=0, label="needed for the sum")
        for name, rows in here.items():
            style.line(axis, rows, "lookback", name, markersize=4)
        paper = frame[(frame["kind"] == "paper") & np.isclose(frame["p"], p)]
        style.paper(axis, paper["lookback"], paper["value"], "", "paper, vanilla, no noise", markersize=4)
        axis.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        axis.set(
            xlim=(-0.6, ours["lookback"].max() + 0.6), ylim=(-0.05, 1.05), title=f"p = {p:g}", xlabel="positions back"
        )
    for axis in figure.axes[::2]:
        axis.set_ylabel("probe's R²")
    style.shared_legend(figure)
    return figure


def fig3_neuron_correlation(frame: pd.DataFrame) -> Figure:
    """Fig 3: |corr(neuron, feature)| maps of layer 1; rows arms, columns features. One seed: no finding."""
    frame = frame[(frame["layer"] == LAYER) & frame["arm"].isin(PAIR)]
    if frame.empty:
        return style.nothing()
    arms = style.in_order(frame["arm"])
    topic = f"Correlation of layer-{LAYER} neurons with the input and its sine, p = {frame['p'].iloc[0]:g}"
    figure = style.new_figure(topic, len(arms), 2, sharex=True, sharey=True)
    panels = [(arm, feature) for arm in arms for feature in FEATURES]
    for axis, (arm, feature) in zip(figure.axes, panels, strict=True):
        table = frame[(frame["arm"] == arm) & (frame["feature"] == feature)].pivot_table(
            index="lookback", columns="neuron", values="abs_corr"
        )
        image = axis.imshow(table, aspect="auto", cmap="BuPu", norm=PowerNorm(0.5, 0, 0.5), interpolation="nearest")
        axis.yaxis.set_major_locator(MaxNLocator(5, integer=True))
        axis.set(title=f"{arm}, {FEATURES[feature]}", xlabel="neuron", ylabel="positions back")
        axis.label_outer()
    bar = figure.colorbar(image, ax=figure.axes, label="|correlation|", extend="max", shrink=0.9, pad=0.01)
    bar.set_ticks([0, 0.05, 0.2, 0.5])
    return figure


def fig6_probe_estimate(frame: pd.DataFrame) -> Figure:
    """Fig 6: the layer-1 probe's estimate of sin(b x_n) against x_n, one panel per arm."""
    frame = frame[(frame["layer"] == LAYER) & frame["arm"].isin(PAIR)]
    if frame.empty:
        return style.nothing()
    drawn = {arm: _drawn(frame[frame["arm"] == arm]) for arm in style.in_order(frame["arm"])}
    both = (
        style.sign(drawn.get("vanilla", frame[:0]), 0.5) == 1 and style.sign(drawn.get("myopic", frame[:0]), 0.5) == -1
    )
    topic = f"A linear probe's estimate of the sine in layer {LAYER}, p = {frame['p'].iloc[0]:g}"
    title = "A linear probe draws the sine from vanilla networks, not from myopic ones" if both else topic
    figure = style.new_figure(title, 1, len(drawn), sharey=True)
    for axis, arm in zip(figure.axes, drawn, strict=True):
        here = frame[frame["arm"] == arm].sort_values("x")
        axis.plot(here["x"], here["truth"], color="#000000", linewidth=1, linestyle=(0, (4, 2)), label="true sine")
        spread = here.assign(ci_low=here["value"] - here["sd"], ci_high=here["value"] + here["sd"])
        style.line(axis, spread, "x", arm, marker="", label=f"{arm}, ± sd of inputs")
        axis.set(xlabel="$x_n$ (standard deviations)", ylim=(-1.5, 1.5))
    figure.axes[0].set_ylabel("estimate")
    style.shared_legend(figure)
    return figure


def _drawn(here: pd.DataFrame) -> pd.DataFrame:
    """How much of the sine the estimate draws, 1 all of it: at least and at most, as the bins' intervals allow."""
    weight = here["truth"] / (here["truth"] ** 2).sum()
    ends = pd.DataFrame({"a": here["ci_low"] * weight, "b": here["ci_high"] * weight})
    return pd.DataFrame(
        {"ci_low": [ends.min(axis=1).sum(skipna=False)], "ci_high": [ends.max(axis=1).sum(skipna=False)]}
    )


EDITS = {
    "pattern": style.Look("along the stored value", "#0072B2", "o", "-"),
    "random-pattern": style.Look("random, as long", "#777777", "x", ":"),
}


def intervention(frame: pd.DataFrame) -> Figure:
    """Causal edit: slope of the output on the size of the edit by lag, both arms at the p nearest to the paper's.

    Lag 0, the edited position's own output, says nothing about planning and can be large: it stays in the table.
    """
    frame = frame[(frame["lag"] >= 1) & frame["arm"].isin(PAIR)]
    if frame.empty:
        return style.nothing()
    p = style.nearest(frame["p"].unique(), 0.3)
    frame = frame[frame["p"] == p]
    used = frame[(frame["arm"] == "vanilla") & (frame["direction"] == "pattern") & (frame["expected"] > 0)]
    arms = style.in_order(frame["arm"])
    figure = style.new_figure(
        style.finding(
            f"Moving what layer {LAYER} stores, p = {p:g}",
            used,
            "Moving the value that a vanilla network stores moves its later outputs",
        ),
        1,
        len(arms),
        sharey=True,
    )
    for axis, arm in zip(figure.axes, arms, strict=True):
        here = frame[frame["arm"] == arm]
        full = here[here["direction"] == "pattern"].sort_values("lag")
        if full["expected"].notna().all():
            axis.step(full["lag"], full["expected"], where="mid", color="#999999", linewidth=1, label="full use")
        for direction, look in EDITS.items():
            style.points(axis, here[here["direction"] == direction], "lag", look)
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        axis.set(xlabel="positions later", title=arm)
        style.zero(axis)
    figure.axes[0].set_ylabel("change of the output")
    style.shared_legend(figure)
    return figure
