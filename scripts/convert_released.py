"""Read a released Lightning checkpoint as data and write it as a plain Hugging Face folder with checkpoint.json."""

from __future__ import annotations

from collections.abc import Sequence

from myopia.common import cli


def main(argv: Sequence[str] | None = None) -> None:
    """Parse the arguments and convert."""
    parser = cli.parser(__doc__, "checkpoint", "fetched", "base", "tokenizer", "out")
    parser.add_argument("--size", required=True, help="such as 31m")
    parser.add_argument("--arm", required=True, choices=["vanilla", "myopic"])
    args = parser.parse_args(argv)

    from myopia.experiments.released.convert import convert_released

    convert_released(args.checkpoint, args.fetched, args.size, args.arm, args.base, args.tokenizer, args.out)


if __name__ == "__main__":
    cli.run(main)
