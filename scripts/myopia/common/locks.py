"""Exclusive locks between processes: `filelock`'s flock, which the kernel frees when its owner dies."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from myopia.common.errors import MyopiaError

LOG = logging.getLogger(__name__)
POLL_S = 1.0


class LockCancelled(Exception):
    """A signal came while waiting for a lock."""


@contextmanager
def exclusive_lock(folder: str | Path, label: str, stop: Sequence[int] = ()) -> Iterator[Path]:
    """Make `folder` and hold its file `lock`, waiting for a living owner; yields the folder.

    The file names its owner. Whoever only wants to know whether it is held can ask for a shared flock.

    Args:
        folder: made if it does not exist.
        label: starts the log line about a wait.
        stop: signals caught so far; one that comes ends the wait.

    Raises:
        LockCancelled: a signal came into `stop` before the lock was free.
        MyopiaError: the folder cannot be made, written to or locked.
    """
    folder = Path(folder)
    # Where there is no flock, filelock would fall back to a file that outlives a killed owner.
    lock = FileLock(folder / "lock", fallback_to_soft=False)
    try:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            try:
                lock.acquire(blocking=False)
            except Timeout:
                owner = Path(lock.lock_file).read_text().strip() or "another process"
                LOG.info("%s waiting: %s holds the lock of %s", label, owner, folder)
                lock.acquire(poll_interval=POLL_S, cancel_check=lambda: bool(stop))
            Path(lock.lock_file).write_text(f"process {os.getpid()} on {socket.gethostname()}\n")
        except Timeout:
            raise LockCancelled from None
        except OSError as error:
            raise MyopiaError(
                f"{folder}: this state folder cannot be used ({error.strerror or error}); check the disk and its "
                "permissions"
            ) from error
        yield folder
    finally:
        lock.release()
