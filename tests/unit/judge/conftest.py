"""Shared by the judge's tests: the reference files and one made-up world, judged once."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pandas as pd
import pytest

sys.path.insert(0, str(Path(__file__).parent))

from made_up import measure_folder

from myopia.judge.claims import ClaimSet, read_claims
from myopia.judge.measures import Measures, Paper
from myopia.judge.verdicts import judge

REFERENCE = Path(__file__).resolve().parents[3] / "workflow" / "reference"


@pytest.fixture(scope="session")
def claims() -> ClaimSet:
    return read_claims(REFERENCE / "claims.yaml")


@pytest.fixture(scope="session")
def paper() -> Paper:
    return Paper.read(REFERENCE / "paper_values.csv")


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return measure_folder(tmp_path_factory.mktemp("world"))


@pytest.fixture
def copy(world: Path, tmp_path: Path) -> Path:
    """The same world, free to be broken."""
    return Path(shutil.copytree(world, tmp_path / "copy"))


@pytest.fixture(scope="session")
def verdicts_of(claims: ClaimSet, paper: Paper):
    def run(folder: Path, scale: str = "cpu") -> pd.DataFrame:
        measures = Measures(folder, claims.tuning_seeds)
        return judge(measures, claims, paper, scale).set_index("id")

    return run


@pytest.fixture(scope="session")
def verdicts(world: Path, verdicts_of) -> pd.DataFrame:
    return verdicts_of(world)
