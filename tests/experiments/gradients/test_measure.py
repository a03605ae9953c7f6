"""The measuring job: all in one, and in parts whose rows are the same."""

import pandas as pd
import pytest

from myopia.experiments.gradients import ANATOMY, POINTS, SPECTRA, THEORY
from myopia.experiments.gradients.measure import measure
from tiny_runs import make_tokens, place, text_spec

OPTIONS = {
    "blocks": 3, "block_windows": 2, "moment_blocks": 1, "problems": 1, "bias_sequences": 4, "lanczos_windows": 2
}  # fmt: skip


@pytest.fixture(scope="module")
def entries(tmp_path_factory):
    """One followed run with its Lanczos entry, and the toys, as the workflow hands them over."""
    from myopia.train.trainer import train

    corpus = make_tokens(tmp_path_factory.mktemp("corpus"))
    where = place(tmp_path_factory.mktemp("run"), corpus)
    train(text_spec("vanilla", steps=4, snapshots=[0]), 0, where)
    named = {"run": "text-tiny-vanilla", "arm": "vanilla", "seed": 0, "folder": str(where.folder), "tokens": corpus[0]}
    checkpoints = {"0": f"{where.folder}/snapshots/step0", "4": str(where.folder)}  # as JSON has them
    series = {"what": "gradients", **named, "corpus": "tiny", "checkpoints": checkpoints, "eps": 1e-8, "batch_size": 8}
    return [
        series,
        {"what": "spectrum", "task": "tiny", **named},
        {"what": "toys", "folder": "", "trained": False},
    ]


def test_parts_are_the_whole(entries):
    whole = measure(entries, OPTIONS, "cpu")
    assert {name: tuple(frame.columns) for name, frame in whole.items()} == {
        table.name: table.columns for table in (ANATOMY, SPECTRA, POINTS, THEORY)
    }
    assert all(len(frame) for frame in whole.values())
    parts = [measure([entry], OPTIONS, "cpu") for entry in entries]
    for name, frame in whole.items():
        (filled,) = [part[name] for part in parts if len(part[name])]
        pd.testing.assert_frame_equal(filled.reset_index(drop=True), frame.reset_index(drop=True))
        assert all(list(part[name].columns) == list(frame.columns) for part in parts)
