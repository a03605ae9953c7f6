"""Train and measure the toys: shared computation with its exact optimum, hidden bits, consequence-blindness."""

from __future__ import annotations

import json
from collections.abc import Sequence

from myopia.common import cli
from myopia.common.files import write_csv
from myopia.experiments.toys.settings import toy_seeds


def main(argv: Sequence[str] | None = None) -> None:
    """Train what the JSON `--spec` describes and write four tables."""
    parser = cli.parser(__doc__, "out-shared", "out-optimum", "out-hidden", "out-consequence")
    parser.add_argument("--spec", required=True, help="JSON: the section `toys` of the settings")
    parser.add_argument("--tuning-seeds", type=int, nargs="*", default=[], help="seeds that are left out")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args(argv)

    import torch

    from myopia.experiments.toys import measure as toys

    torch.set_num_threads(args.threads)
    spec = json.loads(args.spec)
    seeds, chains = (toy_seeds(spec[name], args.tuning_seeds) for name in ("seeds", "chains"))
    shared, optimum = toys.measure_shared(spec["shared"], seeds)
    write_csv(args.out_shared, shared)
    write_csv(args.out_optimum, optimum)
    write_csv(args.out_hidden, toys.measure_hidden(spec["hidden"], seeds, spec["points"]))
    write_csv(args.out_consequence, toys.measure_consequence(spec["consequence"], chains, spec["points"]))


if __name__ == "__main__":
    cli.run(main)
