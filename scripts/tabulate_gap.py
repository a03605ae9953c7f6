"""Tabulate the myopia gap of the family's networks (`tables/gap.csv`) and the rates it was looked for at."""

from __future__ import annotations

from collections.abc import Sequence

from myopia.common import cli
from myopia.common.files import write_csv
from myopia.experiments.size_sweep.tables import audit_gap_by_lr, gap_of_networks
from myopia.judge.claims import read_claims
from myopia.judge.measures import Measures, Paper
from myopia.judge.registry import Context


def main(argv: Sequence[str] | None = None) -> None:
    """Parse the arguments, read what was measured, write both tables."""
    args = cli.parser(__doc__, "measure", "claims", "paper", "out", "out-rates").parse_args(argv)
    context = Context(Measures(args.measure, read_claims(args.claims).tuning_seeds), Paper.read(args.paper))
    write_csv(args.out, gap_of_networks(context))
    write_csv(args.out_rates, audit_gap_by_lr(context))


if __name__ == "__main__":
    cli.run(main)
