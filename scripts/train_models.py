"""Train one or several runs, one after another, in one process or several; each resumes from its own state."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Sequence
from pathlib import Path

from myopia.common import cli
from myopia.common.errors import EXIT_PREEMPTED
from myopia.common.gpus import claim_gpus
from myopia.common.process import use_huge_pages
from myopia.config.placement import SHARDING
from myopia.train.signals import stop_signals


def arguments() -> argparse.ArgumentParser:
    parser = cli.parser(__doc__)
    parser.add_argument("--spec", required=True, nargs="+", action="extend", help="run specs, canonical JSON, in order")
    parser.add_argument("--seeds", required=True, nargs="+", type=int)
    parser.add_argument("--runs", required=True, metavar="DIR", help="results go to DIR/<run>/seed<k>")
    parser.add_argument("--state", required=True, metavar="DIR", help="state goes to DIR/<run>/seed<k>")
    parser.add_argument("--tokens", metavar="DIR", help="encoded corpus of a language run")
    parser.add_argument("--tokenizer", metavar="DIR")
    parser.add_argument("--teachers", metavar="DIR", help="teachers of local arms are in DIR/<run>/seed<k>")
    parser.add_argument("--networks", metavar="DIR", help="released weights, as fetched, are in DIR/<network>")
    parser.add_argument("--log", metavar="FILE", help="progress goes to stderr and to this file")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--devices", type=int, default=1, help="processes that train together; torchrun starts them")
    parser.add_argument("--sharding", choices=SHARDING, default="auto", help="whether they divide a network")
    parser.add_argument("--threads", type=int, default=1, help="of all processes together")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--save-seconds", type=float, default=30.0)
    parser.add_argument("--save-steps", type=int)
    parser.add_argument("--progress-seconds", type=float, default=5.0)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    args = arguments().parse_args(argv)
    threads = max(1, args.threads // args.devices)
    cli.log_to(args.log)
    with stop_signals() as stop:  # from here on, because importing torch takes seconds
        if args.device == "cuda" and not claim_gpus(args.devices, stop):
            return EXIT_PREEMPTED
        if args.devices == 1 or "RANK" in os.environ:
            from myopia.train.job import RunContext, train_all

            options = ("tokens", "tokenizer", "networks", "device", "compile", "sharding")
            habits = ("save_seconds", "save_steps", "progress_seconds")
            shared = RunContext(
                Path(args.runs), Path(args.state), **{key: getattr(args, key) for key in options + habits}
            )
            specs = [json.loads(spec) for spec in args.spec]
            return train_all(specs, args.seeds, shared, args.teachers or args.runs, threads, stop)
    from myopia.train.launch import launch

    return launch(args.devices, threads)  # of this command, in so many processes


if __name__ == "__main__":
    use_huge_pages()
    cli.run(main)
