"""Held-out loss of one released checkpoint by document and position, on every corpus of the scale."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from myopia.common import cli
from myopia.common.files import write_csv
from myopia.common.gpus import claim_gpus


def main(argv: Sequence[str] | None = None) -> None:
    """Parse the arguments and measure."""
    parser = cli.parser(__doc__, "out")
    parser.add_argument("--spec", required=True, help="JSON: runs (one per corpus), max_windows")
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args(argv)
    claim_gpus(int(args.device == "cuda"))

    import torch

    from myopia.measure import text

    torch.set_num_threads(args.threads)
    spec = json.loads(args.spec)
    runs = [
        text.TextRun(**{**run, "folder": Path(run["folder"]), "tokens": Path(run["tokens"])}) for run in spec["runs"]
    ]
    write_csv(args.out, text.text_loss(runs, spec["max_windows"], args.device))


if __name__ == "__main__":
    cli.run(main)
