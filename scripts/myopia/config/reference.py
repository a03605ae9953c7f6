"""The config reference in docs/config.md, written from the sections themselves so that it cannot drift."""

from __future__ import annotations

import json
import types
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import PydanticUndefined

from myopia.config.experiment import experiment, known
from myopia.config.schema import bare, section_of
from myopia.config.settings import Core, User

HEAD = """# Config reference

Generated from the settings' models by `python -m myopia config-reference`; do not edit. Defaults are shown; a scale
(`workflow/scales/<scale>.yaml`, `scales.yaml` of an experiment) changes some of them, `config.yaml` changes both.
"""


def render() -> str:
    """The reference as Markdown: a table for the top level, and one for each experiment."""
    parts = [HEAD, "## config.yaml", _table(User, ""), "## Shared by all experiments", _table(Core, "")]
    for one in map(experiment, known()):
        if one.section.model_fields:
            parts += [f"## `{one.name}`: {one.title}", _table(one.section, f"{one.name}.")]
    return "\n\n".join(part.strip() for part in parts) + "\n"


TABLES_HEAD = """# Tables

Generated from what the experiments declare by `python -m myopia config-reference`; do not edit. All are csv under
`results/<scale>/`, tidy, floats written with `%.10g`, without time, host or attempt, so that two equal runs compare byte by
byte. Measured tables hold one row per independent unit; judging makes one table for each figure, exactly what is drawn.
"""


def render_tables() -> str:
    """Columns of every measured table and of every figure's table, by experiment."""
    parts = [TABLES_HEAD]
    for one in map(experiment, known()):
        rows = ["| file | columns | a row |", "| --- | --- | --- |"]
        place = f"{one.output}/" if one.output else ""
        for table in (table for m in one.measurements for table in m.tables):
            rows.append(f"| `{place}measure/{table.name}` | `{', '.join(table.columns)}` | {table.about} |")
        for figure in one.figures:
            shown = "" if figure.draw else "read, not drawn"
            rows.append(f"| `{place}tables/{figure.name}.csv` | `{', '.join(figure.columns)}` | {shown} |")
        parts += [f"## {one.name}: {one.title}", "\n".join(rows)]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def _table(model: type[BaseModel], prefix: str) -> str:
    rows = ["| key | type | default | meaning |", "| --- | --- | --- | --- |"]
    _rows(model, prefix, _defaults(model), rows)
    return "\n".join(rows)


def _defaults(model: type[BaseModel]) -> dict[str, Any]:
    return {n: f.get_default(call_default_factory=True) for n, f in model.model_fields.items() if not f.is_required()}


def _rows(model: type[BaseModel], prefix: str, given: Any, rows: list[str]) -> None:
    for name, field in model.model_fields.items():
        named = get_origin(bare(field.annotation)) is dict  # keys the user chooses: described once
        inner = section_of(field.annotation)
        value = given.get(name, PydanticUndefined) if isinstance(given, dict) else PydanticUndefined
        shown = "" if inner or value is PydanticUndefined else f"`{json.dumps(value)}`"
        unit = (field.json_schema_extra or {}).get("unit")
        meaning = (field.description or "") + (f" Unit: {unit}." if unit else "")
        rows.append(
            f"| `{prefix}{name}` | {_kind(field.annotation)} | {shown} | {meaning} |".replace(" |  | ", " | | ")
        )
        if inner:
            _rows(inner, f"{prefix}{name}.<name>." if named else f"{prefix}{name}.", {} if named else value, rows)


def _kind(annotation: Any) -> str:
    """A type in words."""
    if get_origin(annotation) is Annotated:
        return _kind(get_args(annotation)[0])
    origin = get_origin(annotation)
    if origin is Literal:
        return ", ".join(f"`{value}`" for value in get_args(annotation))
    if origin in (Union, types.UnionType):
        return " or ".join(dict.fromkeys(_kind(a) for a in get_args(annotation)))
    if origin is list:
        return f"list of {_kind(get_args(annotation)[0])}"
    if origin is dict:
        return f"mapping to {_kind(get_args(annotation)[1])}"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "mapping"
    names = {int: "whole number", float: "number", str: "text", bool: "true or false", type(None): "null"}
    return names.get(annotation, "anything")
