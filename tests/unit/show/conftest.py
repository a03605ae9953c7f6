"""Tables to draw: the made-up world of the judge's tests, tabulated once."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from experiments.simulate import measure_folder
from myopia.common.files import write_csv
from myopia.judge.claims import read_claims
from myopia.judge.measures import Measures, Paper
from myopia.judge.registry import Context
from myopia.judge.tables import write_tables

REFERENCE = Path(__file__).resolve().parents[3] / "workflow" / "reference"


@pytest.fixture(scope="session")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tables")
    measures = Measures(measure_folder(folder / "measure"), read_claims(REFERENCE / "claims.yaml").tuning_seeds)
    write_tables(Context(measures, Paper.read(REFERENCE / "paper_values.csv")), folder)
    # Fewer panels: these two draw slowest, and one p and two layers show as much.
    for name, column, keep in (("fig2_probe_r2", "p", [0.3]), ("fig3_neuron_correlation", "layer", [1, 2])):
        frame = pd.read_csv(folder / f"{name}.csv")
        write_csv(folder / f"{name}.csv", frame[frame[column].isin(keep)])
    return folder
