"""Print what a scale costs before anything runs, and write it as a table; needs neither GPU nor torch."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import pandas as pd

from myopia.common import cli
from myopia.common.files import write_csv
from myopia.config.plan import COLUMNS, plan, render
from myopia.data.specs import parse_json


def main(argv: Sequence[str] | None = None) -> None:
    """Parse the arguments, plan, print, write."""
    parser = cli.parser(__doc__, "out")
    parser.add_argument("--settings", required=True, metavar="JSON", help="a resolved scale")
    args = parser.parse_args(argv)
    settings = parse_json(args.settings, "--settings")
    rows = plan(settings)
    write_csv(args.out, pd.DataFrame(rows, columns=COLUMNS))
    sys.stdout.write(render(rows, settings))


if __name__ == "__main__":
    cli.run(main)
