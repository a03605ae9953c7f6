"""Room on the disk, asked before writing: a clear sentence instead of a half-written corpus."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from myopia.common.errors import MyopiaError

DiskUsage = Callable[[Path], Any]
"""A function like `shutil.disk_usage`: takes a folder, returns an object with `.free` in bytes."""


def require_space(folder: str | Path, n_bytes: int, disk_usage: DiskUsage = shutil.disk_usage) -> None:
    """Raise MyopiaError unless the disk that holds `folder` has `n_bytes` free; makes the folder."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    free = disk_usage(folder).free
    if free < n_bytes:
        raise MyopiaError(
            f"{folder}: not enough disk: about {_size(n_bytes)} needed, {_size(free)} free; "
            "free some space or lower the corpus's limits."
        )


@contextmanager
def disk_full_is_bad_input(folder: str | Path) -> Iterator[None]:
    """Turn 'no space left on device' inside the block into a MyopiaError that names `folder`."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise MyopiaError(f"{folder}: the disk filled up while writing; free some space and run again.") from error


def _size(n_bytes: int) -> str:
    return f"{n_bytes / 1e9:.1f} GB" if n_bytes >= 1e9 else f"{n_bytes / 1e6:.1f} MB"
