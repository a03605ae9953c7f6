"""Figures of "where planning pays": the gap by groups of tokens, and probes of tokens to come."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from myopia.show import style

PANELS = {
    "position": "position",
    "frequency": "occurrences per million",
    "copied": "seen before in its window",
    "ease": "loss for another seed (nats)",
}
"""Grouping -> axis label, in the order drawn; the others stay in the table."""


def token_gap(frame: pd.DataFrame) -> Figure:
    """Gap by position, frequency, copying and easiness of the predicted token, a line for each corpus."""
    frame = frame[frame["by"].isin(PANELS) & (frame["metric"] == "gap")]
    if frame.empty:
        return style.nothing()
    looks = style.among(sorted(frame["corpus"].unique()))
    ends = [frame[frame["by"] == by].sort_values("order").groupby("corpus") for by in ("frequency", "position")]
    more = [style.between(one.tail(1), one.head(1), "corpus") for one in ends]
    titles = [
        style.finding("", rows, by="corpus", above=f"Planning pays more {where}")
        for rows, where in zip(more, ("on frequent tokens", "late in the window"), strict=True)
    ]
    figure = style.grid_of(next(filter(None, titles), "Where planning pays: gap by kind of token"), len(PANELS))
    for axis, (by, label) in zip(figure.axes, PANELS.items(), strict=True):
        style.zero(axis)
        _panel(axis, frame[frame["by"] == by], by, looks)
        axis.set_xlabel(label)
    for axis in figure.axes[::2]:
        axis.set_ylabel("gap (nats/token)")
    if len(looks) > 1:
        style.shared_legend(figure)
    return figure


def _panel(axis: Axes, frame: pd.DataFrame, by: str, looks: dict[str, style.Look]) -> None:
    for k, (corpus, look) in enumerate(looks.items()):
        rows = frame[frame["corpus"] == corpus]
        aside = 0.12 * (k - (len(looks) - 1) / 2)
        style.points(
            axis,
            rows.assign(order=rows["order"] + aside),
            "order",
            look,
            **({"linestyle": "none"} if by == "copied" else {}),
        )
    groups = frame.drop_duplicates("order").sort_values("order")
    axis.set_xticks(
        groups["order"], [_tick(by, row) for row in groups.itertuples()], rotation=30 if by == "position" else 0
    )
    axis.margins(x=0.1)


def _tick(by: str, row: object) -> str:
    """How a group is named on the axis: numbers by the mean of what they are ordered by."""
    if by == "frequency":
        return f"{10**row.x:,.0f}" if row.x < 3 else f"{10**row.x / 1000:,.0f}k"
    return f"{row.x:.1f}" if by == "ease" else str(row.bin).removesuffix(" seen")


def future_probes(frame: pd.DataFrame) -> Figure:
    """What the last layer tells of tokens to come beyond the present token, one panel for each corpus."""
    frame = frame[(frame["metric"] == "gain") & (frame["layer"] == frame["layer"].max())]
    if frame.empty:
        return style.nothing()
    corpora = style.spread(sorted(frame["corpus"].unique()))
    later = frame[(frame["arm"] == "difference") & frame["tau"].isin([2, 3])]
    figure = style.grid_of(
        style.finding(
            "What hidden states tell of tokens to come",
            later,
            by="corpus",
            above="Vanilla models tell more of tokens to come",
            below="Myopic models tell more of tokens to come",
        ),
        len(corpora),
    )
    for axis, corpus in zip(figure.axes, corpora, strict=False):
        for arm in ("vanilla", "myopic", "untrained"):
            style.line(axis, frame[(frame["corpus"] == corpus) & (frame["arm"] == arm)], "tau", arm, markersize=4)
        bigram = style.look("bigram")
        axis.axhline(0, color=bigram.color, linestyle=bigram.line, linewidth=1, label=bigram.label, zorder=0)
        axis.set(title=corpus, xlabel="tokens ahead")
    for axis in figure.axes[::2] if len(corpora) > 1 else figure.axes:
        axis.set_ylabel("gain of a probe of the\nlast layer (nats/token)")
    style.shared_legend(figure)
    return figure
