"""Whether a training step fits the GPU, asked before the network is built."""

from __future__ import annotations

from typing import Any

import torch

from myopia.common.errors import MyopiaError
from myopia.config.shapes import memory_sentence, shape_of
from myopia.train.batches import Task


def free_bytes(device: torch.device) -> int | None:
    """Memory of a GPU that nobody uses; None for a CPU, which can swap."""
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else None


def require_memory(spec: dict[str, Any], task: Task, free: int | None) -> None:
    """Raise MyopiaError, naming what would fit, if a run's training step needs more than `free` bytes.

    An estimate (config/shapes.py); networks it has no formula for are let through.
    """
    shape = shape_of(spec["model"], getattr(task, "vocab_size", None))
    if free is None or shape is None:
        return
    sentence = memory_sentence(shape, spec, task.tokens_per_sample, free, cuda=True)
    if sentence is not None:
        raise MyopiaError(f"run {spec['name']}: one training step {sentence}.")
