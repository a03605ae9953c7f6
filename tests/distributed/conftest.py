"""A tiny corpus and a teacher."""

import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE)]

from fork_server import context  # noqa: E402, F401
from tiny_runs import text_spec  # noqa: E402
from training import corpus, one_thread  # noqa: E402, F401


@pytest.fixture(scope="session")
def teacher(corpus, tmp_path_factory):  # noqa: F811
    """Folder of a vanilla network of text_spec()'s shape with weights of another seed."""
    from myopia.model.build import build_model
    from myopia.train.batches import build_task

    folder = tmp_path_factory.mktemp("teacher")
    build_model(text_spec(), 9, build_task(text_spec(), corpus[0]).vocab_size).save_pretrained(folder)
    return str(folder)
