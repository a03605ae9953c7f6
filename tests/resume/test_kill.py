"""Killed, stopped or doubled at any moment, a run ends bitwise where an unbroken one ends."""

import json
import random
import re
import signal
import subprocess
import sys
import time

import pytest

from harness import environment
from myopia.common.errors import EXIT_PREEMPTED

pytestmark = pytest.mark.slow

STEPS = 30
SAVING, SAVED = "saving state at step", "state saved at step"


def fell_into_a_write(log):
    """Whether the log ends inside a write of the state."""
    return log.rfind(SAVING) > log.rfind(SAVED)


def resumed_at(log):
    found = re.search(r"resumed at step (\d+)/", log)
    return int(found[1]) if found else 0


# --- kill -9 ---


def test_killed_anywhere_ends_bitwise_the_same(runs, unbroken):
    expected, run, draw = unbroken("text"), runs("text"), random.Random("kill text")

    # How long an undisturbed attempt with slow disks takes: the whole over which kill points are drawn.
    clock = time.monotonic()
    whole = runs("text", place="whole")
    assert whole.start().end() == 0
    length = time.monotonic() - clock
    assert whole.results() == expected

    for number in range(6):
        if number % 2:  # by the clock, anywhere in the run, the start and the outputs included
            attempt = run.start()
            attempt.process.join(draw.uniform(0, 0.6 * length))
        else:  # inside a write: some of its flushes done, some not
            attempt = run.start(fsync_s=0.1)
            attempt.wait_for(SAVING, times=draw.randint(1, 2))
            attempt.process.join(draw.uniform(0, 0.16))
        if attempt.kill() == 0:
            break
    finished = run.finish() if attempt.process.exitcode else attempt

    logs = [a.text() for a in run.attempts]
    codes = [a.process.exitcode for a in run.attempts]
    assert codes[-1] == 0 and set(codes[:-1]) == {-signal.SIGKILL}, codes
    assert sum(fell_into_a_write(log) for log in logs[:-1]) >= 1
    assert sum(resumed_at(log) > 0 for log in logs) >= 1
    assert resumed_at(finished.text()) > 0
    assert not any("set aside" in log for log in logs)  # a killed write is no damage
    steps = [resumed_at(log) for log in logs if "resumed at" in log or SAVING in log]  # others died before they began
    assert steps == sorted(steps) and all(step % 3 == 0 for step in steps)  # never back
    assert run.results() == expected
    # An attempt killed before it had read its spec has not counted itself.
    assert len(logs) / 2 <= run.timing()["attempts"] <= len(logs)
    assert not [p for p in run.folder().iterdir() if p.name.startswith(".")]
    left = sorted(p.name for p in (run.root / "state").glob("*/*/*/*"))
    assert left == ["attempts.jsonl", "lock", "progress.json", f"step-{STEPS}.json", f"step-{STEPS}.pt"]


def test_attempts_are_counted(runs, unbroken):
    run = runs("dp")
    for _ in range(2):
        attempt = run.start(_Run__train_step=0.05)
        assert attempt.wait_for(SAVED)
        attempt.kill()
    run.finish()
    assert run.timing()["attempts"] == 3
    assert json.loads((run.folder() / "provenance.json").read_text())["attempts"] == 3
    assert run.results() == unbroken("dp")


@pytest.mark.parametrize("point", ["export_model", "moving", "write_csv", "environment"])
def test_killed_between_the_final_state_and_the_outputs(point, runs, unbroken):
    run = runs("text")
    if point == "moving":  # some files of the model are in place, some are not: each waits for its flush
        attempt = run.start(fsync_s=0.1, save_steps=10**6)
        while not (run.folder() / "config.json").exists():
            assert attempt.process.is_alive()
            time.sleep(0.002)
    else:
        attempt = run.start(fsync_s=0, save_steps=10**6, **{point: 60})
        assert attempt.wait_for(f"at {point}")
    assert attempt.kill() == -signal.SIGKILL
    assert f"{SAVED} {STEPS}" in attempt.text()
    assert not (run.folder() / "metrics.json").exists()
    assert (run.folder() / "model.safetensors").exists() == (point in ("write_csv", "environment"))
    log = run.finish().text()
    assert f"resumed at step {STEPS}/{STEPS}" in log and SAVING not in log
    assert run.results() == unbroken("text")
    assert not [p for p in run.folder().iterdir() if p.name.startswith(".")]


def test_a_fine_tuning_run_killed_again_and_again(runs):
    """One process pretrains and fine-tunes, as at small scales; it is killed in both."""
    broken, reference = runs("text"), runs("text", place="reference")
    tuned = {**broken.spec, "name": "tuned", "init_from": broken.spec["name"]}
    tuned["data"] = {**tuned["data"], "first_sample": STEPS * tuned["batch_size"]}
    for run in (broken, reference):
        run.then = [tuned]
    reference.finish()
    for name in (broken.spec["name"], "tuned"):
        attempt = broken.start(fsync_s=0, _Run__train_step=0.02)
        assert attempt.wait_for(f"[{name} 0] {SAVED}")
        assert attempt.kill() == -signal.SIGKILL
    log = broken.finish().text()
    assert re.search(r"\[tuned 0\] resumed at step [1-9]", log)
    for name in (broken.spec["name"], "tuned"):
        assert broken.results(name=name) == reference.results(name=name)
    first = (broken.folder(name="tuned") / "curve.csv").read_text().splitlines()[1].split(",")
    last = (broken.folder() / "curve.csv").read_text().splitlines()[-1].split(",")
    assert first[0] == "0" and first[-1] == last[-1]  # bitwise the model it starts from


# --- told to stop ---


def test_a_signal_saves_the_state_and_says_so_by_its_exit_code(runs, unbroken):
    run, number = runs("text"), signal.SIGUSR1  # SIGTERM: the next test
    attempt = run.start(save_steps=10**6, _Run__train_step=0.1)
    assert attempt.wait_for("at _Run.train_step", times=3)
    attempt.send(number)
    assert attempt.end() == EXIT_PREEMPTED, attempt.text()
    stopped = re.search(rf"stopped by signal {number} at step (\d+), state saved", attempt.text())
    assert stopped and 0 < int(stopped[1]) < STEPS
    assert f"{SAVED} {stopped[1]}" in attempt.text()
    assert not run.folder().exists()
    assert resumed_at(run.finish().text()) == int(stopped[1])
    assert run.results() == unbroken("text")


def test_a_signal_during_evaluation(runs, unbroken):
    run = runs("dp")
    attempt = run.start(save_steps=10**6, _Run__evaluate=0.5)
    assert attempt.wait_for("at _Run.evaluate", times=2)  # before the first step and at step 7
    attempt.send(signal.SIGTERM)
    assert attempt.end() == EXIT_PREEMPTED
    assert "stopped by signal 15 at step 7, state saved" in attempt.text()
    assert resumed_at(run.finish().text()) == 7
    assert run.results() == unbroken("dp")


def test_a_signal_while_one_seed_writes_its_outputs_keeps_the_next_from_starting(runs, unbroken):
    run = runs("dp", seeds=(0, 1))
    attempt = run.start(fsync_s=0, export_model=1)
    assert attempt.wait_for("at export_model")
    attempt.send(signal.SIGTERM)
    assert attempt.end() == EXIT_PREEMPTED
    assert run.results() == unbroken("dp")
    assert not (run.root / "state" / run.spec["name"] / "seed1").exists()
    run.finish()
    assert run.results(0) == unbroken("dp") and run.results(1) == unbroken("dp", 1)
    assert run.results(0)["model.safetensors"] != run.results(1)["model.safetensors"]


def test_the_command_itself(runs):
    """Without the fork server: a process of its own, stopped, and gone on with in the server."""
    run, reference = runs("text"), runs("text", place="reference")
    run.spec = reference.spec = {**run.spec, "steps": 60}
    reference.finish()
    arguments = ["--spec", json.dumps(run.spec), "--seeds", "0", *run.data, "--save-steps", "1"]
    arguments += ["--runs", str(run.root / "runs"), "--state", str(run.root / "state"), "--log", str(run.root / "log")]
    command = [sys.executable, "-m", "myopia", "train", *arguments]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment()) as process:
        lines = []
        for line in process.stderr:
            lines.append(line)
            if SAVED in line and process.poll() is None and len(lines) < 4:
                process.send_signal(signal.SIGTERM)
        code = process.wait()
    assert code == EXIT_PREEMPTED, lines
    assert "stopped by signal 15" in lines[-1] and (run.root / "log").read_text() == "".join(lines)
    assert resumed_at(run.finish().text()) > 0
    assert run.results() == reference.results()


# --- an orphan and its successor ---


def writes(log):
    return [line for line in log.splitlines() if SAVING in line or SAVED in line]


def test_a_successor_waits_for_an_orphan_and_uses_its_end(runs, unbroken):
    run = runs("text")
    orphan = run.start(_Run__train_step=0.05)
    assert orphan.wait_for(SAVED)
    successor = run.start()
    assert successor.wait_for(f"waiting: process {orphan.pid} on ")
    assert orphan.process.is_alive() and not writes(successor.text())
    assert orphan.end() == 0
    first = run.results()
    assert successor.end() == 0
    assert f"resumed at step {STEPS}/{STEPS}" in successor.text()
    assert not writes(successor.text())  # it trained nothing
    assert first == run.results() == unbroken("text")
    assert run.timing()["attempts"] == 2


def test_a_successor_goes_on_when_the_orphan_is_killed(runs, unbroken):
    run = runs("dp")
    orphan = run.start(_Run__train_step=0.1)
    assert orphan.wait_for(SAVED)
    successor = run.start()
    assert successor.wait_for("waiting: process")
    orphan.kill()
    assert successor.end() == 0
    assert resumed_at(successor.text()) > 0
    assert run.results() == unbroken("dp")


def test_a_waiting_successor_can_be_stopped(runs):
    run = runs("dp")
    orphan = run.start(_Run__train_step=0.2)
    assert orphan.wait_for("at _Run.train_step")
    successor = run.start()
    assert successor.wait_for("waiting: process")
    successor.send(signal.SIGTERM)
    assert successor.end() == EXIT_PREEMPTED
    assert orphan.process.is_alive()
