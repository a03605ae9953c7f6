"""Fetch a fixed tokenizer from the hub."""

from __future__ import annotations

from collections.abc import Sequence

from myopia.common import cli
from myopia.data.hub_client import ATTEMPTS, WAIT_S
from myopia.data.hub_tokenizer import fetch_tokenizer
from myopia.data.specs import parse_json


def main(argv: Sequence[str] | None = None) -> None:
    """Parse the arguments and fetch."""
    parser = cli.parser(__doc__, "out")
    parser.add_argument("--spec", required=True, metavar="JSON", help="kind pretrained, path_or_id, revision")
    parser.add_argument("--lock", metavar="FILE", help="hub.lock.json: what earlier fetches got")
    parser.add_argument("--attempts", type=int, default=ATTEMPTS)
    parser.add_argument("--wait", type=float, default=WAIT_S, help="seconds before the second attempt")
    args = parser.parse_args(argv)
    spec = parse_json(args.spec, "--spec")
    fetch_tokenizer(spec, args.out, lock=args.lock, attempts=args.attempts, wait_s=args.wait)


if __name__ == "__main__":
    cli.run(main, network=True)
