"""The claims file: what is asked of the results, fixed before they exist.

An entry with `for_each: {p: [...]}` stands for one claim per value, with `{p}` filled in everywhere; a text
that is only `{p}` becomes the value itself. Criteria live in the file alone; this module only reads them.
"""

from __future__ import annotations

import ast
import itertools
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import yaml

from myopia.common.errors import MyopiaError
from myopia.common.files import sha256_file, sha256_text

PAPER, SUMMARY, THEOREM, OWN, CONTROL = "paper", "summary", "theorem", "own", "control"
GROUPS = {
    PAPER: "claims of the paper, measured on networks",
    SUMMARY: "summaries of several such claims",
    THEOREM: "the paper's theorems and identities, computed on random convex problems",
    OWN: "findings of our own",
    CONTROL: "controls",
}


@dataclass(frozen=True)
class Claim:
    """One row of verdicts.csv; the fields are described in `workflow/schemas/claims.schema.yaml`."""

    id: str
    claim: str
    where: str
    family: str
    kind: str = "direction"  # | value | theorem
    own: bool = False  # not in the paper: verdict "no paper value", the reason says whether it holds
    estimand: Mapping[str, Any] | None = None
    arms: tuple[str, ...] = ()
    unit: str = ""
    test: str = "interval"  # interval | equivalence | value | every
    side: str = "above"  # above | below | within
    delta: float | None = None
    tolerance: float | None = None
    factor: float | None = None
    range: tuple[float, float] | None = None
    max_half_width: float | None = None
    control: tuple[str, ...] = ()
    requires: tuple[str, ...] = ()  # rows that must be met, or this one is not judged
    scales: tuple[str, ...] = ()
    min_seeds: int = 3
    min_steps: int = 0
    paper: str | Mapping[str, Any] | None = None
    sub_claims: tuple[str, ...] = ()
    reason: str = ""
    criteria_version: int = 1

    @property
    def group(self) -> str:
        """Which of `GROUPS` it belongs to; these are never added up."""
        if self.where.startswith("control"):
            return CONTROL
        if self.own:
            return OWN
        if self.sub_claims:
            return SUMMARY
        return THEOREM if self.kind == "theorem" else PAPER

    @property
    def criterion(self) -> str:
        """The test in words, as printed in the table."""
        if self.sub_claims:
            return "all of: " + ", ".join(self.sub_claims)
        if self.estimand is None and self.delta is None and self.test != "value":
            return "not yet built"
        if self.test == "equivalence":
            return f"90% interval within +-{self.delta:g} ({self.unit})"
        if self.test == "value":
            return self._value_criterion()
        if self.test == "every":
            return f"every seed {self.side} {self.delta:g} ({self.unit})"
        return f"95% interval {self.side} {self.delta:g} ({self.unit})"

    def _value_criterion(self) -> str:
        if self.range is not None:
            goal = f"in [{self.range[0]:g}, {self.range[1]:g}]"
        elif self.factor is not None:
            goal = f"within a factor of {self.factor:g} of the paper"
        else:
            goal = f"within {self.tolerance or 0:g} of the paper"
        if self.max_half_width is not None:
            goal += f", half-width <= {self.max_half_width:g}"
        return f"{goal} and the paper's value in the 95% prediction interval ({self.unit})"


@dataclass(frozen=True)
class ClaimSet:
    """All claims, the file's hash and the seeds that were spent on tuning."""

    claims: tuple[Claim, ...]
    sha256: str
    tuning_seeds: tuple[int, ...] = field(default=())

    def by_id(self) -> dict[str, Claim]:
        """Claims by id."""
        return {claim.id: claim for claim in self.claims}


def read_claims(files: Sequence[str | Path], head: str | Path, code: Sequence[Path] = ()) -> ClaimSet:
    """Read and expand the claims of some experiments, a file each; every mistake in them is one clear sentence.

    `head`: the file with `criteria_version` and `tuning_seeds`, which all of them share. The hash is of all their bytes,
    and of what the modules `code` do: they turn measurements into estimates.
    """
    shared = _mapping(head)
    version = shared.get("criteria_version", 1)
    claims = [claim for path in files for claim in claims_of(path, version)]
    _check_references(claims, ", ".join(map(str, files)))
    digests = "".join([*map(sha256_file, (head, *files)), *sorted(map(sha256_code, code))])
    return ClaimSet(tuple(claims), sha256_text(digests), tuple(shared.get("tuning_seeds", ())))


def loaded_code(experiments: Sequence[str]) -> list[Path]:
    """Modules that estimates of these experiments are made by: those imported once their estimators are registered."""
    names = [f"myopia.experiments.{name}." for name in experiments]
    return [
        Path(module.__file__)
        for name, module in sys.modules.items()
        if name.startswith(("myopia.judge.", *names)) and not name.endswith(".settings") and module.__file__
    ]


def sha256_code(path: Path) -> str:
    """Hash of what a Python file does: comments, docstrings and layout left out."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if (
            isinstance(body, list)
            and body
            and isinstance(body[0], ast.Expr)
            and isinstance(body[0].value, ast.Constant)
        ):
            del body[0]
    return sha256_text(ast.dump(tree))


def _mapping(path: str | Path) -> dict[str, Any]:
    try:
        document = yaml.safe_load(Path(path).read_text())
    except (OSError, yaml.YAMLError) as error:
        raise MyopiaError(f"{path} cannot be read as claims ({error}).") from None
    if not isinstance(document, dict):
        raise MyopiaError(f"{path} must be a mapping.")
    return document


def claims_of(path: str | Path, version: int = 1) -> list[Claim]:
    """The claims of one file, expanded. `version`: of criteria, where a claim has none of its own."""
    listed = _mapping(path).get("claims")
    if not isinstance(listed, list):
        raise MyopiaError(f"{path} needs a list under the key claims.")
    return [_claim({"criteria_version": version, **entry}, path) for raw in listed for entry in expand(raw)]


def expand(entry: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The entries one `for_each` stands for."""
    loops = entry.get("for_each", {})
    rest = {key: value for key, value in entry.items() if key != "for_each"}
    names = list(loops)
    return [
        _fill(rest, dict(zip(names, values, strict=True)))
        for values in itertools.product(*(loops[name] for name in names))
    ]


def _fill(value: Any, names: Mapping[str, Any]) -> Any:
    if isinstance(value, dict):
        return {key: _fill(item, names) for key, item in value.items()}
    if isinstance(value, list):
        return [_fill(item, names) for item in value]
    if isinstance(value, str):
        for name, replacement in names.items():
            if value == "{" + name + "}":
                return replacement
            value = value.replace("{" + name + "}", f"{replacement}")
    return value


def _claim(entry: dict[str, Any], path: str | Path) -> Claim:
    known = {f.name for f in fields(Claim)}
    unknown = sorted(set(entry) - known)
    if unknown:
        raise MyopiaError(f"{path}: claim {entry.get('id', '?')} has the unknown key {unknown[0]}.")
    for key in ("arms", "control", "requires", "scales", "sub_claims", "range"):
        if entry.get(key) is not None:
            entry[key] = tuple(entry[key])
    try:
        return Claim(**entry)
    except TypeError as error:
        raise MyopiaError(f"{path}: claim {entry.get('id', '?')} is incomplete ({error}).") from None


def _check_references(claims: list[Claim], path: str | Path) -> None:
    ids = [claim.id for claim in claims]
    if len(set(ids)) < len(ids):
        twice = next(i for i in ids if ids.count(i) > 1)
        raise MyopiaError(f"{path}: the id {twice} stands twice.")
    composite = {claim.id for claim in claims if claim.sub_claims}
    for claim in claims:
        for other in (*claim.control, *claim.requires, *claim.sub_claims):
            if other not in ids:
                raise MyopiaError(f"{path}: claim {claim.id} refers to {other}, which does not exist.")
            if other in composite:
                raise MyopiaError(f"{path}: claim {claim.id} refers to {other}, itself a sum of others.")
        if claim.estimand is None and not claim.sub_claims and not claim.reason:
            raise MyopiaError(f"{path}: claim {claim.id} has no estimand and gives no reason.")
