"""Draw figures one after another in one process: importing the plotting libraries takes longer than a picture."""

from __future__ import annotations

import importlib
import json
from collections.abc import Sequence
from pathlib import Path

from myopia.common import cli


def main(argv: Sequence[str] | None = None) -> None:
    """Run `plot_<figure>.py` for each figure named in `--captions`."""
    parser = cli.parser(__doc__, "tables", "figures")
    parser.add_argument("--captions", required=True, help="JSON: figure -> what its caption says about this scale")
    args = parser.parse_args(argv)
    for figure, caption in json.loads(args.captions).items():
        out = Path(args.figures, figure)
        importlib.import_module(f"plot_{figure}").main(
            [
                "--table",
                f"{args.tables}/{figure}.csv",
                "--svg",
                f"{out}.svg",
                "--png",
                f"{out}.png",
                "--caption",
                caption,
            ]
        )


if __name__ == "__main__":
    cli.run(main)
