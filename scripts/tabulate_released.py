"""Tables of the released checkpoints: the audit of their learning rates, loss against size, gap by position,
zero-shot accuracy."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from myopia.common import cli
from myopia.experiments.released.judge import write_released_tables


def main(argv: Sequence[str] | None = None) -> None:
    """Parse the arguments, write the tables, say what the checkpoints recorded."""
    parser = cli.parser(__doc__, "paper", "tables")
    parser.add_argument("--runs", nargs="+", required=True, metavar="DIR", help="converted checkpoints")
    parser.add_argument("--measured", nargs="+", required=True, metavar="DIR", help="folders with text_loss.csv.gz")
    parser.add_argument("--scored", required=True, metavar="DIR", help="folder with zero_shot.csv.gz")
    args = parser.parse_args(argv)
    audit = write_released_tables(args.runs, args.measured, args.scored, args.paper, args.tables)
    for row in audit.itertuples():
        logging.info(
            "pythia-%s-%s: learning rate %s in the file's name, %s in hyper_parameters, %s in the schedule",
            row.size, row.arm, row.lr_in_name, row.lr_in_hyper_parameters, row.lr_in_schedule,
        )  # fmt: skip


if __name__ == "__main__":
    cli.run(main)
