"""Make `scripts/` importable, as it is for every script the workflow starts."""

import gc
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scripts"))

gc.set_threshold(20_000, 10, 10)  # as scripts do: most of what is imported and collected here stays

LONGEST_FIRST = ("slurm", "workflow", "distributed", "hub", "resume", "unit")


def pytest_collection_finish():
    """What is imported by now stays; whoever asks for a collection (statsmodels does at every Holm) need not go through it."""
    gc.freeze()


def pytest_collection_modifyitems(items):
    """Files that take minutes start first, lest one worker be left alone with them at the end."""
    places = {name: place for place, name in enumerate(LONGEST_FIRST)}
    items.sort(key=lambda item: places.get(item.path.relative_to(Path(__file__).parent).parts[0], len(places)))
