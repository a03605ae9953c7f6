"""Put the items of one zero-shot task on disk: a cloze from a corpus, a local file, or a dataset on the hub."""

from __future__ import annotations

from collections.abc import Sequence

from myopia.common import cli
from myopia.data.specs import parse_json
from myopia.experiments.zero_shot.tasks import make_task


def main(argv: Sequence[str] | None = None) -> None:
    """Parse the arguments and make the task folder."""
    parser = cli.parser(__doc__, "out")
    parser.add_argument("--task", required=True, help="its name")
    parser.add_argument("--spec", required=True, metavar="JSON", help="definition, columns, source")
    parser.add_argument("--corpus", metavar="DIR", help="the corpus a cloze is made from")
    args = parser.parse_args(argv)
    make_task(args.task, parse_json(args.spec, "--spec"), args.out, args.corpus)


if __name__ == "__main__":
    cli.run(main, network=True)
