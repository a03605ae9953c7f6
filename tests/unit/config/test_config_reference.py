"""The schema describes every key, agrees with the rooms that read them, and docs/config.md follows from it."""

import pytest
import yaml

from myopia.config import reference
from myopia.config.load import ROOT, SCHEMA
from myopia.data import docstrings, encode, hub, split, text_files, tokenizer

DOCUMENT = yaml.safe_load(SCHEMA.read_text())


def properties(node, path="schema"):
    """Every (path, property) of a schema."""
    if isinstance(node, dict):
        for name, child in (node.get("properties") or {}).items():
            yield f"{path}.{name}", child
        for key, child in node.items():
            yield from properties(child, f"{path}.{key}")
    elif isinstance(node, list):
        for child in node:
            yield from properties(child, path)


def test_the_reference_is_not_stale():
    text = (ROOT / "docs" / "config.md").read_text()
    assert text == reference.render(), "run: python scripts/write_config_reference.py"


def test_every_property_is_described():
    described = 0
    for path, child in properties(DOCUMENT):
        if set(child) <= {"$ref", "required", "properties", "additionalProperties"} and ".settings." in path:
            continue  # a further demand of a whole scale on a property described elsewhere
        target = DOCUMENT["$defs"].get(child.get("$ref", "").rsplit("/", 1)[-1], {})
        text = child.get("description") or target.get("description") or ""
        assert text.endswith((".", ")")) and len(text) > 4, f"{path} has no description"
        described += 1
    assert described > 60


def test_every_object_is_closed():
    """No level takes unknown keys, but for Hugging Face's own model config."""
    for path, child in properties(DOCUMENT):
        if child.get("type") == "object" and not path.endswith(".config"):
            assert "additionalProperties" in child, path
    assert all(node.get("additionalProperties") is not None or "properties" not in node
               for node in DOCUMENT["$defs"].values() if node.get("type") == "object")  # fmt: skip


def test_every_key_has_a_row():
    text = reference.render()
    for key in ("scale", "base.synthetic.optim.lr", "base.text.T", "base.corpora.<name>.source.kind"):
        assert f"| `{key}` |" in text
    assert text.count("\n| `") > 90
    assert all(line.count("|") == 5 for line in text.splitlines() if line.startswith("|"))


@pytest.mark.parametrize(
    ("part", "tables"),
    [
        ("source", [docstrings._SPEC_TYPES, text_files._SPEC_TYPES, hub._SPEC_TYPES]),
        ("tokenizer", [tokenizer._BPE_TYPES, tokenizer._PRETRAINED_TYPES]),
        ("windows", [encode._TYPES]),
        ("splits", [split._SPEC_TYPES]),
    ],
)
def test_corpus_keys_are_those_the_data_room_reads(part, tables):
    known = set(DOCUMENT["$defs"]["corpus"]["properties"][part]["properties"])
    assert known == set().union(*tables) - {"T"}  # T is text.T
