"""The simulation of a thousand jobs, forty of them: all finish, and nothing is lost that must not be."""

import csv
import sys

from harness import ROOT, run

# Drawn so that every way of being struck occurs, and some processes die between two states.
WORDS = ("--made", "--seeds", 2, "--preempted", 0.4, "--draw", 11, "--retries", 12, "--poll", 1)


def rows(path):
    with open(path) as handle:
        return list(csv.DictReader(handle))


def test_forty_jobs_of_which_many_are_struck(tmp_path):
    done = run(ROOT, sys.executable, "benchmarks/simulate_schedule.py", "--out", tmp_path, *WORDS)
    assert "error" not in done.output
    (row,) = rows(tmp_path / "schedule.csv")
    struck = rows(tmp_path / "preemptions.csv")
    number = {
        key: int(row[key]) for key in ("training_jobs", "finished", "attempts", "attempts_accounted", "preemptions")
    }
    assert number["training_jobs"] == number["finished"] == 32
    assert number["attempts"] == number["attempts_accounted"] == 32 + number["preemptions"]
    assert number["preemptions"] == len(struck) >= 10
    assert row["runs_equal"] == row["runs_struck"] == str(len({(s["run"], s["seed"]) for s in struck}))
    lost = {how: [int(s["steps_lost"]) for s in struck if s["how"] == how] for how in ("told", "killed", "lost")}
    assert all(lost.values())
    assert not any(lost["told"]) and not any(lost["lost"])
    assert 0 < max(lost["killed"]) <= int(row["save_steps"])
