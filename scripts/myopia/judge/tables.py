"""All figure tables of one scale: `tables/<figure>.csv`, each exactly what its figure draws."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd

from myopia.common.errors import MyopiaError
from myopia.common.files import write_csv
from myopia.judge import tables_synthetic as synthetic
from myopia.judge import tables_text as text
from myopia.judge import tables_zero_shot as zero_shot
from myopia.judge.measures import NotRun
from myopia.judge.registry import Context

FIGURES: dict[str, tuple[Callable[[Context], pd.DataFrame], list[str]]] = {
    "table1_loss_by_p": (synthetic.table1_loss_by_p, synthetic.TABLE1),
    "fig2_probe_r2": (synthetic.fig2_probe_r2, synthetic.FIG2),
    "fig3_neuron_correlation": (synthetic.fig3_neuron_correlation, synthetic.FIG3),
    "fig6_probe_estimate": (synthetic.fig6_probe_estimate, synthetic.FIG6),
    "intervention": (synthetic.intervention, synthetic.INTERVENTION),
    "influence": (synthetic.influence, synthetic.INFLUENCE),
    "fig4_position": (text.fig4_position, text.FIG4),
    "text_gap_by_step": (text.text_gap_by_step, text.BY_STEP),
    "table2_text_loss": (text.table2_text_loss, text.TABLE2),
    "fig5_zero_shot": (zero_shot.fig5_zero_shot, zero_shot.FIG5),
}
"""Figure -> (what makes its table, the columns the table has even when nothing was measured)."""


def write_tables(context: Context, folder: str | Path, names: Sequence[str] | None = None) -> None:
    """Write the tables of the named figures; one whose measurement is missing has a header and no rows."""
    for name in names or FIGURES:
        if name not in FIGURES:
            raise MyopiaError(f"There is no table {name}; known are {', '.join(FIGURES)}.")
        make, columns = FIGURES[name]
        try:
            frame = make(context)
        except NotRun:
            frame = pd.DataFrame(columns=columns)
        write_csv(Path(folder) / f"{name}.csv", frame)
