"""Every bound that a setting's model states holds where a configuration is loaded, and the sentence names the key.

The models are walked, so a new key is tested without a line here. What relates several settings is tested with the
experiment that checks it.
"""

import copy
import math
import types
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import pytest
import yaml
from annotated_types import Ge, GroupedMetadata, Gt, Le, Lt, MaxLen, MinLen, MultipleOf
from pydantic import BaseModel

from myopia.common.errors import MyopiaError
from myopia.config.experiment import experiment, known
from myopia.config.load import CORPORA, load_config, merge
from myopia.config.schema import Distinct, defaults
from myopia.config.settings import Core, User

OF_EXPERIMENTS = {one.name: one.section for one in map(experiment, known()) if one.section.model_fields}
SECTIONS = {"user": User, "core": Core, **OF_EXPERIMENTS}
NO_NAME = "No Such Word!"
"""Fits no pattern and no list of words."""

ENTRY = {
    "corpora": "msmarco-hub",
    "size_sweep.networks": "d16",
    "synthetic.at_p": "1",
    "text.at_corpus": "docstrings",
    "zero_shot.tasks": "piqa",
}
"""Of a mapping from chosen names to sections: the name whose section is put wrong."""

BY_ARM = {"vanilla": 1e-3, "myopic": 1e-3}
WHOLE = {
    "size_sweep.networks.d16.finetune_lr": BY_ARM,
    "size_sweep.networks.d16.table5": {"lr": 1e-3, "batch_size": 8},
}
"""Sections that no default fills in: with all their required keys, so that one wrong value is all that is wrong."""


def branches(annotation: Any, bounds: tuple = ()) -> list[tuple[Any, list]]:
    """(type, bounds) of each type that a value may have; null left out."""
    if get_origin(annotation) is Annotated:
        inner, *more = get_args(annotation)
        return branches(inner, (*bounds, *more))
    if get_origin(annotation) in (Union, types.UnionType):
        return [found for one in get_args(annotation) for found in branches(one, bounds)]
    flat = [part for bound in bounds for part in (bound if isinstance(bound, GroupedMetadata) else [bound])]
    return [] if annotation in (type(None), Any) else [(annotation, flat)]


def has_pattern(bounds: list) -> bool:
    """Whether a text must look like something; pydantic keeps that in a type of its own, which it does not export."""
    return any(getattr(bound, "pattern", None) for bound in bounds)


def wrong_numbers(kinds: set[type], bounds: list) -> list[Any]:
    """Just outside, of no number's type, or no number at all; the int and the float of a union have the same bounds."""
    whole = kinds == {int}
    found: list[Any] = ["3", True, math.nan, math.inf] + ([2.5] if whole else [])
    for bound in bounds:
        match bound:
            case Gt(limit) | Lt(limit):
                found.append(limit)
            case Ge(limit):
                found.append(limit - 1 if whole else math.nextafter(limit, -math.inf))
            case Le(limit):
                found.append(limit + 1 if whole else math.nextafter(limit, math.inf))
            case MultipleOf(step):
                found.append(100 * step + 1)
    return found


def wrong_lists(inner: Any, bounds: list, given: Any) -> list[Any]:
    """Too short or too long, the same twice, or with one wrong element."""
    found = [3] + [[one] for one in wrong_values(inner, None)]
    whole = given if isinstance(given, list) else []
    for bound in bounds:
        match bound:
            case MinLen(least) if least:
                found.append(whole[: least - 1])
            case MaxLen(most) if whole:
                found.append([*whole, *whole][: most + 1])
    return found + ([[whole[0], whole[0]]] if Distinct in bounds and whole else [])


def wrong_mappings(keys: Any, inner: Any, given: Any) -> list[Any]:
    """A wrong value under a right key, and a right one under a wrong key."""
    known_names = [name for kind, _ in branches(keys) if get_origin(kind) is Literal for name in get_args(kind)]
    name = next(iter(given or known_names or ["x"]))
    found = [3] + [{name: one} for one in wrong_values(inner, None)]
    named = any(get_origin(kind) is Literal or has_pattern(bounds) for kind, bounds in branches(keys))
    return found + ([{NO_NAME: given[name]}] if named and given else [])


def wrong_values(annotation: Any, given: Any, bounds: tuple = ()) -> list[Any]:
    """Values a key of this type must not have; `given` is one that it may."""
    found, options = [], branches(annotation, bounds)
    numbers = [(kind, more) for kind, more in options if kind in (int, float)]
    if numbers:
        found += wrong_numbers({kind for kind, _ in numbers}, numbers[0][1])
    for kind, more in options:
        if kind is str:
            found += [3] + ([NO_NAME] if has_pattern(more) else [])
        elif kind is bool:
            found += [1, "yes"]
        elif get_origin(kind) is Literal:
            found += [NO_NAME, 3]
        elif get_origin(kind) is list:
            found += wrong_lists(get_args(kind)[0], more, given)
        elif get_origin(kind) is dict:
            found += wrong_mappings(*get_args(kind), given)
        elif isinstance(kind, type) and issubclass(kind, BaseModel):
            found += [3]
    return found


def section_in(annotation: Any) -> tuple[type[BaseModel] | None, bool]:
    """The section inside a field's type, and whether it stands under names the user chooses."""
    for kind, _ in branches(annotation):
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            return kind, False
        if get_origin(kind) is dict and (inner := section_in(get_args(kind)[1])[0]):
            return inner, True
    return None, False


def nested(model: type[BaseModel], path: str, given: dict[str, Any]):
    """(model, path, values) of a section and all sections inside it."""
    yield model, path, given
    for name, field in model.model_fields.items():
        inner, named = section_in(field.annotation)
        if inner is None:
            continue
        below = f"{path}.{name}".strip(".")
        values = given.get(name) or WHOLE.get(below, {})
        if named:
            below, values = f"{below}.{ENTRY[below]}", values.get(ENTRY[below], {})
        yield from nested(inner, below, values)


def given_by(name: str) -> dict[str, Any]:
    """A section's values at the smoke scale, before anything is resolved."""
    if name == "user":
        return {"scale": "smoke", "experiments": ["induction"]}
    if name == "core":
        return defaults(Core) | {"corpora": yaml.safe_load(CORPORA.read_text())}
    scales = experiment(name).folder / "scales.yaml"
    entry = yaml.safe_load(scales.read_text()) if scales.is_file() else {}
    return merge(defaults(SECTIONS[name]), entry.get("smoke") or {})


def placed(path: str, given: dict[str, Any], key: str, value: Any) -> dict[str, Any]:
    """A configuration in which the section at `path` has these values, but for one."""
    change: dict[str, Any] = {**copy.deepcopy(given), key: value}
    for part in reversed(path.split(".") if path else []):
        change = {part: change}
    return {"scale": "smoke", **change}


def sentence(config: dict[str, Any]) -> str | None:
    """What is told of a configuration; None if it is taken."""
    try:
        load_config(config)
    except MyopiaError as error:
        return str(error)
    return None


def parts(name: str):
    """A section and those inside it."""
    return nested(SECTIONS[name], "" if name in ("user", "core") else name, given_by(name))


@pytest.mark.parametrize("name", SECTIONS)
def test_a_value_beyond_its_bounds_is_one_sentence_that_names_the_key(name, monkeypatch):
    # Loading lays the defaults of all experiments over each other, which is most of its time, and none is wrong here.
    monkeypatch.setattr("myopia.config.load.known", lambda: tuple({name} & {*OF_EXPERIMENTS}))
    for model, path, given in parts(name):
        for key, field in model.model_fields.items():
            dotted = f"{path}.{key}".strip(".")
            wrong = wrong_values(field.annotation, given.get(key), tuple(field.metadata))
            assert wrong, f"nothing is wrong for {dotted}: its type is one this test does not know"
            for value in wrong:
                told = sentence(placed(path, given, key, value))
                assert told is not None, f"{dotted} takes {value!r}"
                assert dotted in told and "\n" not in told and len(told) < 700, f"{dotted} = {value!r}: {told}"


def test_an_unknown_key_is_told_the_one_that_was_meant():
    for model, path, given in (part for name in SECTIONS for part in parts(name)):
        meant = max(model.model_fields, key=len)
        typo = meant + meant[-1]
        told = sentence(placed(path, given, typo, 1)) or f"{path}.{typo} is taken"
        assert f"unknown key {typo!r} at {path or 'the top level'} (did you mean {meant!r}?)" in told, told
