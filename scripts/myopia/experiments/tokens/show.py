"""Figures of "where planning pays": the gap by groups of tokens, and probes of tokens to come."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from myopia.show import style

PANELS = {
    "position": ("position", "position"),
    "frequency": ("frequency", "occurrences per million"),
    "copied": ("seen before in its window", ""),
    "ease": ("easiness", "loss for another seed (nats)"),
    "ease-before": ("easiness of the token before", "loss for another seed (nats)"),
    "part": ("part of the document", ""),
}
"""Grouping -> panel title and axis label, in the order drawn."""

EASE = {
    "ease": {},
    "ease-both": {"label": "easiness judged by both twins", "color": "#DDAA33", "marker": "D", "linestyle": "-."},
    "ease-own": {"label": "easiness judged by itself (biased)", "color": "#999999", "marker": "x", "linestyle": ":"},
}
"""Judges of easiness -> how their curve differs from the gap's look."""

LAYERS_DRAWN = 4


def token_gap(frame: pd.DataFrame, caption: str = "") -> Figure:
    """Gap and KL by position, frequency, copying, easiness and part of the document; six panels a corpus."""
    frame = frame[frame["by"].isin([*PANELS, *EASE, "copied-matched"])]
    if frame.empty:
        return style.nothing(caption)
    corpora = sorted(frame["corpus"].unique())
    text = style.join(
        "Gap, myopic - vanilla, of the predicted token's group, and KL(vanilla, myopic). Thick bars: pointwise 95%",
        "intervals; thin bars: simultaneous over a panel's groups (max-t). Frequency: fifths of the training text.",
        "Easiness: fifths of the test tokens by the loss of another seed's vanilla model (or of both its twins); judged",
        "by the very vanilla model whose gap it is, easy tokens gain by luck alone. Under 'seen before': contrasts at",
        "equal position and frequency.",
        style.sample(frame),
        caption,
    )
    figure = style.new_figure(7.0, 3.9 * len(corpora) + 0.3, 2 * len(corpora), 3, text)
    rows = style.grid(figure, 3)
    for k, corpus in enumerate(corpora):
        here = frame[frame["corpus"] == corpus]
        for axis, (by, (title, label)) in zip([*rows[2 * k], *rows[2 * k + 1]], PANELS.items(), strict=True):
            axis.axhline(0, color="#000000", linewidth=0.5)
            axis.set(title=title, xlabel=label or " ")
            _panel(axis, here, by)
            axis.set_ylabel(f"{corpus}\nnats/token" if axis.get_subplotspec().is_first_col() else "")
    style.shared_legend(figure, 2)
    return figure


def _panel(axis: Axes, frame: pd.DataFrame, by: str) -> None:
    rows = frame[frame["by"] == by].sort_values("order")
    kl, gap = rows[rows["metric"] == "kl"], rows[rows["metric"] == "gap"]
    plain = {"linestyle": "none"} if by in ("copied", "part") else {}  # kinds, not steps of one quantity
    style.points(axis, kl, "order", "kl", markersize=3, linewidth=0.9, **plain)
    for judge, look in EASE.items() if by == "ease" else [(by, plain)]:
        judged = frame[(frame["by"] == judge) & (frame["metric"] == "gap")]
        style.points(axis, judged, "order", "gap", **look)
    if gap["band_low"].notna().any():
        axis.vlines(gap["order"], gap["band_low"], gap["band_high"], color=style.look("gap").color, linewidth=0.5)
    axis.set_xticks(gap["order"], [_tick(by, row) for row in gap.itertuples()], rotation=30 if by == "position" else 0)
    axis.margins(x=0.12)
    if by == "copied":
        contrasts = frame[(frame["by"] == "copied-matched") & (frame["metric"] == "gap")]
        axis.set_xlabel("\n".join(_contrast(row) for row in contrasts.itertuples()), fontsize=style.FONT - 2)


def _tick(by: str, row: object) -> str:
    """How a group is named on the axis: numbers by the mean of what they are ordered by."""
    if by == "frequency":
        return f"{10**row.x:,.0f}" if row.x < 4 else f"{10**row.x / 1000:,.0f}k"
    if by.startswith("ease"):
        return f"{row.x:.1f}"
    return str(row.bin).replace(" ", "\n")


def _contrast(row: object) -> str:
    interval = f" [{row.ci_low:.3f}, {row.ci_high:.3f}]" if style.finite(row.ci_low) else ""
    return f"{row.bin}: {row.value:.3f}{interval}"


def future_probes(frame: pd.DataFrame, caption: str = "") -> Figure:
    """Gain of the probes over the table (top) and their hits (bottom) against tau, one column a layer."""
    if frame.empty:
        return style.nothing(caption)
    corpora = sorted(frame["corpus"].unique())
    layers = drawn_layers(sorted(frame.loc[frame["layer"] >= 0, "layer"].astype(int).unique()))
    text = style.join(
        "Linear probes of x[t+tau] in the hidden state at t, built on top of the table P(x[t+tau] given x[t]). Top:",
        "held-out cross-entropy gained over the table. Bottom: how much more often than the table's its first guess among",
        "the most frequent tokens is right. Layer 0: embeddings.",
        style.sample(frame),
        caption,
    )
    figure = style.new_figure(1.75 * len(layers) + 0.7, 3.6 * len(corpora) + 0.3, 2 * len(corpora), len(layers), text,
                              sharex=True, sharey="row")  # fmt: skip
    rows = style.grid(figure, len(layers))
    for k, corpus in enumerate(corpora):
        for metric, label, axes in (
            ("gain", "gain (nats/token)", rows[2 * k]),
            ("top1_gain", "more hits (share)", rows[2 * k + 1]),
        ):
            here = frame[(frame["corpus"] == corpus) & (frame["metric"] == metric)]
            for axis, layer in zip(axes, layers, strict=True):
                at = here[here["layer"] == layer]
                for arm in ("vanilla", "myopic", "untrained"):
                    style.line(axis, at[at["arm"] == arm], "tau", arm, markersize=3)
                bigram = style.look("bigram")
                axis.axhline(0, color=bigram.color, linestyle=bigram.line, linewidth=0.8, label=bigram.label)
                axis.set_title(f"layer {layer}" if metric == "gain" else "")
                axis.set_xlabel("tokens ahead, tau" if axis.get_subplotspec().is_last_row() else "")
            axes[0].set_ylabel(f"{corpus}\n{label}")
    style.shared_legend(figure, 4)
    return figure


def drawn_layers(layers: list[int]) -> list[int]:
    """At most LAYERS_DRAWN layers, evenly spaced, first and last among them; the table has all."""
    if len(layers) <= LAYERS_DRAWN:
        return layers
    step = (len(layers) - 1) / (LAYERS_DRAWN - 1)
    return [layers[round(k * step)] for k in range(LAYERS_DRAWN)]
