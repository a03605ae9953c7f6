"""Section `released`: which checkpoints a scale measures, and templates that cannot work."""

import pytest

from myopia.common.errors import MyopiaError
from myopia.config.load import load_config
from myopia.experiments.released.settings import released_specs

EIGHT = ["14m", "31m", "70m", "160m", "410m", "1b", "1.4b", "2.8b"]


@pytest.mark.parametrize("scale", ["laptop", "cpu", "gpu", "paper"])
def test_every_scale_but_smoke_measures_all_eight_sizes(config, scale):
    specs = released_specs(load_config({**config, "scale": scale}))
    assert list(specs) == [f"pythia-{size}-{arm}" for size in EIGHT for arm in ("vanilla", "myopic")]


def test_templates_are_filled_in(config):
    specs = released_specs(load_config(config))
    assert list(specs) == [f"pythia-{size}-{arm}" for size in ("14m", "31m") for arm in ("vanilla", "myopic")]
    assert specs["pythia-31m-myopic"] == {
        "run": "pythia-31m-myopic", "size": "31m", "arm": "myopic", "repo": "wiwu2390/pythia-31m-myopic",
        "base": "EleutherAI/pythia-31m", "file": "*.ckpt", "revision": "main", "base_revision": "main",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("key", "value", "sentence"),
    [
        ("repo", "someone/pythia-{size}", r"config key released\.repo: 'someone/pythia-\{size\}' must contain \{arm\}"),
        ("base", "folder", r"config key released\.base: 'folder' must contain \{size\}"),
        ("sizes", ["31"], r"config key .*released\.sizes\.0: '31' does not match"),
        ("arms", ["beta1"], r"config key .*released\.arms\.0: 'beta1' is not one of"),
        ("test_windows", 0, r"config key .*released\.test_windows: 0 is less than the minimum"),
        ("lr", 1, r"unknown key 'lr' at .*released"),
    ],
)
def test_settings_that_cannot_work(put, key, value, sentence):
    with pytest.raises(MyopiaError, match=sentence):
        load_config(put(f"scales.smoke.released.{key}", value))
