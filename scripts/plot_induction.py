"""Draw: Induction on repeated random sequences."""

from __future__ import annotations

from collections.abc import Sequence

from myopia.common import cli
from myopia.show import render


def main(argv: Sequence[str] | None = None) -> None:
    """Draw from the one table named on the command line."""
    args = render.arguments(__doc__, argv)
    render.draw("induction", args.table, args.svg, args.png, args.caption)


if __name__ == "__main__":
    cli.run(main)
