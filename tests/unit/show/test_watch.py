"""make watch: the table is right while runs work in parallel, after a crash, and before anything started."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from myopia.config.load import ROOT
from myopia.show import watch
from myopia.show.states import CRASHED, FINISHED, RUNNING, STOPPED, read_states
from results_folder import add_run
from unit.show.test_states import holder  # noqa: F401

WATCH = (sys.executable, "-u", "-m", "myopia", "watch")
ENVIRONMENT = {"COLUMNS": "200", "PYTHONPATH": str(ROOT / "scripts")}


def tell(state: Path, run: str, seed: int, when: float, **more) -> None:
    """progress.json as the trainer writes it."""
    record = dict(run=run, seed=seed, step=250, steps=1000, loss=3.25, tokens_per_s=20000.0, eta_s=90.0, time=when)
    (state / "progress.json").write_text(json.dumps(record | more))


def started_at(state: Path, *events: tuple[str, float]) -> None:
    lines = [json.dumps({"event": event, "step": 0, "pid": 1, "host": "h", "time": when}) for event, when in events]
    (state / "attempts.jsonl").write_text("".join(line + "\n" for line in lines))


@pytest.fixture
def folder(tmp_path, holder):  # noqa: F811
    """Two runs at work side by side, one of them silent; one dead, one stopped, one finished; an older state of one."""
    now = time.time()
    for run, seed, age in (("text-vanilla", 0, 2.0), ("text-myopic", 0, 300.0)):
        state = add_run(tmp_path, run, seed, ["start"], finished=False)
        started_at(state, ("start", now - 400))
        tell(state, run, seed, now - age)
        holder(state / "lock")
    for run, events in (("dp-dead", ["start"]), ("dp-stopped", ["start", "preempted"]), ("dp-done", ["start", "end"])):
        state = add_run(tmp_path, run, 1, events, finished=False)
        tell(state, run, 1, 1002.0, step=1000 if run == "dp-done" else 250)
    old = add_run(tmp_path, "text-vanilla", 0, ["start"], finished=False, fingerprint="older")
    tell(old, "text-vanilla", 0, 900.0, step=7)
    return tmp_path


def test_rows_say_what_is_going_on(folder):
    rows = watch.rows(read_states(folder), time.time())
    assert [(row.run, row.status) for row in rows] == [
        ("text-myopic", RUNNING), ("text-vanilla", RUNNING), ("dp-dead", CRASHED), ("dp-stopped", STOPPED), ("dp-done", FINISHED),
    ]  # fmt: skip
    silent, busy, dead, _, done = rows
    assert (busy.step, busy.share, busy.loss, busy.tokens_per_s) == (250, 0.25, 3.25, 20000.0)
    assert 80 < busy.eta_s <= 90 and busy.remark == ""
    assert silent.remark.startswith("silent for 5 min") and silent.eta_s == 0
    assert "died; nobody holds its lock" in dead.remark and dead.eta_s is None and dead.tokens_per_s is None
    assert done.share == 1 and done.remark == ""


def test_a_resumed_run_does_not_show_its_predecessors_speed(tmp_path, holder):  # noqa: F811
    now = time.time()
    state = add_run(tmp_path, "a-run", 0, [], finished=False)
    started_at(state, ("start", now - 500), ("start", now - 3))
    tell(state, "a-run", 0, now - 100)
    holder(state / "lock")
    (row,) = watch.rows(read_states(tmp_path), now)
    assert row.status == RUNNING and row.tokens_per_s is None and row.eta_s is None
    assert row.remark == "starting; attempt 2" and row.crashes == 1


def test_the_command_draws_once(folder):
    done = subprocess.run(
        [*WATCH, "--results", folder, "--once"], capture_output=True, text=True, check=True, env=ENVIRONMENT
    )
    assert "2 running, 1 crashed, 1 stopped, 1 finished; 40,000 tokens/s in all" in done.stdout
    for line in ("text-vanilla", "250/1,000", "3.2500", "20,000", "silent for", "nobody holds its lock"):
        assert line in done.stdout
    assert "dp-done" in done.stdout.splitlines()[-1] and "1,000/1,000" in done.stdout.splitlines()[-1]


def test_nothing_there_is_no_error(tmp_path):
    done = subprocess.run(
        [*WATCH, "--results", tmp_path / "x", "--once"], capture_output=True, text=True, check=True, env=ENVIRONMENT
    )
    assert "no run has started here" in done.stdout


def test_it_follows_a_run_that_dies(tmp_path, holder):  # noqa: F811
    """Live, in a terminal's place: the same process shows the run at work and then dead."""
    now = time.time()
    state = add_run(tmp_path, "a-run", 0, ["start"], finished=False)
    started_at(state, ("start", now))
    tell(state, "a-run", 0, now)
    owner = holder(state / "lock")
    watcher = subprocess.Popen(
        [*WATCH, "--results", tmp_path, "--every", "0.1"], stdout=subprocess.PIPE, text=True,
        env={**ENVIRONMENT, "COLUMNS": "160", "FORCE_COLOR": "1", "TERM": "xterm"},
    )  # fmt: skip
    seen, deadline = "", time.monotonic() + 60
    try:
        while "died" not in seen and time.monotonic() < deadline:
            seen += watcher.stdout.readline()
            if "running" in seen and owner.poll() is None:
                owner.kill()
                owner.wait()
    finally:
        watcher.kill()
        watcher.wait()
    assert "running" in seen.split("died")[0] and "nobody holds its lock" in seen


def test_spans():
    assert [watch.span(s) for s in (None, float("inf"), 45, 200, 7500)] == ["", "", "45 s", "3 min 20 s", "2 h 05 min"]
