"""Figures of the synthetic experiment: one function each, from its one table to a drawn figure."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from myopia.config.runs import PAIR
from myopia.show import style

FEATURES = {"x": "$x_{n-i}$", "sin": r"$\sin(b\,x_{n-i})$"}


def table1_loss_by_p(frame: pd.DataFrame, caption: str = "") -> Figure:
    """Table 1: Huber loss / p against p, on z = 1 positions, and the control with the present inside."""
    ours = frame[frame["kind"] == "ours"]
    if ours.empty:
        return style.nothing(caption)
    control = frame[(frame["shift"] == 0) & (frame["on"] == "all") & (frame["kind"] != "paper")]
    columns = 2 if control.empty else 3
    text = style.join(
        "Held-out Huber loss of D_p. Left: all positions, divided by p. Middle: z = 1 positions only.",
        "" if control.empty else "Right: control whose window includes the present, so nothing need be planned.",
        f"{style.task(ours)} Hollow: the paper's Table 1 (a = b = 10, its own sizes).",
        style.sample(ours, "blocks"),
        caption,
    )
    if control.empty:
        text = text.replace("Middle:", "Right:")
    figure = style.new_figure(2.6 * columns + 0.4, 2.6, 1, columns, text)
    titles = [("all", "all positions", "Huber loss / p"), ("z1", "z = 1 positions", "Huber loss")]
    for axis, (on, title, label) in zip(figure.axes, titles, strict=False):
        here = frame[(frame["shift"] == 1) & (frame["on"] == on)]
        arms = style.in_order(here.loc[here["kind"] == "ours", "series"])
        for k, name in enumerate(arms):
            # A little to the side (log axis: a factor), or equal arms would hide each other.
            mine = here[(here["kind"] == "ours") & (here["series"] == name)]
            style.points(axis, mine.assign(p=mine["p"] * 1.05 ** (k - (len(arms) - 1) / 2)), "p", name)
        for name in ("trivial", "zero"):
            _reference(axis, here[(here["kind"] == "predictor") & (here["series"] == name)], name)
        for name in PAIR:
            paper = here[(here["kind"] == "paper") & (here["series"] == name)]
            axis.plot(
                paper["p"],
                paper["value"],
                style.look(name).marker,
                mfc="none",
                mec=style.PAPER,
                label=f"paper, {name}",
                markersize=6,
            ) if len(paper) else None
        scale = {"yscale": "log"} if on == "all" else {"ylim": (0, _top(here))}
        axis.set(xscale="log", **scale, xlabel="p (probability of z = 1)", ylabel=label, title=title)
        ticks = sorted(here["p"].unique())
        axis.set_xticks(ticks, [f"{p:g}" for p in ticks])
        if len(ticks) == 1:
            axis.set_xlim(ticks[0] / 2, ticks[0] * 2)
        axis.minorticks_off()
        axis.margins(x=0.12)
    if not control.empty:
        _control(figure.axes[2], control[control["p"] == control["p"].max()])
    style.shared_legend(figure, 4)
    return figure


def _reference(axis: Axes, rows: pd.DataFrame, name: str) -> None:
    if rows.empty:
        return
    look = style.look(name)
    rows = rows.sort_values("p")
    axis.plot(
        rows["p"],
        rows["value"],
        color=look.color,
        linestyle=look.line,
        marker=look.marker,
        label=look.label,
        linewidth=1,
        markersize=9,
    )


def _top(rows: pd.DataFrame) -> float:
    """Upper end of an axis from 0 that holds every value and interval."""
    return 1.08 * float(rows[["value", "ci_high"]].max().max())


def _control(axis: Axes, rows: pd.DataFrame) -> None:
    names = style.in_order(rows["series"])
    for k, name in enumerate(names):
        one = rows[rows["series"] == name].assign(x=k)
        style.points(axis, one, "x", name, linestyle="none")
    axis.set_xticks(range(len(names)), [n.split()[0] for n in names], rotation=35, ha="right")
    axis.set(
        ylabel="Huber loss / p",
        title=f"control, p = {rows['p'].iloc[0]:g}",
        ylim=(0, _top(rows)),
    )
    axis.margins(x=0.15)


def fig2_probe_r2(frame: pd.DataFrame, caption: str = "") -> Figure:
    """Fig 2: probe R^2 of sin(b x_{n-i}) by lookback; rows p, columns layers, arms side by side."""
    sines = frame[(frame["kind"] == "ours") & (frame["feature"] == "sin")]
    ours = sines[sines["metric"] == "noisy"]
    if ours.empty:
        return style.nothing(caption)
    paper = frame[frame["kind"] == "paper"]
    ps, layers = sorted(ours["p"].unique()), sorted(ours["layer"].unique())
    text = style.join(
        "Held-out R^2 of a linear probe for sin(b x_{n-i}), read from the hidden state at n (layer 0: embedding;",
        "last layer: before the output). Lines: read through noise on every coordinate (judged). Small dots: the",
        "same without noise, where an untrained network can read lag 0 too. Shaded: lags the target needs.",
        f"{style.task(ours)} Diamonds: the paper's Fig 2 (vanilla, in sample, no noise, a = b = 10) at the same p.",
        style.sample(ours),
        caption,
    )
    width, height = 2.5 * len(layers) + 0.3, 1.75 * len(ps) + 0.5
    figure = style.new_figure(width, height, len(ps), len(layers), text, sharex=True, sharey=True)
    for row, p in zip(style.grid(figure, len(layers)), ps, strict=True):
        for axis, layer in zip(row, layers, strict=True):
            here = sines[(sines["p"] == p) & (sines["layer"] == layer)]
            if here["a"].notna().any():
                axis.axvspan(0.5, here["a"].max() + 0.5, color="#F2E6C9", alpha=0.6, linewidth=0)
            trained = here[here["weights"] == "trained"]
            for arm in style.in_order(trained["arm"]):
                _probe(axis, trained[trained["arm"] == arm], arm)
            control = here[here["weights"] == "untrained"]
            _probe(axis, control[control["arm"] == control["arm"].max()], "untrained")
            dots = paper[(np.isclose(paper["p"], p)) & (paper["layer"] == layer)]
            if len(dots):
                options = {"mfc": "none", "mec": style.PAPER, "markersize": 3.5, "mew": 0.7}
                axis.plot(dots["lookback"], dots["value"], "D", label="paper, vanilla (no noise)", **options)
            axis.xaxis.set_major_locator(MaxNLocator(integer=True))
            axis.set(ylim=(-0.05, 1.05), title=f"p = {p:g}, layer {layer}")
            axis.grid(axis="y", linewidth=0.4, alpha=0.5)
        row[0].set_ylabel("probe $R^2$")
    for axis in style.grid(figure, len(layers))[-1]:
        axis.set_xlabel("lookback i (positions)")
    style.shared_legend(figure)
    return figure


def _probe(axis: Axes, rows: pd.DataFrame, name: str) -> None:
    """One network's R^2: judged through noise as a line, noiseless as small dots of its colour."""
    style.line(axis, rows[rows["metric"] == "noisy"], "lookback", name)
    plain = rows[rows["metric"] == "heldout"].sort_values("lookback")
    axis.plot(plain["lookback"], plain["value"], ".", color=style.look(name).color, markersize=4, alpha=0.7)


def fig3_neuron_correlation(frame: pd.DataFrame, caption: str = "") -> Figure:
    """Fig 3: |corr(neuron, feature)| maps; rows layers, columns arm and feature."""
    if frame.empty:
        return style.nothing(caption)
    arms, layers = style.in_order(frame["arm"]), sorted(frame["layer"].unique())
    panels = [(arm, feature) for arm in arms for feature in ("x", "sin")]
    text = style.join(
        "|Correlation| of each neuron with x_{n-i} and sin(b x_{n-i}) by lookback i (square-root colours,",
        f"saturated at 0.5 as in the paper). One seed ({frame['seed'].iloc[0]}) of {frame['seeds'].iloc[0]}:",
        f"neurons of two networks have no common order. p = {frame['p'].iloc[0]:g}.",
        caption,
    )
    figure = style.new_figure(
        1.75 * len(panels) + 0.6,
        1.35 * len(layers) + 0.3,
        len(layers),
        len(panels),
        text,
        sharex=True,
        sharey=True,
    )
    image = None
    for row, layer in zip(style.grid(figure, len(panels)), layers, strict=True):
        for axis, (arm, feature) in zip(row, panels, strict=True):
            here = frame[(frame["arm"] == arm) & (frame["feature"] == feature) & (frame["layer"] == layer)]
            if here.empty:
                axis.set_axis_off()
                continue
            table = here.pivot_table(index="lookback", columns="neuron", values="abs_corr")
            image = axis.imshow(table, aspect="auto", cmap="BuPu", norm=PowerNorm(0.5, 0, 0.5), interpolation="nearest")
            if layer == layers[0]:
                axis.set_title(f"{arm}: {FEATURES[feature]}")
            if layer == layers[-1]:
                axis.set_xlabel("neuron")
        row[0].set_ylabel(f"layer {layer}\nlookback i")
    if image is not None:
        figure.colorbar(image, ax=figure.axes, label="|correlation|", extend="max", shrink=0.8, pad=0.01)
    return figure


def fig6_probe_estimate(frame: pd.DataFrame, caption: str = "") -> Figure:
    """Fig 6: the layer-1 probe's estimate of sin(b x_n) against x_n, one panel per arm."""
    frame = (
        frame[frame["layer"] == frame["layer"].min()] if not (frame["layer"] == 1).any() else frame[frame["layer"] == 1]
    )
    if frame.empty:
        return style.nothing(caption)
    arms = style.in_order(frame["arm"])
    text = style.join(
        f"Layer-{frame['layer'].iloc[0]} probe's estimate of sin(b x_n) against x_n, in bins of x",
        f"(p = {frame['p'].iloc[0]:g}). Ribbon: mean over inputs ± their standard deviation within the bin",
        f"(not an interval). n = {frame['seeds'].iloc[0]} seed(s), averaged.",
        caption,
    )
    figure = style.new_figure(3.0 * len(arms) + 0.3, 2.4, 1, len(arms), text, sharey=True)
    for axis, arm in zip(figure.axes, arms, strict=True):
        here = frame[frame["arm"] == arm].sort_values("x")
        axis.plot(
            here["x"],
            here["truth"],
            color="#000000",
            linewidth=0.9,
            linestyle=(0, (4, 2)),
            label="true sin(b x)",
        )
        spread = here.assign(ci_low=here["value"] - here["sd"], ci_high=here["value"] + here["sd"])
        style.line(axis, spread, "x", arm, marker="", label=f"probe, {arm}")
        axis.set(xlabel="$x_n$ (standard deviations)", title=arm, ylim=(-1.5, 1.5))
    figure.axes[0].set_ylabel("probe's estimate")
    style.shared_legend(figure)
    return figure


EDITS = {
    "pattern": "along the pattern",
    "probe": "along the probe itself",
    "random-pattern": "random, as long as the pattern",
    "random": "random, as long as the probe",
}


def intervention(frame: pd.DataFrame, caption: str = "") -> Figure:
    """Causal edit: slope of the output on the size of the edit, by lag.

    Lag 0, the edited position's own output, says nothing about planning and can be large: it stays in the table.
    """
    frame = frame[frame["lag"] >= 1]
    if frame.empty:
        return style.nothing(caption)
    panels = [(arm, p) for arm in style.in_order(frame["arm"]) for p in sorted(frame["p"].unique())]
    panels = [(arm, p) for arm, p in panels if ((frame["arm"] == arm) & (frame["p"] == p)).any()]
    columns = min(len(panels), 4)
    rows = -(-len(panels) // columns)
    text = style.join(
        "The layer-1 state is moved so that the probe's read-out of sin(b x) rises by c; slope of the output lag",
        "positions later on c (z = 1). Pattern: the likeliest such change under natural variation (judged); probe:",
        "the shortest one; random: equally long. Step: full use of the pre-cached value, 1 at lags 1..a, else 0.",
        style.sample(frame),
        caption,
    )
    width, height = 2.5 * columns + 0.5, 2.0 * rows + 0.5
    figure = style.new_figure(width, height, rows, columns, text, sharey=True)
    for axis in figure.axes[len(panels) :]:
        axis.set_axis_off()
    for axis, (arm, p) in zip(figure.axes, panels, strict=False):
        here = frame[(frame["arm"] == arm) & (frame["p"] == p)]
        full = here[here["direction"].isin(["pattern", "probe"])].drop_duplicates("lag").sort_values("lag")
        if len(full) and full["expected"].notna().all():
            axis.step(full["lag"], full["expected"], where="mid", color="#999999", linewidth=1, label="full use")
        for direction, marker, color in (
            ("random", "+", "#AAAAAA"),
            ("random-pattern", "x", "#777777"),
            ("probe", ".", "#009E73"),
            ("pattern", "o", "#0072B2"),
        ):
            rows_here = here[here["direction"] == direction]
            style.points(axis, rows_here, "lag", arm, label=EDITS[direction], marker=marker, color=color)
        axis.set(xlabel="lag (positions)", title=f"{arm}, p = {p:g}")
        axis.axhline(0, color="#000000", linewidth=0.5)
    for row in style.grid(figure, columns):
        row[0].set_ylabel("slope of y on c")
    style.shared_legend(figure, 2 if columns < 3 else 3)
    return figure
