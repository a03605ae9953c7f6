"""The parts of the report that answer to a pointer: Vega-Lite charts, and text coloured token by token.

Every chart repeats what a figure of its section shows, so nothing is lost where no script runs. The charts' library is
put into the page; it is drawn without `eval` (Vega's expression interpreter), because the page's policy forbids that.
"""

from __future__ import annotations

import functools
import json
import math
from dataclasses import dataclass
from typing import Any

import altair as alt
import pandas as pd

from myopia.show.report.results import Results

COLORS = {"best": "#0072B2", "matched": "#009E73", "as_run": "#D55E00", "paper": "#000000"}
CHOICES = {
    "best": "each arm at its best rate",
    "matched": "both at vanilla's best rate",
    "as_run": "the authors' unequal rates",
    "paper": "paper (Pythia)",
}
GAP = "gap, myopic - vanilla (nats/token)"
alt.data_transformers.disable_max_rows()


@dataclass(frozen=True)
class Chart:
    """A Vega-Lite specification with what a reader is told about it."""

    id: str
    section: str
    title: str
    help: str
    spec: dict[str, Any]

    @property
    def json(self) -> str:
        """The specification as a script's text: `<` is escaped, so that no data can end the script."""
        return json.dumps(self.spec, sort_keys=True, separators=(",", ":")).replace("<", "\\u003c")


def charts(results: Results) -> list[Chart]:
    """Every chart whose table exists."""
    made = (probe_heat(results), influence(results), gap_by_size(results))
    return [chart for chart in made if chart is not None]


@functools.cache
def vega() -> str:
    """Vega, Vega-Lite and Vega-Embed in one script, of the versions altair writes for."""
    import vl_convert

    version = ".".join(alt.SCHEMA_VERSION.removeprefix("v").split(".")[:2])
    return vl_convert.javascript_bundle(vl_version=version).replace("</script", "<\\/script")


def _spec(chart: Any) -> dict[str, Any]:
    spec = chart.configure(font="system-ui, sans-serif", background="#ffffff").configure_axis(labelLimit=0).to_dict()
    spec.pop("$schema", None)  # an address the page would never ask for, but why name one
    return spec


# --- probes ---


def probe_heat(results: Results) -> Chart | None:
    """R² by layer and lookback of every arm and p: the judged probe, and the same network before training."""
    frame = results.table("fig2_probe_r2")
    if frame is None:
        return None
    frame = frame[(frame["kind"] == "ours") & (frame["metric"] == "noisy") & (frame["feature"] == "sin")]
    frame = frame[(frame["weights"] == "trained") | ((frame["weights"] == "untrained") & (frame["arm"] == "vanilla"))]
    if frame.empty:
        return None
    untrained = frame["weights"] == "untrained"
    frame = frame.assign(
        network=frame["arm"].where(~untrained, "untrained"), task="p = " + frame["p"].map("{:g}".format)
    )
    # One facet, not rows by columns: Vega-Lite puts panels of an incomplete grid under the wrong headings.
    frame = frame.assign(panel=frame["network"] + ", " + frame["task"])
    columns = ["panel", "network", "task", "layer", "lookback", "value", "ci_low", "ci_high", "seeds"]
    names = ("vanilla", "myopic", "untrained", "beta1", "myopic-kv")
    panels = frame.sort_values("p")["panel"].unique()
    order = [f"{name}, {task}" for task in frame.sort_values("p")["task"].unique() for name in names]
    order = [panel for panel in order if panel in panels] + [
        panel for panel in panels if panel.split(",")[0] not in names
    ]
    chart = (
        alt.Chart(_rounded(frame[columns]))
        .mark_rect(stroke="#ffffff", strokeWidth=0.5)
        .encode(
            x=alt.X("lookback:O", title="lookback", axis=alt.Axis(labelAngle=0)),
            y=alt.Y("layer:O", title="layer", sort="descending"),
            color=alt.Color("value:Q", title="R²", scale=alt.Scale(scheme="viridis", domain=[0, 1], clamp=True)),
            tooltip=[
                alt.Tooltip("network:N"),
                alt.Tooltip("task:N"),
                alt.Tooltip("layer:O"),
                alt.Tooltip("lookback:O"),
                alt.Tooltip("value:Q", title="R², held out, through noise", format=".3f"),
                alt.Tooltip("ci_low:Q", title="95 % from", format=".3f"),
                alt.Tooltip("ci_high:Q", title="to", format=".3f"),
                alt.Tooltip("seeds:Q"),
            ],
        )
        .properties(width=150, height=66)
        .facet(
            facet=alt.Facet("panel:N", title=None, sort=order),
            columns=4,
            spacing=14,
        )
    )
    return Chart(
        "chart-probes",
        "synthetic",
        "R² of the probe, cell by cell",
        "Point at a cell for its value, interval and seeds. Lookback 0 is the present input; layer 0 is the embedding.",
        _spec(chart),
    )


# --- influence ---


def influence(results: Results) -> Chart | None:
    """||d loss_t / d e_s|| of one window, a matrix for each network."""
    frame = results.table("influence")
    if frame is None:
        return None
    seed = frame["seed"].min()
    frame = frame[frame["seed"] == seed]
    words = frame.drop_duplicates(["model", "s"]).set_index(["model", "s"])["token"]
    frame = frame.assign(
        source=frame["token"],
        target=[words.get((model, t), "") for model, t in zip(frame["model"], frame["t"], strict=True)],
    )
    frame = frame[frame["s"] <= frame["t"]]  # no loss depends on inputs after it, in any network
    columns = ["arm", "t", "s", "influence", "source", "target"]
    order = [name for name in ("vanilla", "myopic") if name in set(frame["arm"])]
    order += sorted(set(frame["arm"]) - set(order))
    chart = (
        alt.Chart(_rounded(frame[columns]))
        .mark_rect()
        .encode(
            x=alt.X("s:O", title="input s", axis=alt.Axis(labelAngle=0, labelOverlap=True)),
            y=alt.Y("t:O", title="loss at t", axis=alt.Axis(labelOverlap=True)),
            color=alt.Color(
                "influence:Q",
                title="gradient norm",
                scale=alt.Scale(type="sqrt", scheme="purpleblue"),
            ),
            tooltip=[
                alt.Tooltip("arm:N", title="network"),
                alt.Tooltip("target:N", title="reading at t"),
                alt.Tooltip("t:O"),
                alt.Tooltip("source:N", title="input at s"),
                alt.Tooltip("s:O"),
                alt.Tooltip("influence:Q", title="norm", format=".3g"),
            ],
        )
        .properties(width=250, height=250)
        .facet(column=alt.Column("arm:N", title=None, sort=order), spacing=14)
    )
    return Chart(
        "chart-influence",
        "text",
        "Who plans for whom, pair by pair",
        f"One window, seed {seed}. A cell is the norm of the gradient of the loss at t with respect to the input embedding at s: "
        "off the diagonal the past is being shaped for the future. In the cut network nothing is left there.",
        _spec(chart),
    )


# --- gap against size ---


def gap_by_size(results: Results) -> Chart | None:
    """Gap against parameters, a switch for every way of choosing learning rates and one for the paper's points."""
    frame = results.table("fig7_gap_by_size")
    if frame is None:
        return None
    frame = frame[(frame["panel"] == "gap") & frame["value"].notna()]
    paper = frame["kind"] == "paper"
    frame = frame.assign(
        choice=frame["choice"].where(~paper, "paper"), parameters=frame["n_params"].fillna(frame["x"]),
        group=frame["group"].fillna("") if "group" in frame else "",
    )  # fmt: skip
    frame = frame[frame["choice"].isin(CHOICES) & frame["parameters"].notna()]
    if frame.empty:
        return None
    present = [choice for choice in CHOICES if choice in set(frame["choice"])]
    frame = frame.assign(
        how=frame["choice"].map(CHOICES), settled=frame["hollow"].map({0: "yes", 1: "still rises"}).fillna("")
    )
    columns = [
        "choice",
        "how",
        "start",
        "size",
        "parameters",
        "value",
        "ci_low",
        "ci_high",
        "seeds",
        "settled",
        "group",
    ]
    scale = alt.Scale(domain=[CHOICES[c] for c in present], range=[COLORS[c] for c in present])
    switches = {
        choice: alt.param(name=f"show_{choice}", value=True, bind=alt.binding_checkbox(name=f"{CHOICES[choice]} "))
        for choice in present
    }
    shown = " || ".join(f"(datum.choice == '{choice}' && show_{choice})" for choice in present)
    axis = alt.Axis(format="~s", labelExpr="replace(datum.label, 'G', 'B')", grid=False, tickCount=8)
    x = alt.X("parameters:Q", title="parameters", scale=alt.Scale(type="log"), axis=axis)
    color = alt.Color("how:N", title=None, scale=scale, legend=alt.Legend(orient="top", columns=2, labelLimit=0))
    base = alt.Chart(_rounded(frame[columns])).transform_filter(shown)
    known = frame["ci_low"].notna().any()  # one seed gives no interval, and an empty layer no axis
    bars = [base.mark_rule().encode(x=x, y=alt.Y("ci_low:Q", title=GAP), y2="ci_high:Q", color=color)] if known else []
    lines = base.mark_line(strokeWidth=1, strokeDash=[3, 3]).encode(
        x=x, y=alt.Y("value:Q", title=GAP), color=color, detail=["start:N", "group:N"]
    )
    points = base.mark_point(size=70, filled=True).encode(
        x=x,
        y="value:Q",
        color=color,
        shape=alt.Shape("start:N", title="start", legend=alt.Legend(orient="top")),
        fillOpacity=alt.condition("datum.settled == 'still rises'", alt.value(0), alt.value(0.9)),
        stroke=color,
        tooltip=[
            alt.Tooltip("size:N"),
            alt.Tooltip("parameters:Q", format=",d"),
            alt.Tooltip("how:N", title="rates"),
            alt.Tooltip("start:N"),
            alt.Tooltip("value:Q", title="gap", format=".3f"),
            alt.Tooltip("ci_low:Q", title="95 % from", format=".3f"),
            alt.Tooltip("ci_high:Q", title="to", format=".3f"),
            alt.Tooltip("seeds:Q"),
            alt.Tooltip("settled:N"),
            alt.Tooltip("group:N", title="measured on"),
        ],
    )
    chart = alt.layer(*bars, lines, points).add_params(*switches.values()).properties(width="container", height=320)
    return Chart(
        "chart-size",
        "size_sweep",
        "Gap against size, switch by switch",
        "Switch the ways of choosing learning rates on and off. Hollow: the gap still rises, its size is no answer yet. "
        "The paper's sizes are orders of magnitude larger than most of ours.",
        _spec(chart),
    )


def _rounded(frame: pd.DataFrame) -> pd.DataFrame:
    """Four significant digits: a tooltip needs no more, and the page is smaller."""

    def four(x: Any) -> Any:
        return float(f"{x:.4g}") if isinstance(x, float) and math.isfinite(x) else x

    return frame.map(four)


# --- the planning map ---


@dataclass(frozen=True)
class Token:
    """One token of a window as the page shows it."""

    text: str
    position: int
    shade: str  # css class: v1..v5 vanilla better, m1..m5 myopic better, z about equal, first
    sure: bool  # the interval leaves 0 out
    numbers: str  # for pointer and screen reader


@dataclass(frozen=True)
class Window:
    """A window of held-out text."""

    corpus: str
    doc: str
    tokens: list[Token]


SHADES = 5
CAP_QUANTILE = 0.95


def planning_map(results: Results) -> tuple[list[Window], float]:
    """Windows with every token's shade, and the gap (nats) at which the colour saturates."""
    frame = results.table("planning_map")
    if frame is None:
        return [], 0.0
    cap = float(frame["gap"].abs().quantile(CAP_QUANTILE))
    windows = []
    for (corpus, _, doc), rows in frame.groupby(["corpus", "window", "doc"], sort=True):
        tokens = [_token(row, cap) for row in rows.sort_values("position").itertuples()]
        windows.append(Window(str(corpus), str(doc), tokens))
    return windows, cap


def _token(row: Any, cap: float) -> Token:
    text = plain(str(row.token))
    if pd.isna(row.gap):
        return Token(text, int(row.position), "first", False, "read first; nothing predicts it")
    level = min(SHADES, math.ceil(abs(row.gap) / cap * SHADES - 0.5)) if cap > 0 else 0
    shade = f"{'v' if row.gap > 0 else 'm'}{level}" if level else "z"
    interval = "" if pd.isna(row.ci_low) else f" [{row.ci_low:+.2f}, {row.ci_high:+.2f}]"
    sure = bool(not pd.isna(row.ci_low) and (row.ci_low > 0 or row.ci_high < 0))
    numbers = (
        f"gap {row.gap:+.2f}{interval} nats; loss {row.loss_vanilla:.2f} vanilla, {row.loss_myopic:.2f} myopic; "
        f"predicted at position {row.position:g}; {row.seeds:g} seed{'' if row.seeds == 1 else 's'}"
    )
    return Token(text, int(row.position), shade, sure, numbers)


def plain(token: str) -> str:
    """A token's text as it was: the tables keep line ends and tabs as two characters each."""
    parts = token.split("\\\\")
    return "\\".join(
        part.replace("\\n", "\u21b5\n").replace("\\r", "\u240d").replace("\\t", "\u2192\t") for part in parts
    )
