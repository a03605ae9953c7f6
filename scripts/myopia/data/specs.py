"""Checked JSON specs: a misspelt key or a wrong type ends in one sentence that names it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from myopia.common.errors import MyopiaError


def parse_json(text: str, where: str) -> dict[str, Any]:
    """The JSON object in `text`; `where` names the option in the error."""
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise MyopiaError(f"{where}: not valid JSON ({error}); give one JSON object.") from None
    if not isinstance(value, dict):
        raise MyopiaError(f"{where}: expected a JSON object, got {type(value).__name__}.")
    return value


def checked(
    spec: Mapping[str, Any], where: str, types: Mapping[str, Any], defaults: Mapping[str, Any]
) -> dict[str, Any]:
    """`spec` completed by `defaults`, every key known and of its type in `types`.

    A key of `types` that is not in `defaults` is required. A type is a class or a tuple of classes; `None`
    is accepted where the default is None. Raises MyopiaError on an unknown or missing key or a wrong type.
    """
    for key in spec:
        if key not in types:
            raise MyopiaError(f"{where}: unknown key '{key}'; known keys are {', '.join(sorted(types))}.")
    result = {**defaults, **spec}
    for key, kind in types.items():
        if key not in result:
            raise MyopiaError(f"{where}: the key '{key}' is missing.")
        value = result[key]
        if value is None and key in defaults and defaults[key] is None:
            continue
        # JSON's true is a Python int; a count or a seed must not be a truth value.
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            names = " or ".join(k.__name__ for k in (kind if isinstance(kind, tuple) else (kind,)))
            raise MyopiaError(f"{where}: '{key}' must be {names}, got {json.dumps(value, default=str)}.")
    return result


def positive(spec: Mapping[str, Any], where: str, *keys: str) -> None:
    """Raise MyopiaError unless every named number is absent, None or greater than zero."""
    for key in keys:
        value = spec.get(key)
        if value is not None and value <= 0:
            raise MyopiaError(f"{where}: '{key}' must be greater than 0, got {value}.")
