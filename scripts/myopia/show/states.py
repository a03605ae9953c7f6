"""What the state directories of a results folder tell: which runs started, stopped, died or are at work now.

Only reads; nothing here needs torch, and a run at work is never disturbed (`train/state.py` writes these files).
"""

from __future__ import annotations

import fcntl
import itertools
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

RUNNING, FINISHED, STOPPED, CRASHED, WAITING = "running", "finished", "stopped", "crashed", "waiting"
"""At work; done; told to stop and resumable; died without a word and resumable; known by name only."""


@dataclass(frozen=True)
class State:
    """One state folder: one run, seed and fingerprint."""

    run: str
    seed: int
    fingerprint: str
    status: str
    attempts: int  # processes that started on it
    crashes: int  # of them, died without a word
    first_start: float | None  # seconds since 1970
    last_event: float | None
    progress: dict[str, Any]  # progress.json, {} if there is none yet

    @property
    def step(self) -> int | None:
        return self.progress.get("step")

    @property
    def steps(self) -> int | None:
        return self.progress.get("steps")


def read_states(results: str | Path) -> list[State]:
    """Every state folder under `results/.state`, by run, seed and first start; damaged lines are skipped."""
    found = []
    for folder in sorted(Path(results, ".state").glob("*/seed*/*")):
        seed = folder.parent.name.removeprefix("seed")
        if folder.is_dir() and seed.isdigit() and (folder / "lock").exists():
            found.append(_state(folder, int(seed)))
    return sorted(found, key=lambda s: (s.run, s.seed, s.first_start or 0.0))


def _state(folder: Path, seed: int) -> State:
    held = is_held(folder / "lock")
    events = list(_events(folder / "attempts.jsonl"))
    kinds = [event["event"] for event in events]
    starts = kinds.count("start")
    # A start that the next start follows died without a word; so did the last one, unless it still holds the lock.
    died = sum(a == "start" and b == "start" for a, b in itertools.pairwise(kinds))
    last = kinds[-1] if kinds else None
    if last == "start" and not held:
        died += 1
    status = (
        RUNNING if held and last != "end" else
        {"end": FINISHED, "preempted": STOPPED, "start": CRASHED}.get(last or "", WAITING)
    )  # fmt: skip
    times = [event["time"] for event in events if isinstance(event.get("time"), int | float)]
    progress = _json(folder / "progress.json")
    return State(
        run=folder.parent.parent.name, seed=seed, fingerprint=folder.name, status=status, attempts=starts,
        crashes=died, first_start=min(times, default=None), last_event=max(times, default=None), progress=progress,
    )  # fmt: skip


def is_held(lock: Path) -> bool:
    """Whether a living process holds this `flock`; asks for a shared lock and gives it back at once."""
    try:
        handle = os.open(lock, os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # a disk that cannot lock: nothing can be said
        return False
    finally:
        os.close(handle)
    return False


def _events(path: Path) -> Any:
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        try:
            event = json.loads(line)
        except ValueError:  # the last line of a process that was killed while it wrote
            continue
        if isinstance(event, dict) and isinstance(event.get("event"), str):
            yield event


def _json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}
