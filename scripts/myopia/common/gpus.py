"""Exclusive GPUs for the jobs of one machine: jobs that run side by side never share one by accident.

Each GPU has a lock file. A job and its child processes hold a shared flock on it, so the GPU is free when the last of
them is dead, however it died. GPUs are claimed under one gate lock, all or none, so that two jobs cannot each hold what
the other waits for. Nothing is claimed under a scheduler, which assigns GPUs itself and numbers them per job, nor by
processes that were started with torchrun by hand.

`fcntl` and not `filelock`: its FileLock cannot turn an exclusive lock into a shared one that child processes join.
"""

from __future__ import annotations

import fcntl
import logging
import os
import re
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO

LOG = logging.getLogger(__name__)
SCHEDULERS = ("SLURM_JOB_ID", "KUBERNETES_SERVICE_HOST", "PBS_JOBID", "LSB_JOBID")
INHERITED = "MYOPIA_GPU_LOCKS"
_POLL_S = 1.0
_held: list[IO[str]] = []  # until this process ends


def claim_gpus(count: int, stop: Sequence[int] = ()) -> bool:
    """Lock `count` GPUs that no other job holds, waiting for them, and set CUDA_VISIBLE_DEVICES to those.

    Must be called before anything starts CUDA. In a child process of one that has claimed, joins its locks. With fewer
    than `count` GPUs on the machine nothing is claimed, and the error is left to `resolve_device`.

    Args:
        count: number of GPUs.
        stop: signals caught so far; one that comes ends the wait.

    Returns:
        False if a signal came while waiting.
    """
    if any(name in os.environ for name in SCHEDULERS) or ("RANK" in os.environ and INHERITED not in os.environ):
        return True
    if INHERITED in os.environ:
        for path in os.environ[INHERITED].split(os.pathsep):
            _held.append(open(path))  # noqa: SIM115
            fcntl.flock(_held[-1], fcntl.LOCK_SH | fcntl.LOCK_NB)
        return True
    visible = _visible()
    if not 0 < count <= len(visible):
        return True
    folder = Path(tempfile.gettempdir(), f"myopia-gpus-{os.getuid()}")
    folder.mkdir(mode=0o700, exist_ok=True)
    logged = False
    while True:
        with open(folder / "gate", "w") as gate:
            fcntl.flock(gate, fcntl.LOCK_EX)
            mine = _take(folder, visible, count)
        if mine:
            break
        if stop:
            return False
        if not logged:
            LOG.info("waiting: other jobs of this machine hold its GPUs")
        logged = True
        time.sleep(_POLL_S)
    os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(mine)
    os.environ[INHERITED] = os.pathsep.join(str(_file(folder, gpu)) for gpu in mine)
    return True


def _visible() -> list[str]:
    """Names of the GPUs this process may use."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        return [name.strip() for name in named.split(",") if name.strip()]
    return sorted((f.name[6:] for f in Path("/dev").glob("nvidia*") if re.fullmatch(r"nvidia\d+", f.name)), key=int)


def _file(folder: Path, gpu: str) -> Path:
    return folder / (re.sub(r"\W", "_", gpu) + ".lock")


def _take(folder: Path, visible: list[str], count: int) -> list[str]:
    """Lock `count` free GPUs and return them; none if fewer are free. The caller holds the gate lock."""
    found: dict[str, IO[str]] = {}
    for gpu in visible:
        handle = open(_file(folder, gpu), "w")  # noqa: SIM115
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            handle.close()
            continue
        found[gpu] = handle
        if len(found) == count:
            break
    if len(found) < count:
        for handle in found.values():
            handle.close()
        return []
    for handle in found.values():
        fcntl.flock(handle, fcntl.LOCK_SH)  # for children to join
        _held.append(handle)
    return list(found)
