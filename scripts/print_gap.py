"""Print the gaps of the family's networks as plain text."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import pandas as pd

from myopia.common import cli
from myopia.experiments.size_sweep.gap_console import render


def main(argv: Sequence[str] | None = None) -> None:
    """Parse arguments and write to stdout."""
    args = cli.parser(__doc__, "table").parse_args(argv)
    sys.stdout.write(render(pd.read_csv(args.table).fillna({"selected_on": ""})) + "\n")


if __name__ == "__main__":
    cli.run(main)
