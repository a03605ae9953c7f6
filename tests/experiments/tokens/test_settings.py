"""Settings of "where planning pays": which pairs are measured together, and refusals."""

import pytest

from myopia.common.errors import MyopiaError
from myopia.config.dag import Dag
from myopia.config.load import load_config
from myopia.experiments.tokens import EXPERIMENT


def load(scale="smoke", text=None, **section):
    return load_config({"scale": scale, "experiments": ["text", "tokens"], "text": text or {}, "tokens": section})


def units(settings):
    (measurement,) = EXPERIMENT.measurements
    return measurement.units(Dag(settings))


def test_pairs_of_a_corpus_are_measured_together():
    found = units(load(text={"corpora": ["docstrings-1k", "docstrings"], "evaluate_on": {}}))
    assert list(found) == ["docstrings", "docstrings-1k"]  # as pair_up orders them
    entry = {"seed": 1, "corpus": "docstrings", "tokens": "results/smoke/data/docstrings/tokens"}
    assert [(e["arm"], e["seed"]) for e in found["docstrings"]] == [
        ("vanilla", 0), ("vanilla", 1), ("myopic", 0), ("myopic", 1)
    ]  # fmt: skip
    run = "text-docstrings-myopic"
    assert found["docstrings"][3] == entry | {"run": run, "arm": "myopic", "folder": f"results/smoke/runs/{run}/seed1"}
    assert units(load(text={"arms": ["vanilla", "bigram-true"]})) == {}


@pytest.mark.parametrize(
    ("section", "sentence"),
    [
        ({"max_tau": 63}, r"tokens\.max_tau: windows of 64 tokens have none 63 ahead of two positions or more"),
        (
            {"probe_tokens": 512},
            r"tokens\.probe_tokens: 512 tokens cannot be told apart in the vocabulary of docstrings",
        ),
    ],
)
def test_refusals_name_the_key(section, sentence):
    assert load(max_tau=62, probe_tokens=511)
    with pytest.raises(MyopiaError, match=sentence):
        load(**section)
