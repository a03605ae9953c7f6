"""How a process that trains should be started."""

from __future__ import annotations

import os
import sys

MALLOC = {"MALLOC_TRIM_THRESHOLD_": str(2**32), "MALLOC_TOP_PAD_": str(2**26), "MALLOC_MMAP_THRESHOLD_": str(2**30)}


def keep_freed_memory() -> None:
    """Start this process again with an allocator that keeps what is freed (glibc reads these at start only).

    By default every large activation is handed back to the kernel and faulted in again, page by page, at the next
    step: a third of a small model's time. No number changes. Call it first thing under `__main__`.
    """
    if sys.platform == "linux" and not MALLOC.keys() & os.environ.keys():
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **MALLOC})
