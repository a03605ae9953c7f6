"""A tiny encoded corpus and one finished language run, made once per session."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("RAYON_NUM_THREADS", "1")

import pytest

from tiny_runs import make_tokens, place, text_spec


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    import torch
    from transformers.utils import logging

    logging.disable_progress_bar()
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def corpus(tmp_path_factory):
    """(token folder, tokenizer folder); fewer training windows than a run of 20 steps reads."""
    return make_tokens(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="session")
def vanilla(corpus, tmp_path_factory):
    """RunContext of a finished vanilla language run, seed 0."""
    from myopia.train.trainer import train

    where = place(tmp_path_factory.mktemp("vanilla"), corpus)
    train(text_spec(), 0, where)
    return where
