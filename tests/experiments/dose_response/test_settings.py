"""Doses of the past's gradient: arms, learning rates of their own, tuning on the ends' grid."""

import pytest

from myopia.common.errors import MyopiaError
from myopia.config.load import load_config
from myopia.config.runs import ARMS, DOSES, FOLLOWS, run_specs, tuning_specs


def test_doses_are_the_myopic_arm_with_some_of_the_gradient():
    assert DOSES == {"beta0.25": 0.25, "beta0.5": 0.5, "beta0.75": 0.75}
    for arm, beta in DOSES.items():
        assert ARMS[arm] == {**ARMS["myopic"], "beta": beta}
    assert set(FOLLOWS) | set(DOSES) | {"vanilla", "myopic"} == set(ARMS)


@pytest.mark.parametrize("scale", ["laptop", "cpu"])
def test_d_p_has_all_five_doses_at_one_p(config, scale):
    runs = run_specs(load_config({**config, "scale": scale}))
    at = {name.removeprefix("dp-p1-") for name in runs if name.startswith("dp-p1-")}
    assert {"vanilla", "myopic", "beta1", *DOSES} <= at
    assert not [name for name in runs if name.startswith("dp-p0.3") and "beta" in name]


def test_text_doses_run_at_the_rate_of_both_ends(config):
    runs = run_specs(load_config({**config, "scale": "cpu"}))
    rates = {spec["arm_name"]: spec["optim"]["lr"] for spec in runs.values() if spec["data"]["kind"] == "tokens"}
    assert set(DOSES) <= set(rates)
    assert len({rates[arm] for arm in ("vanilla", "myopic", "beta1", *DOSES)}) == 1


def test_a_dose_runs_at_its_own_rate(put):
    config = put("scales.laptop.synthetic.lr_at_p", {"1": {"vanilla": 3e-3, "myopic": 1e-3, "beta0.25": 2e-3,
                                                          "beta0.5": 4e-3, "beta0.75": 5e-3}})  # fmt: skip
    runs = run_specs(load_config({**config, "scale": "laptop"}))
    assert [runs[f"dp-p1-{arm}"]["optim"]["lr"] for arm in DOSES] == [2e-3, 4e-3, 5e-3]


@pytest.mark.parametrize(
    "path, value, sentence",
    [
        ("scales.laptop.synthetic.lr_at_p", {"1": {"vanilla": 3e-3, "myopic": 1e-3, "beta0.25": 2e-3}},
         r'synthetic\.lr_at_p\."1": beta0\.5 stands between'),
        ("scales.laptop.text.optim", {"lr": {"vanilla": 2e-3, "myopic": 1e-3}}, r"text\.optim\.lr: beta0\.25 stands between"),
        ("scales.laptop.text.at_corpus", {"docstrings": {"lr": {"myopic": 1e-3}}},
         r"text\.at_corpus\.docstrings\.lr: beta0\.25 stands between"),
    ],
)  # fmt: skip
def test_between_two_rates_a_dose_needs_its_own(put, path, value, sentence):
    put("scales.laptop.text.arms", ["vanilla", "myopic", "beta0.25"])
    with pytest.raises(MyopiaError, match=sentence):
        load_config({**put(path, value), "scale": "laptop"})


def test_doses_of_d_p_choose_between_the_rates_of_their_ends(config, put):
    ends = {"vanilla": 3e-3, "myopic": 1e-3}
    put("scales.laptop.synthetic.lr_at_p", {"1": {**ends, **dict.fromkeys(DOSES, 3e-3)}})
    specs = tuning_specs(load_config({**config, "scale": "laptop"}))
    for arm in DOSES:
        rates = {spec["optim"]["lr"] for name, spec in specs.items() if name.startswith(f"dp-p1-{arm}-lr")}
        assert rates == set(ends.values())
    assert all(spec["purpose"] == "tuning" for spec in specs.values())
    put("scales.laptop.synthetic.lr_at_p", {})  # one rate for both ends: nothing to choose
    assert not [name for name in tuning_specs(load_config({**config, "scale": "laptop"})) if "beta" in name]
