"""A tiny corpus, and runs to break."""

import json
import multiprocessing
import os
import signal
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from fork_server import context  # noqa: F401
from tiny_runs import dp_spec, make_tokens, results, text_spec

DEADLINE_S = 100


@pytest.fixture(scope="session")
def specs(tmp_path_factory):
    """{name: (spec, arguments that name its data)}: gradient accumulation and dropout in both; text over 2 epochs."""
    tokens, tokenizer = make_tokens(tmp_path_factory.mktemp("corpus"))
    half = {"steps": 30, "micro_batch": 4, "eval": {"every": 7, "sequences": 6}, "dropout": 0.1}
    return {
        "dp": (dp_spec("myopic", **half), []),
        "text": (text_spec("myopic", **half), ["--tokens", tokens, "--tokenizer", tokenizer]),
    }


@dataclass
class Attempt:
    """One started process."""

    process: multiprocessing.Process
    log: Path
    pid: int = field(init=False)

    def __post_init__(self):
        self.pid = self.process.pid

    def text(self):
        return self.log.read_text() if self.log.exists() else ""

    def wait_for(self, words, times=1):
        """Until the log holds `words` so many times (True), or the process has ended without (False)."""
        deadline = time.monotonic() + DEADLINE_S
        while time.monotonic() < deadline:
            alive = self.process.is_alive()
            if self.text().count(words) >= times:
                return True
            if not alive:
                return False
            time.sleep(0.002)
        raise AssertionError(f"{words!r} did not come; the log says\n{self.text()}")

    def send(self, number):
        os.kill(self.pid, number)

    def kill(self):
        """kill -9, if it still lives; returns its exit code."""
        if self.process.is_alive():
            self.send(signal.SIGKILL)
        return self.end()

    def end(self):
        self.process.join(DEADLINE_S)
        assert self.process.exitcode is not None, self.text()
        return self.process.exitcode


class Runs:
    """Starts attempts on one run, all in one place; one log per attempt."""

    def __init__(self, context, root, spec, data, seeds=(0,)):  # noqa: F811
        self.context, self.root, self.spec, self.data, self.seeds = context, root, spec, data, seeds
        self.attempts, self.then = [], []  # `then`: specs trained after the first one

    def start(self, fsync_s=0.05, save_steps=3, **pauses):
        import forked

        arguments = [f"--spec={json.dumps(spec)}" for spec in (self.spec, *self.then)]
        arguments += ["--seeds", ",".join(map(str, self.seeds)), *self.data]
        arguments += ["--runs", str(self.root / "runs"), "--state", str(self.root / "state")]
        arguments += ["--save-steps", str(save_steps), "--progress-seconds", "1"]
        log = self.root / f"attempt{len(self.attempts)}.log"
        self.root.mkdir(parents=True, exist_ok=True)
        names = {name.replace("__", "."): seconds for name, seconds in pauses.items()}
        process = self.context.Process(target=forked.command, args=(arguments, str(log), fsync_s, names), daemon=True)
        process.start()
        self.attempts.append(Attempt(process, log))
        return self.attempts[-1]

    def finish(self):
        """Run to the end, undisturbed; returns the attempt."""
        attempt = self.start(fsync_s=0)
        assert attempt.end() == 0, attempt.text()
        return attempt

    def folder(self, seed=0, name=None):
        return self.root / "runs" / (name or self.spec["name"]) / f"seed{seed}"

    def results(self, seed=0, name=None):
        return results(self.folder(seed, name))

    def timing(self, seed=0):
        return json.loads((self.folder(seed) / "timing.json").read_text())


@pytest.fixture
def runs(context, specs, tmp_path):  # noqa: F811
    """runs("dp") or runs("text"): the place for one test's attempts."""
    made = []

    def make(name, seeds=(0,), place=""):
        made.append(Runs(context, tmp_path / place / name, *specs[name], seeds))
        return made[-1]

    yield make
    for group in made:
        for attempt in group.attempts:
            attempt.kill()


@pytest.fixture(scope="session")
def unbroken(context, specs, tmp_path_factory):  # noqa: F811
    """unbroken("dp", seed): results of the run that nothing disturbed, which also saved no state but the last."""
    known = {}

    def get(name, seed=0):
        if (name, seed) not in known:
            run = Runs(context, tmp_path_factory.mktemp("unbroken"), *specs[name], (seed,))
            attempt = run.start(fsync_s=0, save_steps=10**6)
            assert attempt.end() == 0, attempt.text()
            assert run.timing(seed)["attempts"] == 1
            known[name, seed] = run.results(seed)
        return known[name, seed]

    return get
