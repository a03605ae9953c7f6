"""From one csv to one picture."""

from __future__ import annotations

from pathlib import Path

from myopia.config.experiment import Experiment, Figure
from myopia.show import style


def draw_figure(one: Experiment, figure: Figure, table: str | Path, folder: str | Path) -> None:
    """Read a figure's table, draw it, write <folder>/<figure>.svg and .png.

    Raises:
        MyopiaError: the table is not there, or lacks a column the experiment declares.
    """
    if not figure.draw:
        from myopia.common.errors import MyopiaError

        raise MyopiaError(f"{figure.name} is a table that is read, not drawn: open {table}")
    frame = style.read_table(str(table), list(figure.columns))
    out = Path(folder, figure.name)
    style.save(one.load(figure.draw)(frame), f"{out}.svg", f"{out}.png")
