"""Fetch text from the hub into docs.jsonl.zst (one document a line, with its split) and docs.manifest.json."""

from __future__ import annotations

from collections.abc import Sequence

from myopia.common import cli
from myopia.data.fetch import CHUNK_DOCUMENTS, fetch_corpus
from myopia.data.hub_client import ATTEMPTS, WAIT_S
from myopia.data.specs import parse_json


def main(argv: Sequence[str] | None = None) -> None:
    """Parse the arguments and fetch."""
    parser = cli.parser(__doc__, "out", "manifest", "state")
    parser.add_argument("--source", required=True, metavar="JSON", help="which dataset to read")
    parser.add_argument("--splits", default="{}", metavar="JSON", help="fractions, seed, by")
    parser.add_argument("--lock", metavar="FILE", help="hub.lock.json: what earlier fetches got")
    parser.add_argument("--attempts", type=int, default=ATTEMPTS, help="in a row without a new row")
    parser.add_argument("--wait", type=float, default=WAIT_S, help="seconds before the second attempt")
    parser.add_argument("--chunk-documents", type=int, default=CHUNK_DOCUMENTS, help="documents per chunk of state")
    args = parser.parse_args(argv)
    fetch_corpus(
        parse_json(args.source, "--source"),
        parse_json(args.splits, "--splits"),
        args.out,
        args.manifest,
        state=args.state,
        lock=args.lock,
        attempts=args.attempts,
        wait_s=args.wait,
        chunk_documents=args.chunk_documents,
    )


if __name__ == "__main__":
    cli.run(main, network=True)
