"""Figures draw their one csv and nothing else, whole, legible in every sight, and the same bytes for the same table."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from matplotlib.container import Container
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from colours import MACHADO, distance
from myopia.common.errors import MyopiaError
from myopia.config.experiment import experiment, known
from myopia.show import style
from myopia.show.render import draw_figure

FIGURES = {figure.name: (one, figure) for one in map(experiment, known()) if not one.optional for figure in one.drawn}
CAPTION = "Laptop scale: a = 3, b = 4."
APART = 8  # of CIE L*a*b*; just noticeable is about 2
TOLD = {
    "table1_loss_by_p": ["paper, vanilla", "n = 3 seeds, 16 blocks"],
    "fig2_probe_r2": ["p = 0.3", "untrained network", "paper, vanilla"],
    "fig4_position": ["paper, myopic", "simultaneous", "n = 5 seeds, 24 documents"],
    "fig5_zero_shot": ["WinoGrande not run at this scale", "(3 models)", "n = 1-5 seeds, 120-240 held-out units"],
    "fig7_gap_by_size": ["at equal vanilla loss", "paper, last training losses", "tuning seeds"],
    "three_myopias": ["197 seeds"],  # three of two hundred are tuning seeds
    "dose_response": ["D_p, p = 1: gap closed", "half of the gap", "n = 3-5 seeds"],
}
"""What figures must say of their data."""


def figure(name: str, frame: pd.DataFrame) -> Figure:
    one, declared = FIGURES[name]
    return one.load(declared.draw)(frame, CAPTION)


def read(folder: Path, name: str) -> pd.DataFrame:
    return style.read_table(folder / f"{name}.csv", list(FIGURES[name][1].columns))


def texts(drawn: Figure) -> str:
    """Everything written on a figure."""
    found = [t.get_text() for t in drawn.texts]
    for axis in drawn.axes:
        found += [axis.get_title(), axis.get_xlabel(), axis.get_ylabel()]
        found += [t.get_text() for t in (*axis.get_xticklabels(), *axis.get_yticklabels())]
    for legend in drawn.legends:
        found += [t.get_text() for t in legend.get_texts()]
    return "\n".join(found).replace("\u00a0", " ").replace("\n", " ")


def handles(drawn: Figure) -> list[tuple[str, str, tuple[str, ...]]]:
    """(label, colour, form) of all that a legend of the figure names; form is what colour blindness does not touch."""
    found = {}
    for axis in drawn.axes:
        for handle, label in zip(*axis.get_legend_handles_labels(), strict=True):
            artist = handle[0] if isinstance(handle, Container | tuple) else handle
            if isinstance(artist, Line2D):
                marker, line = (
                    str(x).replace("None", "").strip() for x in (artist.get_marker(), artist.get_linestyle())
                )
                face = artist.get_markerfacecolor()
                hollow = bool(marker) and (face == "none" or to_hex(face) == "#ffffff")
                found[label] = (to_hex(artist.get_color()), (marker, line if not marker else "", str(hollow)))
            else:
                colours = [c for c in (artist.get_facecolor(), artist.get_edgecolor()) if len(c)]
                colour = colours[0][0] if getattr(colours[0], "ndim", 1) == 2 else colours[0]
                found[label] = (to_hex(colour), (type(artist).__name__,))
    return [(label, *told) for label, told in found.items()]


def confused(drawn: Figure) -> set[tuple[str, str, str]]:
    """Pairs of labels of one form whose colours some sight cannot tell apart."""
    return {
        (one[0], other[0], sight)
        for one, other in itertools.combinations(handles(drawn), 2)
        for sight in MACHADO
        if one[2] == other[2] and distance(one[1], other[1], sight) < APART
    }


@pytest.mark.parametrize("of", sorted({one.name for one, _ in FIGURES.values()}))
def test_figures_are_whole_and_legible(of: str, tables: Path) -> None:
    for name in (name for name, (one, _) in FIGURES.items() if one.name == of):
        drawn = figure(name, read(tables, name))
        written = texts(drawn)
        assert CAPTION in written and "seed" in written, name
        assert not [told for told in TOLD.get(name, ()) if told not in written], name
        for axis in drawn.axes:
            if axis.axison and axis.get_label() != "<colorbar>":
                last_row = axis.get_subplotspec().is_last_row()
                first_column = axis.get_subplotspec().is_first_col()
                assert axis.get_xlabel() or not last_row or name.startswith("table1"), name
                assert axis.get_ylabel() or not first_column or axis.get_yticklabels(), name
        assert not confused(drawn), name
        _nothing_overlaps(drawn, name)
        nothing = figure(name, pd.DataFrame(columns=FIGURES[name][1].columns))
        assert "not run at this scale" in [t.get_text() for t in nothing.axes[0].texts], name


def _nothing_overlaps(drawn: Figure, name: str) -> None:
    drawn.draw_without_rendering()
    caption = next(t for t in drawn.texts if t.get_gid() == "caption").get_window_extent()
    assert caption.x1 <= drawn.bbox.x1, name
    boxes = [axis.get_tightbbox() for axis in drawn.axes]
    assert all(box.y0 >= caption.y1 - 1 for box in boxes), name
    for legend in drawn.legends:
        extent = legend.get_window_extent()
        assert extent.x0 >= 0 and extent.x1 <= drawn.bbox.x1, name
        assert all(box.y1 <= extent.y0 + 1 or box.x1 <= extent.x0 for box in boxes), name


def test_bytes_follow_the_table(tables: Path, tmp_path: Path) -> None:
    one, declared = FIGURES["fig4_position"]

    def files(table: Path, folder: str) -> list[bytes]:
        draw_figure(one, declared, table, tmp_path / folder, CAPTION)
        return [(tmp_path / folder / f"{declared.name}.{ending}").read_bytes() for ending in ("svg", "png")]

    first = files(tables / "fig4_position.csv", "a")
    assert first == files(tables / "fig4_position.csv", "b")
    frame = pd.read_csv(tables / "fig4_position.csv")
    frame["value"] = np.random.default_rng(0).uniform(0.05, 0.5, len(frame))
    frame.to_csv(tmp_path / "noise.csv", index=False)
    noise = files(tmp_path / "noise.csv", "c")
    assert first[0] != noise[0] and first[1] != noise[1]
    assert first[0].startswith(b"<?xml") and first[1].startswith(b"\x89PNG") and b"<dc:date>" not in first[0]


def test_one_seed_and_one_arm_are_drawn(tables: Path) -> None:
    for name in ("table1_loss_by_p", "fig4_position", "induction"):
        frame = read(tables, name)
        frame = frame[frame["series" if "series" in frame.columns else "arm"] == "vanilla"].assign(seeds=1)
        frame[[c for c in frame.columns if c.startswith(("ci_", "band_"))]] = np.nan
        drawn = figure(name, frame)
        drawn.draw_without_rendering()
        assert "no interval from one seed" in texts(drawn), name


def test_a_rising_gap_is_hollow(tables: Path) -> None:
    drawn = figure("text_gap_by_step", read(tables, "text_gap_by_step").assign(settled=0))
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


def test_it_would_see_red_beside_green() -> None:
    drawn = Figure()
    axis = drawn.add_subplot()
    for label, colour in (("good", "#5c8d28"), ("bad", "#c25f28")):
        axis.plot([0, 1], color=colour, label=label)
    good, bad = handles(drawn)
    assert good[2] == bad[2] and distance(good[1], bad[1], "none") > 40
    assert min(distance(good[1], bad[1], sight) for sight in MACHADO) < APART * 2


def test_the_palette_tells_arms_apart() -> None:
    arms = ["vanilla", "myopic", "myopic-kv", "beta1", "local-hidden", "local-kv", "bigram-zeroed", "bigram-true"]
    assert len({style.look(a).color for a in arms}) == len(arms)
    assert len({style.look(a).marker for a in arms}) == len(arms)
    assert style.in_order(["new", "myopic", "vanilla"]) == ["vanilla", "myopic", "new"]


def test_bad_tables_are_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a,b\n1,2\n")
    for table, sentence in (("t.csv", "lacks the column"), ("none.csv", "cannot be read")):
        with pytest.raises(MyopiaError, match=sentence):
            draw_figure(*FIGURES["fig4_position"], tmp_path / table, tmp_path)
    assert not list(tmp_path.glob("*.svg"))
