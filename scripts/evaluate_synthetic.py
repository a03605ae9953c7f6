"""Held-out loss of synthetic runs, per block of sequences -> measure/synthetic_loss.csv."""

from __future__ import annotations

from collections.abc import Sequence

from myopia.common import cli
from myopia.common.files import write_csv


def main(argv: Sequence[str] | None = None) -> None:
    """Evaluate the runs named in the JSON `--spec` (text or a file) and write the table `--out`."""
    parser = cli.parser(__doc__, "spec", "out")
    parser.add_argument("--threads", type=int, default=1, help="torch threads (default 1)")
    arguments = parser.parse_args(argv)

    import torch

    from myopia.experiments.synthetic import measure as synthetic_loss
    from myopia.experiments.synthetic.runs import read_spec

    torch.set_num_threads(arguments.threads)
    runs, options = read_spec(arguments.spec, synthetic_loss.OPTIONS)
    write_csv(arguments.out, synthetic_loss.evaluate_runs(runs, **options))


if __name__ == "__main__":
    cli.run(main)
