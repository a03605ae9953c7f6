"""Remove Snakemake's lock on this folder if the process that took it is dead; refuse if it is alive."""

from __future__ import annotations

import logging
import os
import platform
import re
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import psutil

from myopia.common.errors import MyopiaError

log = logging.getLogger(__name__)


def living_snakemake(folder: Path) -> int | None:
    """Process id of a running snakemake with working directory `folder`, not an ancestor of ours; None if there is none.

    Those inside a cluster's jobs (--nolock) do not count: they take no lock, and outlive the one that did.
    """
    own = {os.getpid(), *(p.pid for p in psutil.Process().parents())}
    for process in psutil.process_iter(["pid", "cmdline"]):
        try:
            words = [Path(word).name for word in process.info["cmdline"] or []]
            if process.info["pid"] in own or "snakemake" not in words[:4] or "--nolock" in words:
                continue
            if process.status() != psutil.STATUS_ZOMBIE and Path(process.cwd()) == folder:
                return process.info["pid"]
        except psutil.Error:
            continue
    return None


def host_of_lock(folder: Path) -> str | None:
    """Host on which the lock of `folder` was taken, from the log of that snakemake; None if there is no such log."""
    taken = min(lock.stat().st_mtime for lock in (folder / ".snakemake" / "locks").iterdir())
    before = datetime.fromtimestamp(taken + 1).strftime("%Y-%m-%dT%H%M%S")
    for path in sorted((folder / ".snakemake" / "log").glob("*.snakemake.log"), reverse=True):
        host = re.search(r"^ *Host: (.+)$", path.read_text(errors="replace")[:4000], re.MULTILINE)
        if host and path.name <= before:
            return host.group(1)
    return None


def unlock_if_dead(folder: Path) -> None:
    """Remove the lock of a snakemake that is gone.

    Raises:
        MyopiaError: a living one holds it, here or where nobody here can see.
    """
    locks = folder / ".snakemake" / "locks"
    if not locks.is_dir() or not any(locks.iterdir()):
        return
    owner = living_snakemake(folder)
    if owner is not None:
        raise MyopiaError(f"snakemake (process {owner}) is already running in {folder}: wait for it or stop it first")
    host = host_of_lock(folder)
    if host not in (None, platform.node()):
        raise MyopiaError(
            f"the lock on {folder} was taken on {host}, out of sight from here: if no snakemake works there any more, "
            "remove it with snakemake --unlock"
        )
    log.info("removing the lock of a dead snakemake")
    subprocess.run([sys.executable, "-m", "snakemake", "--unlock", "--quiet", "all"], cwd=folder, check=True)
