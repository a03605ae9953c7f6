"""The folder of a finished run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd
from safetensors import SafetensorError

from myopia.common.errors import MyopiaError
from myopia.common.files import remove_leftovers, write_csv, write_json
from myopia.train.export import export_model
from myopia.train.parallel import full_state_dict, is_sharded
from myopia.train.provenance import environment, parameter_counts, peak_memory_bytes, training_flops

if TYPE_CHECKING:
    from torch import nn

    from myopia.train.trainer import _Run

CURVE_COLUMNS = ("step", "tokens", "lr", "train_loss", "validation_loss")


def finish(run: _Run, recipe: int) -> None:
    """Write a trained run's folder, by rank 0; its final state must have been saved.

    Raises:
        MyopiaError: the folder cannot be written.
    """
    model = _plain(run)
    peak = run.process_group.all_reduce_max(peak_memory_bytes(run.device))[0]

    def write() -> None:
        try:
            _write(run, model, peak, recipe)
        except (OSError, SafetensorError) as error:
            raise MyopiaError(
                f"run {run.label}: the results could not be written to {run.context.folder} ({error}); the final state "
                "is intact; free some space and start again"
            ) from error

    run.process_group.run_rank0(write)


def _plain(run: _Run) -> nn.Module:
    """The trained network with nothing sharded. Of a sharded one rank 0 builds another to put the weights into."""
    if not is_sharded(run.model):
        return run.model
    state = full_state_dict(run.model, run.process_group)
    if run.process_group.rank:
        return run.model
    plain = run.untrained()
    if run.spec["precision"] == "fp64":
        plain.double()
    plain.load_state_dict(state)
    return plain


def _write(run: _Run, model: nn.Module, peak: int, recipe: int) -> None:
    """All files of the folder, metrics last: a folder without metrics.json is not a result."""
    spec, folder = run.spec, run.context.folder
    tokens = spec["steps"] * spec["batch_size"] * run.task.tokens_per_sample
    counts = parameter_counts(model)
    flops = training_flops(model, tokens, run.task.tokens_per_sample)
    folder.mkdir(parents=True, exist_ok=True)
    remove_leftovers(folder)
    (folder / "metrics.json").unlink(missing_ok=True)  # of an earlier recipe, say: it would vouch for a mixture
    own = getattr(run.task, "write_tokenizer", None)
    export_model(model, folder, run.context.tokenizer, spec["arm"], run.context.teacher, own)
    curve = pd.DataFrame(run.curve, columns=list(CURVE_COLUMNS)).astype({"step": int, "tokens": int})
    write_csv(folder / "curve.csv", curve)
    timing = {
        "seconds": round(run.seconds, 3),
        "attempts": run.state.attempts(),
        "tokens_per_s": round(tokens / max(run.seconds, 1e-9), 1),
        "peak_memory_bytes": peak,
        "devices": run.process_group.size,
        "device_seconds": round(run.state.device_seconds(), 3),
        "strategy": run.placement.strategy,
    }
    write_json(folder / "timing.json", timing)
    write_json(
        folder / "provenance.json",
        {
            "spec": spec, "seed": run.seed, "recipe": recipe, "fingerprint": run.state.fingerprint,
            "data_fingerprint": run.task.fingerprint, "initial": run.initial, "tokens": tokens, "flops": flops,
            **counts, **timing, **environment(run.device),
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
