"""Claims of one experiment, of it and those it reads, or of all; and judging an experiment on measurements of its own."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from pathlib import Path

import pandas as pd

from myopia.common.files import write_csv
from myopia.config.experiment import Experiment, experiment
from myopia.config.load import ROOT
from myopia.judge.claims import ClaimSet, claims_of, read_claims
from myopia.judge.measures import Measures, Paper
from myopia.judge.verdicts import judge

REFERENCE = ROOT / "workflow" / "reference"


def sources(one: Experiment) -> list[Experiment]:
    """An experiment and those it reads, directly or through others."""
    found = [one]
    for name in one.reads:
        found += [source for source in sources(experiment(name)) if source not in found]
    return found


def all_claims(experiments: Iterable[Experiment]) -> ClaimSet:
    """The claims of these experiments, and what they are judged by registered."""
    asking = [one for one in experiments if one.has_claims]
    for one in asking:
        one.register_estimators()
    return read_claims([one.folder / "claims.yaml" for one in asking], REFERENCE / "claims.yaml")


def own_ids(one: Experiment) -> set[str]:
    """Ids of an experiment's own claims."""
    return {claim.id for claim in claims_of(one.folder / "claims.yaml")} if one.has_claims else set()


def judging(one: Experiment, paper: Paper, *others: Experiment) -> Callable[..., pd.DataFrame]:
    """`run(folder, scale="cpu", only=None)` -> the verdicts of an experiment's claims, or of those named, by id.

    others: experiments whose claims its own lean on.
    """
    claims = all_claims([one, *others])

    def run(folder: Path, scale: str = "cpu", only: Collection[str] | None = None) -> pd.DataFrame:
        return judge(Measures(folder, claims.tuning_seeds), claims, paper, scale, only).set_index("id")

    return run


def write_tables(folder: Path, tables: dict[str, pd.DataFrame]) -> Path:
    """Simulated measurements as the files they would be."""
    for name, frame in tables.items():
        write_csv(folder / name, frame)
    return folder
