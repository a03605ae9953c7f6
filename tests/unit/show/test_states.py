"""State folders tell who works, who is done and who died, also while processes come and go."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from myopia.show.states import CRASHED, FINISHED, RUNNING, STOPPED, WAITING, is_held, read_states
from results_folder import add_run

HOLD = """
import fcntl, sys, time
handle = open(sys.argv[1], "a+")
fcntl.flock(handle, fcntl.LOCK_EX)
print("held", flush=True)
time.sleep(60)
"""


@pytest.fixture
def holder():
    """Starts processes that hold a lock; each dies by kill -9, as crashes do."""
    started = []

    def hold(lock: Path) -> subprocess.Popen:
        process = subprocess.Popen([sys.executable, "-c", HOLD, str(lock)], stdout=subprocess.PIPE, text=True)
        started.append(process)
        assert process.stdout.readline() == "held\n"
        return process

    yield hold
    for process in started:
        process.kill()
        process.wait()


STORIES = [  # events, status, attempts, crashes
    (["start", "end"], FINISHED, 1, 0),
    (["start", "start", "end"], FINISHED, 2, 1),
    (["start", "preempted", "start", "end"], FINISHED, 2, 0),
    (["start", "preempted"], STOPPED, 1, 0),
    (["start"], CRASHED, 1, 1),
    (["start", "start", "start"], CRASHED, 3, 3),
    ([], WAITING, 0, 0),
]


def test_events_tell_the_story(tmp_path):
    for number, (events, *told) in enumerate(STORIES):
        add_run(tmp_path / str(number), "a-run", 0, events, finished=False)
        (state,) = read_states(tmp_path / str(number))
        assert [state.status, state.attempts, state.crashes] == told, events
        assert (state.run, state.seed, state.fingerprint, state.step) == ("a-run", 0, "f1", 400), events


def test_a_lock_makes_the_difference_between_work_and_death(tmp_path, holder):
    state = add_run(tmp_path, "a-run", 0, ["start", "start"], finished=False)
    process = holder(state / "lock")
    assert is_held(state / "lock")
    (seen,) = read_states(tmp_path)
    assert (seen.status, seen.attempts, seen.crashes) == (RUNNING, 2, 1)
    process.kill()
    process.wait()
    (seen,) = read_states(tmp_path)
    assert (seen.status, seen.crashes) == (CRASHED, 2) and not is_held(state / "lock")


def test_looking_takes_no_lock_away(tmp_path, holder):
    state = add_run(tmp_path, "a-run", 0, ["start"], finished=False)
    read_states(tmp_path)
    holder(state / "lock")  # would wait for ever if the reader still held it
    assert read_states(tmp_path)[0].status == RUNNING


def test_damaged_files_are_passed_over(tmp_path):
    state = add_run(tmp_path, "a-run", 0, ["start"], finished=False)
    with open(state / "attempts.jsonl", "a") as handle:
        handle.write('{"event": "en')  # killed while it wrote
    (state / "progress.json").write_text("{")
    (seen,) = read_states(tmp_path)
    assert (seen.status, seen.step) == (CRASHED, None)
    assert read_states(tmp_path / "nothing") == []
