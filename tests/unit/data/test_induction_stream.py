"""Repeated random sequences: a pure function of (seed, index), repeats that only order tells, bad input."""

import numpy as np
import pytest

from myopia.common.errors import MyopiaError
from myopia.data.induction import Induction, bag_nats
from myopia.data.streams import build_stream

TASK = {"T": 20, "vocab_size": 10, "period": [4, 8]}


@pytest.fixture
def stream():
    return build_stream({"kind": "induction", **TASK})


def test_slices_are_the_stream(stream):
    ids, predicted = stream.sample(3, 0, 50, "train")
    part, part_predicted = stream.sample(3, 17, 9, "train")
    assert np.array_equal(ids[17:26], part) and np.array_equal(predicted[17:26], part_predicted)
    assert ids.dtype == np.int64 and predicted.dtype == bool and ids.shape == predicted.shape == (50, 20)
    for other in (stream.sample(4, 0, 50, "train"), stream.sample(3, 0, 50, "validation")):
        assert not np.array_equal(ids, other[0])


def test_sequences_repeat_different_tokens(stream):
    ids, period = stream.draw(0, 0, 4000, "train")
    for row, length in zip(ids[:200], period[:200]):
        assert len(set(row[:length])) == length
        assert np.array_equal(row[length:], row[:-length])
    assert (np.bincount(period)[4:9] / len(period)) == pytest.approx([0.2] * 5, abs=0.03)
    assert (np.bincount(ids[:, 0], minlength=10) / len(ids)) == pytest.approx([0.1] * 10, abs=0.02)


def test_predicted_are_the_tokens_a_reader_can_know(stream):
    ids, predicted = stream.sample(1, 0, 300, "test")
    _, period = stream.draw(1, 0, 300, "test")
    for row, asked, length in zip(ids, predicted, period):
        assert np.array_equal(np.flatnonzero(asked), np.arange(length + 1, stream.T))
        for t in np.flatnonzero(asked):  # what followed the present token last time
            last = max(s for s in range(t - 1) if row[s] == row[t - 1])
            assert row[last + 1] == row[t]


def test_the_bag_knows_the_tokens_but_not_their_order(stream):
    assert bag_nats(np.array([4, 8])) == pytest.approx([np.log(3), np.log(7)])
    ids, period = stream.draw(0, 0, 20000, "test")
    rows = ids[period == 4]
    # Given the present token, each other token of the sequence follows equally often, whatever their values' order.
    rank = (rows[:, :4] < rows[:, [5]]).sum(1)  # of the next token among the four
    present = (rows[:, :4] < rows[:, [4]]).sum(1)
    for k in range(4):
        share = np.bincount(rank[present == k], minlength=4) / (present == k).sum()
        assert share == pytest.approx([0 if j == k else 1 / 3 for j in range(4)], abs=0.04)


@pytest.mark.parametrize(
    "change, sentence",
    [
        ({"period": [4, 11]}, "must not exceed the 10 tokens of the vocabulary"),
        ({"period": [2, 4]}, "at least 3"),
        ({"period": [6, 5]}, "no shorter than its start"),
        ({"period": 4}, "two whole numbers"),
        ({"T": 9}, "T must be at least 10"),
        ({"T": 20.0}, "T must be a whole number"),
        ({"colour": 1}, "Unknown key data.colour"),
    ],
)
def test_bad_input_is_one_sentence(change, sentence):
    with pytest.raises(MyopiaError, match=sentence):
        Induction.from_spec({**TASK, **change})


def test_a_missing_key_and_a_negative_index_are_named(stream):
    with pytest.raises(MyopiaError, match="data.period"):
        Induction.from_spec({"T": 20, "vocab_size": 10})
    with pytest.raises(MyopiaError, match="must not be negative"):
        stream.sample(0, -1, 2, "train")
