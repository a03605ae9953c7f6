"""Tabulate what the runs behind each figure have cost (`tables/cost.csv`), and print it."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from myopia.common import cli
from myopia.common.files import write_csv
from myopia.data.specs import parse_json
from myopia.judge.cost import cost_table, run_places


def main(argv: Sequence[str] | None = None) -> None:
    """Parse the arguments, add up, print, write."""
    parser = cli.parser(__doc__, "out")
    parser.add_argument("--figures", required=True, metavar="JSON", help="figure -> experiments")
    parser.add_argument("--runs", required=True, metavar="JSON", help="experiment -> [[folder in DIR, seeds], ...]")
    parser.add_argument("--results", required=True, metavar="DIR")
    parser.add_argument("--watts", required=True, type=float, help="power of one device at work")
    args = parser.parse_args(argv)
    folders, states = run_places(args.results, parse_json(args.runs, "--runs"))
    figures = {
        figure: [folder for experiment in experiments for folder in folders[experiment]]
        for figure, experiments in parse_json(args.figures, "--figures").items()
    }
    table = cost_table(figures, list(states), states, args.watts)
    write_csv(args.out, table)
    sys.stdout.write(table.to_string(index=False, float_format="%.3g") + "\n")


if __name__ == "__main__":
    cli.run(main)
