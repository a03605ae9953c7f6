"""Figures draw their one csv and nothing else: same bytes for the same table, other bytes for noise."""

from __future__ import annotations

import importlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from myopia.common.errors import MyopiaError
from myopia.judge.tables import FIGURES as TABLES
from myopia.show import render, style

NAMES = sorted(render.FIGURES)
NOISY = {"value", "abs_corr", "influence", "gap"}
CAPTION = "Laptop scale: a = 3, b = 4."


def draw(name: str, table: Path, out: Path) -> tuple[bytes, bytes]:
    """Run the figure's own script and return its SVG and PNG."""
    out.mkdir(exist_ok=True)
    svg, png = out / f"{name}.svg", out / f"{name}.png"
    script = importlib.import_module(f"plot_{name}")
    script.main(["--table", str(table), "--svg", str(svg), "--png", str(png), "--caption", CAPTION])
    return svg.read_bytes(), png.read_bytes()


def figure(name: str, frame: pd.DataFrame) -> Figure:
    return render.FIGURES[name][0](frame, CAPTION)


def read(tables: Path, name: str) -> pd.DataFrame:
    return style.read_table(tables / f"{name}.csv", render.FIGURES[name][1].split(","))


@pytest.fixture(scope="module")
def drawn_of(tables: Path) -> dict[str, Figure]:
    """Every figure once, for tests that only look."""
    return {name: figure(name, read(tables, name)) for name in NAMES}


def texts(drawn: Figure) -> str:
    """Everything written on a figure."""
    found = [t.get_text() for t in drawn.texts]
    for axis in drawn.axes:
        found += [axis.get_title(), axis.get_xlabel(), axis.get_ylabel()]
        found += [t.get_text() for t in (*axis.get_xticklabels(), *axis.get_yticklabels())]
    for legend in drawn.legends:
        found += [t.get_text() for t in legend.get_texts()]
    return "\n".join(found).replace("\u00a0", " ").replace("\n", " ")


@pytest.mark.parametrize("name", NAMES)
def test_bytes_follow_the_table(name: str, tables: Path, tmp_path: Path) -> None:
    path = tables / f"{name}.csv"
    first = draw(name, path, tmp_path / "a")
    assert first == draw(name, path, tmp_path / "b")
    frame = pd.read_csv(path, keep_default_na=False, na_values=[""])
    rng = np.random.default_rng(0)
    for column in NOISY & set(frame.columns):
        frame[column] = rng.uniform(0.05, 0.5, len(frame))
    frame.to_csv(tmp_path / "noise.csv", index=False)
    noise = draw(name, tmp_path / "noise.csv", tmp_path / "c")
    assert first[0] != noise[0]
    assert first[1] != noise[1]
    assert first[0].startswith(b"<?xml")
    assert first[1].startswith(b"\x89PNG")
    assert b"<dc:date>" not in first[0]


def test_every_table_has_a_figure_and_a_script(tables: Path) -> None:
    assert set(TABLES) == set(render.FIGURES)
    for name, (_, columns) in TABLES.items():
        assert set(render.FIGURES[name][1].split(",")) <= set(columns)


@pytest.mark.parametrize("name", NAMES)
def test_an_empty_table_says_so(name: str, tmp_path: Path) -> None:
    pd.DataFrame(columns=TABLES[name][1]).to_csv(tmp_path / "t.csv", index=False)
    frame = style.read_table(tmp_path / "t.csv", render.FIGURES[name][1].split(","))
    assert "not run at this scale" in [t.get_text() for t in figure(name, frame).axes[0].texts]


@pytest.mark.parametrize("name", NAMES)
def test_one_seed_and_one_arm_are_drawn(name: str, tables: Path) -> None:
    frame = read(tables, name)
    series = next((c for c in ("series", "arm") if c in frame.columns), None)
    if series:
        frame = frame[frame[series] == "vanilla"]
    for column in [c for c in frame.columns if c.startswith(("ci_", "band_", "gap_"))]:
        frame[column] = np.nan
    if "seeds" in frame.columns:
        frame["seeds"] = 1
    drawn = figure(name, frame)
    drawn.draw_without_rendering()
    if "ci_low" in render.FIGURES[name][1].split(",") and name != "fig6_probe_estimate":
        assert "no interval from one seed" in texts(drawn)


@pytest.mark.parametrize("name", NAMES)
def test_captions_and_axes_are_complete(name: str, drawn_of: dict[str, Figure]) -> None:
    drawn = drawn_of[name]
    written = texts(drawn)
    assert CAPTION in written
    assert "seed" in written
    for axis in drawn.axes:
        if axis.axison and axis.get_label() != "<colorbar>":
            last_row = axis.get_subplotspec().is_last_row()
            first_column = axis.get_subplotspec().is_first_col()
            assert axis.get_xlabel() or not last_row or name.startswith("table1")
            assert axis.get_ylabel() or not first_column or axis.get_yticklabels()


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        (
            "table1_loss_by_p",
            [
                "vanilla",
                "myopic",
                "trivial predictor",
                "zero predictor",
                "paper, vanilla",
                "n = 3 seeds, 16 blocks",
                "control",
            ],
        ),
        (
            "fig2_probe_r2",
            ["layer 1", "layer 2", "p = 0.3", "untrained network", "paper, vanilla", "lookback"],
        ),
        ("fig3_neuron_correlation", ["vanilla", "myopic", "layer 2", "neuron", "One seed"]),
        ("fig6_probe_estimate", ["true sin(b x)", "probe, vanilla", "not an interval"]),
        ("intervention", ["along the pattern", "random", "full use", "lag"]),
        ("influence", ["vanilla", "myopic", "input position s", "log colour"]),
        (
            "fig4_position",
            ["gap", "paper, myopic", "nats/token", "simultaneous", "n = 5 seeds, 24 documents"],
        ),
        ("text_gap_by_step", ["training step", "nats/token", "settled"]),
        ("token_gap", ["KL(vanilla, myopic)", "seen - new", "(biased)", "easiness of the token before"]),
        ("future_probes", ["untrained network", "table given the current token", "layer 2", "tokens ahead"]),
        (
            "table2_text_loss",
            ["bigram (past zeroed)", "local (frozen hidden states)", "difference to vanilla"],
        ),
        (
            "fig7_gap_by_size",
            [
                "best against best",
                "as run (unequal rates)",
                "at equal vanilla loss",
                "paper, last training losses",
                "Slope, best against best",
                "at equal vanilla loss +",
                "tuning seeds",
                "32-62",
                "pkg0",
            ],
        ),
        ("audit_gap_by_lr", ["d24, fine-tuned", "learning rate", "arms at equal rates", "both at vanilla's best rate"]),
        (
            "fig5_zero_shot",
            [
                "cloze-docstrings",
                "LAMBADA",
                "WinoGrande not run at this scale",
                "(3 models)",
                "paper, vanilla",
                "Pythia as released (EleutherAI)",
                "lm-eval 0.4.13: ",
                "SciQ validation split (version 1.0)",
                "One seed: intervals over items alone",
                "n = 1-5 seeds, 120-240 held-out units",
            ],
        ),
        (
            "toy_capacity",
            ["vanilla, exact optimum", "myopic, trained", "overlap 0.5", "what myopia costs z2", "values of f, K"],
        ),
        ("toy_hidden_bits", ["gradient stopped", "full until half-way", "z2 permuted", "best code", "n = 12 seeds"]),
        ("three_myopias", ["1 cognitive", "2 value", "3 consequence", "197 seeds", "overlap of the computations"]),
        ("fig9_multiplication", ["vanilla - myopic", "digits of the second", "Framed", "training never showed"]),
        ("fig10_filler", ["A: padded to 3", "B: padded to 6", "6 symbols after =", "D, myopic", "change against A"]),
        ("multiplication_digits", ["6 symbols in front", "answer digit", "share right", "loss (nats)"]),
        (
            "fig11_gradient_anatomy",
            [
                "own position (myopic part)",
                "future part",
                "trained myopically",
                "AdamW step",
                "training step",
                "blocks of text",
            ],
        ),
        ("forward_bias", ["symmetric part", "untied", "no fixed point", "Lanczos", "share of eigenvalues below"]),
        ("theory", ["Theorem 13", "myopic descent, not forward-biased", "bonus", "malus", "n = 12 seeds"]),
        (
            "dose_response",
            [
                "D_p, p = 1: gap closed",
                "docstrings: gap",
                "per hop",
                "beta^k",
                "in proportion to beta",
                "half of the gap",
                "A/A control",
                "share of trivial loss",
                "nats/token",
                "n = 3-5 seeds",
            ],
        ),
        (
            "induction",
            [
                "learning curve",
                "prefix matching",
                "own copies",
                "8+",
                "by period",
                "previous token",
                "myopic",
                "knows the tokens, not their order",
                "n = 3 seeds",
            ],
        ),
    ],
)
def test_figures_hold_what_they_must(name: str, wanted: list[str], drawn_of: dict[str, Figure]) -> None:
    written = texts(drawn_of[name])
    for word in wanted:
        assert word in written


def test_a_rising_gap_is_hollow(tables: Path) -> None:
    frame = read(tables, "text_gap_by_step").assign(still_rising=1)
    drawn = figure("text_gap_by_step", frame)
    assert "still rising" in texts(drawn)
    assert drawn.axes[1].lines[0].get_markerfacecolor() == "white"


def test_a_size_that_still_rises_is_hollow_and_one_at_the_edge_crossed(tables: Path) -> None:
    frame = read(tables, "fig7_gap_by_size")
    here = (frame["panel"] == "gap") & (frame["start"] == "checkpoint") & (frame["choice"] == "best")
    frame.loc[here & (frame["size"] == "d48"), ["hollow", "edge"]] = 1
    axis = figure("fig7_gap_by_size", frame).axes[1]
    drawn = {(line.get_marker(), line.get_markerfacecolor(), len(line.get_xdata())) for line in axis.lines}
    assert ("o", "white", 1) in drawn and ("o", "#882255", 4) in drawn
    assert ("x", 1) in {(marker, n) for marker, _, n in drawn}


def test_a_grid_of_one_rate_is_no_curve(tables: Path) -> None:
    frame = read(tables, "audit_gap_by_lr")
    titles = [axis.get_title() for axis in figure("audit_gap_by_lr", frame).axes]
    assert [t for t in titles if t] == [f"{size}, fine-tuned" for size in ("d24", "d32", "d48", "d64", "d96")]
    single = frame[(frame["size"] == "d96") & (frame["lr"] == frame["lr"].min())]
    assert "d96, fine-tuned" in texts(figure("audit_gap_by_lr", single))  # one rate of one size is drawn all the same


def test_captions_do_not_run_into_axes(drawn_of: dict[str, Figure]) -> None:
    for drawn in drawn_of.values():
        drawn.draw_without_rendering()
        caption = next(t for t in drawn.texts if t.get_gid() == "caption").get_window_extent()
        assert caption.x1 <= drawn.bbox.x1
        for axis in drawn.axes:
            assert axis.get_tightbbox().y0 >= caption.y1 - 1
        for legend in drawn.legends:
            box = legend.get_window_extent()
            assert box.x0 >= 0
            assert box.x1 <= drawn.bbox.x1
            for axis in drawn.axes:
                assert axis.get_tightbbox().y1 <= box.y0 + 1 or axis.get_tightbbox().x1 <= box.x0


def test_the_palette_tells_arms_apart() -> None:
    arms = [
        "vanilla",
        "myopic",
        "myopic-kv",
        "beta1",
        "local-hidden",
        "local-kv",
        "bigram-zeroed",
        "bigram-true",
    ]
    assert len({style.look(a).color for a in arms}) == len(arms)
    assert len({style.look(a).marker for a in arms}) == len(arms)
    assert style.in_order(["new", "myopic", "vanilla"]) == ["vanilla", "myopic", "new"]


def test_bad_tables_are_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a,b\n1,2\n")
    with pytest.raises(MyopiaError, match="lacks the column"):
        draw("fig4_position", tmp_path / "t.csv", tmp_path)
    with pytest.raises(MyopiaError, match="cannot be read"):
        draw("fig4_position", tmp_path / "none.csv", tmp_path)
