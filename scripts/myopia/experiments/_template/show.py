"""The figure, drawn from its table alone."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from myopia.show import style


def losses(frame: pd.DataFrame, caption: str = "") -> Figure:
    """Loss of each arm with its interval."""
    if frame.empty:
        return style.nothing(caption)
    figure = style.new_figure(3.6, 2.4, 1, 1, style.join(style.sample(frame, "blocks of sequences"), caption))
    ((axes,),) = style.grid(figure, 1)
    for x, row in enumerate(frame.itertuples()):
        look = style.LOOKS[row.arm]
        axes.errorbar(
            x, row.value, [[row.value - row.ci_low], [row.ci_high - row.value]], fmt=look.marker, color=look.color
        )
    axes.set(xticks=range(len(frame)), xticklabels=list(frame["arm"]), ylabel="nats/token", title="second reading")
    return figure
