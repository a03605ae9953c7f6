"""docs/config.md follows from the settings' models, and every key in them says what it means."""

import re

from pydantic import BaseModel

from myopia.config import reference
from myopia.config.experiment import experiment, known
from myopia.config.load import ROOT
from myopia.config.schema import section_of
from myopia.config.settings import Core, User


def fields(model: type[BaseModel], path: str):
    """(path, description) of every key, those of nested sections included."""
    for name, field in model.model_fields.items():
        yield f"{path}{name}", field.description
        inner = section_of(field.annotation)
        if inner:
            yield from fields(inner, f"{path}{name}.")


def test_the_reference_is_not_stale():
    text = (ROOT / "docs" / "config.md").read_text()
    assert text == reference.render(), "run: python -m myopia config-reference"


def test_every_key_is_described_in_a_row_of_its_own():
    models = [(User, ""), (Core, ""), *((one.section, f"{one.name}.") for one in map(experiment, known()))]
    keys = [found for model, path in models for found in fields(model, path)]
    undescribed = [path for path, told in keys if not told or not re.match(r".{4,}[.)?]$", told)]
    assert not undescribed
    rows = [line for line in reference.render().splitlines() if line.startswith("| `")]
    assert [re.match(r"\| `([^`]+)`", row)[1].replace("<name>.", "") for row in rows] == [path for path, _ in keys]
    assert all(row.replace("\\|", "").count("|") == 5 for row in rows)  # a table that every renderer shows
