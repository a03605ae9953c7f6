"""The gaps of the networks as plain text, for the end of `snakemake gap`."""

from __future__ import annotations

import math

import pandas as pd

from myopia.judge.questions import number

CHOICES = {
    "best": "each arm at its best rate",
    "matched": "both at vanilla's best rate",
    "as_run": "rates as the authors had them",
    "paper_table5": "rate of the paper's Table 5",
}
CHOSEN = {
    "tuning seeds": "chosen on tuning seeds",
    "same seeds": "chosen on the same seeds' validation text",
    "config.yaml": "frozen in the config",
    "": "as configured",
}
STARTS = {"checkpoint": "fine-tuned", "random": "from random initialisation"}


def render(frame: pd.DataFrame) -> str:
    """One paragraph per pair: gap with interval, both losses, rates, and what speaks against reading it."""
    lines, shown = [], set()
    for row in frame.itertuples():
        pair = (row.size, row.start, row.lr_vanilla, row.lr_myopic, row.gap)
        if pair in shown:  # vanilla's best rate is often the myopic arm's, too
            continue
        shown.add(pair)
        interval = (
            " (one seed: no interval)" if math.isnan(row.ci_low) else f" [{number(row.ci_low)}, {number(row.ci_high)}]"
        )
        lines += [
            f"{row.size}, {STARTS[row.start]}, {CHOICES[row.choice]}:",
            f"  myopia gap {number(row.gap)}{interval} nats per token, {row.seeds:g} seeds x {row.documents:g} documents",
            f"  loss {number(row.vanilla)} vanilla, {number(row.myopic)} myopic; learning rates {row.lr_vanilla:g} and "
            f"{row.lr_myopic:g}, {CHOSEN[row.selected_on]}",
        ]
        if row.edge:
            lines.append("  a rate lies at the end of its grid: widen lr_grid before believing the size of the gap")
        if row.hollow:
            lines.append(
                "  the gap is not shown to have settled: train longer, or on more seeds, before believing its size"
            )
    if not lines:
        lines = ["no pair of a vanilla and a myopic run is there to compare"]
    return "\n".join(lines)
