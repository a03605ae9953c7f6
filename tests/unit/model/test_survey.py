"""`make survey` on architectures that once were wrong or failed, and what is published of it."""

import re
import sys
from pathlib import Path

import pandas as pd
import pytest

from myopia import to_myopic

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "benchmarks"))
import survey_architectures

ROOT = Path(__file__).resolve().parents[3]
OUTCOMES = [
    ("bart", "exact", None),  # makes a bidirectional mask that it does not use
    ("jetmoe", "exact", None),  # takes a view of the attention's output
    ("mimo_v2_flash", "exact", None),  # sinks in some layers, values narrower than keys
    ("qwen2_moe", "exact", None),  # makes a mask for windows of no token that it does not use
    ("deepseek_v4", "refused", "5 keys"),  # attends to compressed keys as well
    ("gemma3n_text", "refused", "layer 5 attends to keys or values made from the hidden states of layers [3]"),
    ("hy_v4", "refused", "it fails (TypeError"),  # cannot do without a ready-made mask
    ("lfm2", "refused", "other or shared token mixers"),
]


@pytest.mark.parametrize(("name", "outcome", "why"), OUTCOMES)
def test_outcome(name, outcome, why):
    row = survey_architectures.survey(name)
    assert row["outcome"] == outcome, row
    assert why is None or why in row["why"]


def test_a_wrong_gradient_is_called_wrong(monkeypatch):
    monkeypatch.setattr(survey_architectures, "to_myopic", lambda model: to_myopic(model, beta=1e-4))
    assert survey_architectures.survey("llama")["outcome"] == "WRONG"


def test_the_published_survey_is_of_the_pinned_version_and_nothing_in_it_is_wrong():
    frame = pd.read_csv(ROOT / "docs" / "results" / "architectures.csv")
    pinned = re.search(r"^transformers==(\S+)", (ROOT / "requirements.txt").read_text(), re.M).group(1)
    assert set(frame["transformers"]) == {pinned}, "make survey, and publish results/bench/architectures.csv"
    assert set(frame["architecture"]) == set(survey_architectures.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES)
    assert set(frame["outcome"]) == {"exact", "refused", "not tried"}
    assert (frame["outcome"] == "exact").sum() > 100
