"""Shared by the judge's tests: claims, the paper's numbers, simulated measurements and their verdicts.

A test under tests/experiments/<name> judges that experiment on its own measurements and those of experiments it reads; a
test elsewhere judges all of them.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

import pandas as pd
import pytest

from experiments.simulate import measure_folder
from myopia.config.experiment import Experiment, experiment, known
from myopia.judge.claims import ClaimSet
from myopia.judge.measures import Measures, Paper
from myopia.judge.verdicts import judge
from own_claims import REFERENCE, all_claims, own_ids, sources


@pytest.fixture(scope="module")
def asked(request: pytest.FixtureRequest) -> Experiment | None:
    """The experiment whose folder the test stands in, if it stands in one."""
    name = request.path.parent.name
    return experiment(name) if name in known() else None


@pytest.fixture(scope="module")
def claims(asked: Experiment | None) -> ClaimSet:
    return all_claims(map(experiment, known()) if asked is None else sources(asked))


@pytest.fixture(scope="session")
def paper() -> Paper:
    return Paper.read(REFERENCE / "paper_values.csv")


@pytest.fixture(scope="session")
def _made() -> dict[tuple, Path]:
    return {}


@pytest.fixture(scope="module")
def world_with(
    asked: Experiment | None, _made: dict[tuple, Path], tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., Path]:
    """Simulated measurements with these properties, made once and not to be touched."""
    only = None if asked is None else tuple(one.name for one in sources(asked))

    def make(**properties: float) -> Path:
        key = (only, *sorted(properties.items()))
        if key not in _made:
            _made[key] = measure_folder(tmp_path_factory.mktemp("simulated"), only, **properties)
        return _made[key]

    return make


@pytest.fixture(scope="module")
def world(world_with: Callable[..., Path]) -> Path:
    return world_with()


@pytest.fixture
def copy(world: Path, tmp_path: Path) -> Path:
    """The same measurements, free to be broken."""
    return Path(shutil.copytree(world, tmp_path / "copy"))


@pytest.fixture(scope="module")
def verdicts_of(asked: Experiment | None, claims: ClaimSet, paper: Paper) -> Callable[..., pd.DataFrame]:
    """Judge a folder: all claims, or those of some patterns and the families they are corrected in."""
    own = None if asked is None else own_ids(asked)

    def run(folder: Path, scale: str = "cpu", rows: Iterable[str] | None = None) -> pd.DataFrame:
        wanted = own
        if rows:
            families = {claim.family for claim in claims.claims if re.fullmatch("|".join(rows), claim.id)}
            assert families
            wanted = {claim.id for claim in claims.claims if claim.family in families}
        return judge(Measures(folder, claims.tuning_seeds), claims, paper, scale, wanted).set_index("id")

    return run


@pytest.fixture(scope="module")
def verdict_of(verdicts_of: Callable[..., pd.DataFrame]) -> Callable[..., pd.Series]:
    """One row of it."""
    return lambda folder, row, scale="cpu": verdicts_of(folder, scale, rows=[re.escape(row)]).loc[row]


@pytest.fixture(scope="module")
def verdicts(world: Path, verdicts_of: Callable[..., pd.DataFrame]) -> pd.DataFrame:
    return verdicts_of(world)
