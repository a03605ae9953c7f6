"""Figures of the language experiments: one function each, from its one table to a drawn figure."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from myopia.show import style


def fig4_position(frame: pd.DataFrame, caption: str = "") -> Figure:
    """Fig 4: loss by position (left) and the gap with a simultaneous band (right), one row per corpus."""
    ours = frame[frame["kind"] == "ours"]
    if ours.empty:
        return style.nothing(caption)
    corpora = sorted(ours["corpus"].unique())
    text = style.join(
        "Held-out loss by position (t predicts token t + 1, from 0) and paired gap, myopic - vanilla.",
        "Ribbon: pointwise 95% interval; thin lines at the gap: simultaneous 95% band (max-t).",
        "Black: the paper's Fig 4 (GPT-2 124M on PG-19; levels are not comparable, shapes are).",
        style.sample(ours),
        caption,
    )
    figure = style.new_figure(6.6, 2.3 * len(corpora) + 0.3, len(corpora), 2, text)
    for (left, right), corpus in zip(style.grid(figure, 2), corpora, strict=True):
        here = frame[frame["corpus"] == corpus]
        mine, paper = here[here["kind"] == "ours"], here[here["kind"] == "paper"]
        for arm in ("vanilla", "myopic"):
            style.line(left, mine[mine["series"] == arm], "position", arm, marker="")
            _paper(left, paper[paper["series"] == arm], arm)
        gap = mine[mine["series"] == "gap"].sort_values("position")
        style.line(right, gap, "position", "gap", marker="")
        for bound in ("band_low", "band_high"):
            if gap[bound].notna().any():
                right.plot(gap["position"], gap[bound], color=style.look("gap").color, linewidth=0.5)
        _paper(right, paper[paper["series"] == "gap"], "gap")
        right.axhline(0, color="#000000", linewidth=0.5)
        left.set(title=f"{corpus}: loss", xlabel="position", ylabel="cross-entropy (nats/token)")
        right.set(title=f"{corpus}: gap", xlabel="position", ylabel="myopic - vanilla (nats/token)")
    style.shared_legend(figure, 3)
    return figure


def _paper(axis: Axes, rows: pd.DataFrame, name: str) -> None:
    if rows.empty:
        return
    rows = rows.sort_values("position")
    line = style.look(name).line if name != "gap" else ":"
    axis.plot(
        rows["position"],
        rows["value"],
        color=style.PAPER,
        linestyle=line,
        linewidth=0.8,
        label=f"paper, {name}",
    )


def text_gap_by_step(frame: pd.DataFrame, caption: str = "") -> Figure:
    """Validation loss and gap against training step; hollow: not shown to have settled."""
    if frame.empty:
        return style.nothing(caption)
    corpora = sorted(frame["corpus"].unique())
    text = style.join(
        "Validation loss (left) and paired gap (right) against training. Filled: the gap has settled; hollow:",
        "its rise over the last quarter of training is not shown to be small, so its size is not yet an answer.",
        style.sample(frame),
        caption,
    )
    figure = style.new_figure(6.6, 2.3 * len(corpora) + 0.3, len(corpora), 2, text)
    for (left, right), corpus in zip(style.grid(figure, 2), corpora, strict=True):
        here = frame[frame["corpus"] == corpus]
        for arm in ("vanilla", "myopic"):
            style.line(left, here[here["series"] == arm], "step", arm)
        gap = here[here["series"] == "gap"]
        settled = bool(gap["settled"].max()) if len(gap) else False
        style.points(right, gap, "step", "gap", mfc=style.look("gap").color if settled else "white")
        right.axhline(0, color="#000000", linewidth=0.5)
        for axis, label in ((left, "validation loss (nats/token)"), (right, "myopic - vanilla (nats/token)")):
            axis.set(xlabel="training step", ylabel=label, xlim=(0, None))
        left.set_title(f"{corpus}: loss")
        right.set_title(
            f"{corpus}: gap, {'settled' if settled else 'not shown to have settled'}" if len(gap) else f"{corpus}: gap"
        )
    style.shared_legend(figure, 3)
    return figure


def table2_text_loss(frame: pd.DataFrame, caption: str = "") -> Figure:
    """Table 2: held-out loss per arm (left) and its paired difference to vanilla (right)."""
    ours = frame[frame["kind"] == "ours"]
    if ours.empty:
        return style.nothing(caption)
    corpora = sorted(ours["corpus"].unique())
    arms = style.in_order(ours["arm"])
    text = style.join(
        "Held-out cross-entropy per arm and its paired difference to vanilla (right; linear within ±0.1,",
        "logarithmic beyond). Hollow: the paper's Table 2 (GPT-2 124M on MS MARCO).",
        style.sample(ours),
        caption,
    )
    height = (0.24 * len(arms) + 0.75) * len(corpora) + 0.3
    figure = style.new_figure(6.8, height, len(corpora), 2, text, sharey=True)
    for (left, right), corpus in zip(style.grid(figure, 2), corpora, strict=True):
        here = frame[frame["corpus"] == corpus]
        for k, arm in enumerate(arms):
            mine = here[(here["kind"] == "ours") & (here["arm"] == arm)]
            paper = here[(here["kind"] == "paper") & (here["arm"] == arm)]
            _dot(left, mine, arm, k, ("value", "ci_low", "ci_high"))
            _dot(right, mine, arm, k, ("gap", "gap_low", "gap_high"))
            for axis, column in ((left, "value"), (right, "gap")):
                if len(paper) and style.finite(paper[column].iloc[0]):
                    axis.plot(
                        paper[column],
                        [k],
                        "D",
                        mfc="none",
                        mec=style.PAPER,
                        markersize=5,
                        mew=0.8,
                        label="paper",
                    )
        left.set_yticks(range(len(arms)), [style.look(arm).label for arm in arms])
        left.set_ylim(len(arms) - 0.4, -0.6)
        right.axvline(0, color="#000000", linewidth=0.6)
        right.set_xscale("symlog", linthresh=0.1, linscale=1.2)
        ticks = [-0.1, -0.05, 0, 0.05, 0.1, 0.3, 1, 3]
        right.set_xticks(ticks, [f"{t:g}" for t in ticks])
        right.xaxis.set_minor_locator(NullLocator())
        left.set(title=f"{corpus}: loss", xlabel="cross-entropy (nats/token)")
        right.set(title=f"{corpus}: difference to vanilla", xlabel="nats/token (symmetric log)")
        for axis in (left, right):
            axis.grid(axis="x", linewidth=0.4, alpha=0.5)
    _paper_legend(figure)
    return figure


def _dot(axis: Axes, rows: pd.DataFrame, arm: str, y: int, columns: tuple[str, str, str]) -> None:
    value, low, high = columns
    if rows.empty or not style.finite(rows[value].iloc[0]):
        return
    look = style.look(arm)
    one = rows.iloc[0]
    error = None
    if style.finite(one[low]):
        error = [[max(one[value] - one[low], 0)], [max(one[high] - one[value], 0)]]
    axis.errorbar([one[value]], [y], xerr=error, color=look.color, marker=look.marker, capsize=2.5, linestyle="none")


def _paper_legend(figure: Figure) -> None:
    for axis in figure.axes:
        handles = [h for h, text in zip(*axis.get_legend_handles_labels(), strict=True) if text == "paper"]
        if handles:
            figure.legend(handles[:1], ["paper"], loc="outside upper right")
            return


def influence(frame: pd.DataFrame, caption: str = "") -> Figure:
    """Influence matrices of trained pairs: who may plan for whom."""
    shown = frame[frame["influence"].notna()]
    if shown.empty:
        return style.nothing(caption)
    # A pair is runs whose names differ in the arm at their end: one row of panels each.
    ends = sorted(style.LOOKS, key=len, reverse=True)
    shown = shown.assign(model=shown["model"].str.replace(f"-({'|'.join(ends)})$", "", regex=True))
    models, arms = sorted(shown["model"].unique()), style.in_order(shown["arm"])
    positive = shown.loc[shown["influence"] > 0, "influence"]
    top = float(positive.max()) if len(positive) else 1.0
    norm = LogNorm(max(top * 1e-4, float(positive.min()) if len(positive) else top * 1e-4), top)
    text = style.join(
        "Influence ||d loss_t / d e_s|| of the input at s on the loss at t (log colour; grey: zero).",
        "The diagonal is the present; below it stand the losses a position could have planned for.",
        f"One seed ({shown['seed'].iloc[0]}), one sequence.",
        caption,
    )
    figure = style.new_figure(3.3 * len(arms) + 0.7, 3.2 * len(models), len(models), len(arms), text)
    image = None
    for row, model in zip(style.grid(figure, len(arms)), models, strict=True):
        for axis, arm in zip(row, arms, strict=True):
            here = shown[(shown["model"] == model) & (shown["arm"] == arm)]
            if here.empty:
                axis.set_axis_off()
                continue
            table = here.pivot_table(index="t", columns="s", values="influence")
            table = table.where(table > 0)
            axis.set_facecolor("#D9D9D9")
            image = axis.imshow(table, cmap="viridis", norm=norm, interpolation="nearest", aspect="equal")
            tokens = here.drop_duplicates("s").set_index("s")["token"].reindex(table.columns)
            if len(tokens) <= 40 and tokens.notna().all():
                axis.set_xticks(range(len(tokens)), [str(t) for t in tokens], rotation=90, fontsize=5, parse_math=False)
            axis.set(title=f"{arm} ({model})", xlabel="input position s")
        row[0].set_ylabel("position t of the loss")
    if image is not None:
        figure.colorbar(
            image,
            ax=figure.axes,
            label="$||\\partial\\,loss_t\\,/\\,\\partial\\,e_s||$ (nats per unit)",
            shrink=0.8,
            pad=0.01,
        )
    return figure
