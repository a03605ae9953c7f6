"""Figures of the size sweep: gap against size, and gap against learning rate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, MaxNLocator, NullFormatter, NullLocator

from myopia.config.runs import PAIR
from myopia.show import style

COLUMNS = 4
NATS = "gap (nats/token)"
PARAMETERS = "parameters without embeddings"


@dataclass(frozen=True)
class Choice:
    """How a choice of runs is drawn and named."""

    label: str
    color: str
    marker: str
    line: str


CHOICES = {
    "best": Choice("best against best", "#882255", "o", "-"),
    "matched": Choice("both at vanilla's best rate", "#117733", "s", "--"),
    "as_run": Choice("as run (unequal rates)", "#CC6677", "^", "-."),
    "paper_table5": Choice("Table 5", "#6699CC", "D", ":"),
}


def fig7_gap_by_size(frame: pd.DataFrame, caption: str = "") -> Figure:
    """Fig 7 and the headline: does the gap grow with size once the recipes match? Eight panels."""
    ours = frame[frame["kind"] == "ours"]
    if ours.empty:
        return style.nothing(caption)
    text = style.join(
        "Gap: myopic - vanilla. Top: held-out loss of both arms (best against best); gap of runs fine-tuned from a",
        "checkpoint; gap of runs from random initialisation, at equal text and at equal vanilla loss; the paper's Fig 7.",
        "Bottom: validation gap along training (best against best; dotted: still rising); gap by stretch of positions, at",
        "0 predicted to be <= 0, and by component (dark: largest size, pale: smallest). Hollow: the gap still rises over",
        "the last quarter of training, so the size is no answer yet and in no slope. Crossed: a rate was chosen from the",
        "edge of its grid.",
        _chosen_on(ours),
        _slopes(ours),
        style.sample(ours[ours["panel"].isin(["gap", "loss"])]),
        caption,
    )
    figure = style.new_figure(9.0, 5.4, 2, COLUMNS, text)
    (losses, tuned, scratch, paper), (tuned_curve, scratch_curve, position, component) = style.grid(figure, COLUMNS)
    _loss_by_size(losses, frame)
    _gap_by_size(tuned, frame, "checkpoint", "fine-tuned")
    _gap_by_size(scratch, frame, "random", "from random init.")
    _paper_panel(paper, frame[frame["kind"] == "paper"])
    _curves(tuned_curve, ours, "checkpoint", "along fine-tuning")
    _curves(scratch_curve, ours, "random", "along training from random")
    _positions(position, ours)
    _components(component, ours)
    style.shared_legend(figure, 5)
    return figure


def _chosen_on(ours: pd.DataFrame) -> str:
    parts = []
    for start, name in (("checkpoint", "fine-tuning"), ("random", "random initialisation")):
        said = sorted(set(ours.loc[ours["start"] == start, "selected_on"].dropna()) - {""})
        how = "frozen in" if said == ["config.yaml"] else "chosen by validation loss on"
        parts += [f"{name} {how} {' and '.join(said)}"] if said else []
    return f"Best rates: {'; '.join(parts)}." if parts else ""


def _slopes(ours: pd.DataFrame) -> str:
    rows = ours[(ours["panel"] == "slope") & (ours["choice"] == "best")]
    named = {("checkpoint", "tokens"): "fine-tuned", ("random", "tokens"): "from random initialisation",
             ("random", "loss"): "at equal vanilla loss"}  # fmt: skip
    parts = []
    for row in rows.itertuples():
        if (row.start, row.group) in named:
            span = f" [{row.ci_low:+.3f}, {row.ci_high:+.3f}]" if style.finite(row.ci_low) else ""
            parts.append(f"{named[row.start, row.group]} {row.value:+.3f}{span}")
    return f"Slope, best against best, nats per decade of size: {'; '.join(parts)}." if parts else "No slope is fitted."


def _loss_by_size(axis: Axes, frame: pd.DataFrame) -> None:
    rows = frame[(frame["panel"] == "loss") & (frame["start"] == "checkpoint")]
    mine = rows[(rows["kind"] == "ours") & (rows["choice"] == "best")]
    for arm in PAIR:
        style.points(axis, mine[mine["arm"] == arm], "n_params", arm)
        paper = rows[(rows["kind"] == "paper") & (rows["arm"] == arm) & rows["n_params"].notna()]
        paper = paper[paper["group"] == "last training losses"].sort_values("n_params")
        if len(paper):
            axis.plot(paper["n_params"], paper["value"], style.look(arm).line, color=style.PAPER, linewidth=0.8,
                      marker=style.look(arm).marker, mfc="none", label=f"paper, {arm}")  # fmt: skip
    _by_size(axis, rows[rows["kind"] == "ours"])
    axis.set(title="loss, fine-tuned", ylabel="cross-entropy (nats/token)")


def _gap_by_size(axis: Axes, frame: pd.DataFrame, start: str, title: str) -> None:
    here = frame[(frame["start"] == start) & (frame["kind"] == "ours")]
    for choice, look in CHOICES.items():
        rows = here[(here["panel"] == "gap") & (here["choice"] == choice)]
        _series(axis, rows, "n_params", look.label, look)
    level = here[here["panel"] == "equal_loss"]
    if len(level):
        _series(axis, level, "n_params", "at equal vanilla loss", Choice("", "#44AA99", "v", ":"))
    paper = frame[(frame["kind"] == "paper") & (frame["panel"] == "gap") & frame["n_params"].notna()]
    paper = paper[paper["group"] == "last training losses"].sort_values("n_params")
    if len(paper) and start == "checkpoint":
        axis.plot(paper["n_params"], paper["value"], ":", color=style.PAPER, marker="o", mfc="none", linewidth=0.8,
                  label="paper, gap")  # fmt: skip
    _by_size(axis, here)
    _zero(axis, here)
    axis.set(title=f"gap, {title}", ylabel=NATS)


def _series(axis: Axes, rows: pd.DataFrame, x: str, label: str, look: Choice) -> None:
    """A line through all points; a size that has not settled is hollow, one chosen at a grid's edge is crossed."""
    if rows.empty:
        return
    rows = rows.sort_values(x)
    below = (rows["value"] - rows["ci_low"]).fillna(0).clip(lower=0)
    above = (rows["ci_high"] - rows["value"]).fillna(0).clip(lower=0)
    axis.errorbar(rows[x], rows["value"], yerr=[below, above], color=look.color, linestyle=look.line, marker="",
                  capsize=2.5, elinewidth=1)  # fmt: skip
    for hollow, some in rows.groupby(rows["hollow"].fillna(0) > 0):
        face = "white" if hollow else look.color
        axis.plot(some[x], some["value"], linestyle="", marker=look.marker, color=look.color, mfc=face, zorder=3)
    axis.plot([], [], color=look.color, linestyle=look.line, marker=look.marker, label=label)
    edge = rows[rows["edge"].fillna(0) > 0]
    axis.plot(edge[x], edge["value"], "x", color=style.PAPER, markersize=3, mew=0.7, zorder=4)


def _by_size(axis: Axes, rows: pd.DataFrame) -> None:
    """A logarithmic axis of parameters that names each size."""
    named = rows.dropna(subset=["n_params"]).drop_duplicates("size").sort_values("n_params")
    if named.empty:
        return
    axis.set_xscale("log")
    axis.set_xticks(named["n_params"], [f"{size}" for size in named["size"]], rotation=45, ha="right")
    axis.xaxis.set_minor_locator(NullLocator())
    axis.set_xlabel(PARAMETERS)


def _zero(axis: Axes, rows: pd.DataFrame) -> None:
    if rows.empty:
        axis.set(xticks=[], yticks=[], xlabel=PARAMETERS)
        axis.text(0.5, 0.5, "not run at this scale", ha="center", va="center", transform=axis.transAxes)
    else:
        axis.axhline(0, color="#000000", linewidth=0.5)


def _paper_panel(axis: Axes, paper: pd.DataFrame) -> None:
    for group, face in (("last training losses", style.PAPER), ("32 test sequences", "white")):
        rows = paper[(paper["panel"] == "gap") & (paper["group"] == group)].sort_values("x")
        axis.plot(rows["x"], rows["value"], ":", marker="o", color=style.PAPER, mfc=face, linewidth=0.8,
                  label=f"paper, {group}")  # fmt: skip
    axis.set_xscale("log")
    axis.xaxis.set_minor_formatter(NullFormatter())
    axis.axhline(0, color="#000000", linewidth=0.5)
    axis.set(title="gap, the paper's Pythia", xlabel="nominal size", ylabel=NATS)


def _curves(axis: Axes, ours: pd.DataFrame, start: str, title: str) -> None:
    rows = ours[(ours["panel"] == "curve") & (ours["start"] == start)]
    lines = {}
    for size, colour, some in _sizes(rows):
        some = some.sort_values("x")
        dots = ":" if some["hollow"].max() > 0 else "-"
        (lines[size],) = axis.plot(some["x"], some["value"], dots, color=colour)
        if some["ci_low"].notna().any():
            axis.fill_between(some["x"].astype(float), some["ci_low"], some["ci_high"], color=colour, alpha=0.15, lw=0)
    axis.xaxis.set_major_locator(MaxNLocator(4))
    axis.xaxis.set_major_formatter(EngFormatter(sep=""))
    _zero(axis, rows)
    axis.set(title=title, xlabel="tokens", ylabel=NATS)
    if lines:
        axis.legend(lines.values(), lines.keys(), fontsize=5.5, handlelength=1.2, labelspacing=0.2)


def _sizes(rows: pd.DataFrame) -> list[tuple[str, Any, pd.DataFrame]]:
    """(size, colour, its rows), smallest first: the larger, the darker."""
    order = list(rows.drop_duplicates("size").sort_values("n_params")["size"])
    shades = colormaps["Blues"]
    return [
        (size, shades(0.35 + 0.65 * k / max(1, len(order) - 1)), rows[rows["size"] == size])
        for k, size in enumerate(order)
    ]


def _positions(axis: Axes, ours: pd.DataFrame) -> None:
    rows = ours[ours["panel"] == "position"]
    stretches = rows.drop_duplicates("x").sort_values("x")
    place = {first: k for k, first in enumerate(stretches["x"])}
    for shift, choice in ((-0.12, "best"), (0.12, "as_run")):
        some = rows[rows["choice"] == choice]
        look = CHOICES[choice]
        sizes = _sizes(some)
        for k, (_, _, one) in enumerate(sizes):
            pale, one = k < len(sizes) - 1, one.sort_values("x")
            _bars(axis, one["x"].map(place) + shift + 0.08 * pale, one, look, alpha=0.45 if pale else 1.0)
    _zero(axis, rows)
    if place:
        axis.set_xticks(list(place.values()), list(stretches["group"]))
        axis.set_xlim(-0.4, len(place) - 0.6)
    axis.set(title="by position, fine-tuned", xlabel="positions", ylabel=NATS)


def _bars(axis: Axes, at: pd.Series, rows: pd.DataFrame, look: Choice, alpha: float) -> None:
    below = (rows["value"] - rows["ci_low"]).fillna(0).clip(lower=0)
    above = (rows["ci_high"] - rows["value"]).fillna(0).clip(lower=0)
    axis.errorbar(at, rows["value"], yerr=[below, above], color=look.color, marker=look.marker, linestyle=look.line,
                  markersize=3.5, elinewidth=0.8, capsize=2, alpha=alpha)  # fmt: skip


def _components(axis: Axes, ours: pd.DataFrame) -> None:
    rows = ours[ours["panel"] == "component"]
    order = list(rows.drop_duplicates("group").sort_values("x", ascending=False, kind="stable")["group"])
    sizes = _sizes(rows)
    for k, (_, _, some) in enumerate(sizes):
        pale = k < len(sizes) - 1
        y = [order.index(group) + 0.3 * k - 0.15 for group in some["group"]]
        below = (some["value"] - some["ci_low"]).fillna(0).clip(lower=0)
        above = (some["ci_high"] - some["value"]).fillna(0).clip(lower=0)
        axis.errorbar(some["value"], y, xerr=[below, above], color=CHOICES["best"].color, marker="o", linestyle="",
                      markersize=2.5, elinewidth=0.7, alpha=0.45 if pale else 1.0)  # fmt: skip
    if rows.empty:
        _zero(axis, rows)
    else:
        axis.axvline(0, color="#000000", linewidth=0.5)
        axis.set_yticks(range(len(order)), [_short(group) for group in order], fontsize=5)
        axis.set_ylim(len(order) - 0.5, -0.5)
    axis.set(title="by component, fine-tuned", xlabel=NATS, ylabel="component")


def _short(name: str, most: int = 24) -> str:
    return name if len(name) <= most else f"…{name[1 - most :]}"


def audit_gap_by_lr(frame: pd.DataFrame, caption: str = "") -> Figure:
    """gap(lr) at every size: loss of both arms above, gap below, one column a size and start."""
    if frame.empty:
        return style.nothing(caption)
    # A grid of one rate is no curve: shown only where there is nothing else.
    rates = frame[frame["panel"] == "loss"].groupby(["start", "size"])["lr"].nunique()
    least = min(2, rates.max() if len(rates) else 0)
    columns = [
        (start, size)
        for start in ("checkpoint", "random")
        for size in _order(frame[frame["start"] == start])
        if rates.get((start, size), 0) >= least
    ]
    per_row = len(columns) if len(columns) <= 5 else COLUMNS
    blocks = -(-len(columns) // per_row)
    text = style.join(
        "For each size and start: held-out loss of both arms against learning rate (above; filled: the rate with the",
        "lowest validation loss, crossed: it lies at the edge of the grid), and the gap (below): of arms at equal",
        "rates, and of the compared pairs, drawn at their myopic arm's rate. Since step 0: what fine-tuning at the best",
        "rate did to the validation loss of vanilla and myopic; next to nothing would mean that there is no gap to see.",
        _chosen_on(frame),
        style.sample(frame[frame["panel"] != "change"]),
        caption,
    )
    width = max(2.1 * per_row + 0.4, 4.4)  # with one size the legend is wider than the panel
    figure = style.new_figure(width, 3.6 * blocks + 0.5, 2 * blocks, per_row, text)
    rows = style.grid(figure, per_row)
    for axis in figure.axes[2 * len(columns) :] if blocks == 1 else []:
        axis.set_axis_off()
    for k in range(blocks * per_row):
        above, below = rows[2 * (k // per_row)][k % per_row], rows[2 * (k // per_row) + 1][k % per_row]
        if k >= len(columns):
            above.set_axis_off()
            below.set_axis_off()
            continue
        start, size = columns[k]
        here = frame[(frame["start"] == start) & (frame["size"] == size)]
        _losses_by_rate(above, here)
        _gaps_by_rate(below, here)
        above.set_title(f"{size}, {'fine-tuned' if start == 'checkpoint' else 'from random init.'}")
        above.set(ylabel="nats/token" if k % per_row == 0 else "", xlabel="")
        below.set(ylabel=NATS if k % per_row == 0 else "", xlabel="learning rate")
    style.shared_legend(figure, 4 if width > 6.4 else 2)
    return figure


def _order(rows: pd.DataFrame) -> Sequence[str]:
    return list(rows.drop_duplicates("size").sort_values("n_params")["size"])


def _losses_by_rate(axis: Axes, here: pd.DataFrame) -> None:
    for arm in PAIR:
        rows = here[(here["panel"] == "loss") & (here["arm"] == arm)]
        style.points(axis, rows, "lr", arm, mfc="white")
        best = rows[rows["best"] > 0]
        axis.plot(best["lr"], best["value"], style.look(arm).marker, color=style.look(arm).color, zorder=3)
        edge = best[best["edge"].fillna("") != ""]
        axis.plot(edge["lr"], edge["value"], "x", color=style.PAPER, markersize=3, mew=0.7, zorder=4)
    moved = here[here["panel"] == "change"].set_index("arm")["value"]
    if set(PAIR) <= set(moved.index):
        text = f"since step 0: {moved['vanilla']:+.3f}, {moved['myopic']:+.3f}"
        axis.text(0.5, 0.97, text, transform=axis.transAxes, ha="center", va="top", fontsize=6)
    _rate_axis(axis, here)


def _gaps_by_rate(axis: Axes, here: pd.DataFrame) -> None:
    equal = here[here["panel"] == "gap"]  # a form of its own: without red its grey is the purple of "best"
    style.points(axis, equal, "lr", "gap", label="arms at equal rates", color="#555555", marker="D", markersize=3.5)
    for choice, look in CHOICES.items():
        rows = here[(here["panel"] == "choice") & (here["choice"] == choice)]
        if len(rows):
            below = (rows["value"] - rows["ci_low"]).fillna(0).clip(lower=0)
            above = (rows["ci_high"] - rows["value"]).fillna(0).clip(lower=0)
            axis.errorbar(rows["lr"], rows["value"], yerr=[below, above], color=look.color, marker=look.marker,
                          linestyle="", capsize=2.5, elinewidth=1, label=look.label, zorder=3)  # fmt: skip
    axis.axhline(0, color="#000000", linewidth=0.5)
    _rate_axis(axis, here)


def _rate_axis(axis: Axes, here: pd.DataFrame) -> None:
    rates = sorted(set(here["lr"].dropna()))
    grid = sorted(set(here.loc[here["panel"] == "loss", "lr"].dropna()))
    axis.set_xscale("log")
    if rates:
        axis.set_xlim(rates[0] / 1.5, rates[-1] * 1.5)
    axis.set_xticks(grid, [f"{rate:.2g}" for rate in grid], rotation=45, ha="right", fontsize=6)
    axis.xaxis.set_minor_locator(NullLocator())
