"""Settings of the gradients experiment: the small networks, what can be measured apart, and refusals."""

import pytest

from myopia.common.errors import MyopiaError
from myopia.config.dag import Dag
from myopia.config.load import load_config
from myopia.config.shapes import shape_of
from myopia.experiments.gradients import EXPERIMENT
from myopia.experiments.gradients.settings import DENSE_LIMIT, runs, tuning_runs

READS = ["synthetic", "text", "gradients"]
PUBLIC = {"repo": "someone/public-model", "corpus": "docstrings", "steps": [0, 256]}


def load(scale="smoke", text=None, experiments=READS, **section):
    return load_config({"scale": scale, "experiments": experiments, "text": text or {}, "gradients": section})


def check_networks(scale):
    settings = load(scale)
    specs = runs(settings)
    assert set(specs) == {"bias-vanilla", "bias-myopic"}
    for spec in (*specs.values(), *tuning_runs(settings).values()):
        assert shape_of(spec["model"], None).parameters <= DENSE_LIMIT
        assert spec["precision"] == "fp32" and spec["data"]["kind"] == "dp" and "snapshots" not in spec


def test_small_networks_fit_and_are_trained_in_both_arms():
    for scale in ("smoke", "laptop", "cpu", "gpu"):
        check_networks(scale)


def units(settings):
    (measurement,) = EXPERIMENT.measurements
    return measurement.units(Dag(settings))


def test_what_can_be_measured_apart():
    found = units(load(revisions=PUBLIC))
    text = [f"text-docstrings-{arm}-seed{seed}" for arm in ("vanilla", "myopic") for seed in (0, 1)]
    assert list(found) == ["bias", *text, "revisions", "toys"]
    assert [(run["run"], run["seed"]) for run in found["bias"]] == [
        ("bias-vanilla", 0), ("bias-vanilla", 1), ("bias-myopic", 0), ("bias-myopic", 1)
    ]  # fmt: skip
    # Lanczos is for the first seed alone; the last checkpoint is the run itself.
    assert [[run["what"] for run in found[name]] for name in text] == [["gradients", "spectrum"], ["gradients"]] * 2
    series = found["text-docstrings-myopic-seed1"][0]
    folder = "results/smoke/runs/text-docstrings-myopic/seed1"
    assert series["checkpoints"] == {step: f"{folder}/snapshots/step{step}" for step in (0, 1, 4, 16)} | {20: folder}
    (public,) = found["revisions"]
    assert public["run"] == "public-model" and public["arm"] == "public" and not public["trained"]
    places = [f"results/smoke/revisions/public-model/step{step}" for step in (0, 256)]
    assert public["checkpoints"] == dict(zip((0, 256), places)) and public["folder"] == places[1]
    assert public["also"] == [f"{place}/revision.json" for place in places] + [
        "results/smoke/data/docstrings/tokens/tokens.manifest.json"
    ]
    assert EXPERIMENT.checkpoints(Dag(load(revisions=PUBLIC))) == public["also"][:2]


def test_only_the_arms_asked_for_are_followed():
    found = units(load(arms=["myopic"]))
    assert [name for name in found if name.startswith("text")] == [f"text-docstrings-myopic-seed{k}" for k in (0, 1)]
    assert set(units(load(arms=[]))) == {"bias", "toys"}


def test_the_corpus_of_public_revisions_is_made():
    assert "docstrings-1k" in load(revisions=PUBLIC | {"corpus": "docstrings-1k"})["corpora"]


@pytest.mark.parametrize(
    ("section", "sentence"),
    [
        ({"bias": {"model": {"d_model": 64}}}, r"bias\.model: it has [\d,]+ parameters, .* at most 2,000"),
        ({"bias": {"task": {"T": 2}}}, "T: 2 positions are too few for a window of 2"),
        ({"text": {"snapshots": {"arms": ["vanilla"]}}}, r"gradients\.arms: myopic is not among text\.snapshots\.arms"),
    ],
)
def test_refusals_name_the_key(section, sentence):
    with pytest.raises(MyopiaError, match=sentence):
        load(**section)
