"""Where and how a run executes: folders, device, save intervals. None of it changes the run's result or fingerprint."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from myopia.common.errors import MyopiaError


@dataclass(frozen=True)
class RunContext:
    """Folders, device and intervals of one run's processes; the same on every rank."""

    folder: Path  # results/<scale>/runs/<run>/seed<k>
    state: Path  # results/<scale>/.state/<run>/seed<k>
    tokens: str | None = None  # encoded corpus
    tokenizer: str | None = None
    teacher: str | None = None  # run folder
    initial: str | None = None  # run folder of spec["init_from"], or the folder of released weights
    networks: str | None = None  # released weights are in networks/<network>
    device: str = "cpu"
    compile: bool = False
    sharding: str = "auto"  # auto | replicate | shard | shard-recompute (config/placement.py)
    save_seconds: float = 30.0
    save_steps: int | None = None  # save every so many steps as well (tests)
    progress_seconds: float = 5.0


def resolve_device(name: str, local_rank: int = 0, local_size: int = 1) -> torch.device:
    """The torch device for `cpu`, `cuda` or `cuda:k`; with several processes on one machine, the GPU of the local rank.

    Raises:
        MyopiaError: no such device, no CUDA, or fewer GPUs than processes.
    """
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise MyopiaError(f"device must be cpu, cuda or cuda:k, not {name!r}") from error
    if device.type != "cuda":
        return device
    if not torch.cuda.is_available():
        raise MyopiaError(
            "device is cuda but torch finds no CUDA GPU: set device: cpu, or install a CUDA build of torch and a driver"
        )
    if local_size == 1:
        return device
    if device.index is not None:
        raise MyopiaError(f"device is {name} but {local_size} processes need a GPU each: set device: cuda")
    if local_size > torch.cuda.device_count():
        raise MyopiaError(
            f"{local_size} processes need a GPU each but this machine shows {torch.cuda.device_count()}: lower devices "
            "in config.yaml, or widen CUDA_VISIBLE_DEVICES"
        )
    return torch.device("cuda", local_rank)
