"""Induction on repeated random sequences: loss on the repeat, scores of heads along training, learning curves."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from myopia.common import cli
from myopia.common.files import write_csv


def main(argv: Sequence[str] | None = None) -> None:
    """Measure every run named in the JSON `--spec` and write three tables."""
    parser = cli.parser(__doc__, "out-loss", "out-heads", "out-curve")
    parser.add_argument("--spec", required=True, help="JSON: runs, test_sequences, head_sequences")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args(argv)

    import torch

    from myopia.experiments.induction import measure as induction

    torch.set_num_threads(args.threads)
    spec = json.loads(args.spec)
    runs = [induction.InductionRun(**{**run, "folder": Path(run["folder"])}) for run in spec["runs"]]
    write_csv(args.out_loss, induction.repeat_losses(runs, spec["test_sequences"]))
    write_csv(args.out_heads, induction.head_scores(runs, spec["head_sequences"]))
    write_csv(args.out_curve, induction.curves(runs))


if __name__ == "__main__":
    cli.run(main)
