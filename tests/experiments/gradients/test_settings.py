"""The section `anatomy`: which steps keep their weights, the small networks, and refusals."""

import pytest

from myopia.common.errors import MyopiaError
from myopia.config.load import load_config
from myopia.config.runs import run_specs, tuning_specs
from myopia.experiments.gradients.settings import DENSE_LIMIT, bias_parameters, snapshot_steps


@pytest.mark.parametrize(
    ("steps", "ratio", "expected"),
    [
        (20, 4, [0, 1, 4, 16]),
        (1200, 2, [0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024]),
        (8, 1.3, [0, 1, 2, 3, 4, 5, 6]),
        (1, 2, [0]),
    ],
)
def test_snapshots_grow_by_the_ratio_and_end_before_the_last_step(steps, ratio, expected):
    assert snapshot_steps(steps, ratio) == expected


def test_followed_runs_keep_their_weights_and_no_others(config):
    settings = load_config(config)
    runs = run_specs(settings)
    followed = {name for name, spec in runs.items() if "snapshots" in spec}
    assert followed == {"text-docstrings-vanilla", "text-docstrings-myopic", "induction-vanilla", "induction-myopic"}
    assert not any("snapshots" in spec for spec in tuning_specs(settings).values())
    assert runs["text-docstrings-vanilla"]["snapshots"] == [0, 1, 4, 16]


def test_small_networks_fit_and_are_trained_in_both_arms(config):
    for scale in config["scales"]:
        settings = load_config({**config, "scale": scale, "data_root": None})
        specs = run_specs(settings)
        assert {"bias-vanilla", "bias-myopic"} <= set(specs)
        assert bias_parameters(settings["anatomy"]["bias"]) <= DENSE_LIMIT
        assert specs["bias-vanilla"]["precision"] == "fp32" and specs["bias-vanilla"]["data"]["kind"] == "dp"


@pytest.mark.parametrize(
    ("path", "value", "sentence"),
    [
        (
            "scales.smoke.anatomy.bias.model.d_model",
            64,
            r"it has [\d,]+ parameters, and Hessians are written out for at most 2,000",
        ),
        ("base.anatomy.bias.model.n_heads", 3, "d_model: 2 is not divisible by n_heads 3"),
        ("base.anatomy.bias.model.activation", "relu", "anatomy.bias.model.activation"),
        ("base.anatomy.bias.task.T", 2, "T: 2 positions are too few for a window of 2"),
        ("scales.smoke.anatomy.bias.micro_batch", 3, "not a multiple of micro_batch 3"),
        ("base.anatomy.revisions.steps", [256], "anatomy.revisions.corpus: 'pile-hub' is not a corpus of this scale"),
        ("base.anatomy.blocks", 2, "anatomy.blocks"),
        ("base.anatomy.snapshot_ratio", 1, "anatomy.snapshot_ratio"),
        ("scales.smoke.text.arms", ["vanilla", "beta1"], "anatomy.arms: myopic is not among text.arms"),
    ],
)
def test_refusals_name_the_key(put, path, value, sentence):
    with pytest.raises(MyopiaError, match=sentence):
        load_config(put(path, value))
