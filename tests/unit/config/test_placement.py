"""How a run is laid on its devices: what fits, what is shared equally, and what cannot be."""

import pytest

from myopia.common.errors import MyopiaError
from myopia.config.placement import MIN_TOKENS, place
from myopia.config.shapes import pythia

GB80 = 80e9
ARM = {"kind": "myopic", "cut": "hidden", "beta": 0.0}


def spec(**changes):
    return {"name": "big", "arm": ARM, "precision": "bf16", "batch_size": 512, "micro_batch": 512, **changes}


def test_one_device_is_laid_out_as_the_run_says():
    alone = place(spec(), pythia("12b"), 64, 1, GB80, True, "shard")
    assert (alone.strategy, alone.micro_batch, alone.fits) == ("replicate", 512, False)
    assert place(spec(micro_batch=128), pythia("70m"), 64, 1, GB80, True).micro_batch == 128


def test_a_batch_is_shared_equally():
    small = pythia("70m")
    assert place(spec(), small, 64, 4, GB80, True).micro_batch == 128
    assert place(spec(micro_batch=100), small, 64, 4, GB80, True).micro_batch == 64  # divides the share of 128
    assert place(spec(batch_size=6144), small, 64, 8, GB80, True).micro_batch == 384
    with pytest.raises(MyopiaError, match="batch_size 512 of run big cannot be shared equally by 3 processes: set"):
        place(spec(), small, 64, 3, GB80, True)


def test_the_network_is_divided_when_it_must_be_and_not_before():
    chosen = {size: place(spec(), pythia(size), 64, 8, GB80, True) for size in ("160m", "2.8b", "6.9b", "12b")}
    assert {size: c.strategy for size, c in chosen.items()} == {
        "160m": "replicate", "2.8b": "replicate", "6.9b": "shard", "12b": "shard",
    }  # fmt: skip
    for layout in chosen.values():
        assert layout.fits and layout.bytes <= GB80 and 64 % layout.micro_batch == 0
    # Two devices cannot keep 12 billion parameters' moments, however they are divided.
    assert not place(spec(), pythia("12b"), 64, 2, GB80, True).fits


def test_recomputing_comes_before_micro_batches_that_starve_a_device():
    whole = place(spec(), pythia("6.9b"), 2048, 8, GB80, True)
    assert whole.strategy == "shard" and whole.micro_batch * 2048 >= MIN_TOKENS
    tight = whole.bytes * 0.75
    chosen = place(spec(), pythia("6.9b"), 64, 8, tight, True)
    assert chosen.fits and chosen.micro_batch * 64 >= MIN_TOKENS


def test_a_strategy_can_be_forced():
    for strategy in ("replicate", "shard", "shard-recompute"):
        assert place(spec(), pythia("70m"), 64, 4, GB80, True, strategy).strategy == strategy
    with pytest.raises(
        MyopiaError, match="sharding must be one of auto, replicate, shard, shard-recompute, not 'zero'"
    ):
        place(spec(), pythia("70m"), 64, 4, GB80, True, "zero")


def test_dividing_saves_what_it_says():
    """Per device: less with more devices; recomputing saves activations alone."""
    shape, tokens = pythia("6.9b"), 64 * 64
    bytes_of = lambda devices, strategy: shape.training_bytes(tokens, "bf16", ARM, False, devices, strategy)  # noqa: E731
    assert bytes_of(2, "replicate") == bytes_of(8, "replicate") > bytes_of(2, "shard") > bytes_of(8, "shard")
    saved = 16 * shape.parameters * (1 / 2 - 1 / 8)
    assert bytes_of(2, "shard") - bytes_of(8, "shard") == pytest.approx(saved)
    assert bytes_of(8, "shard-recompute") < bytes_of(8, "shard")


def test_without_a_formula_the_largest_share_is_taken_whole():
    unknown = place(spec(), None, 64, 4, GB80, True)
    assert (unknown.strategy, unknown.micro_batch, unknown.bytes, unknown.fits) == ("replicate", 128, None, True)


def test_on_a_cpu_memory_is_no_limit():
    assert place(spec(), pythia("12b"), 64, 2, None, False).strategy == "replicate"
