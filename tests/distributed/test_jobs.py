"""`myopia train --devices 2`, the whole job: it ends where one process ends, whatever happens to it on the way."""

import json
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pandas as pd
import psutil
import pytest
import torch
from safetensors.torch import load_file

import forked
from fork_server import join, start_ranks
from harness import environment
from myopia.common.errors import EXIT_BAD_INPUT, EXIT_PREEMPTED
from myopia.train.launch import _exit_code
from myopia.train.signals import Preempted
from myopia.train.trainer import train
from tiny_runs import place, results, text_spec

pytestmark = pytest.mark.slow

STEPS = 30
SAVED = "state saved at step"
SPEC = text_spec(
    "myopic", dropout=0.1, steps=STEPS, micro_batch=2, precision="fp64", eval={"every": 11, "sequences": 11}
)


class Attempt:
    """One attempt at SPEC, in a place of its own or an earlier attempt's."""

    def __init__(self, root, corpus, sharding="replicate", devices=2):
        self.root = Path(root)
        self.root.mkdir(parents=True, exist_ok=True)
        self.log = self.root / f"attempt{len(list(self.root.glob('attempt*')))}.log"
        self.log.touch()
        self.devices = devices
        self.arguments = ["--spec", json.dumps(SPEC), "--seeds", "0", "--devices", str(devices), "--sharding", sharding]
        self.arguments += ["--tokens", corpus[0], "--tokenizer", corpus[1], "--save-steps", "2"]
        self.arguments += ["--progress-seconds", "1", "--log", str(self.root / "log")]
        self.arguments += ["--runs", str(self.root / "runs"), "--state", str(self.root / "state")]

    @property
    def folder(self):
        return self.root / "runs" / SPEC["name"] / "seed0"

    def text(self):
        return self.log.read_text()

    def wait_for(self, words, times=1):
        deadline = time.monotonic() + 200
        while self.text().count(words) < times:
            assert time.monotonic() < deadline and self.alive(), self.text()
            time.sleep(0.002)


class Job(Attempt):
    """The command itself, which launches the processes: 17 CPU seconds of imports."""

    def __init__(self, *place, **options):
        super().__init__(*place, **options)
        with open(self.log, "w") as handle:
            command = [sys.executable, "-m", "myopia", "train", *self.arguments]
            self.process = subprocess.Popen(command, stderr=handle, stdout=handle, env=environment())

    def alive(self):
        return self.process.poll() is None

    def process_of(self, rank):
        workers = psutil.Process(self.process.pid).children(recursive=True)
        return next(w for w in workers if w.environ().get("RANK") == str(rank))

    def end(self):
        return self.process.wait(200)


class Ranks(Attempt):
    """The processes that the command would launch, without a launcher above them."""

    def __init__(self, context, *place, **options):
        super().__init__(*place, **options)
        self.processes = start_ranks(context, self.devices, self.log, forked.command, self.arguments, self.log)

    def alive(self):
        return any(process.is_alive() for process in self.processes)

    def process_of(self, rank):
        return psutil.Process(self.processes[rank].pid)

    def end(self):
        """The exit code that the launcher would make of theirs."""
        codes = set(join(self.processes)) - {0}
        return _exit_code(codes) if codes else 0


def alone(root, corpus, state=None, stop=None):
    """The same run in this process; returns its folder."""
    where = place(root, corpus)
    where = replace(where, state=state or where.state)
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)
    try:
        train(SPEC, 0, where, stop)
    finally:
        torch.use_deterministic_algorithms(before)
    return where.folder


@pytest.fixture(scope="module")
def one(corpus, tmp_path_factory):
    """Folder of the run as one process trains it."""
    return alone(tmp_path_factory.mktemp("one"), corpus)


@pytest.fixture(scope="module")
def two(context, corpus, tmp_path_factory):
    """The job of two processes that shard the model, undisturbed."""
    job = Ranks(context, tmp_path_factory.mktemp("two"), corpus, "shard")
    assert job.end() == 0, job.text()
    return job


def resumed_at(job):
    return int(re.search(r"resumed at step (\d+)/", job.text())[1])


def assert_close(folder, other):
    a, b = (load_file(f / "model.safetensors") for f in (folder, other))
    assert a.keys() == b.keys()
    assert max(float((a[name] - b[name]).abs().max()) for name in a) < 1e-10
    curves = (pd.read_csv(f / "curve.csv") for f in (folder, other))
    pd.testing.assert_frame_equal(*curves, rtol=0, atol=1e-9)


def test_a_job_of_two_leaves_what_one_process_leaves(one, two):
    assert sorted(p.name for p in two.folder.iterdir()) == sorted(p.name for p in one.iterdir())
    assert_close(two.folder, one)
    from transformers import AutoModelForCausalLM

    model, report = AutoModelForCausalLM.from_pretrained(two.folder, output_loading_info=True)
    assert not any(report[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    assert model.config.architectures == ["GPT2LMHeadModel"]
    timing = json.loads((two.folder / "timing.json").read_text())
    assert (timing["devices"], timing["strategy"], timing["attempts"]) == (2, "shard", 1)
    assert two.text().count("finished: validation loss") == 1  # one process speaks for all
    assert (two.root / "log").read_text() in two.text()


def test_killing_a_process_then_the_launcher_spoils_nothing(one, two, corpus, tmp_path):
    job = Job(tmp_path / "broken", corpus, "shard")
    job.wait_for(SAVED, times=3)
    job.process_of(1).kill()
    assert job.end() not in (0, EXIT_PREEMPTED, EXIT_BAD_INPUT)  # with a process the job ends
    assert not (job.folder / "metrics.json").exists()
    shutil.copytree(job.root / "state" / SPEC["name"] / "seed0", tmp_path / "one" / "state")

    again = Job(job.root, corpus, "shard")
    again.wait_for(SAVED, times=2)
    assert 0 < resumed_at(again) < STEPS
    again.process.kill()
    assert again.end() == -signal.SIGKILL
    # The launcher's processes are orphans, which finish or die; who is started next waits for them, and ends as ever.
    successor = Job(job.root, corpus, "shard")
    assert successor.end() == 0, successor.text()
    assert resumed_at(successor) > resumed_at(again)
    assert results(successor.folder) == results(two.folder)  # bitwise

    # The shards that two processes wrote, read by one.
    folder = alone(tmp_path / "one", corpus)
    timing = json.loads((folder / "timing.json").read_text())
    assert (timing["devices"], timing["attempts"]) == (1, 2)
    assert_close(folder, one)


@pytest.mark.parametrize("sharding", ["replicate", "shard-recompute"])
def test_a_signal_to_any_process_saves_and_a_state_of_one_is_read_by_two(sharding, one, context, corpus, tmp_path):
    state = tmp_path / "state" / SPEC["name"] / "seed0"
    with pytest.raises(Preempted):
        alone(tmp_path, corpus, state, stop=[15])  # after one step
    job = Ranks(context, tmp_path, corpus, sharding)
    job.wait_for(SAVED, times=2)
    assert "resumed at step 1/" in job.text()
    job.process_of(1).send_signal(signal.SIGUSR1)
    assert job.end() == EXIT_PREEMPTED, job.text()
    stopped = re.search(rf"stopped by signal {signal.SIGUSR1.value} at step (\d+), state saved", job.text())
    assert stopped and f"{SAVED} {stopped[1]}" in job.text()
    assert not job.folder.exists()
    folder = alone(tmp_path, corpus, state)
    assert json.loads((folder / "timing.json").read_text())["attempts"] == 3
    assert_close(folder, one)


def test_a_batch_that_cannot_be_shared_is_refused_in_one_sentence(context, corpus, tmp_path):
    job = Ranks(context, tmp_path, corpus, devices=3)
    assert job.end() == EXIT_BAD_INPUT, job.text()
    sentence = (
        "error: batch_size 8 of run text-myopic cannot be shared equally by 3 processes: set devices to one of "
        "1, 2, 4, 8, or change batch_size"
    )
    assert [line for line in job.text().splitlines() if "error" in line.lower()] == [sentence]
    assert not (tmp_path / "state").exists() and not (tmp_path / "runs").exists()


def test_exit_codes_of_a_team():
    assert _exit_code({EXIT_PREEMPTED}) == _exit_code({EXIT_PREEMPTED, -signal.SIGTERM}) == EXIT_PREEMPTED
    assert _exit_code({1, EXIT_BAD_INPUT}) == EXIT_BAD_INPUT
    assert _exit_code({-signal.SIGSEGV, EXIT_PREEMPTED}) == EXIT_PREEMPTED  # a crash on the way out loses nothing
    assert _exit_code({-signal.SIGTERM}) == EXIT_PREEMPTED
    assert _exit_code({-signal.SIGKILL}) == _exit_code({1, -signal.SIGTERM}) == 1
