"""Exact match over digit counts, and loss and accuracy by answer digit, of every multiplication run."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from myopia.common import cli
from myopia.common.files import write_csv


def main(argv: Sequence[str] | None = None) -> None:
    """Measure the runs named in the JSON `--spec` and write two tables."""
    parser = cli.parser(__doc__, "out-cells", "out-digits")
    parser.add_argument("--spec", required=True, help="JSON: runs, and problems for each pair of digit counts")
    parser.add_argument("--device", default="cpu", help="where the models run: cpu or cuda")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args(argv)

    import torch

    from myopia.experiments.multiplication.measure import MultiplicationRun, measure

    torch.set_num_threads(args.threads)
    spec = json.loads(args.spec)
    runs = [
        MultiplicationRun(**{**run, "folder": Path(run["folder"]), "roles": tuple(run["roles"])})
        for run in spec["runs"]
    ]
    cells, digits = measure(runs, spec["problems"], args.device)
    write_csv(args.out_cells, cells)
    write_csv(args.out_digits, digits)


if __name__ == "__main__":
    cli.run(main)
