"""Charts and the planning map: what goes into them, and colours that survive colour blindness."""

from __future__ import annotations

import itertools
import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from colours import MACHADO, distance, lab
from myopia.show import style
from myopia.show.report import embed, interactive, page
from myopia.show.report.results import Results
from results_folder import REFERENCE, TEXTS, add_interactive_tables, dag_of, results_folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = results_folder(tmp_path_factory.mktemp("results") / "laptop")
    add_interactive_tables(made)
    return made


def test_charts_hold_the_rows_of_their_tables(folder):
    made = {chart.id: chart for chart in interactive.charts(Results(folder))}
    assert set(made) == {"chart-probes", "chart-influence", "chart-size"}
    size = next(iter(made["chart-size"].spec["datasets"].values()))
    table = pd.read_csv(folder / "tables/fig7_gap_by_size.csv")
    assert sorted(row["value"] for row in size) == sorted(table["value"])
    assert {row["choice"] for row in size} == {"best", "as_run", "paper"}
    cells = next(iter(made["chart-influence"].spec["datasets"].values()))
    assert all(cell["s"] <= cell["t"] for cell in cells) and {cell["target"] for cell in cells} == {
        f"w{t}" for t in range(5)
    }
    assert all("<" not in chart.json and json.loads(chart.json) == chart.spec for chart in made.values())


def test_no_table_no_chart(tmp_path):
    assert interactive.charts(Results(tmp_path)) == [] and interactive.planning_map(Results(tmp_path)) == ([], 0.0)


def test_charts_that_do_not_fit_are_left_out_and_named(folder, monkeypatch):
    monkeypatch.setattr(embed, "LIMIT", page.RESERVE + 500_000)
    html = page.render(Results(folder), dag_of(folder), REFERENCE, TEXTS)
    assert "interactive charts" in html and 'class="chart"' not in html and "vegaEmbed=" not in html


def test_the_map_shades_by_sign_and_size(folder):
    windows, cap = interactive.planning_map(Results(folder))
    assert [window.doc for window in windows] == ["pkg/file0.py:f", "pkg/file1.py:f"] and cap == pytest.approx(1.0)
    shades = [token.shade for token in windows[0].tokens]
    assert shades[0] == "first" and shades[1:] == ["m5", "m4", "m2", "m1", "z", "v1", "v2", "v4", "v5"]
    assert [token.sure for token in windows[0].tokens] == [False, *(k != 4 for k in range(9))]
    assert windows[0].tokens[9].numbers == (
        "gap +1.00 [+0.80, +1.20] nats; loss 3.00 vanilla, 4.00 myopic; predicted at position 8; 3 seeds"
    )


def test_tokens_are_shown_as_they_were():
    assert interactive.plain("a\\nb") == "a\u21b5\nb"
    assert interactive.plain("back\\\\nslash") == "back\\nslash"  # a backslash and an n, no line end
    assert interactive.plain("\\t") == "\u2192\t"


# --- colours ---


def test_the_simulation_itself():
    assert lab("#ffffff", "none")[0] == pytest.approx(100, abs=0.1)
    assert distance("#ff0000", "#00ff00", "deutan") < 0.7 * distance("#ff0000", "#00ff00", "none")


def test_the_arms_differ_in_every_sight():
    """Arms are told apart by markers and lines as well."""
    arms = [style.look(arm).color for arm in ("vanilla", "myopic", "myopic-kv", "local-hidden", "gap")]
    for colours, least in ((arms, 10), (interactive.COLORS.values(), 15)):
        for sight, (one, other) in itertools.product(MACHADO, itertools.combinations(colours, 2)):
            assert distance(one, other, sight) > least, (one, other, sight)
    looks = [style.look(name) for name in style.LOOKS]
    assert len({(look.color, look.marker, look.line) for look in looks}) == len(looks)


def test_the_map_can_be_read_in_every_sight():
    css = (Path(interactive.__file__).parent / "templates/style.css").read_text()
    found = re.findall(r"\.([vm])(\d) \{ background: rgb\((\d+) (\d+) (\d+) / ([\d.]+)\); \}", css)
    assert len(found) == 2 * interactive.SHADES
    for background in ("#fcfcfa", "#17181c"):  # of the light scheme and of the dark one
        back = np.array([int(background[k : k + 2], 16) for k in (1, 3, 5)])
        shade = {}
        for sign, level, red, green, blue, alpha in found:
            mixed = float(alpha) * np.array([int(red), int(green), int(blue)]) + (1 - float(alpha)) * back
            shade[sign + level] = "#" + "".join(f"{round(x):02x}" for x in mixed)
        for sight, level in itertools.product(MACHADO, range(2, interactive.SHADES + 1)):
            told = (background, sight, level)
            assert distance(shade[f"v{level}"], shade[f"m{level}"], sight) > 10, told
            assert distance(shade[f"v{level}"], background, sight) > distance(
                shade[f"v{level - 1}"], background, sight
            ), told
