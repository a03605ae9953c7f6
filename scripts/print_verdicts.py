"""Print the verdict table of one scale as plain text."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from myopia.common import cli
from myopia.judge.console import read_verdicts, render


def main(argv: Sequence[str] | None = None) -> None:
    """Parse arguments and write the table to stdout."""
    args = cli.parser(__doc__, "verdicts").parse_args(argv)
    sys.stdout.write(render(read_verdicts(args.verdicts)) + "\n")


if __name__ == "__main__":
    cli.run(main)
