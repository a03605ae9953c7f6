"""Repeated random sequences: a pure function of (seed, index), repeats that only order tells, bad input."""

import numpy as np
import pytest

from myopia.common.errors import MyopiaError
from myopia.data.streams import build_stream
from myopia.experiments.induction.data import Induction, bag_nats

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


def test_a_sequence_is_read_again_from_random_places_to_its_end(stream):
    ids, period, since = stream.draw(0, 0, 4000, "train")
    starts = []
    for row, length, place in zip(ids[:300], period[:300], since[:300]):
        once = list(row[:length])
        assert len(set(once)) == length and (place[:length] == -1).all() and place[length] == 0
        for t in range(length, stream.T):
            here, before = once.index(row[t]), once.index(row[t - 1])
            if before == length - 1:  # the end: a new reading
                assert place[t] == 0 and here < length - 1
                starts.append(here / (length - 1))
            else:
                assert place[t] == place[t - 1] + 1 and here == before + 1
    assert np.mean(starts) == pytest.approx(0.5 * (1 - 1 / 5), abs=0.05)
    assert (np.bincount(period)[4:9] / len(period)) == pytest.approx([0.2] * 5, abs=0.03)
    assert (np.bincount(ids[:, 0], minlength=10) / len(ids)) == pytest.approx([0.1] * 10, abs=0.02)


def test_predicted_are_the_tokens_a_reader_can_know(stream):
    ids, predicted = stream.sample(1, 0, 300, "test")
    _, period, since = stream.draw(1, 0, 300, "test")
    assert np.array_equal(predicted, since >= 1) and predicted.any(1).all() and not predicted[:, 0].any()
    for n, t in np.argwhere(predicted):
        first = list(ids[n]).index(ids[n, t - 1])  # the next token is the one that stood after the present one
        assert ids[n, first + 1] == ids[n, t]


def test_the_token_not_seen_for_longest_is_no_shortcut(stream):
    ids, predicted = stream.sample(2, 0, 500, "test")
    right = []
    for n, t in np.argwhere(predicted):
        last = {token: s for s, token in enumerate(ids[n, :t])}
        right.append(min(last, key=last.get) == ids[n, t])
    assert np.mean(right) < 0.5  # in whole readings it would always come next


def test_the_bag_knows_the_tokens_but_not_their_order():
    assert bag_nats(np.array([4, 8])) == pytest.approx([np.log(3), np.log(7)])


def test_bad_input_is_one_sentence():
    for change, sentence in (
        ({"period": [2, 4]}, "at least 3"),
        ({"period": [6, 5]}, "no shorter than its start"),
        ({"period": 4}, "two whole numbers"),
        ({"T": 9}, "T must be at least 10"),
        ({"T": 20.0}, "T must be a whole number"),
        ({"colour": 1}, "Unknown key data.colour"),
    ):
        with pytest.raises(MyopiaError, match=sentence):
            Induction.from_spec({**TASK, **change})


def test_a_missing_key_and_a_negative_index_are_named(stream):
    with pytest.raises(MyopiaError, match="data.period"):
        Induction.from_spec({"T": 20, "vocab_size": 10})
    with pytest.raises(MyopiaError, match="must not be negative"):
        stream.sample(0, -1, 2, "train")
