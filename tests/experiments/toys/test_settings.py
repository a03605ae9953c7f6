"""The toys' settings: searches that would not end and seeds tuned on and judged are refused in one sentence."""

import pytest
from scipy.special import stirling2

from configuring import SCALES
from myopia.common.errors import MyopiaError
from myopia.config.dag import Dag
from myopia.config.load import load_config
from myopia.experiments.toys import EXPERIMENT
from myopia.experiments.toys.settings import MOST_PARTITIONS, grid_seeds, judged_seeds, partition_count


def load(scale="laptop", **section):
    return load_config({"scale": scale, "experiments": ["toys"], "toys": section})


def test_partitions_are_counted_as_stirling_did():
    for inputs in (1, 4, 9, 12):
        for classes in range(1, inputs + 1):
            expected = sum(int(stirling2(inputs, k, exact=True)) for k in range(1, classes + 1))
            assert partition_count(inputs, classes) == expected, (inputs, classes)


def check_scale(scale):
    settings = load(scale)
    section, shared = settings["toys"], settings["toys"]["shared"]
    assert partition_count(shared["alphabet"] ** 2, max(shared["capacity"])) <= MOST_PARTITIONS
    assert shared["balance"] == sorted(shared["balance"]) and 0.5 not in shared["balance"]
    if settings["judged"]:
        assert section["seeds"] >= 10 and section["chains"] >= 10  # protocol section 4
        assert shared["alphabet"] in shared["capacity"]  # just enough for z1


def test_every_scale_can_be_searched_and_judged():
    for scale in SCALES:
        check_scale(scale)


@pytest.mark.parametrize(
    "section, message",
    [
        ({"shared": {"alphabet": 4}}, "16 inputs can be sorted into at most 9 classes in .* ways, and only 200,000"),
        ({"consequence": {"capacity": 9}}, r"toys\.consequence\.capacity: it must be between 1 and"),
        ({"points": 5000}, r"5000 points do not fit into 1200 steps of toys\.hidden"),
        ({"points": 500}, r"500 points do not fit into 400 steps of toys\.consequence\.closed"),
        ({"seeds": 110}, r"toys\.shared\.grid\.seeds: seed 103 would be tuned on and judged too"),
    ],
)
def test_what_cannot_be_is_refused_in_one_sentence(section, message):
    with pytest.raises(MyopiaError, match=message) as caught:
        load(**section)
    assert "\n" not in str(caught.value)


def test_a_large_alphabet_is_fine_where_f_has_few_values():
    assert partition_count(16, 2) == 2**15
    load(shared={"alphabet": 4, "capacity": [2]})


def test_seeds_spent_on_tuning_are_left_out():
    assert judged_seeds(4, [1, 3]) == [0, 2, 4, 5]
    settings = load("paper")
    judged = judged_seeds(settings["toys"]["seeds"], settings["tuning_seeds"])
    assert len(set(judged)) == 50 and not {*judged} & {*grid_seeds(settings), *settings["tuning_seeds"]}


def test_they_train_in_their_measuring_job_and_wait_for_nothing():
    for scale in ("laptop", "gpu"):  # all in one process, and each unit in its own
        dag = Dag(load(scale))
        (measurement,) = EXPERIMENT.measurements
        assert not dag.runs and not dag.tuning and not measurement.gpu, scale
        (unit,) = dag.units(measurement).values()
        assert not any(run["trained"] for run in unit) and not measurement.files, scale
