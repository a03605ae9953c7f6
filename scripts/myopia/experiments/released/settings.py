"""The authors' released checkpoints: which of them a scale measures, by run name."""

from __future__ import annotations

from typing import Any

from myopia.common.errors import MyopiaError

KEYS = {"repo": ("{size}", "{arm}"), "base": ("{size}",)}
"""Templates of section `released` and what each must contain."""


def released_specs(settings: dict[str, Any]) -> dict[str, dict[str, str]]:
    """`pythia-<size>-<arm>` -> where its checkpoint and the config of its architecture are.

    Raises:
        MyopiaError: a template that would give two checkpoints one place.
    """
    part = settings["released"]
    for key, marks in KEYS.items():
        for mark in marks:
            if mark not in part[key]:
                raise MyopiaError(f"config key released.{key}: {part[key]!r} must contain {mark}, to be filled in")
    specs = {}
    for size in part["sizes"]:
        for arm in part["arms"]:
            place = {key: part[key].replace("{size}", size).replace("{arm}", arm) for key in KEYS}
            run = f"pythia-{size}-{arm}"
            specs[run] = {"run": run, "size": size, "arm": arm, **place} | {
                key: part[key] for key in ("file", "revision", "base_revision")
            }
    return specs
