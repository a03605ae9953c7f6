"""Costs of figures: every attempt counted, no run counted twice in the total, nothing guessed for what is missing."""

import json
from pathlib import Path

import pytest

from myopia.config.dag import Dag
from myopia.config.load import load_config
from myopia.judge.cost import COLUMNS, TOTAL, cost_of, cost_table


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


def test_a_results_folder_tells_its_figures_what_their_experiments_and_sources_cost(tmp_path):
    only = ["synthetic", "text", "dose_response"]
    dag = Dag(load_config({"scale": "smoke", "results": str(tmp_path), "experiments": only}))
    tuned = next(iter(dag.tuning))
    for run, seed, seconds in (
        ("dp-p1-vanilla", 0, 3600.0),
        ("text-docstrings-vanilla", 1, 7200.0),
        (tuned, 100, 900.0),
    ):
        folder = Path(dag.folder(run, seed))
        folder.mkdir(parents=True)
        (folder / "timing.json").write_text(json.dumps({"seconds": 1.0, "device_seconds": seconds, "attempts": 1}))
        (folder / "metrics.json").write_text(json.dumps({"tokens": 10}))
    table = cost_of(dag).set_index("figure")
    assert table.loc["table1_loss_by_p", "device_hours"] == 1 and table.loc["fig4_position", "device_hours"] == 2
    assert table.loc["dose_response", "device_hours"] == 3  # made from both
    assert table.loc[TOTAL, "device_hours"] == 3.25  # and the grid's run, which belongs to no figure
    unfinished = [folder for folder in dag.run_folders() if not Path(folder).is_dir()]
    assert table.loc[TOTAL, "missing"] == len(set(unfinished))
