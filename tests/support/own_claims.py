"""Judging one experiment on measurements of its own: its claims and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path

import pandas as pd

from myopia.cli.results import read_ids
from myopia.common.files import write_csv
from myopia.config.experiment import Experiment
from myopia.config.load import ROOT
from myopia.judge.claims import read_claims
from myopia.judge.measures import Measures, Paper
from myopia.judge.verdicts import judge

REFERENCE = ROOT / "workflow" / "reference"


def judging(one: Experiment, paper: Paper, *others: Experiment) -> Callable[..., pd.DataFrame]:
    """`run(folder, scale="cpu", only=None)` -> the verdicts of an experiment's claims, or of those named, by id.

    others: experiments whose claims its own lean on.
    """
    for each in (*others, one):
        each.register_estimators()
    claims = read_claims([each.folder / "claims.yaml" for each in (*others, one)], REFERENCE / "claims.yaml")
    ids = read_ids(one.folder / "claims.yaml")

    def run(folder: Path, scale: str = "cpu", only: Collection[str] | None = None) -> pd.DataFrame:
        wanted = ids if only is None else only
        return judge(Measures(folder, claims.tuning_seeds), claims, paper, scale, wanted).set_index("id")

    return run


def write_tables(folder: Path, tables: dict[str, pd.DataFrame]) -> Path:
    """Simulated measurements as the files they would be."""
    for name, frame in tables.items():
        write_csv(folder / name, frame)
    return folder
