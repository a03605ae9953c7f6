"""Write the tables figures are drawn from (`--tables DIR`, optionally only `--only NAME ...`)."""

from __future__ import annotations

from collections.abc import Sequence

from myopia.common import cli
from myopia.judge.claims import read_claims
from myopia.judge.measures import Measures, Paper
from myopia.judge.registry import Context
from myopia.judge.tables import write_tables


def main(argv: Sequence[str] | None = None) -> None:
    """Parse arguments and write the tables; tuning seeds named in the claims file are left out."""
    parser = cli.parser(__doc__, "measure", "claims", "paper", "tables")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="figure names; default all")
    args = parser.parse_args(argv)
    measures = Measures(args.measure, read_claims(args.claims).tuning_seeds)
    write_tables(Context(measures, Paper.read(args.paper)), args.tables, args.only)


if __name__ == "__main__":
    cli.run(main)
