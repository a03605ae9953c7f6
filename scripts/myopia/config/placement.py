"""How a training step is laid on its devices: divided or not, and in micro-batches of what size. No torch.

A place, not a part of a run's meaning: gradients are the same sums in every layout (up to rounding).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from myopia.common.errors import MyopiaError
from myopia.config.shapes import Shape

STRATEGIES = ("replicate", "shard", "shard-recompute")
SHARDING = ("auto", *STRATEGIES)
MIN_TOKENS = 2048
"""A GPU's matrix products starve on fewer tokens than this: rather divide the network than cut micro-batches below."""


@dataclass(frozen=True)
class Placement:
    """The layout of one run's training step on each of `devices`."""

    devices: int
    strategy: str
    micro_batch: int  # sequences that one device takes at a time
    bytes: float | None  # peak memory per device; None where no formula knows
    fits: bool


def place(
    spec: Mapping[str, Any],
    shape: Shape | None,
    T: int,
    devices: int,
    device_bytes: float | None,
    cuda: bool,
    sharding: str = "auto",
) -> Placement:
    """The first strategy, and its largest micro-batch, that fits; the run's own micro-batch on one device.

    On several devices each takes an equal share of a batch, in micro-batches of at most spec["micro_batch"].

    Args:
        spec: run spec.
        shape: its network, None if no formula covers it.
        T: tokens per sequence.
        devices: processes of the job, one per device.
        device_bytes: memory of a device; None means that it is no limit.
        cuda: whether devices are GPUs.
        sharding: `auto`, or the strategy that is forced.

    Raises:
        MyopiaError: the batch cannot be shared equally, or the strategy is unknown.
    """
    if sharding not in SHARDING:
        raise MyopiaError(f"sharding must be one of {', '.join(SHARDING)}, not {sharding!r}")
    sizes = [spec["micro_batch"]] if devices == 1 else list(_micro_batches(spec, devices))
    strategies = STRATEGIES if sharding == "auto" else (sharding,)
    if devices == 1:
        strategies = ("replicate",)  # there is nothing to divide among

    def option(strategy: str, size: int) -> Placement:
        if shape is None:
            return Placement(devices, strategy, size, None, True)
        needed = shape.training_bytes(size * T, spec["precision"], spec["arm"], cuda, devices, strategy)
        return Placement(devices, strategy, size, needed, device_bytes is None or needed <= device_bytes)

    options = [option(strategy, size) for strategy in strategies for size in sizes]
    fitting = [chosen for chosen in options if chosen.fits]
    full = [chosen for chosen in fitting if chosen.micro_batch * T >= MIN_TOKENS or chosen.micro_batch == sizes[0]]
    # Nothing fits: show the least that it would need.
    return (full or fitting or [min(options, key=lambda chosen: chosen.bytes or 0.0)])[0]


def check_devices(devices: int, specs: Iterable[Mapping[str, Any]]) -> None:
    """Raise MyopiaError if `devices` processes cannot share the batches of all these runs equally."""
    for spec in specs:
        if spec["batch_size"] % devices:
            raise MyopiaError(
                f"config key devices: {devices} processes cannot share the batches of {spec['batch_size']} of run "
                f"{spec['name']} equally; take a divisor"
            )


def _micro_batches(spec: Mapping[str, Any], devices: int) -> Iterator[int]:
    """Sizes that a device's share of a batch can be taken in, largest first."""
    batch = spec["batch_size"]
    if batch % devices:
        shared = [n for n in range(1, min(batch, 64) + 1) if batch % n == 0]
        raise MyopiaError(
            f"batch_size {batch} of run {spec['name']} cannot be shared equally by {devices} processes: set devices to "
            f"one of {', '.join(map(str, shared))}, or change batch_size"
        )
    share = batch // devices
    yield from (size for size in range(min(share, spec["micro_batch"]), 0, -1) if share % size == 0)
