"""Write docs/config.md from the config schema."""

from __future__ import annotations

from collections.abc import Sequence

from myopia.common import cli
from myopia.common.files import atomic_path
from myopia.config.load import ROOT
from myopia.config.reference import render


def main(argv: Sequence[str] | None = None) -> None:
    parser = cli.parser(__doc__)
    parser.add_argument("--out", default=str(ROOT / "docs" / "config.md"), metavar="PATH")
    args = parser.parse_args(argv)
    with atomic_path(args.out) as temporary:
        temporary.write_text(render())


if __name__ == "__main__":
    cli.run(main)
