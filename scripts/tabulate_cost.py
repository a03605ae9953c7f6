"""Tabulate what the runs behind each figure have cost (`tables/cost.csv`), and print it."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from myopia.common import cli
from myopia.common.files import write_csv
from myopia.data.specs import parse_json
from myopia.judge.cost import cost_table


def main(argv: Sequence[str] | None = None) -> None:
    """Parse the arguments, add up, print, write."""
    parser = cli.parser(__doc__, "out")
    parser.add_argument("--figures", required=True, metavar="JSON", help="figure -> run folders")
    parser.add_argument("--runs", nargs="*", default=[], metavar="DIR", help="folders of all runs")
    parser.add_argument("--states", required=True, metavar="JSON", help="run folder -> state folder")
    parser.add_argument("--watts", required=True, type=float, help="power of one device at work")
    args = parser.parse_args(argv)
    figures, states = parse_json(args.figures, "--figures"), parse_json(args.states, "--states")
    table = cost_table(figures, args.runs, states, args.watts)
    write_csv(args.out, table)
    sys.stdout.write(table.to_string(index=False, float_format="%.3g") + "\n")


if __name__ == "__main__":
    cli.run(main)
