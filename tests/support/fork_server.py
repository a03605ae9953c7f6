"""The fork server of `forked.py`, started once, and process groups made of its children."""

import multiprocessing
import os
import socket
from multiprocessing import forkserver
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("RAYON_NUM_THREADS", "1")

import pytest

HERE = Path(__file__).resolve().parent
DEADLINE_S = 250


@pytest.fixture(scope="session")
def context():
    """multiprocessing, every process of which has torch and the trainer from birth."""
    context = multiprocessing.get_context("forkserver")
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(HERE), before]))
    try:
        context.set_forkserver_preload(["forked"])
        forkserver.ensure_running()
    finally:
        if before is None:
            del os.environ["PYTHONPATH"]
        else:
            os.environ["PYTHONPATH"] = before
    return context


def start_ranks(context, processes, log, work, *arguments):
    """Start `work(*arguments)` in so many ranks of one process group, as torchrun would; their stderr goes to `log`."""
    import forked

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    ranks = []
    for rank in range(processes):
        environment = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": processes, "RANK": rank}
        environment |= {"LOCAL_WORLD_SIZE": processes, "LOCAL_RANK": rank}
        given = ({name: str(value) for name, value in environment.items()}, str(log), work, *arguments)
        ranks.append(context.Process(target=forked.as_rank, args=given, daemon=True))
        ranks[-1].start()
    return ranks


def join(ranks):
    """Wait for all ranks; returns their exit codes (None: it hung, and was killed)."""
    for process in ranks:
        process.join(DEADLINE_S)
    codes = [process.exitcode for process in ranks]
    for process in ranks:
        process.kill()
    return codes
