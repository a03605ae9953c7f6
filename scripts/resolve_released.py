"""Pin the authors' released checkpoints on the hub; fetch their architecture's config and tokenizer."""

from __future__ import annotations

import json
from collections.abc import Sequence

from myopia.common import cli
from myopia.experiments.released.fetch import resolve_released


def main(argv: Sequence[str] | None = None) -> None:
    """Parse the arguments and resolve."""
    parser = cli.parser(__doc__, "out")
    parser.add_argument("--specs", required=True, metavar="JSON", help="list of config.released.released_specs")
    parser.add_argument("--pins", metavar="PATH", help="a lock file to be held to, if it exists")
    args = parser.parse_args(argv)
    resolve_released(json.loads(args.specs), args.out, args.pins)


if __name__ == "__main__":
    cli.run(main, network=True)
