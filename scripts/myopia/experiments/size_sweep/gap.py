"""Commands of the target `gap`: the myopia gap of every network of the sizes on its own, no slope, no paper, no verdict."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from myopia.cli.start import Settings, open_dag, start, write
from myopia.experiments.size_sweep import EXPERIMENT, GAP, GAP_BY_LR

if TYPE_CHECKING:
    from myopia.config.dag import Dag

REFERENCE = Path("workflow/reference")


def tabulate_gap(settings: Settings) -> None:
    """Tabulate the gap of every network (gap.csv) and the rates it was looked for at (gap_by_lr.csv)."""
    start()
    from myopia.common.files import write_csv
    from myopia.judge.claims import read_claims
    from myopia.judge.measures import Measures, Paper
    from myopia.judge.registry import Context

    dag = open_dag(settings)
    measures = Measures(f"{dag.results}/measure", read_claims([], REFERENCE / "claims.yaml").tuning_seeds)
    context = Context(measures, Paper.read(REFERENCE / "paper_values.csv"))
    for figure in (GAP, GAP_BY_LR):
        write_csv(_table(dag, figure.name), EXPERIMENT.load(figure.table)(context))


def draw_gap(settings: Settings) -> None:
    """Draw the gap of every network against learning rate."""
    start()
    from myopia.show.render import draw_figure

    dag = open_dag(settings)
    caption = GAP_BY_LR.caption(dag.settings)
    draw_figure(EXPERIMENT, GAP_BY_LR, _table(dag, GAP_BY_LR.name), f"{dag.results}/figures", caption)


def print_gap(settings: Settings) -> None:
    """Print the gap of every network."""
    start()
    import pandas as pd

    from myopia.experiments.size_sweep.gap_console import render

    write(render(pd.read_csv(_table(open_dag(settings), GAP.name)).fillna({"selected_on": ""})))


def _table(dag: Dag, name: str) -> Path:
    return Path(dag.results, "tables", f"{name}.csv")
