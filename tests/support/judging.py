"""Shared by the judge's tests: the reference files and one made-up world, judged once."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from experiments.simulate import measure_folder
from myopia.judge.claims import ClaimSet, read_claims
from myopia.judge.measures import Measures, Paper
from myopia.judge.verdicts import judge

REFERENCE = Path(__file__).resolve().parents[2] / "workflow" / "reference"


@pytest.fixture(scope="session")
def claims() -> ClaimSet:
    return read_claims(REFERENCE / "claims.yaml")


@pytest.fixture(scope="session")
def paper() -> Paper:
    return Paper.read(REFERENCE / "paper_values.csv")


@pytest.fixture(scope="session")
def world_with(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """A made-up world with these properties, made once and not to be touched."""
    made: dict[tuple, Path] = {}

    def make(**properties: float) -> Path:
        key = tuple(sorted(properties.items()))
        if key not in made:
            made[key] = measure_folder(tmp_path_factory.mktemp("world"), **properties)
        return made[key]

    return make


@pytest.fixture(scope="session")
def world(world_with: Callable[..., Path]) -> Path:
    return world_with()


@pytest.fixture
def copy(world: Path, tmp_path: Path) -> Path:
    """The same world, free to be broken."""
    return Path(shutil.copytree(world, tmp_path / "copy"))


def asked(claims: ClaimSet, rows: Iterable[str]) -> ClaimSet:
    """The claims that decide the rows of these patterns: themselves, what they are made of, name, and are corrected with."""
    by_id, wanted = claims.by_id(), set()
    new = {name for name in by_id if re.fullmatch("|".join(rows), name)}
    assert new
    while new:
        wanted |= new
        families = {by_id[name].family for name in new}
        named = {other for name in new for part in ("control", "requires", "sub_claims")
                 for other in getattr(by_id[name], part)}  # fmt: skip
        new = (named | {claim.id for claim in claims.claims if claim.family in families}) - wanted
    return replace(claims, claims=tuple(claim for claim in claims.claims if claim.id in wanted))


@pytest.fixture(scope="session")
def verdicts_of(claims: ClaimSet, paper: Paper) -> Callable[..., pd.DataFrame]:
    """Judge a folder: all claims, or those that decide the rows asked for."""

    def run(folder: Path, scale: str = "cpu", rows: Iterable[str] | None = None) -> pd.DataFrame:
        measures = Measures(folder, claims.tuning_seeds)
        return judge(measures, asked(claims, rows) if rows else claims, paper, scale).set_index("id")

    return run


@pytest.fixture(scope="session")
def verdict_of(verdicts_of: Callable[..., pd.DataFrame]) -> Callable[..., pd.Series]:
    """One row of it."""
    return lambda folder, row, scale="cpu": verdicts_of(folder, scale, rows=[row]).loc[row]


@pytest.fixture(scope="session")
def verdicts(world: Path, verdicts_of) -> pd.DataFrame:
    return verdicts_of(world)
