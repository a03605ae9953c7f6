"""Train one or several runs, one after another in this process; each resumes from its own state."""

from __future__ import annotations

import argparse
import itertools
import json
import os
from collections.abc import Sequence
from pathlib import Path

from myopia.common import cli
from myopia.common.errors import EXIT_BAD_INPUT, EXIT_PREEMPTED
from myopia.common.process import use_huge_pages
from myopia.config.placement import SHARDING
from myopia.train.signals import Preempted, stop_signals


def main(argv: Sequence[str] | None = None) -> int:
    parser = cli.parser(__doc__)
    parser.add_argument("--spec", required=True, nargs="+", action="extend", help="run specs, canonical JSON, in order")
    parser.add_argument("--seeds", required=True, nargs="+", type=int)
    parser.add_argument("--runs", required=True, metavar="DIR", help="results go to DIR/<run>/seed<k>")
    parser.add_argument("--state", required=True, metavar="DIR", help="state goes to DIR/<run>/seed<k>")
    parser.add_argument("--tokens", metavar="DIR", help="encoded corpus of a language run")
    parser.add_argument("--tokenizer", metavar="DIR")
    parser.add_argument("--teachers", metavar="DIR", help="teachers of local arms are in DIR/<run>/seed<k>")
    parser.add_argument("--log", metavar="FILE", help="progress goes to stderr and to this file")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--devices", type=int, default=1, help="processes that train together; torchrun starts them")
    parser.add_argument("--sharding", choices=SHARDING, default="auto", help="whether they divide a network")
    parser.add_argument("--threads", type=int, default=1, help="of all processes together")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--save-seconds", type=float, default=30.0)
    parser.add_argument("--save-steps", type=int)
    parser.add_argument("--progress-seconds", type=float, default=5.0)
    args = parser.parse_args(argv)

    if args.devices > 1 and "RANK" not in os.environ:
        from myopia.train.launch import launch

        return launch(args.devices, max(1, args.threads // args.devices))  # of this command, in so many processes
    cli.log_to(args.log)
    with stop_signals() as stop:  # from here on, because importing torch takes seconds
        return train_all(args, stop)


def train_all(args: argparse.Namespace, stop: list[int]) -> int:
    import torch
    from transformers.utils import logging as transformers_logging

    from myopia.train.place import Place
    from myopia.train.team import Reported, assemble
    from myopia.train.trainer import train

    transformers_logging.disable_progress_bar()  # parallel jobs share one terminal: whole lines only
    torch.set_num_threads(max(1, args.threads // args.devices))
    torch.use_deterministic_algorithms(args.device == "cpu")
    try:
        with assemble(args.device) as team:
            for spec, seed in itertools.product(map(json.loads, args.spec), args.seeds):
                leaf = f"seed{seed}"
                place = Place(
                    folder=Path(args.runs, spec["name"], leaf),
                    state=Path(args.state, spec["name"], leaf),
                    tokens=args.tokens,
                    tokenizer=args.tokenizer,
                    teacher=str(Path(args.teachers or args.runs, spec["teacher"], leaf)) if "teacher" in spec else None,
                    initial=str(Path(args.runs, spec["init_from"], leaf)) if "init_from" in spec else None,
                    device=args.device,
                    compile=args.compile,
                    sharding=args.sharding,
                    save_seconds=args.save_seconds,
                    save_steps=args.save_steps,
                    progress_seconds=args.progress_seconds,
                )
                if any(team.most(bool(stop))):  # a signal came between two runs
                    raise Preempted
                train(spec, seed, place, stop, team)
    except Preempted:
        return EXIT_PREEMPTED
    except Reported:
        return EXIT_BAD_INPUT
    return 0


if __name__ == "__main__":
    use_huge_pages()
    cli.run(main)
