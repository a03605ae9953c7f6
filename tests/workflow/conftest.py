"""One smoke run of the whole workflow, shared by every test here; a test that changes anything gets a copy of it."""

import fcntl
import json
import os
import shutil
from types import SimpleNamespace

import pytest
from harness import checkout, snakemake


def pytest_itemcollected(item):
    """All of it is slow, and best runs in one worker (pytest-xdist 3.8 heeds no group under pytest 9.2)."""
    item.add_marker(pytest.mark.slow)
    item.add_marker(pytest.mark.xdist_group("snakemake"))
    item.add_marker(pytest.mark.timeout(900))


@pytest.fixture(scope="session")
def smoke(tmp_path_factory):
    """The smoke scale, run once for all workers: its folder, its output, how long it took. Not to be changed."""
    base = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent  # the workers' own folders lie side by side
    folder, record = base / "smoke", base / "smoke.json"
    with open(base / "smoke.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not record.exists():
            shutil.rmtree(folder, ignore_errors=True)  # a worker failed here: the next one tells why as well
            done = snakemake(checkout(folder))
            record.write_text(json.dumps({"output": done.output, "seconds": done.seconds}))
    return SimpleNamespace(folder=folder, **json.loads(record.read_text()))


@pytest.fixture
def sandbox(smoke, tmp_path):
    """A copy of the finished smoke run, times included, to be changed at will."""
    folder = tmp_path / "sandbox"
    shutil.copytree(smoke.folder, folder, symlinks=True)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def fresh(tmp_path_factory):
    """A copy of the project in which nothing has run; for dry runs."""
    return checkout(tmp_path_factory.mktemp("fresh") / "project")
