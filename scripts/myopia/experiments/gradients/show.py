"""Figures of the gradient anatomy (Fig 11), the forward-bias quantity (Theorem 13) and the convex toys."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from myopia.show import style

PARTS = ("myopic", "future", "total")
TRAINED = {"vanilla": "trained vanilla", "myopic": "trained myopically", "public": "public checkpoints"}
OF = {"gradient": "gradient norm", "adamw": "AdamW step / learning rate"}


def fig11_gradient_anatomy(frame: pd.DataFrame, caption: str = "") -> Figure:
    """Norms of the parts (one column per way of training) and their cosine (last column), gradient above AdamW step."""
    frame = frame[(frame["group"] == "no-embeddings") & frame["value"].notna()]
    if frame.empty:
        return style.nothing(caption)
    text = style.join(
        "Parameter gradient of the mean loss, split into what comes from a position's own loss and what comes from later",
        "ones; embeddings and output head left out. Lines: unbiased (pairs of disjoint blocks of text). Faint: raw, as in",
        "the paper, inflated by sampling noise. AdamW: the step each part causes, second moments of the total gradient on",
        "other text. Hollow: paper, raw.",
        style.sample(frame[frame["kind"] == "ours"], "blocks of text"),
        caption,
    )
    series = sorted(set(zip(frame["corpus"], frame["arm"], strict=True)))
    corpora = sorted({corpus for corpus, _ in series})
    arms = [arm for arm in TRAINED if any(a == arm for _, a in series)]
    wide = max(len([a for c, a in series if c == corpus]) for corpus in corpora)
    figure = style.new_figure(2.4 * wide + 2.9, 3.6 * len(corpora) + 0.4, 2 * len(corpora), wide + 1, text)
    rows = style.grid(figure, wide + 1)
    for k, corpus in enumerate(corpora):
        here = frame[frame["corpus"] == corpus]
        own = [arm for arm in arms if (corpus, arm) in series]
        for row, (of, label) in zip(rows[2 * k : 2 * k + 2], OF.items(), strict=True):
            for axis, arm in zip(row, own, strict=False):
                _norms(axis, here[(here["arm"] == arm) & (here["of"] == of)])
                axis.set_title(f"{corpus}, {TRAINED[arm]}" if of == "gradient" else "")
            for axis in row[len(own) : -1]:
                axis.set_axis_off()
            row[0].set_ylabel(label)
            _cosines(row[-1], here[(here["of"] == of) & (here["quantity"] == "cosine")], own)
            row[-1].set_title("cosine of the parts" if of == "gradient" else "")
            row[-1].set_ylabel("cosine")
    for axis in figure.axes:
        if axis.axison:
            _step_axis(axis, frame)
    style.shared_legend(figure, 4)
    return figure


def _norms(axis: Axes, frame: pd.DataFrame) -> None:
    for part in PARTS:
        look = style.look(f"part-{part}")
        rows = frame[(frame["quantity"] == part) & (frame["kind"] == "ours")]
        style.line(axis, rows[rows["form"] == "unbiased"], "step", f"part-{part}", markersize=3)
        raw = rows[rows["form"] == "raw"].sort_values("step")
        axis.plot(raw["step"], raw["value"], color=look.color, alpha=0.35, linewidth=0.8)
        paper = frame[(frame["quantity"] == part) & (frame["kind"] == "paper")]
        if len(paper):
            axis.plot(paper["step"], paper["value"], linestyle="none", marker=look.marker or "d", markersize=4,
                      markerfacecolor="none", markeredgecolor=style.PAPER, label=f"paper, {part}")  # fmt: skip
    known = frame.loc[frame["quantity"].isin(PARTS) & (frame["value"] > 0), "value"]
    axis.set(yscale="log", ylim=(known.min() / 1.6, known.max() * 1.6))  # intervals may reach 0


def _cosines(axis: Axes, frame: pd.DataFrame, arms: list[str]) -> None:
    axis.axhline(0, color="#000000", linewidth=0.5)
    for arm in arms:
        rows = frame[(frame["arm"] == arm) & (frame["kind"] == "ours")]
        name = "vanilla" if arm == "public" else arm
        style.line(axis, rows[rows["form"] == "unbiased"], "step", name, label=f"cosine, {TRAINED[arm]}", markersize=3)
        raw = rows[rows["form"] == "raw"].sort_values("step")
        axis.plot(raw["step"], raw["value"], color=style.look(name).color, alpha=0.35, linewidth=0.8)
    paper = frame[frame["kind"] == "paper"]
    if len(paper):
        axis.plot(paper["step"], paper["value"], linestyle="none", marker="o", markersize=4, markerfacecolor="none",
                  markeredgecolor=style.PAPER, label="paper, cosine")  # fmt: skip
    axis.set_ylim(-1.05, 1.05)


def _step_axis(axis: Axes, frame: pd.DataFrame) -> None:
    """Steps on a logarithmic axis that has a place for step 0."""
    axis.set_xscale("symlog", linthresh=1, linscale=0.4)
    last = float(frame["step"].max())
    axis.set_xlim(-0.15, last * 1.5)
    decades = [10.0**k for k in range(int(np.log10(max(last, 1))) + 1)]
    axis.set_xticks([0, *decades], ["0", *(f"{d:,.0f}" for d in decades)])
    axis.minorticks_off()
    axis.set_xlabel("training step" if axis.get_subplotspec().is_last_row() else "")


MATRICES = {
    "jacobian": {"label": "$H_{yy} + H_{xy}$ (real parts)", "color": "#882255", "linestyle": "-"},
    "symmetric": {"label": "its symmetric part", "color": "#009E73", "linestyle": "--"},
    "present": {"label": "$H_{yy}$ alone", "color": "#E69F00", "linestyle": ":"},
}


def forward_bias(frame: pd.DataFrame, caption: str = "") -> Figure:
    """Spectra by rank, J's eigenvalues in the plane, the lowest of every position's block; one row per way of training."""
    drawn = frame[frame["kind"].isin(["spectrum", "plane", "untied"])]
    if drawn.empty:
        return style.nothing(caption)
    arms = style.in_order(drawn["arm"].unique())
    text = style.join(
        "H_yy + H_xy, the Jacobian of what myopic descent follows, at trained networks; eigenvalues in units of the largest",
        "modulus of their matrix. Tied: the real network. Untied: a copy of the parameters for each position. Shaded: below",
        "0, where the condition of Theorem 13 fails (symmetric part) or a fixed point is unstable (real part).",
        _points(frame, arms),
        style.sample(drawn[drawn["kind"] != "plane"]),
        *_ends(frame),
        caption,
    )
    figure = style.new_figure(7.2, 2.15 * len(arms) + 0.5, len(arms), 3, text)
    for row, arm in zip(style.grid(figure, 3), arms, strict=True):
        here = drawn[drawn["arm"] == arm]
        for matrix, look in MATRICES.items():
            rows = here[(here["kind"] == "spectrum") & (here["matrix"] == matrix)].sort_values("x")
            row[0].plot(rows["x"], rows["value"], **look)
        plane = here[here["kind"] == "plane"]
        row[1].plot(plane["value"], plane["imaginary"], linestyle="none", marker=".", markersize=3, color="#882255")
        style.points(row[2], here[here["kind"] == "untied"], "x", "gap", label="untied, lowest of a position's block")
        row[0].set_yscale("symlog", linthresh=1e-4, linscale=0.5)
        row[1].set_xscale("symlog", linthresh=1e-4, linscale=0.5)
        row[1].set_yscale("symlog", linthresh=1e-5, linscale=0.5)
        row[0].axhspan(-1, 0, color="#000000", alpha=0.06, linewidth=0)
        row[1].axvspan(-1, 0, color="#000000", alpha=0.06, linewidth=0)
        row[0].set(ylim=(-1, 1.5), ylabel=f"{TRAINED.get(arm, arm)}\neigenvalue")
        row[1].set(xlim=(-1, 1.5), ylabel="imaginary part")
        row[2].set_ylabel("lowest eigenvalue")
        lowest = here.loc[here["kind"] == "untied", "value"]
        bottom, top = min(1.5 * lowest.min(), -0.02), max(1.5 * lowest.max(), 0.02)
        row[2].axhspan(bottom, 0, color="#000000", alpha=0.06, linewidth=0)
        row[2].set_ylim(bottom, top)
        for axis in row[:2]:
            ticks = axis.yaxis if axis is row[0] else axis.xaxis
            ticks.set_ticks([-1, -1e-2, 0, 1e-2, 1], ["-1", "-.01", "0", ".01", "1"])
        row[1].yaxis.set_ticks([-1e-2, 0, 1e-2], ["-.01", "0", ".01"])
        if row[0].get_subplotspec().is_last_row():
            row[0].set_xlabel("share of eigenvalues below")
            row[1].set_xlabel("real part")
            row[2].set_xlabel("position")
    for axis, title in zip(figure.axes, ("tied, by rank", "tied, $H_{yy} + H_{xy}$, one seed", "untied"), strict=False):
        axis.set_title(title)
    style.shared_legend(figure, 4)
    return figure


def _points(frame: pd.DataFrame, arms: list[str]) -> str:
    """How far from a fixed point the networks are, in words."""
    said = []
    for arm in arms:
        points = frame[(frame["kind"] == "point") & (frame["arm"] == arm) & (frame["task"] == "bias-dp")]
        values = points.set_index("matrix")["value"]
        if "gradient_myopic" in values:
            said.append(
                f"{TRAINED.get(arm, arm)} ({values['parameters']:.0f} parameters of norm {values['weights']:.2g})"
                f" {values['gradient_myopic']:.2g} myopic and {values['gradient_total']:.2g} in all"
            )
    return f"Trained networks are no fixed points; gradient norms: {', '.join(said)}." if said else ""


def _ends(frame: pd.DataFrame) -> list[str]:
    """Lanczos results of networks too large to write out, in words."""
    said = []
    for (task, arm), part in frame[frame["kind"] == "ends"].groupby(["task", "arm"], sort=True):
        values = part.set_index("matrix")["value"]
        ends = " to ".join(f"{values[k]:.3g}" for k in ("symmetric, lowest", "symmetric, highest") if k in values)
        said.append(f"Symmetric part, language network on {task}, {TRAINED.get(arm, arm)} (Lanczos): {ends}.")
    return said


CURVES = {
    "theorem 8": ("descent, untied (Theorem 8)", "#0072B2", "-"),
    "theorem 9": ("descent, tied (Theorem 9)", "#009E73", "--"),
    "theorem 10": ("myopic descent, untied (Theorem 10)", "#D55E00", "-."),
}


def theory(frame: pd.DataFrame, caption: str = "") -> Figure:
    """Distances against bounds, Theorem 13 with and without its condition, and bonus and malus by position."""
    if frame.empty:
        return style.nothing(caption)
    text = style.join(
        "Random convex problems; lines: median, shades: middle 80% of the seeds. Squared distances to where descent should",
        "end, in units of the first; thin: the proved bound. Left and right: planning problems with quadratic losses (log",
        "cosh ones are in the table). Bonus and malus in units of the untied gap, which is their sum.",
        f"n = {int(frame['seeds'].max())} seeds.",
        caption,
    )
    figure = style.new_figure(7.2, 2.7, 1, 3, text)
    left, middle, right = figure.axes
    planning = frame[frame["toy"] == "planning, quadratic"]
    for name, (label, color, line) in CURVES.items():
        _curve(left, planning, f"{name}, distance", label, color, line)
        _bound(left, planning, f"{name}, bound", color)
    for toy, color, line in (("forward-biased", "#882255", "-"), ("not forward-biased", "#777777", "--")):
        here = frame[frame["toy"] == toy]
        _curve(middle, here, "theorem 13, distance", f"myopic descent, {toy}", color, line)
        _bound(middle, here, "theorem 13, bound", color)
    for axis, title in ((left, "descent"), (middle, "Theorem 13")):
        axis.set(yscale="log", xlabel="step", ylabel="squared distance", title=title)
        axis.set_ylim(bottom=max(axis.get_ylim()[0], 1e-12))
    for quantity, shift, color, marker in (("bonus", -0.1, "#56B4E9", "v"), ("malus", 0.1, "#CC79A7", "^")):
        rows = planning[planning["quantity"] == quantity]
        spread = [(rows["value"] - rows["low"]).clip(lower=0), (rows["high"] - rows["value"]).clip(lower=0)]
        right.errorbar(rows["x"] + shift, rows["value"], yerr=spread, color=color, marker=marker, linestyle="none",
                       capsize=2.5, elinewidth=1, label=quantity)  # fmt: skip
    right.axhline(0, color="#000000", linewidth=0.5)
    right.set(xlabel="position", ylabel="share of the gap", title="bonus and malus")
    right.xaxis.get_major_locator().set_params(integer=True)
    style.shared_legend(figure, 3)
    return figure


def _curve(axis: Axes, frame: pd.DataFrame, quantity: str, label: str, color: str, line: str) -> None:
    rows = frame[frame["quantity"] == quantity].sort_values("x")
    if len(rows):
        axis.plot(rows["x"], rows["value"], color=color, linestyle=line, label=label)
        axis.fill_between(rows["x"], rows["low"], rows["high"], color=color, alpha=0.18, linewidth=0)


def _bound(axis: Axes, frame: pd.DataFrame, quantity: str, color: str) -> None:
    rows = frame[frame["quantity"] == quantity].sort_values("x")
    axis.plot(rows["x"], rows["value"], color=color, linewidth=0.6, alpha=0.8)
