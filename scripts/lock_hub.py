"""Write down in hub.lock.json what the hub's names turned out to be, from the manifests of what was fetched."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from pathlib import Path

from myopia.common import cli
from myopia.common.files import write_json
from myopia.data.lock import locked_with, read_lock


def main(argv: Sequence[str] | None = None) -> None:
    """Parse the arguments and add to the lock; an entry that contradicts it ends in an error."""
    parser = cli.parser(__doc__, "lock")
    parser.add_argument("--texts", nargs="*", default=[], metavar="FILE", help="docs.manifest.json files")
    parser.add_argument("--tokenizers", nargs="*", default=[], metavar="FILE", help="tokenizer.manifest.json files")
    parser.add_argument("--checkpoints", nargs="*", default=[], metavar="FILE", help="revision.json files")
    args = parser.parse_args(argv)
    before = read_lock(args.lock)
    texts, tokenizers, checkpoints = (
        [json.loads(Path(path).read_text()) for path in paths]
        for paths in (args.texts, args.tokenizers, args.checkpoints)
    )
    after = locked_with(before, texts, tokenizers, checkpoints)
    if after != before:
        write_json(args.lock, after)
    logging.info("%s: %d datasets, %d models", args.lock, len(after["datasets"]), len(after["models"]))


if __name__ == "__main__":
    cli.run(main)
