"""Figures of the multiplication experiment: one function each, from its one table to a drawn figure."""

from __future__ import annotations

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from myopia.show import style

SERIES = {"vanilla": "vanilla", "myopic": "myopic", "difference": "vanilla - myopic"}
ROLES = ("short", "long", "after", "lead")
LETTERS = "ABCD"


def fig9_multiplication(frame: pd.DataFrame, caption: str = "") -> Figure:
    """Fig 9: exact match by digit counts, both arms and their difference; below them the paper's, at the paper's size."""
    ours = frame[frame["kind"] == "ours"]
    if ours.empty:
        return style.nothing(caption)
    paper = frame[frame["kind"] == "paper"]
    shown = [name for name in SERIES if (ours["series"] == name).any()]
    rows = [("", ours)] + ([("paper, ", paper)] if len(paper) else [])
    digits = int(ours["digits"].iloc[0])
    text = style.join(
        f"Exact match of the product by digits of both operands, up to {digits}, padded to {ours['pad'].iloc[0]:g};",
        "greedy answers to fresh problems. Framed: cells of the verdict, vanilla within .05-.95." if ours["judged"].any()
        else "greedy answers to fresh problems. No cell has vanilla within .05-.95.",
        "Below a value: half its 95% interval." if _has_interval(ours) and digits <= 5 else "",
        _new_problems(ours),
        style.sample(ours, "blocks of problems"),
        caption,
    )  # fmt: skip
    side = 0.62 + 0.3 * max(digits, 4)
    most = max([0.2, *frame.loc[frame["series"] == "difference", "value"].abs()])
    figure = style.new_figure(max(side * len(shown), 4.6), (side - 0.1) * len(rows), len(rows), len(shown), text)
    for line, (whose, table) in zip(style.grid(figure, len(shown)), rows, strict=True):
        for axis, name in zip(line, shown, strict=True):
            _heat(axis, table[table["series"] == name], signed=most if name == "difference" else 0.0)
            axis.set_title(f"{whose}{SERIES[name]}")
        line[0].set_ylabel("digits of the first")
    for axis in style.grid(figure, len(shown))[-1]:
        axis.set_xlabel("digits of the second")
    return figure


def _has_interval(rows: pd.DataFrame) -> bool:
    return bool(rows["ci_low"].notna().any())


def _new_problems(ours: pd.DataFrame) -> str:
    """What share of the test problems training never showed: with few digits they recur."""
    new = ours[ours["share_new"].notna()].groupby(["x_digits", "y_digits"])["share_new"].mean()
    if new.empty:
        return ""
    (a, b), (c, d) = new.index[0], new.index[-1]
    last = f", {new.iloc[-1]:.0%} with {c} x {d} digits" if len(new) > 1 else ""
    return f"Of the test problems training never showed {new.iloc[0]:.0%} with {a} x {b}{last}."


def _heat(axis: Axes, rows: pd.DataFrame, *, signed: float = 0.0, intervals: bool = True) -> None:
    """A cell for each pair of digit counts, its value printed in it. `signed`: colours from minus to plus this."""
    rows = rows.astype({"x_digits": int, "y_digits": int})
    values = rows.pivot(index="x_digits", columns="y_digits", values="value")
    low, high = (-signed, signed) if signed else (0.0, 1.0)
    colors = matplotlib.colormaps["PuOr" if signed else "Blues"]
    axis.imshow(values, cmap=colors, vmin=low, vmax=high, interpolation="nearest", aspect="equal")
    axis.set_xticks(range(values.shape[1]), [f"{c}" for c in values.columns])
    axis.set_yticks(range(values.shape[0]), [f"{c}" for c in values.index])
    axis.tick_params(length=0)
    small = max(values.shape) > 5
    for row in rows.itertuples():
        place = (list(values.columns).index(row.y_digits), list(values.index).index(row.x_digits))
        if not style.finite(row.value):
            continue
        dark = np.dot(colors((row.value - low) / (high - low))[:3], (0.3, 0.59, 0.11)) < 0.5
        text = _number(row.value, bool(signed))
        if intervals and style.finite(row.ci_low) and not small:
            text += f"\n±{_number((row.ci_high - row.ci_low) / 2)}"
        axis.text(*place, text, ha="center", va="center", fontsize=5.5 if small else 6.5,
                  color="white" if dark else "black")  # fmt: skip
        if getattr(row, "judged", 0):
            corner = (place[0] - 0.5, place[1] - 0.5)
            axis.add_patch(Rectangle(corner, 1, 1, fill=False, edgecolor="#000000", linewidth=1.1))


def _number(value: float, signed: bool = False) -> str:
    """`.43`, `1.00`, `-.05`: two digits, no leading zero, as the paper prints them."""
    text = f"{value:+.2f}" if signed else f"{value:.2f}"
    return text.replace("+0.00", ".00").replace("-0.00", ".00").replace("0.", ".", 1)


def _label(rows: pd.DataFrame) -> str:
    """A format in words, from any of its rows."""
    row = rows.iloc[0]
    extra = int(row["T"] - 2 * row["pad"] - 2 - 2 * row["digits"])
    return {
        "short": f"padded to {row['pad']:g}",
        "long": f"padded to {row['pad']:g}",
        "after": f"{extra} symbols after =",
        "lead": f"{extra} symbols in front",
    }[row["role"]]


def fig10_filler(frame: pd.DataFrame, caption: str = "") -> Figure:
    """Fig 10: exact match by format and arm, and what each format changes where both operands are longest."""
    ours = frame[frame["kind"] == "ours"]
    cells = ours[ours["measure"] == "exact"]
    if cells.empty:
        return style.nothing(caption)
    roles = [role for role in ROLES if (cells["role"] == role).any()]
    arms = style.in_order(cells["arm"])
    top = int(cells["digits"].max())
    labels = {role: _label(cells[cells["role"] == role]) for role in roles}
    named = "; ".join(f"{letter}: {labels[role]}" for letter, role in zip(LETTERS, roles, strict=False))
    text = style.join(
        f"Exact match by digits of both operands, up to {top}. {named}.",
        "Padding adds zeros after each operand. Symbols after = mean nothing, but a model can compute there; in front",
        "they see nothing of the problem and only lengthen the distance.",
        "Framed: cells of the verdict, vanilla within .05-.95 in A. Right: their mean, and its change against A."
        if (cells["judged"] > 0).any()
        else "No cell has vanilla within .05-.95 in A: nothing is judged.",
        "Hollow: the paper's Fig 10 (one run)." if (frame["kind"] == "paper").any() else "",
        style.sample(cells, "blocks of problems"),
        caption,
    )
    columns = len(roles) + 1
    side = 0.5 + 0.25 * max(top, 3)
    lines = max(len(arms), 2)
    figure = style.new_figure(side * columns + 1.2, (side + 0.4) * lines, lines, columns, text)
    for k, line in enumerate(style.grid(figure, columns)):
        for letter, axis, role in zip(LETTERS, line, roles, strict=False):
            if k >= len(arms):
                axis.set_axis_off()
                continue
            _heat(axis, cells[(cells["role"] == role) & (cells["arm"] == arms[k])], intervals=False)
            axis.set_title(f"{letter}, {arms[k]}")
            if k == len(arms) - 1:
                axis.set_xlabel("second, digits")
        line[0].set_ylabel("first, digits")
    above, below = figure.axes[columns - 1], figure.axes[2 * columns - 1]
    _formats(above, frame[frame["measure"] == "level"], roles, arms, "mean of framed")
    _formats(below, frame[frame["measure"] == "effect"], roles, arms, "change against A")
    below.axhline(0, color="#000000", linewidth=0.6)
    below.set_xlabel("format")
    style.shared_legend(figure, 4)
    return figure


def _formats(axis: Axes, rows: pd.DataFrame, roles: list[str], arms: list[str], label: str) -> None:
    """One value for each format, arms side by side."""
    for k, arm in enumerate(arms):
        mine = rows[rows["arm"] == arm]
        aside = (k - (len(arms) - 1) / 2) * 0.24
        mine = mine.assign(at=[roles.index(role) + aside for role in mine["role"]])
        style.points(axis, mine[mine["kind"] == "ours"], "at", arm, linestyle="none")
        paper = mine[mine["kind"] == "paper"]
        if len(paper):
            axis.plot(paper["at"] + 0.09, paper["value"], style.look(arm).marker, mfc="none", mec=style.PAPER,
                      markersize=4, label=f"paper, {arm}")  # fmt: skip
    axis.set_xticks(range(len(roles)), list(LETTERS[: len(roles)]))
    axis.set_xlim(-0.5, len(roles) - 0.5)
    axis.set_ylabel(label)
    axis.grid(axis="y", linewidth=0.4, alpha=0.5)


def multiplication_digits(frame: pd.DataFrame, caption: str = "") -> Figure:
    """Loss and accuracy by answer digit where both operands are longest, one column for each format."""
    if frame.empty:
        return style.nothing(caption)
    roles = [role for role in ROLES if (frame["role"] == role).any()]
    arms = style.in_order(frame["arm"])
    top = int(frame["digits"].max())
    text = style.join(
        f"Products of {top} x {top} digits by answer digit, 0 the least significant, which the model says first.",
        "Above: loss given the right digits before. Below: share of right digits in the model's own greedy answer;",
        "dotted: given the right digits before.",
        style.sample(frame),
        caption,
    )
    figure = style.new_figure(1.75 * max(len(roles), 2) + 0.4, 3.4, 2, len(roles), text, sharex=True, sharey="row")
    above, below = style.grid(figure, len(roles))
    for k, role in enumerate(roles):
        here = frame[frame["role"] == role]
        above[k].set_title(_label(here))
        for arm in arms:
            mine = here[here["arm"] == arm]
            style.line(above[k], mine[mine["metric"] == "loss"], "position", arm)
            style.line(below[k], mine[mine["metric"] == "right_greedy"], "position", arm)
            given = mine[mine["metric"] == "right_given"].drop(columns=["ci_low", "ci_high"])
            style.line(below[k], given, "position", arm, linestyle=":", marker="", linewidth=1, label="_")
        for axis in (above[k], below[k]):
            axis.grid(axis="y", linewidth=0.4, alpha=0.5)
            axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        below[k].set(xlabel="answer digit", ylim=(-0.03, 1.03))
    above[0].set_ylim(bottom=0)  # after all columns, which share the axis
    above[0].set_ylabel("loss (nats)")
    below[0].set_ylabel("share right")
    style.shared_legend(figure)
    return figure
