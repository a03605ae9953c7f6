"""Crash-safe checkpoints of one run.

`results/<scale>/.state/<run>/seed<k>/<fingerprint>/` is never a declared output, so Snakemake does not delete it when it
restarts a job. The fingerprint covers everything that determines the result; another spec gets another folder.

    lock                 held (flock) by the one process that may write here; the kernel frees it when that one dies
    step-<n>.pt          model, optimizer, curve: written to a temporary file, flushed, then renamed
    step-<n>/            the same of a sharded model, one file per rank
    step-<n>.json        its sha256, fingerprint, step and the seconds spent so far; a state without it does not count
    progress.json        for `make watch`: step, loss, tokens per second
    attempts.jsonl       one line when a process group starts, one when it stops by itself, one where a killed one was
                         last seen

Rank 0 alone holds the lock and writes here, but for the shards of the other ranks.
"""

from __future__ import annotations

import json
import logging
import os
import pickle
import shutil
import socket
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import torch

from myopia.common.errors import MyopiaError
from myopia.common.files import atomic_path, remove_leftovers, sha256_file, write_json
from myopia.common.locks import LockCancelled, exclusive_lock
from myopia.train.signals import Preempted

log = logging.getLogger(__name__)

FORMAT = 1  # one file
SHARDED_FORMAT = "parts 1"  # a folder with one file per rank; the value is part of states on disk
TRAINER_STATE_FILE = "rest.pt"  # its name in states on disk: renaming it would set them aside
KEEP = 2  # the newest state and the one before it, in case the newest turns out damaged


class StateDirectory:
    """Exclusive access to one run's state; use as a context manager."""

    def __init__(self, root: str | Path, fingerprint: str, label: str, stop: Sequence[int] = ()) -> None:
        self.fingerprint, self.label, self.stop = fingerprint, label, stop
        self.folder = Path(root) / fingerprint
        self._lock = ExitStack()

    def __enter__(self) -> StateDirectory:
        """Take the lock, waiting for a living owner (an orphan of a killed workflow finishes or dies).

        Raises:
            Preempted: a signal in `stop` came while waiting.
            MyopiaError: the folder cannot be made, written to or locked.
        """
        with ExitStack() as stack:
            try:
                stack.enter_context(exclusive_lock(self.folder, f"[{self.label}]", self.stop))
            except LockCancelled:
                log.info("[%s] stopped by signal %d while waiting", self.label, self.stop[0])
                raise Preempted from None
            remove_leftovers(self.folder)
            self._remove_uncommitted()
            self._lock = stack.pop_all()
        return self

    def __exit__(self, *exc: object) -> None:
        self._lock.close()

    def save(self, step: int, tensors: dict[str, Any], seconds: float, final: bool = False) -> None:
        """Write the state after `step` steps; a crash at any point leaves the previous state valid.

        Args:
            step: optimizer steps done.
            tensors: whatever `torch.load(weights_only=True)` reads.
            seconds: training time so far, over all attempts.
            final: whether training is finished; a final state replaces all others.

        Raises:
            MyopiaError: the disk is full or cannot be written to.
        """
        log.info("[%s] saving state at step %d", self.label, step)

        def write() -> dict[str, Any]:
            with atomic_path(self.folder / f"step-{step}.pt") as temporary:
                with open(temporary, "wb") as handle:  # given a path, torch.save hides why it failed
                    torch.save(tensors, handle)
                return {"format": FORMAT, "sha256": sha256_file(temporary)}

        self._commit(step, write, seconds, final)

    def begin_sharded(self, step: int) -> None:
        """Make the empty folder that the ranks write a sharded state to. Raises MyopiaError if it cannot be made."""
        log.info("[%s] saving state at step %d", self.label, step)
        try:
            self._remove(step)
            self.shard_folder(step).mkdir()
        except OSError as error:
            raise self._write_failed(step, error) from error

    def shard_folder(self, step: int) -> Path:
        """The folder of the sharded state at `step`."""
        return self.folder / f"step-{step}"

    def commit_sharded(self, step: int, trainer_state: dict[str, Any], seconds: float) -> None:
        """Make a sharded state valid, once all ranks have written: add the trainer state, flush all files, hash them."""

        def write() -> dict[str, Any]:
            with open(self.shard_folder(step) / TRAINER_STATE_FILE, "wb") as handle:
                torch.save(trainer_state, handle)
            digests = {}
            for file in sorted(self.shard_folder(step).iterdir()):
                with open(file, "rb+") as handle:
                    os.fsync(handle.fileno())
                digests[file.name] = sha256_file(file)
            return {"format": SHARDED_FORMAT, "files": digests}

        self._commit(step, write, seconds, final=False)

    def _commit(self, step: int, write: Callable[[], dict[str, Any]], seconds: float, final: bool) -> None:
        """Write a state, then its record, then remove the states it replaces; `write` returns format and checksums."""
        try:
            record = write()
            record |= {"fingerprint": self.fingerprint, "step": step, "seconds": seconds, "final": final}
            write_json(self.folder / f"step-{step}.json", record)
        except (OSError, RuntimeError) as error:
            reason = _os_error(error)
            if reason is None:
                raise
            raise self._write_failed(step, reason) from error
        for old in sorted(self._steps())[: -1 if final else -KEEP]:
            self._remove(old)
        log.info("[%s] state saved at step %d", self.label, step)

    def _write_failed(self, step: int, reason: OSError) -> MyopiaError:
        """Delete what could not be written; returns the error, which says what is left."""
        self._remove_uncommitted()
        last = max(self._steps(), default=None)
        kept = "no earlier state exists" if last is None else f"the state at step {last} is intact"
        return MyopiaError(
            f"run {self.label}: the state at step {step} could not be written to {self.folder} "
            f"({reason.strerror or reason}); {kept}; free some space and start again"
        )

    def load(self) -> tuple[dict[str, Any], dict[str, Any]] | None:
        """(tensors, record) of the newest undamaged state, or None; damaged ones are renamed to *.set-aside.

        Of a sharded state (`record["format"] == SHARDED_FORMAT`) only the trainer state is read.
        """
        for step in sorted(self._steps(), reverse=True):
            record_path = self.folder / f"step-{step}.json"
            path = self.folder / f"step-{step}.pt"
            try:
                record = json.loads(record_path.read_text())
                if record["format"] not in (FORMAT, SHARDED_FORMAT) or record["fingerprint"] != self.fingerprint:
                    raise ValueError("it was written by another version or for another run")
                if not isinstance(record["final"], bool) or not record["seconds"] >= 0:
                    raise ValueError("its record is damaged")
                files = {path: record["sha256"]} if record["format"] == FORMAT else {}
                if record["format"] == SHARDED_FORMAT:
                    files = {self.shard_folder(step) / name: digest for name, digest in record["files"].items()}
                if record["step"] != step or any(sha256_file(file) != digest for file, digest in files.items()):
                    raise ValueError("its checksum does not match")
                return self.read(record), record
            except (
                OSError, ValueError, KeyError, TypeError, RuntimeError, EOFError, pickle.UnpicklingError,
            ) as error:  # fmt: skip
                log.warning("[%s] state at step %d set aside, not used: %s", self.label, step, error)
                for file in (path, self.shard_folder(step), record_path):
                    if file.exists():
                        aside = file.with_name(file.name + ".set-aside")
                        if file.is_dir():
                            shutil.rmtree(aside, ignore_errors=True)
                        os.replace(file, aside)
        return None

    def read(self, record: dict[str, Any]) -> dict[str, Any]:
        """The tensors of a state that `load` has verified; of a sharded one only the trainer state."""
        step, sharded = record["step"], record["format"] == SHARDED_FORMAT
        path = self.shard_folder(step) / TRAINER_STATE_FILE if sharded else self.folder / f"step-{step}.pt"
        return torch.load(path, map_location="cpu", weights_only=True)

    def progress(self, record: dict[str, Any]) -> None:
        """Write progress.json; a failure is only logged."""
        try:
            write_json(self.folder / "progress.json", record)
        except OSError as error:  # costs nothing; a state that cannot be written stops the run
            log.warning("[%s] progress.json not written: %s", self.label, error.strerror or error)

    def begin(self, devices: int) -> None:
        """Record that a process group on `devices` devices starts, and where a killed predecessor was last seen."""
        lines = self._attempt_lines()
        with suppress(OSError, ValueError, KeyError):
            seen = json.loads((self.folder / "progress.json").read_text())
            if lines and seen["time"] > lines[-1]["time"]:
                self.attempt("seen", seen["step"], time=seen["time"])
        self.attempt("start", 0, devices=devices)

    def attempt(self, event: str, step: int, **more: Any) -> None:
        """Append one line to attempts.jsonl: `event` ("start", "end", "preempted", "seen") at `step`."""
        line = {"event": event, "step": step, "pid": os.getpid(), "host": socket.gethostname(), "time": time.time()}
        line |= more
        try:
            with open(self.folder / "attempts.jsonl", "a") as handle:
                handle.write(json.dumps(line, sort_keys=True) + "\n")
        except OSError as error:
            log.warning("[%s] attempts.jsonl not written: %s", self.label, error.strerror or error)

    def attempts(self) -> int:
        """How often training of this run was started."""
        path = self.folder / "attempts.jsonl"
        return path.read_text().count('"event": "start"') if path.exists() else 0

    def device_seconds(self) -> float:
        """Device-seconds of all attempts until now; of a killed one, until it was last seen."""
        total, start = 0.0, None
        for line in [*self._attempt_lines(), {"event": "now", "time": time.time()}]:
            if start is not None and line["event"] != "start":
                total += max(0.0, line["time"] - start["time"]) * start.get("devices", 1)
                start = None
            if line["event"] == "start":
                start = line
        return total

    def _attempt_lines(self) -> list[dict[str, Any]]:
        path = self.folder / "attempts.jsonl"
        lines = path.read_text().splitlines() if path.exists() else []
        return [json.loads(line) for line in lines if line.endswith("}")]  # the last may have been cut by a full disk

    def _steps(self) -> list[int]:
        return [int(p.stem.removeprefix("step-")) for p in self.folder.glob("step-*.json")]

    def _remove_uncommitted(self) -> None:
        """Delete states without a record: their writer was killed or failed before it."""
        for path in self.folder.glob("step-*.pt"):
            if not path.with_suffix(".json").exists():
                path.unlink(missing_ok=True)
        for path in self.folder.glob("step-*/"):
            if path.is_dir() and not path.with_suffix(".json").exists() and path.suffix != ".set-aside":
                shutil.rmtree(path)

    def _remove(self, step: int) -> None:
        # The record first: a state without one does not count, a record without a state would be set aside with a warning.
        (self.folder / f"step-{step}.json").unlink(missing_ok=True)
        (self.folder / f"step-{step}.pt").unlink(missing_ok=True)
        shutil.rmtree(self.shard_folder(step), ignore_errors=True)


def _os_error(error: BaseException | None) -> OSError | None:
    """The OSError that an error was raised from, if any; torch.save wraps it in a RuntimeError."""
    while error is not None and not isinstance(error, OSError):
        error = error.__cause__ or error.__context__
    return error
