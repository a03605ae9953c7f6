"""One smoke run of the whole workflow, shared by every test here; a test that changes anything gets a copy of it."""

import shutil

import pytest

import smoke_run
from harness import checkout

smoke = smoke_run.smoke


def pytest_itemcollected(item):
    """All of it is slow."""
    item.add_marker(pytest.mark.slow)
    item.add_marker(pytest.mark.timeout(900))


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
