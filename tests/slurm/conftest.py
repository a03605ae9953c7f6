"""One Slurm for all tests here, where there is one; under CI=true a missing one is an error."""

import fcntl
import os

import pytest

import smoke_run
from slurm_cluster import Slurm, missing


def pytest_itemcollected(item):
    """All of it is slow."""
    item.add_marker(pytest.mark.slow)
    item.add_marker(pytest.mark.timeout(1500))


@pytest.fixture(scope="session")
def slurm(tmp_path_factory):
    lacking = missing()
    if lacking:
        reason = f"no {lacking[0]} here: apt-get install slurmctld slurmd slurm-client"
        assert os.environ.get("CI") != "true", reason
        pytest.skip(reason)
    with Slurm(tmp_path_factory.mktemp("slurm")) as cluster:
        yield cluster


@pytest.fixture(autouse=True)
def one_at_a_time(tmp_path_factory):
    """Whatever worker a test is in: they wait for minutes on little, but not on each other's jobs."""
    with open(smoke_run.common_folder(tmp_path_factory) / "slurm.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
