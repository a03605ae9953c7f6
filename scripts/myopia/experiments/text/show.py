"""Figures of the language experiments: one function each, from its one table to a drawn figure."""

from __future__ import annotations

import pandas as pd
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from myopia.config.runs import PAIR
from myopia.show import style

NATS = "myopic - vanilla (nats/token)"


def fig4_position(frame: pd.DataFrame) -> Figure:
    """Fig 4: the gap by position with a simultaneous band, one panel for each corpus; losses stay in the table."""
    gaps = frame[frame["series"] == "gap"]
    ours = gaps[gaps["kind"] == "ours"]
    if ours.empty:
        return style.nothing()
    corpora = style.spread(sorted(ours["corpus"].unique()))
    late = ours[ours["position"] > ours["position"].max() / 2]
    figure = style.grid_of(
        style.finding(
            "Gap by position: what is lost without training for later losses",
            late,
            by="corpus",
            above="Cut off from later losses, models predict worse late in the window",
            low="band_low",
            high="band_high",
        ),
        len(corpora),
    )
    for axis, corpus in zip(figure.axes, corpora, strict=False):
        here = gaps[gaps["corpus"] == corpus].sort_values("position")
        mine, paper = here[here["kind"] == "ours"], here[here["kind"] == "paper"]
        style.line(axis, mine, "position", "gap", marker="", label="gap, 95 % interval")
        for k, bound in enumerate(("band_low", "band_high")):
            if mine[bound].notna().any():
                label = "95 % band for all positions at once" if k == 0 else "_"
                axis.plot(
                    mine["position"],
                    mine[bound],
                    color=style.look("gap").color,
                    linestyle=":",
                    linewidth=0.9,
                    label=label,
                )
        style.paper(
            axis, paper["position"], paper["value"], label="paper (GPT-2 small, PG-19)", joined=True, markevery=6
        )
        style.zero(axis)
        axis.set(title=corpus, xlabel="position")
    for axis in figure.axes[::2] if len(corpora) > 1 else figure.axes:
        axis.set_ylabel(NATS if len(corpora) < 3 else "gap (nats/token)")
    style.shared_legend(figure)
    return figure


def text_gap_by_step(frame: pd.DataFrame) -> Figure:
    """Validation gap against training step, one panel for each corpus; hollow: not shown to have settled."""
    frame = frame[frame["series"] == "gap"]
    if frame.empty:
        return style.nothing()
    corpora = style.spread(sorted(frame["corpus"].unique()))
    settled = frame.groupby("corpus")["settled"].max() > 0
    said = "has settled" if settled.all() else "is not shown to have settled" if not settled.any() else "along training"
    figure = style.grid_of(f"The gap on text {said}", len(corpora))
    look = style.look("gap")
    for axis, corpus in zip(figure.axes, corpora, strict=False):
        face = look.color if settled[corpus] else "white"
        label = "myopic - vanilla, settled" if settled[corpus] else "myopic - vanilla, not shown to have settled"
        style.points(axis, frame[frame["corpus"] == corpus], "step", "gap", mfc=face, label=label)
        style.zero(axis)
        axis.set(title=corpus, xlabel="training step", xlim=(0, None))
    for axis in figure.axes[::2] if len(corpora) > 1 else figure.axes:
        axis.set_ylabel("gap (nats/token)")
    style.shared_legend(figure)
    return figure


def table2_text_loss(frame: pd.DataFrame) -> Figure:
    """Table 2: each arm's loss minus vanilla's, by corpus; arms without the past on their own scale."""
    ours = frame[(frame["kind"] == "ours") & frame["gap"].notna()]
    if ours.empty:
        return style.nothing()
    rows = [
        (c, a) for c in sorted(ours["corpus"].unique()) for a in style.in_order(ours.loc[ours["corpus"] == c, "arm"])
    ]
    no_past = [a.startswith("bigram") for _, a in rows]
    columns = 2 if any(no_past) and not all(no_past) else 1
    place, y, heads = {}, 0.0, {}
    for corpus, arm in rows:
        if corpus not in heads:
            heads[corpus] = y
            y += 1
        place[corpus, arm] = y
        y += 1
    figure = style.new_figure(
        style.finding(
            "Loss of every arm, compared with vanilla's",
            ours[ours["arm"] == "myopic"],
            low="gap_low",
            high="gap_high",
            by="corpus",
            above="Cut off from later losses, models predict text worse",
            below="Cut off from later losses, models predict text better",
        ),
        1,
        columns,
        0.21 * y + 0.9,
        style.WIDE,
        sharey=True,
    )
    for axis, wanted in zip(figure.axes, (False, True) if columns == 2 else (no_past[0],), strict=True):
        for (corpus, arm), at in place.items():
            if arm.startswith("bigram") != wanted:
                continue
            here, look = frame[(frame["corpus"] == corpus) & (frame["arm"] == arm)], style.look(arm)
            mine, paper = here[here["kind"] == "ours"], here[here["kind"] == "paper"]
            axis.errorbar(
                mine["gap"],
                [at],
                xerr=style.bars(mine, "gap", "gap_low", "gap_high"),
                color=look.color,
                marker=look.marker,
                capsize=2.5,
                linestyle="none",
            )
            style.paper(axis, paper["gap"], [at] * len(paper), label="paper (GPT-2 small, MS MARCO)")
        axis.axvline(0, color="#000000", linewidth=0.6, zorder=0)
        axis.grid(axis="x", linewidth=0.4, alpha=0.5)
        axis.tick_params(axis="y", length=0)
        axis.set_xlabel("minus vanilla (nats/token)")
    ticks = {
        **{at: corpus for corpus, at in heads.items()},
        **{at: style.look(arm).label for (_, arm), at in place.items()},
    }
    figure.axes[0].set_yticks(list(ticks), list(ticks.values()))
    for text, at in zip(figure.axes[0].get_yticklabels(), ticks, strict=True):
        text.set_fontweight("bold" if at in heads.values() else "normal")
    figure.axes[0].set_ylim(y - 0.4, -0.6)
    style.shared_legend(figure)
    return figure


def influence(frame: pd.DataFrame) -> Figure:
    """Influence matrices of the first trained pair: whose loss each input moves. One seed: no interval, no finding."""
    shown = frame[frame["influence"].notna() & frame["arm"].isin(PAIR)]
    if shown.empty:
        return style.nothing()
    # A pair is runs whose names differ in the arm at their end.
    pairs = shown["model"].str.replace(f"-({'|'.join(PAIR)})$", "", regex=True)
    shown = shown[pairs == pairs.min()]
    arms, positive = style.in_order(shown["arm"]), shown.loc[shown["influence"] > 0, "influence"]
    top = positive.max() if len(positive) else 1.0
    norm = LogNorm(top * 1e-4, top)
    figure = style.new_figure(
        "Influence of each input on each position's loss", 1, len(arms), 3.0, style.WIDE, sharey=True
    )
    for axis, arm in zip(figure.axes, arms, strict=True):
        table = shown[shown["arm"] == arm].pivot_table(index="t", columns="s", values="influence")
        axis.set_facecolor("#E4E4E4")
        image = axis.imshow(table.where(table > 0), cmap="viridis", norm=norm, interpolation="nearest", aspect="auto")
        axis.set(title=arm, xlabel="position of the input")
    figure.axes[0].set_ylabel("position of the loss")
    figure.colorbar(image, ax=figure.axes, label="nats per unit (grey: 0)", shrink=0.9, pad=0.01)
    return figure
