"""The synthetic task's settings: runs, controls, learning rates, grids, and what is refused."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from configuring import SCALES
from myopia.common.errors import MyopiaError
from myopia.config.dag import Dag
from myopia.config.load import load_config
from myopia.config.runs import ARMS, BETA_SWEEP, PAIR
from myopia.experiments.synthetic import EXPERIMENT


def load(scale: str = "smoke", **section: Any) -> dict[str, Any]:
    return load_config({"scale": scale, "experiments": ["synthetic"], "synthetic": section})


def rates(settings: dict[str, Any]) -> dict[str, float]:
    return {name: spec["optim"]["lr"] for name, spec in EXPERIMENT.runs(settings).items()}


def without_arm(spec: dict[str, Any]) -> dict[str, Any]:
    spec = {key: value for key, value in spec.items() if key not in ("arm", "arm_name", "name")}
    return {**spec, "optim": {key: value for key, value in spec["optim"].items() if key != "lr"}}


def check_pairs(scale: str) -> None:
    settings = load(scale)
    before, section = copy.deepcopy(settings), settings["synthetic"]
    runs, tuning = EXPERIMENT.runs(settings), EXPERIMENT.tuning(settings)
    assert settings == before  # tuning sets rates in specs of its own
    assert not set(runs) & set(tuning) and all(name == spec["name"] for name, spec in {**runs, **tuning}.items())
    for p in section["p"]:
        vanilla, myopic = (runs[f"dp-p{p:g}-{arm}"] for arm in PAIR)
        assert without_arm(vanilla) == without_arm(myopic)
        assert (vanilla["arm"], myopic["arm"]) == (ARMS["vanilla"], ARMS["myopic"])
        assert vanilla["purpose"] == ("smoke" if scale == "smoke" else "judged")
        for arm in PAIR:
            tried = {s["optim"]["lr"] for s in tuning.values() if (s["data"]["p"], s["arm_name"]) == (p, arm)}
            assert tried == set(section["lr_grid"])
    assert {spec["purpose"] for spec in tuning.values()} <= {"tuning"}
    assert {spec["data"]["p"] for spec in runs.values() if spec["purpose"] == "control"} == {section["control_p"]}


def test_pairs_differ_in_their_arm_alone_and_share_one_grid() -> None:
    for scale in SCALES:
        check_pairs(scale)


def test_shift0_puts_the_present_into_the_window() -> None:
    runs = EXPERIMENT.runs(load(controls=["shift0-vanilla", "shift0-myopic", "myopic-kv", "beta1"]))
    controls = {name: spec["data"]["shift"] for name, spec in runs.items() if spec["purpose"] == "control"}
    assert controls == {"dp-p1-shift0-vanilla": 0, "dp-p1-shift0-myopic": 0, "dp-p1-myopic-kv": 1, "dp-p1-beta1": 1}


def test_a_rate_for_one_p_holds_there_alone_and_controls_follow_their_arm() -> None:
    section = {"p": [0.3, 1.0], "controls": ["beta1", "myopic-kv"], "at_p": {"1": {"lr": {"vanilla": 5e-3}}}}
    section["optim"] = {"lr": {"vanilla": 1e-3, "myopic": 2e-3}}
    assert rates(load(**section)) == {
        "dp-p0.3-vanilla": 1e-3, "dp-p0.3-myopic": 2e-3, "dp-p1-vanilla": 5e-3, "dp-p1-myopic": 2e-3,
        "dp-p1-beta1": 5e-3, "dp-p1-myopic-kv": 2e-3,
    }  # fmt: skip
    section["at_p"]["1"]["lr"]["beta1"] = 7e-3  # named: its own
    assert rates(load(**section))["dp-p1-beta1"] == 7e-3


def test_a_small_p_has_a_name_and_two_runs_never_share_one() -> None:
    assert "dp-p1e-05-vanilla" in EXPERIMENT.runs(load(p=[1e-5, 1.0]))
    with pytest.raises(MyopiaError, match=r"two runs would be called dp-p0\.1-vanilla"):
        load(p=[0.1, 0.1000000001, 1.0])


def test_arms_of_the_beta_sweep_run_at_one_p_and_choose_between_the_rates_of_its_ends() -> None:
    ends, own = {"vanilla": 3e-3, "myopic": 1e-3}, {"beta0.25": 2e-3, "beta0.5": 4e-3, "beta0.75": 5e-3}
    settings = load("cpu", at_p={"1": {"lr": {**ends, **own}}})
    runs, tuning = EXPERIMENT.runs(settings), EXPERIMENT.tuning(settings)
    assert {arm: runs[f"dp-p1-{arm}"]["optim"]["lr"] for arm in BETA_SWEEP} == own
    assert not [name for name in runs if name.startswith("dp-p0.3") and "beta" in name]
    for arm in BETA_SWEEP:
        tried = {spec["optim"]["lr"] for name, spec in tuning.items() if name.startswith(f"dp-p1-{arm}-lr")}
        assert tried == set(ends.values())
    alike = EXPERIMENT.tuning(load("cpu", at_p={"1": {"lr": {**ends, "vanilla": 1e-3}}}))
    assert not [name for name in alike if "beta" in name]  # one rate for both ends: nothing to choose


def test_the_beta_sweep_is_evaluated_but_not_probed() -> None:
    dag = Dag(load(controls=["shift0-myopic", "beta0.5"]))
    evaluated, probed = (measurement.units(dag) for measurement in EXPERIMENT.measurements)
    assert set(evaluated) - set(probed) == {f"dp-p1-beta0.5-seed{seed}" for seed in dag.settings["seeds"]}
    (run,) = probed["dp-p1-shift0-myopic-seed1"]
    assert (run["folder"], run["data"]["shift"]) == ("results/smoke/runs/dp-p1-shift0-myopic/seed1", 0)


@pytest.mark.parametrize(
    ("section", "sentence"),
    [
        ({"control_p": 0.5}, r"control_p: 0\.5 is not among synthetic\.p"),
        ({"at_p": {0.3: {"steps": 3}}}, r'synthetic\.at_p.*such as "0\.3"'),
        ({"at_p": {"0.30": {"steps": 3}}}, r'synthetic\.at_p.*such as "0\.3"'),
        ({"lookback": 8}, r"task\.T: 8 positions are too few"),
        ({"test_sequences": 100}, r"test_sequences: 100 is not a multiple of 64"),
        ({"probe_sequences": 200}, r"probe_sequences: 200 is not a multiple of 128"),
        ({"at_p": {"1": {"lr": {"vanilla": 3e-3, "beta0.25": 2e-3}}}}, r'at_p\."1"\.lr: beta0\.5 stands between'),
    ],
)
def test_what_makes_no_sense_is_refused_by_key(section: dict[str, Any], sentence: str) -> None:
    with pytest.raises(MyopiaError, match=sentence) as caught:
        load(**section)
    assert "synthetic" in str(caught.value) and "\n" not in str(caught.value)
