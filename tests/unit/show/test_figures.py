"""Figures draw their one csv and nothing else, whole, legible in every sight and small, and the same bytes for the same table."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.container import Container
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Text

from colours import MACHADO, distance
from myopia.common.errors import MyopiaError
from myopia.config.experiment import experiment, known
from myopia.show import style
from myopia.show.render import draw_figure

FIGURES = {figure.name: (one, figure) for one in map(experiment, known()) if not one.optional for figure in one.drawn}
APART = 8  # of CIE L*a*b*; just noticeable is about 2
THUMBNAIL, SMALLEST = 380, 7  # pixels: a picture's width in a list of figures, and what its letters keep there
PAPER = ("table1_loss_by_p", "fig2_probe_r2", "fig4_position", "table2_text_loss", "fig5_zero_shot", "fig7_gap_by_size",
         "fig11_gradient_anatomy")  # fmt: skip
"""Figures whose simulated tables hold values of the paper."""
NEUTRAL = ("fig3_neuron_correlation", "influence", "text_gap_by_step", "theory")
"""Figures whose tables hold no interval that could decide anything, or whose title is no finding."""


def figure(name: str, frame: pd.DataFrame) -> Figure:
    one, declared = FIGURES[name]
    return one.load(declared.draw)(frame)


def title(drawn: Figure) -> str:
    return next(t for t in drawn.texts if t.get_gid() == "title").get_text().replace("\n", " ")


def panels(drawn: Figure) -> list[Axes]:
    return [axis for axis in drawn.axes if axis.axison and axis.get_label() != "<colorbar>"]


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
        assert title(drawn), name
        assert ("paper" in texts(drawn)) == (name in PAPER), name
        for axis in panels(drawn):
            assert axis.get_xlabel() or not axis.get_subplotspec().is_last_row(), name
            assert axis.get_ylabel() or not axis.get_subplotspec().is_first_col() or axis.get_yticklabels(), name
            assert "symlog" not in (axis.get_xscale(), axis.get_yscale()), name
        assert not confused(drawn), name
        _nothing_overlaps(drawn, name)
        nothing = figure(name, pd.DataFrame(columns=FIGURES[name][1].columns))
        assert "not run at this scale" in [t.get_text() for t in nothing.axes[0].texts], name


def _nothing_overlaps(drawn: Figure, name: str) -> None:
    drawn.draw_without_rendering()
    head = next(t for t in drawn.texts if t.get_gid() == "title").get_window_extent()
    assert head.x1 <= drawn.bbox.x1 and head.y1 <= drawn.bbox.y1, name
    boxes = [axis.get_tightbbox() for axis in drawn.axes]
    for box in boxes:
        assert box.y1 <= head.y0 + 1, name
        assert box.x0 >= -1 and box.x1 <= drawn.bbox.x1 + 1 and box.y0 >= -1, name
    for one, other in itertools.combinations(boxes, 2):
        wide, high = min(one.x1, other.x1) - max(one.x0, other.x0), min(one.y1, other.y1) - max(one.y0, other.y0)
        assert wide < 2 or high < 2, name
    for legend in drawn.legends:
        extent = legend.get_window_extent()
        assert extent.x0 >= 0 and extent.x1 <= drawn.bbox.x1, name
        assert all(box.y0 >= extent.y1 - 1 for box in boxes), name
    for axis in panels(drawn):
        for labels in (axis.get_xticklabels(), axis.get_yticklabels()):
            shown = [t.get_window_extent() for t in labels if t.get_text() and t.get_visible() and not t.get_rotation()]
            for one, other in itertools.pairwise(shown):
                assert not one.overlaps(other), (name, [t.get_text() for t in labels])
    written = [t for t in drawn.findobj(Text) if t.get_text() and t.get_visible()]
    pixels = THUMBNAIL / drawn.get_figwidth() / 72
    assert min(t.get_fontsize() for t in written) * pixels >= SMALLEST, name


def test_a_figure_has_four_panels_at_most_however_many_corpora(tables: Path) -> None:
    for name in FIGURES:
        frame = read(tables, name)
        assert len(panels(figure(name, frame))) <= style.PANELS, name
        column = next((c for c in ("corpus", "task", "p") if c in frame.columns and frame[c].nunique() < 5), None)
        if column is None or name == "fig3_neuron_correlation":
            continue
        first = frame[frame[column] == frame[column].dropna().iloc[-1]]
        values = [0.01, 0.05, 0.2, 0.5, 1] if column == "p" else [f"corpus {k}" for k in range(5)]
        drawn = figure(name, pd.concat([first.assign(**{column: value}) for value in values]))
        assert len(panels(drawn)) <= style.PANELS, name
        _nothing_overlaps(drawn, name)


def with_intervals(frame: pd.DataFrame, half: float) -> pd.DataFrame:
    """The table with intervals of one width, or none."""
    changed = frame.copy()
    for low in (c for c in frame.columns if c.endswith("_low")):
        value = low.removesuffix("_low").replace("ci", "value").replace("band", "value")
        changed[low], changed[low.replace("_low", "_high")] = frame[value] - half, frame[value] + half
    return changed


def test_a_title_claims_what_intervals_allow(tables: Path) -> None:
    for name in FIGURES:
        frame = read(tables, name)
        tight, wide, none = (title(figure(name, with_intervals(frame, half))) for half in (1e-9, 1e3, np.nan))
        assert wide == none, name
        assert (tight == wide) == (name in NEUTRAL), name


def test_a_finding_of_some_corpora_names_them() -> None:
    rows = pd.DataFrame({"corpus": ["a", "b", "c"], "ci_low": [1.0, 2, -1], "ci_high": [3.0, 3, 2]})

    def told(frame: pd.DataFrame) -> str:
        return style.finding("topic", frame, "above", "below", by="corpus")

    assert told(rows) == "above on a and b" and told(rows[:2]) == "above" and told(rows[2:]) == "topic"
    assert told(pd.concat([rows, rows.assign(corpus="d", ci_low=-2.0, ci_high=-1.0)])) == "topic"  # they contradict
    assert style.finding("topic", rows, "above") == "topic" == style.finding("topic", rows[:0], "above")
    apart = style.between(rows[:1], pd.DataFrame({"corpus": ["a"], "ci_low": [0.0], "ci_high": [0.5]}), "corpus")
    assert apart.to_dict("records") == [{"corpus": "a", "ci_low": 0.5, "ci_high": 3.0}]


def test_networks_that_were_not_trained_are_not_drawn(tables: Path) -> None:
    for name in ("fig9_multiplication", "fig10_filler", "multiplication_digits"):
        frame = read(tables, name)
        frame["value"] = frame["value"].where(~frame.isin(["vanilla", "myopic"]).any(axis=1), 0.2)
        drawn = figure(name, frame)
        assert not panels(drawn) and "not trained at this scale" in drawn.axes[0].texts[0].get_text()


def test_bytes_follow_the_table(tables: Path, tmp_path: Path) -> None:
    one, declared = FIGURES["fig4_position"]

    def files(table: Path, folder: str) -> list[bytes]:
        draw_figure(one, declared, table, tmp_path / folder)
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
        figure(name, frame).draw_without_rendering()


def test_a_gap_that_has_not_settled_is_hollow(tables: Path) -> None:
    drawn = figure("text_gap_by_step", read(tables, "text_gap_by_step").assign(settled=0))
    assert "not shown to have settled" in title(drawn)
    assert drawn.axes[0].lines[0].get_markerfacecolor() == "white"
    assert "has settled" in title(figure("text_gap_by_step", read(tables, "text_gap_by_step").assign(settled=1)))


def test_a_size_that_has_not_settled_is_hollow_and_one_at_the_edge_crossed(tables: Path) -> None:
    frame = read(tables, "fig7_gap_by_size")
    here = (frame["panel"] == "gap") & (frame["start"] == "checkpoint") & (frame["choice"] == "best")
    frame.loc[here & (frame["size"] == "d48"), ["hollow", "edge"]] = 1
    axis = figure("fig7_gap_by_size", frame).axes[0]
    drawn = {(line.get_marker(), line.get_markerfacecolor(), len(line.get_xdata())) for line in axis.lines}
    assert ("o", "white", 1) in drawn and ("o", "#882255", 4) in drawn
    assert ("x", 1) in {(marker, n) for marker, _, n in drawn}


def test_a_grid_of_one_rate_is_no_curve(tables: Path) -> None:
    frame = read(tables, "audit_gap_by_lr")
    shown = [axis.get_title() for axis in panels(figure("audit_gap_by_lr", frame))]
    assert shown == ["d24", "d32", "d64", "d96"]  # of five with a grid four
    single = frame[(frame["size"] == "d96") & (frame["lr"] == frame["lr"].min())]
    assert "d96" in texts(figure("audit_gap_by_lr", single))  # one rate of one size is drawn all the same


def test_figures_3_and_6_are_of_the_papers_p(tables: Path) -> None:
    for name in ("fig3_neuron_correlation", "fig6_probe_estimate"):
        frame = read(tables, name)
        assert set(frame["p"]) == {0.3} and {"vanilla", "myopic"} <= set(frame["arm"])


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
    assert style.look("beta0.75").label == "beta = 0.75"


def test_bad_tables_are_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a,b\n1,2\n")
    for table, sentence in (("t.csv", "lacks the column"), ("none.csv", "cannot be read")):
        with pytest.raises(MyopiaError, match=sentence):
            draw_figure(*FIGURES["fig4_position"], tmp_path / table, tmp_path)
    assert not list(tmp_path.glob("*.svg"))
