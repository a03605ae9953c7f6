"""Gradients split into own-position and future parts along training, forward bias, and the convex toys."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from myopia.common import cli
from myopia.common.files import write_csv


def main(argv: Sequence[str] | None = None) -> None:
    """Measure every run named in the JSON `--spec` and write four tables."""
    parser = cli.parser(__doc__, "out-gradients", "out-spectra", "out-points", "out-theory")
    parser.add_argument("--spec", required=True, help="JSON: series, bias, lanczos, and the section `anatomy`")
    parser.add_argument("--device", default="cpu", help="where the models run: cpu or cuda")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args(argv)

    import torch

    from myopia.experiments.gradients import forward_bias, theory
    from myopia.experiments.gradients import measure as anatomy

    torch.set_num_threads(args.threads)
    spec = json.loads(args.spec)
    settings, places = spec["anatomy"], ("folder", "tokens")
    runs = [{k: Path(v) if k in places else v for k, v in run.items()} for run in spec["series"]]
    for run in runs:
        run["checkpoints"] = {int(step): Path(folder) for step, folder in run["checkpoints"].items()}
    small = [{k: Path(v) if k in places else v for k, v in run.items()} for run in spec["bias"]]
    gradients = anatomy.gradient_anatomy(
        [anatomy.AnatomyRun(**run) for run in runs],
        blocks=settings["blocks"],
        block_windows=settings["block_windows"],
        moment_blocks=settings["moment_blocks"],
        device=args.device,
    )
    spectra, points = forward_bias.forward_bias(
        [forward_bias.BiasRun(**run) for run in small],
        settings["bias"]["sequences"],
        settings["lanczos"]["windows"],
        args.device,
    )
    write_csv(args.out_gradients, gradients)
    write_csv(args.out_spectra, spectra)
    write_csv(args.out_points, points)
    write_csv(args.out_theory, theory.theory(range(settings["problems"])))


if __name__ == "__main__":
    cli.run(main)
