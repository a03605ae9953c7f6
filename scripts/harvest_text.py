"""Harvest a text source into docs.jsonl.zst (one document a line, with its split) and docs.manifest.json."""

from __future__ import annotations

from collections.abc import Sequence

from myopia.common import cli
from myopia.data.harvest import harvest
from myopia.data.specs import parse_json


def main(argv: Sequence[str] | None = None) -> None:
    """Parse the arguments and harvest."""
    parser = cli.parser(__doc__, "out", "manifest")
    parser.add_argument("--source", default='{"kind":"docstrings"}', metavar="JSON", help="which text to read")
    parser.add_argument("--splits", default="{}", metavar="JSON", help="fractions, seed, by")
    args = parser.parse_args(argv)
    harvest(parse_json(args.source, "--source"), parse_json(args.splits, "--splits"), args.out, args.manifest)


if __name__ == "__main__":
    cli.run(main)
