"""List every run with seed, purpose and final losses (`tables/seeds.csv`), read from each metrics.json."""

from __future__ import annotations

from collections.abc import Sequence

from myopia.common import cli
from myopia.common.files import write_csv
from myopia.experiments.text.tables import seeds_table


def main(argv: Sequence[str] | None = None) -> None:
    """Parse arguments and write the table."""
    parser = cli.parser(__doc__, "out")
    parser.add_argument("--runs", nargs="*", default=[], metavar="DIR", help="run folders with metrics.json")
    args = parser.parse_args(argv)
    write_csv(args.out, seeds_table(args.runs))


if __name__ == "__main__":
    cli.run(main)
