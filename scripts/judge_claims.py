"""Judge every claim from one scale's measurements: verdicts.csv and, with --tables, all figure tables."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from myopia.common import cli
from myopia.common.files import write_csv
from myopia.judge.claims import read_claims
from myopia.judge.measures import Measures, Paper
from myopia.judge.registry import Context
from myopia.judge.tables import write_tables
from myopia.judge.verdicts import judge


def main(argv: Sequence[str] | None = None) -> None:
    """Parse arguments, judge, write."""
    parser = cli.parser(__doc__, "measure", "claims", "paper", "out")
    parser.add_argument("--scale", required=True, help="smoke, laptop, cpu, gpu or paper")
    parser.add_argument("--tables", metavar="DIR", help="also write the figures' tables here")
    args = parser.parse_args(argv)
    claims = read_claims(args.claims)
    measures, paper = Measures(args.measure, claims.tuning_seeds), Paper.read(args.paper)
    verdicts = judge(measures, claims, paper, args.scale)
    write_csv(args.out, verdicts)
    if args.tables:
        write_tables(Context(measures, paper), args.tables)
    counts = verdicts["verdict"].value_counts().to_dict()
    logging.info("judged %d claims: %s", len(verdicts), ", ".join(f"{n} {v}" for v, n in counts.items()))


if __name__ == "__main__":
    cli.run(main)
