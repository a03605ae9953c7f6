"""Draw figures one after another in one process: importing the plotting libraries takes longer than a picture."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from myopia.common import cli
from myopia.show import render


def main(argv: Sequence[str] | None = None) -> None:
    """Draw each figure named in `--captions`, as `plot_<figure>.py` does for one."""
    parser = cli.parser(__doc__, "tables", "figures")
    parser.add_argument("--captions", required=True, help="JSON: figure -> what its caption says about this scale")
    args = parser.parse_args(argv)
    for figure, caption in json.loads(args.captions).items():
        out = Path(args.figures, figure)
        render.draw(figure, f"{args.tables}/{figure}.csv", f"{out}.svg", f"{out}.png", caption)


if __name__ == "__main__":
    cli.run(main)
