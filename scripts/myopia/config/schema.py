"""Building blocks of the settings: checked types with their units, and one clear sentence for what does not fit.

Every section of the settings is a `Section` (a pydantic model) whose fields carry type, unit, default and meaning. The
models check a resolved mapping, `docs/config.md` is written from them, and nothing else describes a key. Values are
checked, never converted: a run's fingerprint holds them as they were written.
"""

from __future__ import annotations

import copy
import difflib
import math
import types
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Len, Lt
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, Strict, ValidationError

from myopia.common.errors import MyopiaError

Whole = Annotated[int, Strict()]
Count = Annotated[int, Strict(), Ge(1)]
Natural = Annotated[int, Strict(), Ge(0)]
Number = Annotated[int, Strict()] | Annotated[float, Strict()]
Positive = Annotated[int, Strict(), Gt(0)] | Annotated[float, Strict(), Gt(0)]
NotNegative = Annotated[int, Strict(), Ge(0)] | Annotated[float, Strict(), Ge(0)]
Share = Annotated[int, Strict(), Ge(0), Le(1)] | Annotated[float, Strict(), Ge(0), Le(1)]
Decay = Annotated[float, Strict(), Ge(0), Lt(1)]
Text = Annotated[str, Strict()]
Flag = Annotated[bool, Strict()]


def _differ(values: list[Any]) -> list[Any]:
    twice = next((value for k, value in enumerate(values) if value in values[:k]), None)
    if twice is not None:
        raise ValueError(f"{twice!r} stands in the list twice")
    return values


Distinct = AfterValidator(_differ)
Seeds = Annotated[list[Natural], Len(1), Distinct]
Rates = Annotated[list[Positive], Distinct]
Arm = Literal[
    "vanilla", "myopic", "myopic-kv", "beta1", "beta0.25", "beta0.5", "beta0.75", "local-hidden", "local-kv",
    "bigram-zeroed", "bigram-true",
]  # fmt: skip
Split = Literal["train", "validation", "test"]


def key(description: str, default: Any = ..., *, unit: str | None = None) -> Any:
    """A field: its meaning, its default (required without one) and its unit. Lists and mappings are copied."""
    extra = {"unit": unit} if unit else None
    if isinstance(default, (list, dict)):
        return Field(default_factory=lambda: copy.deepcopy(default), description=description, json_schema_extra=extra)
    return Field(default, description=description, json_schema_extra=extra)


class Section(BaseModel):
    """A part of the settings: unknown keys are refused, values are not converted."""

    # NaN and infinity are numbers to YAML, and no setting means them.
    model_config = ConfigDict(extra="forbid", validate_default=True, allow_inf_nan=False)


class ByArm(Section):
    """A number for each arm of a pair."""

    vanilla: NotNegative = key("Of the vanilla arm.")
    myopic: NotNegative = key("Of the myopic arm.")


class Schedule(Section):
    """AdamW and its schedule, all but the learning rate."""

    weight_decay: NotNegative = key("AdamW weight decay, on all parameters.", 0.01)
    betas: Annotated[list[Decay], Len(2, 2)] = key("AdamW moment decay rates.", [0.9, 0.999])
    eps: Positive = key("AdamW epsilon.", 1.0e-8)
    schedule: Literal["cosine", "constant"] = key("After warm-up: cosine to 0, or constant.", "cosine")
    grad_clip: Positive | None = key("Largest gradient norm; null means no clipping.", None)


class Optimizer(Schedule):
    """AdamW, its schedule, and a peak learning rate for each arm."""

    lr: dict[Arm, Positive] = key(
        "Peak learning rate of each arm, frozen after tuning on tuning_seeds; beta1 follows vanilla and myopic-kv "
        "follows myopic unless named; beta0.25 to beta0.75 must be named where those two differ."
    )
    warmup: Share = key("Linear warm-up.", 0.01, unit="share of all steps")
    lr_scale: dict[str, NotNegative] | None = key(
        "Regular expression on parameter names -> factor on the learning rate.", None
    )


class Evaluation(Section):
    """Validation while training."""

    every: Count = key("Validation interval.", unit="steps")
    sequences: Count = key("Validation set during training.", unit="sequences")


def optimizer(**lr: float) -> dict[str, Any]:
    """Defaults of an `Optimizer` with these learning rates, keys in the order run specs have always had them."""
    return {"lr": lr, "weight_decay": 0.01, "betas": [0.9, 0.999], "eps": 1.0e-8, "schedule": "cosine", "warmup": 0.01,
            "grad_clip": None}  # fmt: skip


def defaults(model: type[BaseModel]) -> dict[str, Any]:
    """The default of every key of a section that has one, as it stands in the model."""
    found = {}
    for name, field in model.model_fields.items():
        if not field.is_required():
            found[name] = field.get_default(call_default_factory=True)
    return found


def validate(model: type[BaseModel], value: Mapping[str, Any], where: str) -> BaseModel:
    """Check a mapping against a section.

    Raises:
        MyopiaError: one sentence that names the first wrong key by its path from `where`, and the mend.
    """
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise MyopiaError(_sentence(model, value, where, error)) from None


def _sentence(model: type[BaseModel], value: Mapping[str, Any], where: str, error: ValidationError) -> str:
    # An unknown key first: it is often why another one is missing.
    found = sorted(error.errors(), key=lambda e: e["type"] != "extra_forbidden")
    # pydantic adds the branch of a union it tried to the path; what the mapping has not is no part of a key's path.
    path = _path(value, found[0]["loc"])
    # A number that is no whole one failed the branch of whole numbers, too: the other branch says what is wrong.
    telling = [e for e in found if _path(value, e["loc"]) == path and e["type"] not in ("int_type", "none_required")]
    first = (telling or found)[0]
    dotted = ".".join([where, *path]).strip(".") or "the top level"
    if first["type"] == "extra_forbidden":
        *parents, unknown = path
        known = _fields(model, parents)
        near = difflib.get_close_matches(unknown, known, n=1)
        meant = f" (did you mean {near[0]!r}?)" if near else ""
        at = ".".join([where, *parents]).strip(".") or "the top level"
        return f"config: unknown key {unknown!r} at {at}{meant}; known keys are {', '.join(sorted(known))}"
    if first["type"] == "missing":
        return f"config: the key {first['loc'][-1]!r} is missing at {'.'.join([where, *path]).strip('.') or 'the top level'}"
    given = first.get("input")
    hint = ""
    if isinstance(given, str) and _is_number(given):
        hint = f"; YAML reads {given} as text, write {float(given)!r}"
    reason = first["msg"].removeprefix("Value error, ")
    return f"config key {dotted}: {reason[0].lower()}{reason[1:]}, but it is {given!r}{hint}"


def _path(value: Any, loc: tuple[Any, ...]) -> list[str]:
    path, node = [], value
    for part in loc:
        if (isinstance(node, Mapping) and part in node) or (isinstance(node, list) and isinstance(part, int)):
            node = node[part]
            path.append(str(part))
    return path


def _fields(model: type[BaseModel], parents: list[str]) -> list[str]:
    rest = iter(parents)
    for parent in rest:
        field = model.model_fields.get(parent)
        nested = section_of(field.annotation) if field else None
        if nested is None:
            return []
        if get_origin(bare(field.annotation)) is dict:
            next(rest, None)  # a key the user chose
        model = nested
    return list(model.model_fields)


def bare(annotation: Any) -> Any:
    """A field's type without its constraints and without None."""
    if get_origin(annotation) is Annotated:
        return bare(get_args(annotation)[0])
    if get_origin(annotation) in (Union, types.UnionType):
        rest = [a for a in get_args(annotation) if a is not type(None)]
        return bare(rest[0]) if len(rest) == 1 else annotation
    return annotation


def section_of(annotation: Any) -> type[BaseModel] | None:
    """The section inside a field's type, if there is one (a mapping's values included)."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for inner in getattr(annotation, "__args__", ()):
        found = section_of(inner)
        if found is not None:
            return found
    return None


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False
