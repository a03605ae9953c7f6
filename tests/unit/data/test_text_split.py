"""Splits by group, and the n-grams that two splits share."""

import random

import numpy as np
import pytest

from myopia.common.errors import MyopiaError
from myopia.data.documents import Document
from myopia.data.split import (
    DocumentSplitter,
    GroupSplitter,
    SharedNgrams,
    blocks,
    checked_splits,
    ngram_hashes,
)

FRACTIONS = {"train": 0.9, "validation": 0.05, "test": 0.05}


def divide(sizes, seed=0, fractions=FRACTIONS):
    splitter = GroupSplitter(fractions, seed)
    for group, size in sizes.items():
        splitter.add(group, size)
    splitter.finish()
    return {group: splitter.split_of(group) for group in sizes}


def shares(sizes, where):
    total = sum(sizes.values())
    return {name: sum(sizes[g] for g, w in where.items() if w == name) / total for name in set(where.values())}


def test_shares_are_near_their_targets():
    for seed in range(5):
        draw = random.Random(seed)
        sizes = {f"pkg/d{n}": int(draw.lognormvariate(10, 1.5)) + 1 for n in range(300)}
        found = shares(sizes, divide(sizes, seed))
        assert found["train"] == pytest.approx(0.9, abs=0.01), seed
        assert found["validation"] == pytest.approx(0.05, abs=0.006), seed
        assert found["test"] == pytest.approx(0.05, abs=0.006), seed


def test_division_depends_on_the_seed_and_not_on_the_order():
    sizes = {f"g{n}": 100 + n for n in range(200)}
    backwards = dict(reversed(sizes.items()))
    assert divide(sizes) == {g: divide(backwards)[g] for g in sizes}
    assert divide(sizes, seed=1) != divide(sizes)


def test_no_split_is_ever_empty():
    for sizes in ({"a": 1, "b": 1, "c": 1}, {"a": 10**6, "b": 5, "c": 3, "d": 10**5}):
        for seed in range(20):
            assert set(divide(sizes, seed).values()) == {"train", "validation", "test"}, (sizes, seed)


def test_a_giant_group_stays_in_training():
    sizes = {"giant": 2000, **{f"g{n}": 10 for n in range(800)}}
    assert all(divide(sizes, seed)["giant"] == "train" for seed in range(20))


def test_very_many_groups_are_divided_by_hash(monkeypatch):
    monkeypatch.setattr("myopia.data.split._MAX_COUNTED", 1000)
    sizes = {f"g{n}": 1 for n in range(20_000)}
    found = shares(sizes, divide(sizes))
    assert found["train"] == pytest.approx(0.9, abs=0.008)
    assert found["test"] == pytest.approx(0.05, abs=0.006)


def test_held_out_documents_are_divided_between_two_and_others_stay():
    splitter = DocumentSplitter({"by": "document"})
    documents = [Document(f"d{n}", "one", "x" * 10, "train" if n < 50 else "held_out") for n in range(100)]
    for document in documents:
        splitter.add(document)
    splitter.finish()
    found = [splitter.split_of(document) for document in documents]
    assert found[:50] == ["train"] * 50
    assert sorted(found[50:]) == ["test"] * 25 + ["validation"] * 25


WRONG = [
    (
        {"fractions": {"train": 0.9, "test": 0.1}},
        "must give train, validation and test a share above 0 each",
    ),
    ({"fractions": {"train": 0.9, "validation": 0.1, "test": 0.1}}, "1 in all"),
    ({"fractions": {"train": 1.0, "validation": 0.0, "test": 0.0}}, "above 0 each"),
    ({"by": "book"}, "'by' must be group or document, got 'book'"),
    ({"sed": 1}, "unknown key 'sed'"),
]


def test_bad_split_specs():
    for splits, sentence in WRONG:
        with pytest.raises(MyopiaError) as caught:
            checked_splits(splits)
        assert sentence in str(caught.value), splits


def test_too_few_groups():
    with pytest.raises(MyopiaError, match="2 groups cannot be divided into train and validation and test"):
        divide({"a": 1, "b": 1})


def naive(train, held_out, n):
    grams = {tuple(row[i : i + n]) for row in train.tolist() for i in range(len(row) - n + 1)}
    return [any(tuple(r[i : i + n]) in grams for i in range(len(r) - n + 1)) for r in held_out.tolist()]


def test_overlap_equals_the_naive_search():
    draw = np.random.default_rng(0)
    # Three tokens and n = 4: sharing is common, so both answers occur often.
    train, first, second = (draw.integers(0, 3, (rows, 8), dtype=np.uint16) for rows in (6, 200, 100))
    shared = SharedNgrams(blocks(train, 4), [first, second], n=4)
    assert shared.inside(first).tolist() == naive(train, first, 4)
    assert shared.inside(second).tolist() == naive(train, second, 4)
    assert 0.2 < shared.inside(first).mean() < 0.99


def test_nothing_shared():
    train, held_out = np.zeros((3, 8), np.uint16), np.ones((3, 8), np.uint16)
    assert not SharedNgrams([train], [held_out], n=4).inside(held_out).any()


def test_a_hash_is_the_polynomial_of_its_tokens():
    mask, base = (1 << 64) - 1, 0x9E3779B97F4A7C15

    def mix(value):
        value = (value + base) & mask
        value = ((value ^ value >> 30) * 0xBF58476D1CE4E5B9) & mask
        value = ((value ^ value >> 27) * 0x94D049BB133111EB) & mask
        return value ^ value >> 31

    tokens = [3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8, 9, 7, 9, 3, 2]
    for n in range(1, 17):
        wanted = [
            mix(sum(mix(token) * pow(base, n - 1 - k, 1 << 64) for k, token in enumerate(tokens[i : i + n])) & mask)
            for i in range(len(tokens) - n + 1)
        ]
        assert ngram_hashes(np.array([tokens], np.uint16), n)[0].tolist() == wanted, n


def test_twelve_shared_tokens_are_not_thirteen():
    train = np.arange(100, 164, dtype=np.uint16)[None]
    held_out = np.arange(1000, 1064, dtype=np.uint16)[None].repeat(2, 0)
    held_out[0, 10:22] = train[0, 30:42]
    held_out[1, 10:23] = train[0, 30:43]
    assert SharedNgrams([train], [held_out]).inside(held_out).tolist() == [False, True]


def test_hashes_of_different_ngrams_differ():
    grams = ngram_hashes(np.arange(65_000, dtype=np.uint16)[None])
    assert grams.shape == (1, 65_000 - 12)
    assert len(np.unique(grams)) == grams.size
    shuffled = ngram_hashes(np.array([[1, 2, *range(11)], [2, 1, *range(11)]], np.uint16))
    assert shuffled[0, 0] != shuffled[1, 0]
