"""Held-out loss of language runs by document and position, their learning curves, and influence pictures."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from myopia.common import cli
from myopia.common.files import write_csv


def main(argv: Sequence[str] | None = None) -> None:
    parser = cli.parser(__doc__, "out-loss", "out-components", "out-curve", "out-influence")
    parser.add_argument(
        "--spec",
        required=True,
        help="JSON: runs, further (the same models on other corpora), max_windows, influence_tokens",
    )
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args(argv)

    import torch

    from myopia.measure import text

    torch.set_num_threads(args.threads)
    spec = json.loads(args.spec)
    places = ("folder", "tokens", "teacher")
    runs, further = (
        [
            text.TextRun(**{k: Path(v) if k in places and v is not None else v for k, v in run.items()})
            for run in spec[key]
        ]
        for key in ("runs", "further")
    )
    write_csv(args.out_loss, text.text_loss([*runs, *further], spec["max_windows"]))
    write_csv(args.out_components, text.text_components([*runs, *further]))
    write_csv(args.out_curve, text.text_curve(runs))
    first = [run for run in runs if run.seed == min(r.seed for r in runs) and run.arm in ("vanilla", "myopic")]
    write_csv(args.out_influence, text.influence_pictures(first, spec["influence_tokens"]))


if __name__ == "__main__":
    cli.run(main)
