"""How processes that train or evaluate should be started."""

from __future__ import annotations

import os
import sys

TUNABLE = "glibc.malloc.hugetlb=1"

OFFLINE = {
    "HF_HUB_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    "HF_EVALUATE_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "TQDM_DISABLE": "1",  # bars of a library in a log file
}


def go_offline() -> None:
    """Cut this process off from the hub. The clients read these settings when they are first imported: call it before."""
    os.environ.update(OFFLINE)


def use_huge_pages() -> None:
    """Start this process again with an allocator that asks for huge pages (glibc reads its tunables at start only).

    Each step hands its large activations back to the kernel and faults them in again, page by page; huge pages make
    that cheap and change neither numbers nor memory. (Telling malloc to keep freed memory instead would fragment its
    heap without bound, because torch asks for aligned blocks.) Call it first thing under `__main__`; elsewhere than on Linux it does nothing.
    """
    if sys.platform == "linux" and "GLIBC_TUNABLES" not in os.environ:
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], {**os.environ, "GLIBC_TUNABLES": TUNABLE})
