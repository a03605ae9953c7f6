"""The reference files: complete, schema-checked, and consistent with each other."""

from __future__ import annotations

from pathlib import Path

import jsonschema
import pandas as pd
import pytest
import yaml

from myopia.common.errors import MyopiaError
from myopia.config.experiment import experiment, known
from myopia.judge.claims import expand, read_claims
from myopia.judge.measures import Paper, expand_range
from myopia.judge.registry import ESTIMATORS
from own_claims import REFERENCE

WORKFLOW = Path(__file__).resolve().parents[3] / "workflow"
PAPER_ROWS = 694
"""Printed cells and digitised points of the paper (Fig 7 among them, although read from the code's array)."""


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    return pd.read_csv(WORKFLOW / "reference/paper_values.csv", dtype={"x": str, "id": str}, keep_default_na=False)


def schema(name: str) -> dict:
    return yaml.safe_load((WORKFLOW / f"schemas/{name}.schema.yaml").read_text())


def test_rows_follow_the_schema(table: pd.DataFrame) -> None:
    validator = jsonschema.Draft202012Validator(schema("reference"))
    for row in table.to_dict("records"):
        validator.validate(row)
    assert table["id"].is_unique


def test_counts_by_item(table: pd.DataFrame) -> None:
    first = table.iloc[:PAPER_ROWS]
    counts = first.groupby("item").size().to_dict()
    assert counts == {
        "Table 1": 9,
        "Table 2": 4,
        "Fig 2": 120,
        "Fig 4": 188,
        "Fig 5": 64,
        "Fig 7": 16,
        "Fig 9": 128,
        "Fig 10": 100,
        "Fig 11": 65,
    }
    assert first["value"].sum() == pytest.approx(4931.6851)
    assert (first.loc[first["item"] != "Fig 7", "source"] == "paper").all()
    rest = table.iloc[PAPER_ROWS:]
    assert set(rest.loc[rest["source"] == "paper", "item"]) == {"Table 5"}
    published = rest["source"] == "eleutherai"  # six sizes of Pythia as released, four tasks
    assert (published.sum(), (~published).sum()) == (24, 349)


VALUES = {
    "table1-vanilla-p0.01": 0.096,
    "table1-zero": 1.26,
    "table2-local-myopic": 3.26,
    "code-dp-myopic-p1": 1.2569974660873413,
    "code-gpt2-vanilla": 3.2765459608148646,
    "code-gpt2-cutgrad": 3.73,
    "code-gpt2-local-kv": 3.1952,
    "code-pythia-fp32-gap-2.8b": 0.249,
    "code-pythia-fp32-myopic-14m": 4.178765296936035,
    "code-fig10-vanilla-pad5-5x5": 0.36,
    "code-fig10-myopic-pad10-5x5": 0.06,
    "fig11-cos-step256": -0.4778,
    "code-logiqa-myopic-1.4b": 0.255,
    "fig9-vanilla-5x6": 0.92,
    "eleutherai-sciq-70m": 0.601,
    "eleutherai-arc_easy-1b": 0.5694444444444444,
}


def test_values_one_by_one(paper: Paper) -> None:
    assert {key: paper.get(key)[0] for key in VALUES} == VALUES


def test_gaps_agree_with_their_curves(paper: Paper) -> None:
    # Two independent readings of Fig 4 must agree within their reading errors.
    for position in range(10, 63):
        both = [paper.get(f"fig4-{arm}-pos{position}")[0] for arm in ("myopic", "vanilla")]
        assert both[0] - both[1] == pytest.approx(paper.get(f"fig4-gap-pos{position}")[0], abs=0.023)


def test_claims_follow_the_schema() -> None:
    validator = jsonschema.Draft202012Validator(schema("claims"))
    for one in (one for one in map(experiment, known()) if one.has_claims):
        document = yaml.safe_load((one.folder / "claims.yaml").read_text())
        validator.validate(document)
    broken = {**document, "claims": [{**document["claims"][0], "dleta": 1}]}
    with pytest.raises(jsonschema.ValidationError):
        validator.validate(broken)


def test_every_claim_can_be_asked(claims, paper: Paper) -> None:
    for claim in claims.claims:
        paper.resolve(claim.paper)
        assert claim.criterion
        if claim.estimand is None:
            assert claim.sub_claims or claim.reason
        else:
            assert claim.estimand["name"] in ESTIMATORS
            assert claim.delta is not None or claim.test == "value"
        assert "smoke" not in claim.scales
        assert claim.kind != "value" or claim.scales == ("paper",)
        assert claim.min_steps == 0 or claim.min_seeds >= 5


def test_every_row_of_the_protocol_is_there(claims) -> None:
    families = {claim.family for claim in claims.claims}
    assert {"Table 1", "Fig 2", "Fig 4", "Table 2", "Fig 5", "Fig 7", "Fig 9", "Fig 10", "Fig 11"} <= families
    ids = set(claims.by_id())
    scalar = {
        "table2-gap-msmarco",
        "table2-local-msmarco",
        "table2-share-msmarco",
        "fig4-msmarco",
        "fig7-rise",
        "fig2-lag0-only",
        "fig2-layer2-lags",
        "precaching-p0.01",
        "table1-gap-every-p",
        "fig10-vanilla",
        "fig10-myopic",
        "fig11-norms",
        "theory-correlation",
    }
    controls = {
        "control-aa-dp",
        "control-shift0-present",
        "control-shift0-skill",
        "fig4-position0-msmarco",
        "control-probe-untrained-p0.3",
        "control-probe-shuffled-p0.3",
    }
    assert scalar | controls <= ids


def test_expansion() -> None:
    entry = {"for_each": {"p": [0.1, 1]}, "id": "a-p{p}", "args": {"p": "{p}", "more": ["b{p}"]}}
    assert expand(entry) == [
        {"id": "a-p0.1", "args": {"p": 0.1, "more": ["b0.1"]}},
        {"id": "a-p1", "args": {"p": 1, "more": ["b1"]}},
    ]
    assert expand_range("x-pos[1..3]-y") == ["x-pos1-y", "x-pos2-y", "x-pos3-y"]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("claims: 3", "needs a list"),
        ("claims: [{id: a, claim: b, where: c, family: d, reason: r, colour: red}]", "unknown key colour"),
        ("claims: [{id: a, where: c, family: d, reason: r}]", "incomplete"),
        ("claims: [{id: a, claim: b, where: c, family: d}]", "gives no reason"),
        ("claims: [{id: a, claim: b, where: c, family: d, reason: r, control: [z]}]", "does not exist"),
        ("claims: [", "cannot be read"),
    ],
)
def test_a_broken_claims_file_is_one_sentence(tmp_path: Path, text: str, sentence: str) -> None:
    path = tmp_path / "claims.yaml"
    path.write_text(text)
    with pytest.raises(MyopiaError, match=sentence):
        read_claims([path], REFERENCE / "claims.yaml")
