"""Train a byte-level BPE on the train split of a corpus, or take over an existing tokenizer."""

from __future__ import annotations

from collections.abc import Sequence

from myopia.common import cli
from myopia.data.specs import parse_json
from myopia.data.tokenizer import make_tokenizer


def main(argv: Sequence[str] | None = None) -> None:
    """Parse the arguments and make the tokenizer folder."""
    parser = cli.parser(__doc__, "docs", "out")
    parser.add_argument("--spec", default='{"kind":"bpe"}', metavar="JSON", help="kind bpe or pretrained")
    args = parser.parse_args(argv)
    make_tokenizer(args.docs, parse_json(args.spec, "--spec"), args.out)


if __name__ == "__main__":
    cli.run(main)
