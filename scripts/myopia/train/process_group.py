"""The process group that trains one run, as torchrun starts it; one process alone is a group of size 1.

Every decision (stop, save, fail) is taken by all ranks together: a rank that left alone would leave the others waiting
in a collective. A group of size 1 calls no collective.
"""

from __future__ import annotations

import gc
import os
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist

from myopia.common.errors import MyopiaError
from myopia.train.run_context import resolve_device
from myopia.train.signals import Preempted

Value = TypeVar("Value")
# A rank may wait long for rank 0 (a predecessor's lock, a slow disk); a dead one is noticed by its closed connection.
COLLECTIVE_TIMEOUT = timedelta(days=7)


class AlreadyLogged(MyopiaError):
    """An error that another rank reports to the user; this rank only has to exit."""


@dataclass(frozen=True)
class ProcessGroup:
    """This process's view of its process group: its rank, the number of processes, its device."""

    rank: int = 0
    size: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    def run_all_ranks(self, work: Callable[[], Value]) -> Value:
        """Call `work` on every rank and return this rank's value; `work` must not call collectives before it can fail.

        Raises:
            MyopiaError, Preempted: `work` raised it on some rank. The first such rank raises its own error, the others
                `AlreadyLogged` with the same message.
        """
        if self.size == 1:
            return work()
        value, error = None, None
        try:
            value = work()
        except (MyopiaError, Preempted) as caught:
            error = caught
        outcomes: list[Any] = [None] * self.size
        dist.all_gather_object(outcomes, None if error is None else (isinstance(error, Preempted), str(error)))
        failed = [(rank, *outcome) for rank, outcome in enumerate(outcomes) if outcome is not None]
        if not failed:
            return value  # type: ignore[return-value]
        rank, preempted, message = failed[0]
        if preempted:
            raise Preempted
        if rank == self.rank:
            assert error is not None
            raise error
        raise AlreadyLogged(message)

    def run_rank0(self, work: Callable[[], Value]) -> Value:
        """Call `work` on rank 0 while the others wait; every rank returns its value, or fails as it failed."""
        if self.size == 1:
            return work()
        value = self.run_all_ranks(lambda: work() if self.rank == 0 else None)
        box = [value]
        dist.broadcast_object_list(box, src=0)
        return box[0]  # type: ignore[return-value]

    def error(self, message: str) -> MyopiaError:
        """The error to raise for a fault that every rank has found: only rank 0's is shown to the user."""
        return MyopiaError(message) if self.rank == 0 else AlreadyLogged(message)

    def all_reduce_sum(self, values: torch.Tensor) -> torch.Tensor:
        """Element-wise sum over ranks of a CPU tensor of any shape; changes `values` in place and returns it."""
        if self.size > 1:
            dist.all_reduce(values)
        return values

    def all_reduce_max(self, *values: int) -> list[int]:
        """Element-wise maximum over ranks of a few integers."""
        if self.size == 1:
            return list(values)
        shared = torch.tensor(values, dtype=torch.int64)
        dist.all_reduce(shared, op=dist.ReduceOp.MAX)
        return shared.tolist()


@contextmanager
def init_process_group(device: str) -> Iterator[ProcessGroup]:
    """Join the process group that torchrun's environment variables describe, or a group of size 1 without them.

    Raises:
        MyopiaError: `device` is not there, or there are more processes than devices.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield ProcessGroup(device=resolve_device(device))
        return
    rank = int(os.environ["RANK"])
    try:
        own = resolve_device(device, int(os.environ["LOCAL_RANK"]), int(os.environ["LOCAL_WORLD_SIZE"]))
    except MyopiaError as error:
        raise error if rank == 0 else AlreadyLogged(str(error)) from None
    if own.type == "cuda":
        torch.cuda.set_device(own)
    dist.init_process_group("cpu:gloo,cuda:nccl" if own.type == "cuda" else "gloo", timeout=COLLECTIVE_TIMEOUT)
    try:
        yield ProcessGroup(rank, size, own)
    except BaseException as error:
        release_references(error)
        raise
    finally:
        gc.collect()  # a DDP module and its reducer refer to each other
        dist.destroy_process_group()


def release_references(error: BaseException) -> None:
    """Clear the locals of all frames `error` passed through: models there must not outlive the process group.

    A DDP reducer that holds the last reference to the group frees it while it holds the GIL, and the group then joins
    its own threads, which may need the GIL to free a tensor: a deadlock at exit.
    """
    current: BaseException | None = error
    while current is not None:
        traceback.clear_frames(current.__traceback__)
        current = current.__context__
