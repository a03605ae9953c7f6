"""Write the replication report of one results folder: one page, no network, whatever has finished so far."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from myopia.common import cli


def main(argv: Sequence[str] | None = None) -> None:
    """Parse arguments, render, write."""
    parser = cli.parser(__doc__, "results", "reference", "texts", "out")
    parser.add_argument("--scale", required=True, help="named on the page")
    parser.add_argument("--captions", required=True, help="JSON: figure -> what its caption says about this scale")
    parser.add_argument("--stopped", action="store_true", help="the workflow stopped: tell of damaged records, too")
    args = parser.parse_args(argv)

    from myopia.show.report import page
    from myopia.show.report.results import Results

    results = Results(Path(args.results), stopped=args.stopped)
    html = page.render(results, args.scale, json.loads(args.captions), Path(args.reference), Path(args.texts))
    page.write(Path(args.out), html)


if __name__ == "__main__":
    cli.run(main)
