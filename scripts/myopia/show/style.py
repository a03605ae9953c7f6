"""One look for all figures, and files whose bytes depend on the table alone.

Every arm has its own colour (Okabe and Ito's colour-blind safe set), marker and line style, so that figures
survive grey printing; the paper's points are always hollow and black.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from myopia.common.errors import MyopiaError
from myopia.common.files import atomic_path

matplotlib.use("Agg")


@dataclass(frozen=True)
class Look:
    """How one series is drawn and named."""

    label: str
    color: str
    marker: str
    line: str


LOOKS = {
    "vanilla": Look("vanilla", "#0072B2", "o", "-"),
    "myopic": Look("myopic", "#D55E00", "s", "--"),
    "myopic-kv": Look("myopic, K/V cut too", "#CC79A7", "^", "-."),
    "beta1": Look("A/A control (beta = 1)", "#009E73", "v", ":"),
    "local-hidden": Look("local (frozen hidden states)", "#56B4E9", "P", "-"),
    "local-kv": Look("local (frozen keys, values)", "#E69F00", "X", "--"),
    "bigram-zeroed": Look("bigram (past zeroed)", "#666666", "D", "-."),
    "bigram-true": Look("bigram (past masked)", "#999999", "d", ":"),
    "gap": Look("gap, myopic - vanilla", "#882255", "o", "-"),
    "kl": Look("KL(vanilla, myopic)", "#117733", "^", ":"),
    "untrained": Look("untrained network", "#777777", "x", ":"),
    "shuffled": Look("shuffled targets", "#AAAAAA", "+", ":"),
    "bigram": Look("table given the current token", "#444444", "", "--"),
    "trivial": Look("trivial predictor", "#444444", "_", "--"),
    "zero": Look("zero predictor", "#999999", "_", ":"),
    "present only": Look("present-only predictor", "#777777", "_", "-."),
    "part-myopic": Look("own position (myopic part)", "#882255", "s", "--"),
    "part-future": Look("future part", "#117733", "o", "-"),
    "part-total": Look("total", "#444444", "", ":"),
    "bag": Look("knows the tokens, not their order", "#777777", "", "--"),
    "dose": Look("beta of the past's gradient", "#332288", "o", "-"),
}
PAPER = "#000000"
FONT = 8.0
CAPTION_FONT = 7.0
LINE_INCHES = 0.145


def look(name: str) -> Look:
    """The look of a series; an unknown one is grey and named as it is."""
    return LOOKS.get(name, Look(name, "#AAAAAA", ".", "-"))


def in_order(names: Sequence[str]) -> list[str]:
    """Names in the palette's order, unknown ones last."""
    rank = {name: k for k, name in enumerate(LOOKS)}
    return sorted(set(names), key=lambda name: (rank.get(name, len(rank)), name))


def read_table(path: str | Path, columns: Sequence[str]) -> pd.DataFrame:
    """The figure's one csv; refused if a column is missing."""
    try:
        # Not `keep_default_na`: a token may be the text "null", an empty number is missing all the same.
        frame = pd.read_csv(path, na_values=[""], keep_default_na=False)
    except (OSError, ValueError) as error:
        raise MyopiaError(f"{path} cannot be read ({error}); run the rule that tabulates the results.") from None
    missing = [c for c in columns if c not in frame.columns]
    if missing:
        raise MyopiaError(f"{path} lacks the column(s) {', '.join(missing)}; tabulate the results again.")
    return frame


def new_figure(width: float, height: float, rows: int, columns: int, caption: str, **options: Any) -> Figure:
    """A grid of axes (inches) with the caption in its own strip below, never over an axis."""
    settings = {
        "font.family": "DejaVu Sans",
        "font.size": FONT,
        "axes.titlesize": FONT + 0.5,
        "axes.labelsize": FONT,
        "legend.fontsize": FONT - 0.5,
        "legend.frameon": False,
        "xtick.labelsize": FONT - 1,
        "ytick.labelsize": FONT - 1,
        "lines.markersize": 4.5,
        "lines.linewidth": 1.4,
        "svg.fonttype": "path",
        "svg.hashsalt": "myopia",
    }
    sns.set_theme(context="paper", style="ticks", rc=settings)
    # "a = 3" stays in one piece: textwrap does not break at no-break spaces.
    caption = caption.replace(" = ", "\u00a0=\u00a0")
    lines = textwrap.wrap(caption, int(width * 18.5))
    strip = LINE_INCHES * len(lines) + 0.12
    figure = Figure(figsize=(width, height + strip), layout="constrained")
    share = strip / (height + strip)
    figure.get_layout_engine().set(rect=(0, share, 1, 1 - share), w_pad=0.06, h_pad=0.06)
    figure.text(
        0.012,
        0.06 / (height + strip),
        "\n".join(lines),
        fontsize=CAPTION_FONT,
        va="bottom",
        linespacing=1.35,
        gid="caption",
        parse_math=False,
    )
    figure.subplots(rows, columns, squeeze=False, **options)
    return figure


def grid(figure: Figure, columns: int) -> list[list[Axes]]:
    """The figure's axes as rows of `columns`."""
    axes = figure.axes
    return [axes[k : k + columns] for k in range(0, len(axes), columns)]


def nothing(caption: str) -> Figure:
    """The figure of an empty table: it says so instead of failing the workflow."""
    figure = new_figure(5, 1.2, 1, 1, caption)
    axis = figure.axes[0]
    axis.set_axis_off()
    axis.text(0.5, 0.5, "not run at this scale", ha="center", va="center", fontsize=FONT + 2)
    return figure


def line(axis: Axes, frame: pd.DataFrame, x: str, name: str, **options: Any) -> None:
    """One series with its interval (a ribbon); rows must hold value, ci_low, ci_high."""
    if frame.empty:
        return
    style = look(name)
    frame = frame.sort_values(x)
    settings = {"color": style.color, "marker": style.marker, "linestyle": style.line, "label": style.label}
    axis.plot(frame[x], frame["value"], **(settings | options))
    if {"ci_low", "ci_high"} <= set(frame.columns) and frame["ci_low"].notna().any():
        axis.fill_between(
            frame[x].astype(float),
            frame["ci_low"].astype(float),
            frame["ci_high"].astype(float),
            color=style.color,
            alpha=0.18,
            linewidth=0,
        )


def points(axis: Axes, frame: pd.DataFrame, x: str, name: str, **options: Any) -> None:
    """One series as markers joined by a line, with error bars."""
    if frame.empty:
        return
    style = look(name)
    frame = frame.sort_values(x)
    below = (frame["value"] - frame["ci_low"]).fillna(0).clip(lower=0)
    above = (frame["ci_high"] - frame["value"]).fillna(0).clip(lower=0)
    settings = {
        "color": style.color,
        "marker": style.marker,
        "linestyle": style.line,
        "label": style.label,
        "capsize": 2.5,
        "elinewidth": 1,
    }
    axis.errorbar(frame[x], frame["value"], yerr=[below, above], **(settings | options))


def shared_legend(figure: Figure, columns: int = 5) -> None:
    """One legend above the panels with every label once, ours before the paper's."""
    found: dict[str, Any] = {}
    for axis in figure.axes:
        for handle, text in zip(*axis.get_legend_handles_labels(), strict=True):
            found.setdefault(text, handle)
    # Arms, then references, the paper's points last, whichever panel has them first.
    found = dict(sorted(found.items(), key=lambda item: (item[0].startswith("paper"), item[0].endswith("predictor"))))
    if found:
        figure.legend(found.values(), found.keys(), loc="outside upper center", ncols=min(columns, len(found)))


def sample(frame: pd.DataFrame, unit: str = "documents") -> str:
    """How much stands behind the figure, for its caption: "n = 3 seeds, 60 documents"."""
    if frame.empty:
        return "n = 0"
    seeds = _span(frame["seeds"])
    text = f"n = {seeds} seed{'' if seeds == '1' else 's'}"
    if "documents" in frame.columns and frame["documents"].fillna(0).max() > 0:
        text += f", {_span(frame['documents'])} {unit}"
    interval = "95% intervals (seeds and held-out units)" if "documents" in frame.columns else "95% intervals (seeds)"
    known = frame["ci_low"].notna().any() if "ci_low" in frame.columns else False
    return f"{text}; {interval}." if known else f"{text}; no interval from one seed."


def _span(values: pd.Series) -> str:
    low, high = int(values.min()), int(values.max())
    return f"{low}" if low == high else f"{low}-{high}"


def join(*sentences: str) -> str:
    """A caption from its sentences, empty ones dropped."""
    return " ".join(s.strip() for s in sentences if s.strip())


def task(frame: pd.DataFrame) -> str:
    """a and b of our D_p runs."""
    a, b = frame["a"].dropna().unique(), frame["b"].dropna().unique()
    return f"Ours: a = {a[0]:g}, b = {b[0]:g}." if len(a) == 1 and len(b) == 1 else ""


def finite(value: float) -> bool:
    """Whether a number is there at all."""
    return isinstance(value, int | float) and math.isfinite(value)


def save(figure: Figure, svg: str | Path, png: str | Path) -> None:
    """Write both files atomically, without dates or versions: equal tables give equal bytes."""
    figure.draw_without_rendering()
    figure.set_layout_engine("none")  # laid out once, so both files show the same places
    for axis in figure.axes:
        # The layout's solver orders its variables by memory address; its last digits name SVG's clip paths.
        axis.set_position([round(edge, 6) for edge in axis.get_position(original=True).bounds])
    # By the canvases themselves: `savefig` draws twice to write once.
    with matplotlib.rc_context({"svg.hashsalt": "myopia", "svg.fonttype": "path"}):
        with atomic_path(svg) as temporary:
            FigureCanvasSVG(figure).print_svg(temporary, metadata={"Date": None, "Creator": None})
        figure.dpi = 160
        with atomic_path(png) as temporary:
            FigureCanvasAgg(figure).print_png(temporary, metadata={"Software": None})
