"""Section `released`: which checkpoints a scale measures, and templates that cannot work."""

import pytest

from myopia.common.errors import MyopiaError
from myopia.config.dag import Dag
from myopia.config.load import load_config
from myopia.experiments.released.settings import checkpoints, scored

EIGHT = ["14m", "31m", "70m", "160m", "410m", "1b", "1.4b", "2.8b"]
READS = ["text", "size_sweep", "zero_shot", "released"]


def load(scale="smoke", **section):
    return load_config({"scale": scale, "experiments": READS, "released": section})


def test_every_scale_but_smoke_measures_all_eight_sizes():
    sixteen = [f"pythia-{size}-{arm}" for size in EIGHT for arm in ("vanilla", "myopic")]
    for scale in ("laptop", "cpu", "gpu", "paper"):
        assert list(checkpoints(load(scale))) == sixteen, scale


def test_templates_are_filled_in():
    settings = load()
    found = checkpoints(settings)
    assert list(found) == [f"pythia-{size}-{arm}" for size in ("14m", "31m") for arm in ("vanilla", "myopic")]
    assert found["pythia-31m-myopic"] == {
        "run": "pythia-31m-myopic", "size": "31m", "arm": "myopic", "repo": "wiwu2390/pythia-31m-myopic",
        "base": "EleutherAI/pythia-31m", "file": "*.ckpt", "revision": "main", "base_revision": "main",
    }  # fmt: skip
    assert scored(settings)[3] == {
        "run": "pythia-31m-myopic", "arm": "myopic", "seed": 0, "model": "31m",
        "folder": "results/smoke/released/runs/pythia-31m-myopic", "tasks": ["results/smoke/data/tasks/cloze-docstrings"],
    }  # fmt: skip


def test_nothing_of_it_is_part_of_all():
    dag = Dag(load())
    assert not {"fig7_released", "released_position", "fig5_released", "released_audit"} & {
        *dag.figures(),
        *dag.tables(),
    }
    assert not any("released" in path for path in (*dag.run_folders(), *dag.measured(*dag.experiments)))


@pytest.mark.parametrize(
    ("key", "value", "sentence"),
    [
        ("repo", "someone/pythia-{size}", r"config key released\.repo: 'someone/pythia-\{size\}' must contain \{arm\}"),
        ("base", "folder", r"config key released\.base: 'folder' must contain \{size\}"),
    ],
)
def test_settings_that_cannot_work(key, value, sentence):
    with pytest.raises(MyopiaError, match=sentence):
        load(**{key: value})
