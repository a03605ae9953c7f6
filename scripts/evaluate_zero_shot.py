"""Zero-shot accuracy of language runs on task folders, through lm-eval and without a network: one row per item."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from myopia.common import cli
from myopia.common.files import write_csv
from myopia.common.gpus import claim_gpus
from myopia.common.process import go_offline


def main(argv: Sequence[str] | None = None) -> None:
    parser = cli.parser(__doc__, "out")
    parser.add_argument("--spec", required=True, help="JSON: runs")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args(argv)
    claim_gpus(int(args.device == "cuda"))

    go_offline()
    import torch

    from myopia.experiments.zero_shot import measure as zero_shot

    torch.set_num_threads(args.threads)
    spec = json.loads(args.spec)
    runs = [
        zero_shot.EvalRun(**{**run, "folder": Path(run["folder"]), "tasks": tuple(map(Path, run["tasks"]))})
        for run in spec["runs"]
    ]
    write_csv(args.out, zero_shot.zero_shot(runs, args.device))


if __name__ == "__main__":
    cli.run(main)
