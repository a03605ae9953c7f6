"""Measure a model family: its runs, their held-out loss by document and stretch of positions, their curves."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from myopia.common import cli
from myopia.common.files import write_csv
from myopia.common.gpus import claim_gpus


def main(argv: Sequence[str] | None = None) -> None:
    parser = cli.parser(__doc__, "out-runs", "out-loss", "out-curve")
    parser.add_argument("--spec", required=True, help="JSON: corpus, tokens, runs, roles, max_windows")
    parser.add_argument("--seeds", required=True, nargs="+", type=int)
    parser.add_argument("--tuning-seeds", default=[], nargs="*", type=int)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args(argv)
    claim_gpus(int(args.device == "cuda"))

    import torch

    from myopia.experiments.size_sweep import measure as family

    torch.set_num_threads(args.threads)
    spec = json.loads(args.spec)
    runs = family.FamilyRuns(
        spec["corpus"], spec["roles"], Path(spec["runs"]), Path(spec["tokens"]), args.seeds, args.tuning_seeds
    )
    write_csv(args.out_runs, family.family_runs(runs))
    write_csv(args.out_loss, family.family_loss(runs, spec["max_windows"], args.device))
    write_csv(args.out_curve, family.family_curve(runs))


if __name__ == "__main__":
    cli.run(main)
