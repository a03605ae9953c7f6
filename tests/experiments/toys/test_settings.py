"""The toys' settings: searches that would not end and capacities that say nothing are refused in one sentence."""

import pytest
from scipy.special import stirling2

from myopia.common.errors import MyopiaError
from myopia.config.load import load_config
from myopia.experiments.toys.settings import MOST_PARTITIONS, partition_count, toy_seeds


@pytest.mark.parametrize("inputs", [1, 4, 9, 12])
def test_partitions_are_counted_as_stirling_did(inputs):
    for classes in range(1, inputs + 1):
        expected = sum(int(stirling2(inputs, k, exact=True)) for k in range(1, classes + 1))
        assert partition_count(inputs, classes) == expected


@pytest.mark.parametrize("scale", ["smoke", "laptop", "cpu", "gpu", "paper"])
def test_every_scale_can_be_searched_and_judged(config, scale):
    settings = load_config({**config, "scale": scale})
    part = settings["toys"]
    assert partition_count(part["shared"]["alphabet"] ** 2, max(part["shared"]["capacity"])) <= MOST_PARTITIONS
    assert part["shared"]["balance"] == sorted(part["shared"]["balance"]) and 0.5 not in part["shared"]["balance"]
    if settings["judged"]:
        assert part["seeds"] >= 10 and part["chains"] >= 10  # protocol section 4
        assert part["shared"]["alphabet"] in part["shared"]["capacity"]  # just enough for z1


@pytest.mark.parametrize(
    "key, value, message",
    [
        ("shared.capacity", [2, 0], "capacity of 0 leaves f no value to give; it must be at least 1"),
        ("shared.alphabet", 4, "16 inputs can be sorted into at most 9 classes in .* ways, and only 200,000"),
        ("consequence.capacity", 9, "toys.consequence.capacity: it must be between 1 and toys.consequence.letters"),
        ("consequence.capacity", 0, "toys.consequence.capacity: it must be between 1"),
        ("points", 5000, "5000 points do not fit into 1200 steps of toys.hidden"),
        ("seeds", 110, "toys.shared.grid.seeds: seed 103 would be tuned on and judged too"),
        ("shared.overlap", [1.5], "1.5 is greater than the maximum"),
        ("hidden.precision", 0, "hidden.precision"),
    ],
)
def test_what_cannot_be_is_refused_in_one_sentence(put, key, value, message):
    with pytest.raises(MyopiaError, match=message) as caught:
        load_config({**put(f"base.toys.{key}", value), "scale": "laptop"})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("key", ["shared.optim.start", "hidden.optim.lr", "consequence.closed.steps"])
def test_a_missing_key_is_named(put, key):
    with pytest.raises(
        MyopiaError, match=f"{key.split('.')[-1]}' is missing at scales.laptop.toys.{key.rsplit('.', 1)[0]}"
    ):
        load_config({**put(f"base.toys.{key}"), "scale": "laptop"})


def test_a_large_alphabet_is_fine_where_f_has_few_values(put):
    config = {**put("base.toys.shared.alphabet", 4), "scale": "laptop"}
    config["base"]["toys"]["shared"]["capacity"] = [2]
    assert partition_count(16, 2) == 2**15
    load_config(config)


def test_seeds_spent_on_tuning_are_left_out():
    assert toy_seeds(4, [1, 3]) == [0, 2, 4, 5]
    many = toy_seeds(256, [100, 101, 102])
    assert len(set(many)) == 256 and not {100, 101, 102} & set(many)
