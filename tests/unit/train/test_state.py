"""The state directory: only undamaged states of this run are used, one process writes at a time, a full disk loses nothing."""

import fcntl
import json
import logging
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager

import pytest
import torch

from myopia.common import locks
from myopia.common.errors import MyopiaError
from myopia.train import state as state_module
from myopia.train.signals import Preempted
from myopia.train.state import StateDirectory
from myopia.train.trainer import fingerprint, train
from tiny_runs import dp_spec, place, results


def tensors(step):
    return {"model": {"w": torch.full((2000,), float(step))}, "curve": [[step, float("nan")]]}


@pytest.fixture
def saved(tmp_path):
    """A state directory with states 3 and 6, not locked by anyone."""
    directory = StateDirectory(tmp_path, "print", "run 0")
    with directory:
        for step in (3, 6):
            directory.save(step, tensors(step), 1.5)
    return directory


def load(directory):
    with directory:
        found = directory.load()
    if found is None:
        return None
    values, record = found
    assert torch.equal(values["model"]["w"], tensors(record["step"])["model"]["w"])
    return record["step"]


def change_record(directory, number, **changes):
    path = directory.folder / f"step-{number}.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


# --- what is loaded ---


def test_newest_state_is_loaded_and_older_ones_go(saved):
    with saved:
        saved.save(9, tensors(9), 2.5)
        values, record = saved.load()
    assert record["step"] == 9 and record["seconds"] == 2.5 and not record["final"]
    assert torch.equal(values["model"]["w"], tensors(9)["model"]["w"])
    kept = sorted(p.name for p in saved.folder.iterdir())
    assert kept == ["lock", "step-6.json", "step-6.pt", "step-9.json", "step-9.pt"]
    with saved:
        saved.save(12, tensors(12), 3.0, final=True)
    assert sorted(p.name for p in saved.folder.iterdir()) == ["lock", "step-12.json", "step-12.pt"]


def flip_a_bit(directory):
    path = directory.folder / "step-6.pt"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)


DAMAGE = {
    "bit flipped": flip_a_bit,
    "tensors missing": lambda d: (d.folder / "step-6.pt").unlink(),
    "record cut short": lambda d: os.truncate(d.folder / "step-6.json", 20),
    "record is not a mapping": lambda d: (d.folder / "step-6.json").write_text("[]"),
    "record is not text": lambda d: (d.folder / "step-6.json").write_bytes(b"\xff\xfe\x00"),
    "foreign fingerprint": lambda d: change_record(d, 6, fingerprint="other"),
    "other format": lambda d: change_record(d, 6, format=state_module.FORMAT + 1),
    "other step": lambda d: change_record(d, 6, step=7),
    "key lost": lambda d: (d.folder / "step-6.json").write_text(
        (d.folder / "step-6.json").read_text().replace('"final"', '"finam"')
    ),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_bad_state_is_set_aside_and_the_one_before_is_used(saved, damage, caplog):
    damage(saved)
    with caplog.at_level(logging.WARNING):
        assert load(saved) == 3
    assert [r.levelname for r in caplog.records] == ["WARNING"]
    assert "[run 0] state at step 6 set aside, not used: " in caplog.text
    names = {p.name for p in saved.folder.iterdir()}
    assert not {"step-6.pt", "step-6.json"} & names and "step-6.json.set-aside" in names
    caplog.clear()
    assert load(saved) == 3 and not caplog.records  # said once


def test_all_states_bad_means_starting_again(saved, caplog):
    for step in (3, 6):
        change_record(saved, step, format=0)
    assert load(saved) is None
    assert caplog.text.count("set aside") == 2


def test_a_damaged_state_costs_time_but_not_the_result(tmp_path, caplog):
    spec = dp_spec(steps=12, eval={"every": 6, "sequences": 8})
    train(spec, 0, place(tmp_path / "unbroken"))
    where = place(tmp_path / "broken", save_steps=3)
    for _ in range(2):
        with pytest.raises(Preempted):
            train(spec, 0, where, stop=[15])
    (newest,) = where.state.glob("*/step-2.pt")
    newest.write_bytes(newest.read_bytes()[:-7])
    with caplog.at_level(logging.INFO):
        train(spec, 0, where)
    assert "state at step 2 set aside" in caplog.text and "resumed at step 1/12" in caplog.text
    assert results(where.folder) == results(tmp_path / "unbroken/run")


def test_what_decides_the_result_decides_the_fingerprint():
    spec = dp_spec()
    base = fingerprint(spec, 0, "data")
    assert fingerprint({**spec, "purpose": "tuning"}, 0, "data") == base
    assert fingerprint(json.loads(json.dumps(spec, sort_keys=True)), 0, "data") == base
    others = [fingerprint(spec, 1, "data"), fingerprint(spec, 0, "other")]
    others += [fingerprint({**spec, key: value}, 0, "data") for key, value in (("steps", 21), ("micro_batch", 4))]
    others.append(fingerprint({**spec, "optim": {**spec["optim"], "lr": 1e-3}}, 0, "data"))
    assert len({base, *others}) == 6


# --- a crash at any point of a write ---


@pytest.mark.parametrize("final", [False, True])
def test_a_crash_between_any_two_system_calls_leaves_a_good_state(tmp_path, final):
    """Die before the k-th flush, rename or removal of a save, for every k; the older or the newer state is whole."""
    outcomes, clean_exit = [], False
    for k in range(40):
        directory = StateDirectory(tmp_path / str(k), "print", "run 0")
        with directory:
            directory.save(3, tensors(3), 1.0)
            directory.save(6, tensors(6), 1.0)
        child = os.fork()
        if child == 0:
            _die_before_call(k)
            with directory:
                directory.save(9, tensors(9), 1.0, final=final)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        clean_exit = os.waitstatus_to_exitcode(status) == 0
        outcomes.append(load(directory))
        left = {p.name for p in directory.folder.iterdir()}
        assert not [n for n in left if ".tmp-" in n or "set-aside" in n]
        assert all(n.replace(".pt", ".json") in left for n in left if n.endswith(".pt"))
        if clean_exit:
            break
    assert clean_exit and len(outcomes) > 6
    assert set(outcomes) == {6, 9} and outcomes == sorted(outcomes)


def _die_before_call(k):
    calls = iter(range(1000))

    def dying(original):
        def call(*args, **kwargs):
            if next(calls) == k:
                os._exit(9)
            return original(*args, **kwargs)

        return call

    for name in ("fsync", "replace", "unlink"):
        setattr(os, name, dying(getattr(os, name)))


# --- one writer ---

HOLDER = (
    "import fcntl, sys, time; f = open(sys.argv[1], 'a+'); fcntl.flock(f, fcntl.LOCK_EX); "
    "f.write('process 4711 on elsewhere'); f.flush(); print('held', flush=True); time.sleep(60)"
)


@contextmanager
def held(directory):
    directory.folder.mkdir(parents=True)
    command = [sys.executable, "-S", "-c", HOLDER, str(directory.folder / "lock")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout.readline() == "held\n"
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def test_a_second_process_waits_for_the_first_to_die(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(locks, "POLL_S", 0.02)
    caplog.set_level(logging.INFO)
    directory = StateDirectory(tmp_path, "print", "run 0")
    entered = threading.Event()

    def enter():
        with directory:
            entered.set()

    with held(directory) as process:
        waiter = threading.Thread(target=enter)
        waiter.start()
        assert not entered.wait(0.4)
        assert caplog.text.count("[run 0] waiting: process 4711 on elsewhere ") == 1
        process.send_signal(signal.SIGKILL)
        assert entered.wait(10)
        waiter.join()
    assert f"process {os.getpid()} on" in (directory.folder / "lock").read_text()


def test_a_signal_ends_the_wait(tmp_path, monkeypatch):
    monkeypatch.setattr(locks, "POLL_S", 0.02)
    stop = []
    directory = StateDirectory(tmp_path, "print", "run 0", stop)
    with held(directory):
        timer = threading.Timer(0.2, lambda: stop.append(15))
        timer.start()
        started = time.monotonic()
        with pytest.raises(Preempted), directory:
            raise AssertionError("two writers")
        assert 0.1 < time.monotonic() - started < 10


def test_a_disk_that_cannot_lock_is_named(tmp_path, monkeypatch):
    def no_locks(*_):
        raise OSError(37, "No locks available")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    with pytest.raises(MyopiaError, match=r"this state folder cannot be used \(No locks available\)"):
        StateDirectory(tmp_path, "print", "run 0").__enter__()


def test_a_state_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(MyopiaError, match=r"this state folder cannot be used \(Not a directory\)"):
        StateDirectory(tmp_path / "file", "print", "run 0").__enter__()


# --- a full disk ---


@contextmanager
def no_file_beyond(n_bytes):
    """Writes past `n_bytes` of any file fail, as they do on a full disk (Python ignores SIGXFSZ: they raise)."""
    assert signal.getsignal(signal.SIGXFSZ) == signal.SIG_IGN
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_full_disk_leaves_the_last_good_state(saved):
    before = {p.name: p.read_bytes() for p in saved.folder.glob("step-*")}
    with saved, no_file_beyond(6000), pytest.raises(MyopiaError) as caught:
        saved.save(9, tensors(9), 2.0)
    assert "(File too large); the state at step 6 is intact" in str(caught.value)
    assert {p.name: p.read_bytes() for p in saved.folder.glob("*step-*")} == before
    assert load(saved) == 6


def test_full_disk_between_tensors_and_record(saved, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    with saved, monkeypatch.context() as patch:
        patch.setattr(state_module, "write_json", full)
        with pytest.raises(MyopiaError, match=r"\(No space left on device\); the state at step 6 is intact"):
            saved.save(9, tensors(9), 2.0)
        assert not (saved.folder / "step-9.pt").exists()  # it would only fill the disk
        saved.progress({})  # a watcher's file is not worth a run
    assert load(saved) == 6


def test_full_disk_before_any_state(tmp_path):
    directory = StateDirectory(tmp_path, "print", "run 0")
    with directory, no_file_beyond(1000), pytest.raises(MyopiaError, match="no earlier state exists"):
        directory.save(3, tensors(3), 1.0)
    assert load(directory) is None


def test_an_error_that_is_no_disk_is_not_called_one(saved):
    with saved, pytest.raises(Exception, match="pickle") as caught:
        saved.save(9, {"model": lambda: None}, 2.0)
    assert not isinstance(caught.value, MyopiaError)


def test_training_on_a_full_disk_stops_and_goes_on_when_there_is_room(tmp_path):
    spec = dp_spec(steps=10)
    train(spec, 0, place(tmp_path / "unbroken"))
    where = place(tmp_path / "broken", save_steps=3)
    with pytest.raises(Preempted):
        train(spec, 0, where, stop=[15])
    with (
        no_file_beyond(10_000),
        pytest.raises(MyopiaError, match="state at step 3 could not .*state at step 1 is intact"),
    ):
        train(spec, 0, where)
    assert not where.folder.exists()
    train(spec, 0, where)
    assert results(where.folder) == results(tmp_path / "unbroken/run")


def test_full_disk_while_writing_the_results(tmp_path, monkeypatch):
    from myopia.train import results as results_module

    original = results_module.export_model

    def export(*args):
        with no_file_beyond(5000):
            original(*args)

    where = place(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(results_module, "export_model", export)
        with pytest.raises(
            MyopiaError, match=r"results could not be written to .*too large.*the final state is intact"
        ) as caught:
            train(dp_spec(), 0, where)
    assert "\n" not in str(caught.value)
    assert not list(where.folder.iterdir())
    train(dp_spec(), 0, where)
    assert (where.folder / "metrics.json").exists()
