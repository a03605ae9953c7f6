"""Environment settings of processes that train or evaluate."""

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
    """Switch the Hugging Face clients offline; call it before they are imported, which is when they read the settings."""
    os.environ.update(OFFLINE)


def import_from(folder: str) -> None:
    """Let Python processes that this one starts import from `folder`, before what they would import from anyway."""
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [folder, os.environ.get("PYTHONPATH")]))


def use_huge_pages() -> None:
    """Restart this process with glibc's malloc on huge pages (glibc reads its tunables only at start).

    Each training step returns its large activations to the kernel and page-faults them in again; huge pages make that
    cheap and change neither results nor memory use. (Telling malloc to keep freed memory instead would fragment its heap
    without bound, because torch asks for aligned blocks.) Call it first under `__main__`; it does nothing but on Linux.
    """
    if sys.platform == "linux" and "GLIBC_TUNABLES" not in os.environ:
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], {**os.environ, "GLIBC_TUNABLES": TUNABLE})
