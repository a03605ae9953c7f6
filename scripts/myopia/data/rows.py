"""From a row of any source to a document: which column is what, and what is left out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from myopia.common.errors import MyopiaError
from myopia.data.documents import Document

COLUMNS = ("text_column", "group_column", "id_column", "component_column")


def document(
    row: Mapping[str, Any],
    spec: Mapping[str, Any],
    default_id: str,
    split: str | None,
    where: str,
    dropped: Counter[str],
) -> Document | None:
    """The document in a row, or None (counted in `dropped`) when it has fewer than `min_chars` characters.

    Without `id_column` the id is `default_id`; without `group_column` every document is its own group. Text beyond
    `max_chars` characters is cut off. A row without its component is an error unless `component_required` is false.
    Raises MyopiaError when a column is not there or does not hold text.
    """
    text = column(row, spec["text_column"], where)
    if len(text) < spec["min_chars"]:
        dropped["short"] += 1
        return None
    identity = column(row, spec["id_column"], where) if spec["id_column"] else default_id
    group = column(row, spec["group_column"], where) if spec["group_column"] else identity
    component = None
    if spec["component_column"] and (spec["component_required"] or has_column(row, spec["component_column"])):
        component = column(row, spec["component_column"], where)
    return Document(identity, group, text[: spec["max_chars"]], split, component)


def column(row: Mapping[str, Any], dotted: str, where: str) -> str:
    """The text at a dotted column of a row; of a list the first value, '' for a null or an empty list.

    Raises MyopiaError when the column is not there or holds neither text nor a number.
    """
    if not has_column(row, dotted):
        names = ", ".join(sorted(map(str, row)))
        raise MyopiaError(f"{where}: there is no column '{dotted}'; the columns are {names}.")
    value: Any = row
    for part in dotted.split("."):
        value = value[part]
    if isinstance(value, list):
        value = value[0] if value else None
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, int | float):
        return str(value)
    raise MyopiaError(f"{where}: the column '{dotted}' holds {type(value).__name__}, not text.")


def has_column(row: Mapping[str, Any], dotted: str) -> bool:
    """Whether a row has a (dotted) column."""
    value: Any = row
    for part in dotted.split("."):
        if not isinstance(value, Mapping) or part not in value:
            return False
        value = value[part]
    return True
