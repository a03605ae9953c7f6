"""Draw figures in a process or a few: importing the plotting libraries takes longer than a picture."""

from __future__ import annotations

import json
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from myopia.common import cli
from myopia.show import render


def main(argv: Sequence[str] | None = None) -> None:
    """Draw each figure named in `--captions`, as `plot_<figure>.py` does for one."""
    parser = cli.parser(__doc__, "tables", "figures")
    parser.add_argument("--captions", required=True, help="JSON: figure -> what its caption says about this scale")
    parser.add_argument("--processes", type=int, default=1, help="how many draw at once")
    args = parser.parse_args(argv)
    wanted = []
    for figure, caption in json.loads(args.captions).items():
        out = Path(args.figures, figure)
        wanted.append((figure, f"{args.tables}/{figure}.csv", f"{out}.svg", f"{out}.png", caption))
    with ProcessPoolExecutor(args.processes) as pool:
        for _ in pool.map(render.draw, *zip(*wanted, strict=True)):  # raises what the drawing raised
            pass


if __name__ == "__main__":
    cli.run(main)
