"""One smoke run of the whole workflow, shared by all tests of all workers that compare with it."""

import fcntl
import json
import os
import shutil
from types import SimpleNamespace

import pytest

from harness import checkout, snakemake


def common_folder(tmp_path_factory):
    """A temporary folder that all workers of a test session share."""
    base = tmp_path_factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base  # the workers' own folders lie side by side


@pytest.fixture(scope="session")
def smoke(tmp_path_factory):
    """The smoke scale, run once for all workers: its folder, its output, how long it took. Not to be changed."""
    base = common_folder(tmp_path_factory)
    folder, record = base / "smoke", base / "smoke.json"
    with open(base / "smoke.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not record.exists():
            shutil.rmtree(folder, ignore_errors=True)  # a worker failed here: the next one tells why as well
            done = snakemake(checkout(folder))
            record.write_text(json.dumps({"output": done.output, "seconds": done.seconds}))
    return SimpleNamespace(folder=folder, **json.loads(record.read_text()))
