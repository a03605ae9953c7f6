"""Download one released checkpoint at its pinned commit, checked against the hub's sha256. It is not opened."""

from __future__ import annotations

from collections.abc import Sequence

from myopia.common import cli
from myopia.experiments.released.fetch import fetch_released


def main(argv: Sequence[str] | None = None) -> None:
    """Parse the arguments and download."""
    parser = cli.parser(__doc__, "lock", "state", "out", "record")
    parser.add_argument("--repo", required=True, help="model repository on the hub, as the lock names it")
    parser.add_argument("--revision", default="main", help="as the lock names it; what is fetched is its commit")
    args = parser.parse_args(argv)
    fetch_released(args.lock, args.repo, args.revision, args.state, args.out, args.record)


if __name__ == "__main__":
    cli.run(main, network=True)
