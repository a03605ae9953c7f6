"""The induction experiment's settings: specs, tuning, and what is refused."""

import re

import pytest

from myopia.common.errors import MyopiaError
from myopia.config.load import ROOT, load_config
from myopia.config.plan import plan
from myopia.config.runs import ARMS, run_specs, tuning_specs

RUN = re.search(r'run=r"(.+)"', (ROOT / "workflow/rules/common.smk").read_text()).group(1)


@pytest.mark.parametrize("scale", ["smoke", "laptop", "cpu", "gpu", "paper"])
def test_two_arms_and_a_shared_grid(config, scale):
    settings = load_config({**config, "scale": scale})
    specs, tuning = (
        {name: spec for name, spec in made.items() if spec["data"]["kind"] == "induction"}
        for made in (run_specs(settings), tuning_specs(settings))
    )
    assert len(specs) == 2 and not set(specs) & set(tuning)
    vanilla, myopic = specs["induction-vanilla"], specs["induction-myopic"]
    different = {key for key in vanilla if vanilla[key] != myopic[key]}
    assert different <= {"name", "arm", "arm_name", "optim"}
    assert myopic["arm"] == ARMS["myopic"] and vanilla["arm"] == ARMS["vanilla"]
    for spec in (*specs.values(), *tuning.values()):
        assert re.fullmatch(RUN, spec["name"])
        assert spec["model"]["config"]["vocab_size"] == spec["data"]["vocab_size"]
    assert 0 in vanilla["snapshots"]  # the control row compares with the network before training
    rates = {arm: {s["optim"]["lr"] for s in tuning.values() if s["arm_name"] == arm} for arm in ("vanilla", "myopic")}
    assert rates["vanilla"] == rates["myopic"] == set(settings["induction"]["lr_grid"])
    for spec in specs.values():
        assert spec["optim"]["lr"] == settings["induction"]["optim"]["lr"][spec["arm_name"]]


def test_the_plan_counts_it(config):
    settings = load_config({**config, "scale": "laptop"})
    row = next(row for row in plan(settings) if row["experiment"] == "induction")
    part = settings["induction"]
    assert (row["runs"], row["seeds"]) == (2, 3)
    assert row["tokens"] == 2 * 3 * part["steps"] * part["batch_size"] * part["task"]["T"]


@pytest.mark.parametrize(
    "path, value, sentence",
    [
        ("task.period", [3, 9], r"task\.period must not exceed the 8 tokens"),
        ("task.period", [5, 4], r"task\.period must be at least 3 and its end"),
        ("task.T", 6, r"task\.T must be at least 7"),
        ("model.n_heads", 3, r"model\.d_model: 16 is not divisible by n_heads 3"),
        ("micro_batch", 3, r"batch_size: 8 is not a multiple of induction\.micro_batch 3"),
        ("snapshots", [0, 21], r"snapshots: step 21 lies beyond the last, 20"),
        ("task.period", [2, 4], "period"),
        ("model.n_layers", 1, "n_layers"),
        ("test_sequences", 100, "test_sequences"),
    ],
)
def test_what_makes_no_sense_is_refused_by_key(put, path, value, sentence):
    with pytest.raises(MyopiaError, match=sentence) as error:
        load_config(put(f"scales.smoke.induction.{path}", value))
    assert "induction" in str(error.value)
