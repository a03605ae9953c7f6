"""Tables to draw: simulated measurements, tabulated once."""

from __future__ import annotations

from pathlib import Path

import pytest

from experiments.simulate import measure_folder
from myopia.config.experiment import experiment, known
from myopia.judge.measures import Measures, Paper
from myopia.judge.registry import Context
from myopia.judge.tables import write_tables
from own_claims import REFERENCE


@pytest.fixture(scope="session")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tables")
    context = Context(
        Measures(measure_folder(folder / "measure"), (100, 101, 102)), Paper.read(REFERENCE / "paper_values.csv")
    )
    for one in (one for one in map(experiment, known()) if not one.optional):
        write_tables(context, one, folder, [figure.name for figure in one.drawn])
    return folder
