"""A cluster for `simulate_schedule.py`: takes job scripts, has room for some at a time, and takes machines away."""

from __future__ import annotations

import argparse
import contextlib
import json
import multiprocessing
import os
import random
import subprocess
import sys
import time
from dataclasses import dataclass, field
from multiprocessing import forkserver
from pathlib import Path
from typing import Any

import psutil

HERE = Path(__file__).resolve().parent

SAVE_STEPS = 5
HOW = ("told", "killed", "lost")
"""How an attempt is struck: SIGTERM; SIGKILL; or given up while it works on, as when its node cannot be reached."""

SUBMIT = """#!/bin/sh
# Stands in for sbatch: takes a job script, prints a number.
job=$(mktemp -d cluster/jobs/XXXXXXXX) && id=$(basename "$job")
echo "$1" > "$job/script" && touch "cluster/new/$id" && echo "$id"
"""
STATUS = """#!/bin/sh
# Stands in for sacct.
cat "cluster/jobs/$1/status" 2> /dev/null || echo running
"""


def environment() -> dict[str, str]:
    """Ours, with this interpreter's programs first and one thread a process."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "OMP_NUM_THREADS": "1", "RAYON_NUM_THREADS": "1"}


def play(*args: Any) -> None:
    """`preempted.run`, where torch is."""
    import preempted

    preempted.run(*args)


@dataclass
class Attempt:
    """A job script at work."""

    folder: Path  # cluster/jobs/<number>
    log: str | None
    benchmark: str | None
    command: list[str] | None  # of a training job; any other is run as a cluster runs it
    process: Any = None
    begin: float = field(default_factory=time.monotonic)
    blow: str = ""  # meant for it
    lost: bool = False
    record: dict[str, Any] = field(default_factory=dict)

    @property
    def how(self) -> str:
        """How it was struck, if it was: a blow may come too late for what is left to do."""
        struck = self.record.get("struck") and (self.lost or self.code() != 0)
        return self.blow if struck else ""

    def code(self) -> int | None:
        """Exit status, or None while it runs."""
        return self.process.poll() if self.command is None else self.process.exitcode


class Cluster:
    """Runs what `submit` hands over, some jobs at a time, and takes machines away."""

    def __init__(self, tree: Path, jobs: dict[str, tuple[list[str], str]], args: argparse.Namespace) -> None:
        self.tree, self.jobs, self.args = tree, jobs, args
        self.place = tree / "cluster"
        for folder in ("jobs", "new"):
            (self.place / folder).mkdir(parents=True)
        for name, text in (("submit", SUBMIT), ("status", STATUS)):
            (self.place / name).write_text(text)
            (self.place / name).chmod(0o755)
        self.context = multiprocessing.get_context("forkserver")
        self.context.set_forkserver_preload(["preempted"])
        os.environ["PYTHONPATH"] = os.pathsep.join([str(HERE), *filter(None, [os.environ.get("PYTHONPATH")])])
        forkserver.ensure_running()
        del os.environ["PYTHONPATH"]
        self.waiting: list[str] = []
        self.running: list[Attempt] = []
        self.trained: list[Attempt] = []  # every attempt to train, in the order of their starts
        self.first: float | None = None  # when the first job came

    def serve(self, snakemake: psutil.Popen) -> tuple[int, float]:
        """Play until Snakemake has ended; returns its exit status and its own seconds of work."""
        cpu = 0.0
        while True:
            code = snakemake.poll()
            with contextlib.suppress(psutil.Error):
                cpu = sum(snakemake.cpu_times()[:2])
            new = sorted((self.place / "new").iterdir(), key=lambda path: path.stat().st_mtime_ns)
            for path in new:
                self.first = self.first or time.monotonic()
                self.waiting.append(path.name)
                path.unlink()
            for attempt in list(self.running):
                self.look_at(attempt)
            while self.waiting and sum(not attempt.lost for attempt in self.running) < self.args.slots:
                self.running.append(self.start(self.waiting.pop(0)))
            if code is not None and not self.running:
                return code, cpu
            time.sleep(0.02)

    def start(self, id: str) -> Attempt:
        """Give a job a machine."""
        folder = self.place / "jobs" / id
        script = Path((folder / "script").read_text().strip())
        properties = json.loads(script.read_text().split("# properties = ", 1)[1].split("\n", 1)[0])
        log = next(iter(properties["log"]), None)
        command, benchmark = self.jobs.get(log, (None, None))
        attempt = Attempt(folder, log, benchmark, command)
        if attempt.command is None:
            with open(folder / "out", "wb") as out:
                attempt.process = subprocess.Popen(
                    ["sh", script], cwd=self.tree, env=environment(), stdout=out, stderr=out
                )
            return attempt
        for path in (*properties["output"], log):
            (self.tree / path).unlink(missing_ok=True)
        number = sum(other.log == log for other in self.trained)
        draw, blow = random.Random(f"{self.args.draw} {log} {number}"), None
        if draw.random() < self.args.preempted:
            blow = (draw.choice(HOW), draw.random())
            attempt.blow = blow[0]
        attempt.process = self.train(attempt.command, folder, blow)
        self.trained.append(attempt)
        return attempt

    def train(self, command: list[str], folder: Path, blow: tuple[str, float] | None = None) -> Any:
        """A process that trains; `command` is the rule's."""
        argv = [*command[3:], "--save-steps", str(SAVE_STEPS)]
        process = self.context.Process(target=play, args=(str(self.tree), argv, str(folder), blow), daemon=True)
        process.start()
        return process

    def look_at(self, attempt: Attempt) -> None:
        """Report an attempt that has ended, and one that has been lost."""
        code = attempt.code()
        if not attempt.lost and (attempt.folder / "lost").exists():
            attempt.lost = True
            self.report(attempt, "failed")
        if code is None:
            return
        self.running.remove(attempt)
        if attempt.command is not None:
            record = attempt.folder / "record.json"
            attempt.record = json.loads(record.read_text()) if record.exists() else {}
        if attempt.lost:
            return
        if attempt.benchmark is not None and not code:
            path = self.tree / attempt.benchmark
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"s\n{time.monotonic() - attempt.begin:.4f}\n")
        self.report(attempt, "failed" if code else "success")

    def report(self, attempt: Attempt, status: str) -> None:
        """What `status` prints of it from now on."""
        part = attempt.folder / "status.part"
        part.write_text(f"{status}\n")
        part.rename(attempt.folder / "status")
