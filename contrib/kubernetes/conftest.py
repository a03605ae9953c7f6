"""`pytest contrib/kubernetes`, by hand: what the tests of the workflow share is shared with these."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests" / "workflow"))

from harness import checkout  # found only now


@pytest.fixture
def fresh(tmp_path):
    """A copy of the project in which nothing has run."""
    return checkout(tmp_path / "fresh")
