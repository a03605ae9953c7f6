"""The beta sweep's settings: arms, learning rates of their own, and what the caption says of them."""

from myopia.config.experiment import experiment
from myopia.config.load import load_config
from myopia.config.runs import ARMS, BETA_SWEEP, INHERITS_LR_FROM, PAIR
from myopia.experiments.dose_response import EXPERIMENT
from myopia.experiments.dose_response.settings import SWEPT


def load(scale="laptop", **sections):
    return load_config({"scale": scale, "experiments": ["synthetic", "text", "dose_response"], **sections})


def test_arms_of_the_sweep_are_the_myopic_arm_with_some_of_the_gradient():
    assert BETA_SWEEP == {"beta0.25": 0.25, "beta0.5": 0.5, "beta0.75": 0.75}
    assert list(SWEPT.values()) == sorted(SWEPT.values())
    for arm, beta in SWEPT.items():
        assert ARMS[arm] == {**ARMS["myopic"], "beta": beta}
    assert {*INHERITS_LR_FROM, *BETA_SWEEP, *PAIR} == set(ARMS)


def test_d_p_has_the_whole_sweep_at_one_p():
    for scale in ("cpu",):
        runs = experiment("synthetic").runs(load(scale))
        assert {"vanilla", *SWEPT} <= {name.removeprefix("dp-p1-") for name in runs if name.startswith("dp-p1-")}, scale


def test_text_runs_at_the_rate_of_both_ends():
    runs = experiment("text").runs(load("cpu"))
    rates = {spec["arm_name"]: spec["optim"]["lr"] for spec in runs.values()}
    assert len({rates[arm] for arm in ("vanilla", *SWEPT)}) == 1


def test_the_caption_names_sizes_of_both_tasks():
    (figure,) = EXPERIMENT.figures
    assert "text 1200 steps" in figure.caption(load("cpu"))
    assert "text" not in figure.caption(load("paper"))  # no arm between the ends there
