"""Train the toy of shared computation over its grid on the tuning seeds: regret against the exact optimum."""

from __future__ import annotations

import json
from collections.abc import Sequence

from myopia.common import cli
from myopia.common.files import write_csv


def main(argv: Sequence[str] | None = None) -> None:
    """Train what the JSON `--spec` describes and write one table."""
    parser = cli.parser(__doc__, "out")
    parser.add_argument("--spec", required=True, help="JSON: the section `toys` of the settings")
    parser.add_argument("--seeds", type=int, nargs="+", required=True, help="tuning seeds")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args(argv)

    import torch

    from myopia.experiments.toys import measure as toys

    torch.set_num_threads(args.threads)
    write_csv(args.out, toys.tune_shared(json.loads(args.spec)["shared"], args.seeds))


if __name__ == "__main__":
    cli.run(main)
