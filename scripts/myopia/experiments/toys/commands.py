"""Command of the experiment's own rule."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from myopia.cli.start import Settings, Threads, open_dag, start


def tune_toys(
    settings: Settings, out: Annotated[Path, typer.Option(help="csv file of the grid")], threads: Threads = 1
) -> None:
    """Train shared computation over its grid on the tuning seeds: regret against the exact optimum."""
    start(threads=threads)
    from myopia.common.files import write_csv
    from myopia.experiments.toys.measure import tune

    write_csv(out, tune(open_dag(settings).settings))
