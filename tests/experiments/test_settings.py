"""Refusals that several experiments share: each must ask for the check, and name its own key."""

import pytest

from myopia.common.errors import MyopiaError
from myopia.config.load import load_config

READS = ["synthetic", "text", "size_sweep", "gradients", "induction", "multiplication"]
REVISIONS = {"repo": "someone/model", "steps": [0]}


def refused(sections, sentence):
    with pytest.raises(MyopiaError, match=sentence) as caught:
        load_config({"scale": "smoke", "experiments": READS, **sections})
    assert "\n" not in str(caught.value), sections


def test_a_batch_is_cut_into_equal_micro_batches():
    for sections, key in (
        ({"text": {"micro_batch": 5}}, r"text\.batch_size: 8 is not a multiple of text\.micro_batch 5"),
        ({"synthetic": {"micro_batch": 3}}, r"synthetic\.batch_size: 16 is not a multiple"),
        ({"induction": {"micro_batch": 3}}, r"induction\.batch_size: 8 is not a multiple of induction\.micro_batch 3"),
        ({"gradients": {"bias": {"micro_batch": 3}}}, r"not a multiple of gradients\.bias\.micro_batch 3"),
        ({"multiplication": {"micro_batch": 24}}, r"multiplication\.micro_batch"),
    ):
        refused(sections, key)


def test_a_width_is_shared_equally_by_its_heads():
    for sections, key in (
        ({"synthetic": {"model": {"n_heads": 3}}}, r"synthetic\.model\.d_model: 16 is not divisible by n_heads 3"),
        ({"induction": {"model": {"n_heads": 3}}}, r"induction\.model\.d_model: 16 is not divisible by n_heads 3"),
        ({"gradients": {"bias": {"model": {"n_heads": 3}}}}, r"gradients\.bias\.model\.d_model: 2 is not divisible"),
        ({"multiplication": {"model": {"n_head": 3}}}, r"n_embd 16 is not divisible by n_head 3"),
    ):
        refused(sections, key)


def test_a_corpus_that_is_not_described_is_told_with_the_key_that_asks_for_it():
    for sections, key in (
        ({"text": {"corpora": ["docstring"]}}, r"text\.corpora: corpus 'docstring'"),
        ({"text": {"evaluate_on": {"docstrings": ["nowhere"]}}}, r"text\.evaluate_on: corpus 'nowhere'"),
        ({"size_sweep": {"corpus": "nowhere"}}, r"size_sweep\.corpus: corpus 'nowhere'"),
        ({"gradients": {"revisions": {**REVISIONS, "corpus": "nowhere"}}}, r"revisions\.corpus: corpus 'nowhere'"),
    ):
        refused(sections, rf"config key .*{key} is not described")
