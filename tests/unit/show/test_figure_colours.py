"""Every figure can be read in every sight: what a legend tells apart, colour-blind readers can tell apart, too."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from matplotlib.colors import to_hex
from matplotlib.container import Container
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from test_report_interactive import MACHADO, distance

from myopia.show import render
from unit.show.test_figures import CAPTION, NAMES, read

APART = 8  # of CIE L*a*b*; just noticeable is about 2


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


@pytest.mark.parametrize("name", NAMES)
def test_legends_hold_in_every_sight(name: str, tables: Path) -> None:
    confused = {
        (one[0], other[0], sight)
        for one, other in itertools.combinations(handles(render.FIGURES[name][0](read(tables, name), CAPTION)), 2)
        for sight in MACHADO
        if one[2] == other[2] and distance(one[1], other[1], sight) < APART
    }
    assert not confused


def test_it_would_see_red_beside_green() -> None:
    drawn = Figure()
    axis = drawn.add_subplot()
    for label, colour in (("good", "#5c8d28"), ("bad", "#c25f28")):
        axis.plot([0, 1], color=colour, label=label)
    good, bad = handles(drawn)
    assert good[2] == bad[2] and distance(good[1], bad[1], "none") > 40
    assert min(distance(good[1], bad[1], sight) for sight in MACHADO) < APART * 2
