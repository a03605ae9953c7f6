"""Download one revision of a model: its config and weights, checked against the hub's sha256."""

from __future__ import annotations

from collections.abc import Sequence

from myopia.common import cli
from myopia.data.revisions import fetch_revision


def main(argv: Sequence[str] | None = None) -> None:
    """Parse the arguments and download."""
    parser = cli.parser(__doc__, "state", "out")
    parser.add_argument("--repo", required=True, help="model repository on the hub")
    parser.add_argument("--revision", required=True, help="branch, tag or commit, such as step256")
    parser.add_argument("--lock", metavar="PATH", help="hub.lock.json, whose commits and sha256 must still be true")
    args = parser.parse_args(argv)
    fetch_revision(args.repo, args.revision, args.state, args.out, args.lock)


if __name__ == "__main__":
    cli.run(main, network=True)
