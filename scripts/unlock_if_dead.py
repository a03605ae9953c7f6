"""Remove Snakemake's lock on this folder if the process that took it is gone; leave a living one alone."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import psutil

from myopia.common import cli
from myopia.common.errors import MyopiaError

log = logging.getLogger(__name__)


def living_snakemake(folder: Path) -> int | None:
    """Process id of a snakemake, not an ancestor of ours, that works in `folder`; None if there is none."""
    own = {os.getpid(), *(p.pid for p in psutil.Process().parents())}
    for process in psutil.process_iter(["pid", "cmdline"]):
        try:
            words = [Path(word).name for word in process.info["cmdline"] or []]
            if process.info["pid"] in own or "snakemake" not in words[:4]:
                continue
            if process.status() != psutil.STATUS_ZOMBIE and Path(process.cwd()) == folder:
                return process.info["pid"]
        except psutil.Error:
            continue
    return None


def main(argv: Sequence[str] | None = None) -> None:
    parser = cli.parser(__doc__)
    parser.add_argument("--folder", default=".", metavar="DIR", help="where snakemake runs")
    folder = Path(parser.parse_args(argv).folder).resolve()
    locks = folder / ".snakemake" / "locks"
    if not locks.is_dir() or not any(locks.iterdir()):
        return
    owner = living_snakemake(folder)
    if owner is not None:
        raise MyopiaError(f"snakemake (process {owner}) is already running in {folder}: wait for it or stop it first")
    log.info("removing the lock of a snakemake that is gone")
    subprocess.run([sys.executable, "-m", "snakemake", "--unlock", "--quiet", "all"], cwd=folder, check=True)


if __name__ == "__main__":
    cli.run(main)
