"""Figures of the multiplication experiment: one function each, from its one table to a drawn figure."""

from __future__ import annotations

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from myopia.config.runs import PAIR
from myopia.show import style

SERIES = {"vanilla": "vanilla", "myopic": "myopic", "difference": "vanilla - myopic"}
ROLES = {"short": "short padding", "long": "long padding", "after": "filler after =", "lead": "filler in front"}
UNTRAINED = "not trained at this scale: both arms give the same answers"
BETTER = "Vanilla networks multiply better than those cut off from later losses"


def _untrained(frame: pd.DataFrame, name: str) -> bool:
    """Whether both arms answer alike in every cell, as networks do that training has hardly touched."""
    keys = [c for c in ("role", "x_digits", "y_digits", "position", "metric", "measure") if c in frame.columns]
    wide = frame[frame[name].isin(PAIR)].pivot_table(index=keys, columns=name, values="value", dropna=False)
    return set(PAIR) <= set(wide.columns) and bool((wide["vanilla"] == wide["myopic"]).all())


def fig9_multiplication(frame: pd.DataFrame) -> Figure:
    """Fig 9: exact match by digit counts, both arms, their difference and, at the paper's size, the paper's."""
    ours, paper = (frame[frame["kind"] == kind] for kind in ("ours", "paper"))
    if ours.empty:
        return style.nothing()
    cells = ["x_digits", "y_digits"]
    if _untrained(ours, "series"):
        return style.nothing(UNTRAINED)
    panels = {title: ours[ours["series"] == name] for name, title in SERIES.items()}
    panels["paper, vanilla - myopic"] = paper[paper["series"] == "difference"]
    panels = {title: rows.astype(dict.fromkeys(cells, int)) for title, rows in panels.items() if len(rows)}
    gaps = ours[(ours["series"] == "difference") & (ours["judged"] == 1)]
    most = max([0.2, *frame.loc[frame["series"] == "difference", "value"].abs()])
    columns = 2 if len(panels) == 4 else len(panels)
    digits = int(ours["digits"].iloc[0])
    rows = -(-len(panels) // columns)
    figure = style.new_figure(
        style.finding("Exact products by digits of both factors", gaps, BETTER),
        rows,
        columns,
        rows * (style.WIDE / columns - 0.2),
        style.WIDE,
    )
    for axis, (title, table) in zip(figure.axes, panels.items(), strict=True):
        _heat(axis, table, most if "-" in title else 0.0, intervals=digits <= 3)
        axis.set(title=title, xlabel="digits of the second", ylabel="digits of the first")
        axis.label_outer()
    return figure


def _heat(axis: Axes, rows: pd.DataFrame, signed: float, intervals: bool) -> None:
    """A cell for each pair of digit counts, its value printed in it; framed: cells of the verdict."""
    values = rows.pivot(index="x_digits", columns="y_digits", values="value")
    low, high = (-signed, signed) if signed else (0.0, 1.0)
    colors = matplotlib.colormaps["PuOr" if signed else "Blues"]
    axis.imshow(values, cmap=colors, vmin=low, vmax=high, interpolation="nearest", aspect="equal")
    axis.set_xticks(range(values.shape[1]), [f"{c}" for c in values.columns])
    axis.set_yticks(range(values.shape[0]), [f"{c}" for c in values.index])
    axis.tick_params(length=0)
    for row in rows[rows["value"].notna()].itertuples():
        x, y = values.columns.get_loc(row.y_digits), values.index.get_loc(row.x_digits)
        dark = np.dot(colors((row.value - low) / (high - low))[:3], (0.3, 0.59, 0.11)) < 0.5
        text = _number(row.value)
        if intervals and style.finite(row.ci_low):
            text += f"\n±{_number((row.ci_high - row.ci_low) / 2)}"
        axis.text(
            x,
            y,
            text,
            ha="center",
            va="center",
            fontsize=style.FONT - (values.shape[0] > 5),
            color="white" if dark else "black",
        )
        if row.judged:
            axis.add_patch(Rectangle((x - 0.5, y - 0.5), 1, 1, fill=False, edgecolor="#000000", linewidth=1.1))


def _number(value: float) -> str:
    """`.43`, `1.00`, `-.05`: two digits, no leading zero, as the paper prints them."""
    return f"{value:.2f}".replace("-0.00", ".00").replace("0.", ".", 1) if abs(value) < 0.995 else f"{value:.2f}"


def fig10_filler(frame: pd.DataFrame) -> Figure:
    """Fig 10: what longer padding and filler change of the exact products, against short padding, over judged cells."""
    cells = frame[(frame["measure"] == "exact") & (frame["kind"] == "ours")]
    if cells.empty:
        return style.nothing()
    if _untrained(cells, "arm"):
        return style.nothing(UNTRAINED)
    means = {m: frame[frame["measure"] == m] for m in ("level", "effect")}
    if means["level"].empty:
        return style.nothing("no pair of digit counts is between .05 and .95: nothing to compare")
    effect = means["effect"][means["effect"]["kind"] == "ours"]
    padded = {arm: effect[(effect["arm"] == arm) & (effect["role"] == "long")] for arm in PAIR}
    figure = style.new_figure(
        style.finding(
            "Exact products with padding and filler",
            style.between(padded["vanilla"], padded["myopic"], "role"),
            above="Padding helps vanilla networks more than those cut off from later losses",
            below="Padding helps vanilla networks less than those cut off from later losses",
        ),
        1,
        2,
        height=3.2,
    )
    for axis, (measure, rows) in zip(figure.axes, means.items(), strict=True):
        roles = [role for role in ROLES if (rows["role"] == role).any()]
        for arm, side in zip(PAIR, (-0.14, 0.14), strict=True):
            mine = rows[rows["arm"] == arm]
            mine = mine.assign(at=[roles.index(role) + side for role in mine["role"]])
            style.points(axis, mine[mine["kind"] == "ours"], "at", arm, linestyle="none")
            paper = mine[mine["kind"] == "paper"]
            style.paper(axis, paper["at"] + 0.08, paper["value"], arm)
        axis.set_xticks(range(len(roles)), [ROLES[role].replace(" ", "\n", 1) for role in roles])
        axis.set(
            xlabel="format",
            xlim=(-0.5, len(roles) - 0.5),
            ylabel="share right" if measure == "level" else "change against short padding",
        )
        if measure == "effect":
            style.zero(axis)
    style.shared_legend(figure)
    return figure


def multiplication_digits(frame: pd.DataFrame) -> Figure:
    """Share of right digits in the networks' own answers where both factors are longest, one panel for each format."""
    right = frame[frame["metric"] == "right_greedy"]
    if right.empty:
        return style.nothing()
    if _untrained(right, "arm"):
        return style.nothing(UNTRAINED)
    roles = [role for role in ROLES if (right["role"] == role).any()]
    here = {arm: right[(right["arm"] == arm) & (right["role"] == "short")] for arm in PAIR}
    top = int(right["digits"].max())
    figure = style.grid_of(
        style.finding(
            f"Right digits of products of {top} x {top} digits",
            style.between(here["vanilla"], here["myopic"], "position"),
            BETTER,
        ),
        len(roles),
        sharey=True,
    )
    for axis, role in zip(figure.axes, roles, strict=False):
        for arm in PAIR:
            style.line(axis, right[(right["role"] == role) & (right["arm"] == arm)], "position", arm)
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        axis.set(title=ROLES[role], xlabel="answer digit, 0 is the last", ylim=(-0.03, 1.03))
    for axis in figure.axes[::2]:
        axis.set_ylabel("share right")
    style.shared_legend(figure)
    return figure
