"""Show training runs as they are now: progress, loss, speed, and which of them died."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from myopia.common import cli


def main(argv: Sequence[str] | None = None) -> None:
    """Parse arguments and draw, once or until Ctrl-C."""
    parser = cli.parser(__doc__, "results")
    parser.add_argument("--every", type=float, default=2.0, metavar="SECONDS")
    parser.add_argument("--once", action="store_true", help="draw once, every run, and end")
    args = parser.parse_args(argv)

    from rich.console import Console

    from myopia.show import watch

    if args.once:
        console = Console(file=sys.stdout)
        console.print(watch.picture(Path(args.results), time.time(), 10**6, console.width))
        return
    with contextlib.suppress(KeyboardInterrupt):
        watch.follow(Path(args.results), args.every)


if __name__ == "__main__":
    cli.run(main)
