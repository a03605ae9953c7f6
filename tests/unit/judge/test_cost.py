"""Costs of figures: every attempt counted, no run counted twice in the total, nothing guessed for what is missing."""

import json
from pathlib import Path

import pytest

from myopia.judge.cost import COLUMNS, TOTAL, cost_table, run_places


@pytest.fixture
def runs(tmp_path):
    """Three run folders with timings, a state of 300 bytes for the first, and a folder that has not finished."""
    folders = {}
    for name, seconds, attempts in (("a", 3600.0, 3), ("b", 1800.0, 1), ("c", 900.0, 1)):
        folder = tmp_path / "runs" / name
        folder.mkdir(parents=True)
        (folder / "timing.json").write_text(
            json.dumps({"seconds": 1.0, "device_seconds": seconds, "attempts": attempts})
        )
        (folder / "metrics.json").write_text(json.dumps({"tokens": 1000}))
        folders[name] = str(folder)
    (tmp_path / "runs" / "unfinished").mkdir()
    folders["unfinished"] = str(tmp_path / "runs" / "unfinished")
    (tmp_path / "state" / "print").mkdir(parents=True)
    (tmp_path / "state" / "print" / "step-2.pt").write_bytes(b"x" * 300)
    return folders, {folders["a"]: str(tmp_path / "state")}


def test_costs_are_summed_by_figure_and_once_in_all(runs):
    folders, states = runs
    figures = {"one": [folders["a"], folders["b"]], "two": [folders["b"], folders["unfinished"]]}
    table = cost_table(figures, list(folders.values()), states, watts=100).set_index("figure")
    assert list(table.index) == ["one", "two", TOTAL] and list(table.columns) == COLUMNS[1:]
    assert table.loc["one", ["runs", "missing", "attempts", "tokens"]].tolist() == [2, 0, 4, 2000]
    assert table.loc["two", ["runs", "missing", "attempts", "tokens"]].tolist() == [1, 1, 1, 1000]
    assert table["device_hours"].tolist() == pytest.approx([1.5, 0.5, 1.75])
    assert table["kwh"].tolist() == pytest.approx([0.15, 0.05, 0.175])
    bytes_of_a = 300 + sum(len(Path(folders["a"], f"{n}.json").read_bytes()) for n in ("timing", "metrics"))
    only_a = cost_table({}, [folders["a"]], states, 100)
    assert only_a["disk_gb"].tolist() == pytest.approx([bytes_of_a / 1e9])


def test_runs_from_before_device_seconds_count_what_they_remember(runs):
    folders, _ = runs
    path = f"{folders['c']}/timing.json"
    with open(path, "w") as handle:
        json.dump({"seconds": 720.0, "attempts": 2}, handle)
    assert cost_table({}, [folders["c"]], {}, 10)["device_hours"].tolist() == pytest.approx([0.2])


def test_runs_are_named_with_their_seeds():
    folders, states = run_places(
        "results/x", {"text": [["runs/a", [0, 7]], ["arms/b", [0]]], "tuning": [["runs/c", []]]}
    )
    assert folders == {
        "text": ["results/x/runs/a/seed0", "results/x/runs/a/seed7", "results/x/arms/b/seed0"],
        "tuning": [],
    }
    assert states == {
        "results/x/runs/a/seed0": "results/x/.state/a/seed0",
        "results/x/runs/a/seed7": "results/x/.state/a/seed7",
        "results/x/arms/b/seed0": "results/x/.state/b/seed0",
    }


def test_the_command_adds_up_what_it_is_told_of(runs, tmp_path):
    (tmp_path / "runs/a").rename(tmp_path / "moved")
    (tmp_path / "runs/a").mkdir()
    (tmp_path / "moved").rename(tmp_path / "runs/a/seed0")
    import tabulate_cost

    told = {"--figures": '{"one": ["text"]}', "--runs": '{"text": [["runs/a", [0, 1]]]}', "--results": str(tmp_path)}
    words = [word for pair in told.items() for word in pair]
    tabulate_cost.main([*words, "--watts", "10", "--out", str(tmp_path / "cost.csv")])
    lines = (tmp_path / "cost.csv").read_text().splitlines()
    assert lines[1].startswith("one,1,1,3,") and lines[2].startswith(f"{TOTAL},1,1,3,")
