"""One look for all figures, titles that say what intervals allow, and files whose bytes depend on the table alone.

Every arm has its own colour (Okabe and Ito's colour-blind safe set), marker and line style, so that figures survive
grey printing; the paper's values are always hollow and black. At most four panels, and letters that stay legible when
the picture is shown 380 pixels wide; what a picture does not explain stands beside it (section.yaml).
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
from matplotlib.ticker import EngFormatter, NullLocator

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
    "myopic-kv": Look("myopic, keys and values cut too", "#CC79A7", "^", "-."),
    "beta1": Look("beta = 1 (control)", "#009E73", "v", ":"),
    "local-hidden": Look("myopic, reading a trained past", "#56B4E9", "P", "-"),
    "local-kv": Look("myopic, reading trained keys and values", "#E69F00", "X", "--"),
    "bigram-zeroed": Look("no past (zeroed)", "#666666", "D", "-."),
    "bigram-true": Look("no past (masked)", "#999999", "d", ":"),
    "gap": Look("myopic - vanilla", "#882255", "o", "-"),
    "untrained": Look("untrained network", "#777777", "x", ":"),
    "bigram": Look("table given the current token", "#444444", "", "--"),
    "trivial": Look("trivial predictor", "#444444", "_", "--"),
    "part-myopic": Look("own position", "#882255", "s", "--"),
    "part-future": Look("later positions", "#117733", "o", "-"),
    "bag": Look("knows the tokens, not their order", "#777777", "", "--"),
    "dose": Look("share beta let through", "#332288", "o", "-"),
}
SEVERAL = (("#882255", "o", "-"), ("#44AA99", "s", "--"), ("#DDAA33", "^", "-."), ("#332288", "D", ":"))
"""Colour, marker and line of corpora, sizes and other series that are no arms."""
PAPER = "#000000"
PANELS = 4
FONT, TITLE = 9.0, 10.5
WIDE, NARROW = 6.4, 4.6
"""Inches: 9 pt on 6.4 inches are 7 pixels in a picture 380 pixels wide."""


def look(name: str) -> Look:
    """The look of a series; a dose is named by its beta, an unknown series is grey and named as it is."""
    plain = f"beta = {name[4:]}" if name.startswith("beta") else name
    return LOOKS.get(name, Look(plain, "#AAAAAA", ".", "-"))


def among(names: Sequence[str]) -> dict[str, Look]:
    """Looks of at most PANELS series that are no arms, by name."""
    return {name: Look(str(name), *one) for name, one in zip(names, SEVERAL, strict=False)}


def in_order(names: Sequence[str]) -> list[str]:
    """Names in the palette's order, unknown ones last."""
    rank = {name: k for k, name in enumerate(LOOKS)}
    return sorted(set(names), key=lambda name: (rank.get(name, len(rank)), name))


def spread(values: Sequence[Any], most: int = PANELS) -> list[Any]:
    """At most `most` of the values, evenly spaced, first and last among them; the table has all."""
    values = list(values)
    if len(values) <= most:
        return values
    return [values[round(k * (len(values) - 1) / (most - 1))] for k in range(most)]


def nearest(values: Sequence[float], wanted: float) -> float:
    """The value nearest to the wanted one."""
    return float(min(values, key=lambda value: abs(value - wanted)))


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


# --- titles ---


def sign(rows: pd.DataFrame, than: float = 0.0, low: str = "ci_low", high: str = "ci_high") -> int:
    """1 if every interval lies above `than`, -1 if every one lies below; 0 otherwise, and where one is missing."""
    if rows.empty or rows[[low, high]].isna().any(axis=None):
        return 0
    return int((rows[low] > than).all()) - int((rows[high] < than).all())


def finding(
    topic: str,
    rows: pd.DataFrame,
    above: str = "",
    below: str = "",
    *,
    than: float = 0.0,
    by: str = "",
    word: str = "on",
    low: str = "ci_low",
    high: str = "ci_high",
) -> str:
    """The title that intervals allow: `above` or `below` if every one lies above or below `than`, else the topic.

    by: asked for each value of that column; a finding of some of them names those, after `word`.
    """
    groups = {name: part for name, part in rows.groupby(by, sort=False)} if by else {"": rows}
    signs = {name: sign(part, than, low, high) for name, part in groups.items()}
    for text, wanted in ((above, 1), (below, -1)):
        found = [str(name) for name, one in signs.items() if one == wanted]
        if text and found and -wanted not in signs.values():
            some = " and ".join(found) if len(found) < 3 else f"{len(found)} of {len(signs)}"
            return text if len(found) == len(signs) else f"{text} {word} {some}"
    return topic


def between(upper: pd.DataFrame, lower: pd.DataFrame, on: str) -> pd.DataFrame:
    """What upper exceeds lower by at equal `on`, at least and at most: for titles about series that are not paired."""
    both = upper.merge(lower, on=on, suffixes=("", "_lower"))
    return pd.DataFrame(
        {
            on: both[on],
            "ci_low": both["ci_low"] - both["ci_high_lower"],
            "ci_high": both["ci_high"] - both["ci_low_lower"],
        }
    )


# --- figures ---


def new_figure(
    title: str, rows: int = 1, columns: int = 1, height: float = 0.0, width: float = 0.0, **options: Any
) -> Figure:
    """A grid of axes under a title; inches. Narrow with one column, else wide."""
    settings = {
        "font.family": "DejaVu Sans",
        "font.size": FONT,
        "axes.titlesize": FONT,
        "axes.labelsize": FONT,
        "legend.fontsize": FONT,
        "legend.frameon": False,
        "legend.handlelength": 2.2,
        "xtick.labelsize": FONT,
        "ytick.labelsize": FONT,
        "axes.linewidth": 0.8,
        "lines.markersize": 5,
        "lines.linewidth": 1.5,
        "svg.fonttype": "path",
        "svg.hashsalt": "myopia",
    }
    sns.set_theme(context="paper", style="ticks", rc=settings)
    width = width or (NARROW if columns == 1 else WIDE)
    height = height or 2.25 * rows + 0.6
    lines = _wrapped(title.replace(" = ", "\u00a0=\u00a0"), int(width * 11))
    strip = 0.19 * len(lines) + 0.1
    figure = Figure(figsize=(width, height + strip), layout="constrained")
    share = strip / (height + strip)
    figure.get_layout_engine().set(rect=(0, 0, 1, 1 - share), w_pad=0.05, h_pad=0.05)
    figure.text(
        0.012,
        1 - 0.06 / (height + strip),
        "\n".join(lines),
        fontsize=TITLE,
        fontweight="bold",
        va="top",
        gid="title",
        parse_math=False,
    )
    figure.subplots(rows, columns, squeeze=False, **options)
    sns.despine(figure)
    return figure


def _wrapped(text: str, most: int) -> list[str]:
    """As few lines as fit, about equally long."""
    lines = textwrap.wrap(text, most)
    while most > 1 and len(shorter := textwrap.wrap(text, most - 1)) == len(lines):
        lines, most = shorter, most - 1
    return lines


def grid_of(title: str, panels: int, **options: Any) -> Figure:
    """A figure of as many panels, two a row, four at most."""
    panels = min(max(panels, 1), PANELS)
    figure = new_figure(title, -(-panels // 2), min(panels, 2), **options)
    for axis in figure.axes[panels:]:
        axis.set_axis_off()
    return figure


def nothing(said: str = "not run at this scale") -> Figure:
    """The figure of an empty table: it says so instead of failing the workflow."""
    figure = new_figure("", height=1.2)
    axis = figure.axes[0]
    axis.set_axis_off()
    axis.text(0.5, 0.5, said, ha="center", va="center", fontsize=TITLE)
    return figure


def bars(rows: pd.DataFrame, value: str = "value", low: str = "ci_low", high: str = "ci_high") -> list[pd.Series]:
    """What error bars reach below and above their values; none where there is no interval."""
    return [(rows[value] - rows[low]).fillna(0).clip(lower=0), (rows[high] - rows[value]).fillna(0).clip(lower=0)]


def line(axis: Axes, frame: pd.DataFrame, x: str, name: str | Look, **options: Any) -> None:
    """One series with its interval (a ribbon); rows must hold value, ci_low, ci_high."""
    if frame.empty:
        return
    style = look(name) if isinstance(name, str) else name
    frame = frame.sort_values(x)
    settings = {"color": style.color, "marker": style.marker, "linestyle": style.line, "label": style.label}
    axis.plot(frame[x], frame["value"], **(settings | options))
    if frame["ci_low"].notna().any():
        ends = [frame[c].astype(float) for c in (x, "ci_low", "ci_high")]
        axis.fill_between(*ends, color=style.color, alpha=0.18, linewidth=0)


def points(axis: Axes, frame: pd.DataFrame, x: str, name: str | Look, **options: Any) -> None:
    """One series as markers joined by a line, with error bars."""
    if frame.empty:
        return
    style = look(name) if isinstance(name, str) else name
    frame = frame.sort_values(x)
    settings = {"color": style.color, "marker": style.marker, "linestyle": style.line, "label": style.label}
    axis.errorbar(
        frame[x], frame["value"], yerr=bars(frame), **({"capsize": 2.5, "elinewidth": 1} | settings | options)
    )


def paper(
    axis: Axes, x: Any, y: Any, name: str = "", label: str = "paper", joined: bool = False, **options: Any
) -> None:
    """The paper's values: hollow and black, an arm's by its marker, joined by a thin line where they are a curve."""
    if not len(x):
        return
    settings = {
        "color": PAPER,
        "marker": look(name).marker if name else "D",
        "markerfacecolor": "none",
        "markersize": 5,
        "markeredgewidth": 0.9,
        "linestyle": "-" if joined else "none",
        "linewidth": 0.7,
    }
    axis.plot(x, y, label=f"{label}, {look(name).label}" if name else label, **(settings | options))


def zero(axis: Axes) -> None:
    """A thin line at 0, where there is no difference."""
    axis.axhline(0, color="#000000", linewidth=0.6, zorder=0)


def sizes(axis: Axes, values: Sequence[float]) -> None:
    """A logarithmic axis of parameters, named as in 70M: powers of ten, or the sizes themselves where they are close."""
    values = sorted({float(value) for value in values if value > 0})
    axis.set(xscale="log", xlim=(values[0] / 1.8, values[-1] * 1.8))
    low, high = (math.log10(value) for value in (values[0], values[-1]))
    step = 1 if high - low < 3 else 2
    ticks = (
        [10.0**k for k in range(math.ceil(low), math.floor(high) + 1, step)] if high - low > 1.5 else spread(values, 3)
    )
    axis.set_xticks(ticks, [f"{EngFormatter(places=0, sep='')(tick)}".replace("G", "B") for tick in ticks])
    axis.xaxis.set_minor_locator(NullLocator())


def shared_legend(figure: Figure) -> None:
    """One legend below the panels with every label once, ours before the paper's, in as many columns as fit."""
    found: dict[str, Any] = {}
    for axis in figure.axes:
        for handle, text in zip(*axis.get_legend_handles_labels(), strict=True):
            found.setdefault(text, handle)
    found = dict(sorted(found.items(), key=lambda item: item[0].startswith("paper")))
    if not found:
        return
    lengths, columns = [len(text) for text in found], 1
    for rows in range(1, len(found) + 1):  # filled column by column
        columns = -(-len(found) // rows)
        wide = sum(0.55 + 0.074 * max(lengths[k : k + rows]) for k in range(0, len(found), rows))
        if wide <= figure.get_figwidth():
            break
    figure.legend(found.values(), found.keys(), loc="outside lower center", ncols=columns, columnspacing=1.2)


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
        figure.dpi = 200
        with atomic_path(png) as temporary:
            FigureCanvasAgg(figure).print_png(temporary, metadata={"Software": None})
