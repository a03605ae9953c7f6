"""Figure tables of an experiment, `tables/<figure>.csv`: each exactly what its figure draws."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from myopia.common.errors import MyopiaError
from myopia.common.files import write_csv
from myopia.config.experiment import Experiment
from myopia.judge.measures import NotRun
from myopia.judge.registry import Context


def write_tables(context: Context, one: Experiment, folder: str | Path, names: Sequence[str] | None = None) -> None:
    """Write an experiment's tables, or the named ones; one without its measurement has a header and no rows."""
    known = [figure.name for figure in one.figures]
    for name in known if names is None else names:
        if name not in known:
            raise MyopiaError(f"{one.name} has no table {name}; it has {', '.join(known)}")
        write_csv(Path(folder) / f"{name}.csv", make_table(context, one, name))


def make_table(context: Context, one: Experiment, name: str) -> pd.DataFrame:
    """One of its tables; the columns are those the experiment declares, in that order."""
    figure = one.figure(name)
    try:
        frame = one.load(figure.table)(context)
    except NotRun:
        return pd.DataFrame(columns=figure.columns)
    missing = [column for column in figure.columns if column not in frame.columns]
    if missing:
        raise MyopiaError(f"{one.name}: {figure.table} makes no column {missing[0]}, which table {name} declares")
    return frame[[*figure.columns]]
