"""One process at a time in a folder."""

from __future__ import annotations

import fcntl
import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from myopia.common.errors import MyopiaError

LOG = logging.getLogger(__name__)
_POLL_S = 1.0


@contextmanager
def only_one(folder: str | Path, what: str) -> Iterator[Path]:
    """Make `folder` and hold its lock; waits for a living owner. The kernel frees the lock when its owner dies.

    `what` names the work in the log. Raises MyopiaError when the folder cannot be made or locked.
    """
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder / "lock", os.O_RDWR | os.O_CREAT)
    except OSError as error:
        raise MyopiaError(f"{folder}: this state folder cannot be used ({error.strerror or error}).") from None
    try:
        _wait(handle, folder, what)
        yield folder
    finally:
        os.close(handle)


def _wait(handle: int, folder: Path, what: str) -> None:
    told = False
    while True:
        try:
            return fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if not told:
                LOG.info("%s: waiting for another process in %s", what, folder)
            told = True
            time.sleep(_POLL_S)
        except OSError as error:
            raise MyopiaError(f"{folder}: this disk cannot lock files ({error.strerror or error}).") from None
