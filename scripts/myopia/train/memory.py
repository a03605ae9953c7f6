"""Parallelism and memory of a run's training step on its GPUs, checked before the model is built."""

from __future__ import annotations

from typing import Any

import torch

from myopia.common.errors import MyopiaError
from myopia.config.placement import Placement, place
from myopia.config.shapes import GB, memory_sentence, shape_of
from myopia.train.batches import Task


def free_bytes(device: torch.device) -> int | None:
    """Free memory of a GPU in bytes; None for a CPU, which can swap."""
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else None


def total_bytes(device: torch.device) -> int | None:
    """Total memory of a GPU in bytes, so that a placement does not depend on what is free; None for a CPU."""
    return torch.cuda.mem_get_info(device)[1] if device.type == "cuda" else None


def lay_out(spec: dict[str, Any], task: Task, devices: int, device: torch.device, sharding: str) -> Placement:
    """Choose strategy and micro-batch of a run on `devices` devices like `device` (config/placement.py).

    Args:
        spec: run spec.
        task: its task.
        devices: number of ranks, one per device.
        device: this rank's.
        sharding: auto, replicate, shard or shard-recompute.

    Raises:
        MyopiaError: the batch cannot be divided equally over the devices.
    """
    shape = shape_of(spec["model"], getattr(task, "vocab_size", None))
    cuda = device.type == "cuda"
    return place(spec, shape, task.tokens_per_sample, devices, total_bytes(device), cuda, sharding)


def require_memory(spec: dict[str, Any], task: Task, free: int | None, placement: Placement | None = None) -> None:
    """Raise MyopiaError, naming what would fit, if a run's training step needs more than `free` bytes.

    The need is an estimate (config/shapes.py); a model without a formula, or free = None, is not checked.
    """
    shape = shape_of(spec["model"], getattr(task, "vocab_size", None))
    if free is None or shape is None:
        return
    if placement is not None and placement.devices > 1:
        if placement.bytes is not None and placement.bytes > free:
            raise MyopiaError(
                f"run {spec['name']}: one training step needs about {placement.bytes / GB:.1f} GB of "
                f"{free / GB:.1f} GB on each of {placement.devices} devices ({placement.strategy}, micro-batches of "
                f"{placement.micro_batch}); raise devices or take a smaller model."
            )
        return
    sentence = memory_sentence(shape, spec, task.tokens_per_sample, free, cuda=True)
    if sentence is not None:
        raise MyopiaError(f"run {spec['name']}: one training step {sentence}.")
