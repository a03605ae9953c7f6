"""The folder of a finished run: model, learning curve, metrics, provenance, timing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd
from safetensors import SafetensorError
from torch import nn

from myopia.common.errors import MyopiaError
from myopia.common.files import remove_leftovers, write_csv, write_json
from myopia.train.batches import Task
from myopia.train.export import export_model
from myopia.train.process_group import ProcessGroup
from myopia.train.provenance import environment, parameter_counts, peak_memory_bytes, training_flops
from myopia.train.run_context import RunContext
from myopia.train.state import StateDirectory

CURVE_COLUMNS = ("step", "tokens", "lr", "train_loss", "validation_loss")


@dataclass(frozen=True)
class FinishedRun:
    """What the folder of a finished run is written from, beside its model."""

    spec: dict[str, Any]
    seed: int
    context: RunContext
    task: Task
    state: StateDirectory
    strategy: str  # of parallelism: replicate, shard, shard-recompute
    initial: str | None  # identity of the weights before step 0
    curve: list[list[float]]  # rows of CURVE_COLUMNS
    seconds: float  # of training, over all attempts
    code_version: int


def write_run_folder(run: FinishedRun, model: nn.Module, process_group: ProcessGroup) -> None:
    """Write a run's folder, by rank 0; called on all ranks, once the final state is saved.

    Args:
        run: the finished run.
        model: its unsharded model (on rank 0).
        process_group: the ranks that trained it.

    Raises:
        MyopiaError: the folder cannot be written.
    """
    peak = process_group.all_reduce_max(peak_memory_bytes(process_group.device))[0]

    def write() -> None:
        try:
            _write(run, model, process_group, peak)
        except (OSError, SafetensorError) as error:
            raise MyopiaError(
                f"run {run.state.label}: the results could not be written to {run.context.folder} ({error}); the final "
                "state is intact; free some space and start again"
            ) from error

    process_group.run_rank0(write)


def _write(run: FinishedRun, model: nn.Module, process_group: ProcessGroup, peak: int) -> None:
    """All files of the folder, metrics.json last: a folder without it is not a result."""
    spec, folder = run.spec, run.context.folder
    tokens = spec["steps"] * spec["batch_size"] * run.task.tokens_per_sample
    counts = parameter_counts(model)
    flops = training_flops(model, tokens, run.task.tokens_per_sample)
    folder.mkdir(parents=True, exist_ok=True)
    remove_leftovers(folder)
    (folder / "metrics.json").unlink(missing_ok=True)  # of an earlier code version: it would vouch for a mixture
    own = getattr(run.task, "write_tokenizer", None)
    export_model(model, folder, run.context.tokenizer, spec["arm"], run.context.teacher, own)
    curve = pd.DataFrame(run.curve, columns=list(CURVE_COLUMNS)).astype({"step": int, "tokens": int})
    write_csv(folder / "curve.csv", curve)
    timing = {
        "seconds": round(run.seconds, 3),
        "attempts": run.state.attempts(),
        "tokens_per_s": round(tokens / max(run.seconds, 1e-9), 1),
        "peak_memory_bytes": peak,
        "devices": process_group.size,
        "device_seconds": round(run.state.device_seconds(), 3),
        "strategy": run.strategy,
    }
    write_json(folder / "timing.json", timing)
    write_json(
        folder / "provenance.json",
        {
            "spec": spec, "seed": run.seed, "recipe": run.code_version, "fingerprint": run.state.fingerprint,
            "data_fingerprint": run.task.fingerprint, "initial": run.initial, "tokens": tokens, "flops": flops,
            **counts, **timing, **environment(process_group.device),
        },
    )  # fmt: skip
    write_json(
        folder / "metrics.json",
        {
            "run": spec["name"], "arm": spec["arm_name"], "seed": run.seed, "purpose": spec["purpose"],
            "status": "finished", "steps": spec["steps"], "tokens": tokens, "flops": flops, **counts,
            "final_train_loss": run.curve[-1][3], "final_validation_loss": run.curve[-1][4],
        },
    )  # fmt: skip
