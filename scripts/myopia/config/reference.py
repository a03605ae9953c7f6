"""The config reference in docs/config.md, written from the schema so that it cannot drift."""

from __future__ import annotations

import json
from typing import Any

import yaml

from myopia.config.load import ROOT, SCHEMA

HEAD = """# Config reference

Generated from `workflow/schemas/config.schema.yaml` by `python scripts/write_config_reference.py`; do not edit.
Values shown are those of `base` in `config.yaml`; a scale overrides any of them.

| key | type | value in `base` | meaning |
| --- | --- | --- | --- |
"""


NAMED = ("base.corpora", "base.family.networks", "base.zero_shot.tasks")
"""Mappings whose keys the user chooses: their entries are described once, under `<name>`."""


def render() -> str:
    """The reference as Markdown, one row per key."""
    schema = yaml.safe_load(SCHEMA.read_text())
    config = yaml.safe_load((ROOT / "config.yaml").read_text())
    rows: list[str] = []
    _rows(schema, schema, "", config, rows)
    return HEAD + "\n".join(rows) + "\n"


def _rows(node: dict[str, Any], schema: dict[str, Any], prefix: str, value: Any, rows: list[str]) -> None:
    for key, child in node.get("properties", {}).items():
        if "$ref" in child:
            child = {**schema["$defs"][child["$ref"].rsplit("/", 1)[1]], **child}
        path = f"{prefix}{key}"
        present = value.get(key) if isinstance(value, dict) else None
        if path == "scales":  # its settings are base's
            rows.append(f"| `{path}` | object | | {child['description']} |")
            continue
        nested = child.get("properties")
        named = child.get("additionalProperties")
        absent = nested or path in NAMED or not isinstance(value, dict) or key not in value
        shown = "" if absent else f"`{json.dumps(present)}`"
        kind = child.get("enum") or child.get("type", "any")
        kind = " or ".join(kind) if isinstance(kind, list) else kind
        unit = f" Unit: {child['unit']}." if "unit" in child else ""
        rows.append(f"| `{path}` | {kind} | {shown} | {child['description']}{unit} |")
        if nested:
            _rows(child, schema, f"{path}.", present, rows)
        if path in NAMED:
            entry = schema["$defs"][named["$ref"].rsplit("/", 1)[1]]
            _rows(entry, schema, f"{path}.<name>.", None, rows)
