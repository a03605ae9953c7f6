"""One training job: several runs, one after another, in one process group."""

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
from myopia.train.process_group import AlreadyLogged, init_process_group
from myopia.train.run_context import RunContext
from myopia.train.signals import Preempted


def train_all(
    specs: Sequence[dict[str, Any]],
    seeds: Sequence[int],
    shared: RunContext,
    teachers: str,
    threads: int,
    stop: list[int],
) -> int:
    """Train every run on every seed, each resuming from its own checkpoint; returns the job's exit code.

    Args:
        specs: run specs, in order.
        seeds: seeds of each run.
        shared: context of all runs; results go to shared.folder/<run>/seed<k>, state to shared.state/<run>/seed<k>.
        teachers: teachers of local arms are in teachers/<run>/seed<k>.
        threads: CPU threads of this process.
        stop: signals caught so far (`stop_signals`).
    """
    transformers_logging.disable_progress_bar()  # parallel jobs share one terminal: whole lines only
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(shared.device == "cpu")
    # Deterministic mode also fills every new tensor, a debugging aid: a tenth of a small model's step.
    torch.utils.deterministic.fill_uninitialized_memory = False
    try:
        with init_process_group(shared.device) as process_group:
            for spec, seed in itertools.product(specs, seeds):
                leaf = f"seed{seed}"
                context = replace(
                    shared,
                    folder=shared.folder / spec["name"] / leaf,
                    state=shared.state / spec["name"] / leaf,
                    teacher=str(Path(teachers, spec["teacher"], leaf)) if "teacher" in spec else None,
                    initial=_initial_weights(spec, shared, leaf),
                )
                if any(process_group.all_reduce_max(bool(stop))):  # a signal came between two runs
                    raise Preempted
                trainer.train(spec, seed, context, stop, process_group)
    except Preempted:
        return EXIT_PREEMPTED
    except AlreadyLogged:
        return EXIT_BAD_INPUT
    return 0


def _initial_weights(spec: dict[str, Any], shared: RunContext, leaf: str) -> str | None:
    """The folder of the weights a run starts from; None if the seed or the spec itself determines them."""
    if "init_from" in spec:
        return str(shared.folder / spec["init_from"] / leaf)
    network = (spec["model"].get("pretrained") or {}).get("network")
    return str(Path(shared.networks, network)) if network and shared.networks else None
