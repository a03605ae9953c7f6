"""The induction experiment's settings: specs, tuning, what is measured apart, and what is refused."""

import pytest

from configuring import SCALES
from myopia.common.errors import MyopiaError
from myopia.config.dag import Dag
from myopia.config.load import load_config
from myopia.config.runs import ARMS, PAIR
from myopia.experiments.induction import EXPERIMENT


def load(scale="smoke", **section):
    return load_config({"scale": scale, "experiments": ["induction"], "induction": section})


def check_arms(scale):
    settings = load(scale)
    specs, tuning = EXPERIMENT.runs(settings), EXPERIMENT.tuning(settings)
    assert list(specs) == [f"induction-{arm}" for arm in PAIR] and not set(specs) & set(tuning)
    vanilla, myopic = specs.values()
    assert {key for key in vanilla if vanilla[key] != myopic[key]} <= {"name", "arm", "arm_name", "optim"}
    assert (vanilla["arm"], myopic["arm"]) == (ARMS["vanilla"], ARMS["myopic"])
    for spec in (*specs.values(), *tuning.values()):
        assert spec["model"]["config"]["vocab_size"] == spec["data"]["vocab_size"]
    assert 0 in vanilla["snapshots"]  # the control row compares with the network before training
    for arm in PAIR:
        tried = {spec["optim"]["lr"] for spec in tuning.values() if spec["arm_name"] == arm}
        assert tried == set(settings["induction"]["lr_grid"])
        assert specs[f"induction-{arm}"]["optim"]["lr"] == settings["induction"]["optim"]["lr"][arm]


def test_two_arms_and_a_shared_grid():
    for scale in SCALES:
        check_arms(scale)


def test_each_run_and_seed_is_a_unit():
    settings = load(snapshots=[0, 7])
    (measurement,) = EXPERIMENT.measurements
    (run,) = measurement.units(Dag(settings))["induction-myopic-seed1"]
    assert run["folder"] == "results/smoke/runs/induction-myopic/seed1"
    assert (run["arm"], run["seed"], run["steps"], run["snapshots"]) == ("myopic", 1, 20, [0, 7])
    assert measurement.options(settings) == {
        key: settings["induction"][key] for key in ("test_sequences", "head_sequences")
    }


@pytest.mark.parametrize(
    ("section", "sentence"),
    [
        ({"task": {"period": [3, 9]}}, r"task\.period must not exceed the 8 tokens"),
        ({"task": {"T": 6}}, r"task\.T must be at least 7"),
        ({"model": {"n_layers": 1}}, r"model\.n_layers: a previous-token head needs a layer above"),
        ({"snapshots": [0, 21]}, r"snapshots: step 21 lies beyond the last, 20"),
    ],
)
def test_what_makes_no_sense_is_refused_by_key(section, sentence):
    with pytest.raises(MyopiaError, match=r"config key induction\." + sentence):
        load(**section)
