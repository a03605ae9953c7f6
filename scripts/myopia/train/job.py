"""A training job: several runs, one after another, by one process_group of processes."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from transformers.utils import logging as transformers_logging

from myopia.common.errors import EXIT_BAD_INPUT, EXIT_PREEMPTED
from myopia.train import trainer
from myopia.train.place import Place
from myopia.train.process_group import AlreadyLogged, init_process_group
from myopia.train.signals import Preempted


def train_all(
    specs: Sequence[dict[str, Any]], seeds: Sequence[int], root: Place, teachers: str, threads: int, stop: list[int]
) -> int:
    """Train every run on every seed, each resuming from its own state; returns the job's exit code.

    Args:
        specs: run specs, in order.
        seeds: seeds of each run.
        root: place of all runs; results go to root.folder/<run>/seed<k>, state to root.state/<run>/seed<k>.
        teachers: teachers of local arms are in teachers/<run>/seed<k>.
        threads: of this process.
        stop: signals caught so far (`stop_signals`).
    """
    transformers_logging.disable_progress_bar()  # parallel jobs share one terminal: whole lines only
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(root.device == "cpu")
    # With them torch also fills every new tensor, so that reading one too early shows: a tenth of a small model's step.
    torch.utils.deterministic.fill_uninitialized_memory = False
    try:
        with init_process_group(root.device) as process_group:
            for spec, seed in itertools.product(specs, seeds):
                leaf = f"seed{seed}"
                place = replace(
                    root,
                    folder=root.folder / spec["name"] / leaf,
                    state=root.state / spec["name"] / leaf,
                    teacher=str(Path(teachers, spec["teacher"], leaf)) if "teacher" in spec else None,
                    initial=_starts_from(spec, root, leaf),
                )
                if any(process_group.all_reduce_max(bool(stop))):  # a signal came between two runs
                    raise Preempted
                trainer.train(spec, seed, place, stop, process_group)
    except Preempted:
        return EXIT_PREEMPTED
    except AlreadyLogged:
        return EXIT_BAD_INPUT
    return 0


def _starts_from(spec: dict[str, Any], root: Place, leaf: str) -> str | None:
    """The folder of the weights a run starts from, unless its seed or the spec itself says them."""
    if "init_from" in spec:
        return str(root.folder / spec["init_from"] / leaf)
    network = (spec["model"].get("pretrained") or {}).get("network")
    return str(Path(root.networks, network)) if network and root.networks else None
