"""Twins of 20 steps on a tiny corpus, trained once for all tests of language measures."""

from pathlib import Path

import pytest

from tiny_runs import make_tokens, place, text_spec


@pytest.fixture(scope="session")
def runs(tmp_path_factory):
    """A vanilla and a myopic run, seeds 0 and 1."""
    from myopia.measure.text import TextRun
    from myopia.train.trainer import train

    corpus = make_tokens(tmp_path_factory.mktemp("corpus"))
    result = []
    for arm in ("vanilla", "myopic"):
        for seed in (0, 1):
            where = place(tmp_path_factory.mktemp(f"{arm}{seed}"), corpus)
            train(text_spec(arm), seed, where)
            result.append(TextRun(f"text-{arm}", arm, seed, "tiny", where.folder, Path(corpus[0])))
    return result
