"""Encode docs.jsonl.zst into memory-mapped token windows with a manifest, overlap removed."""

from __future__ import annotations

from collections.abc import Sequence

from myopia.common import cli
from myopia.data.encode import encode_corpus
from myopia.data.specs import parse_json


def main(argv: Sequence[str] | None = None) -> None:
    """Parse the arguments and encode."""
    parser = cli.parser(__doc__, "docs", "tokenizer", "out")
    parser.add_argument("--spec", default="{}", metavar="JSON", help="T, window, max_tokens, ...")
    args = parser.parse_args(argv)
    encode_corpus(args.docs, args.tokenizer, parse_json(args.spec, "--spec"), args.out)


if __name__ == "__main__":
    cli.run(main)
