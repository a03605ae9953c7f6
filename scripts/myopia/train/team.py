"""The processes that train one run together, as torchrun starts them; a single process is a team of one.

Whatever the processes decide (to stop, to save, to give up), they decide together: one that left alone would leave
the others waiting in a collective. A team of one calls no collective.
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
from myopia.train.place import resolve_device
from myopia.train.signals import Preempted

Value = TypeVar("Value")
# A process may wait long for rank 0 (a predecessor's lock, a slow disk); a dead one is noticed by its connection.
PATIENCE = timedelta(days=7)


class Reported(MyopiaError):
    """Bad input that another process of the team has already put into words."""


@dataclass(frozen=True)
class Team:
    """One process's view of its team."""

    rank: int = 0
    size: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    def together(self, work: Callable[[], Value]) -> Value:
        """Do `work` in every process; if it fails with MyopiaError or Preempted in one, it fails in all.

        `work` must not call collectives before it can fail.
        """
        if self.size == 1:
            return work()
        value, error = None, None
        try:
            value = work()
        except (MyopiaError, Preempted) as caught:
            error = caught
        said: list[Any] = [None] * self.size
        dist.all_gather_object(said, None if error is None else (isinstance(error, Preempted), str(error)))
        failed = [(rank, *words) for rank, words in enumerate(said) if words is not None]
        if not failed:
            return value  # type: ignore[return-value]
        rank, preempted, sentence = failed[0]
        if preempted:
            raise Preempted
        if rank == self.rank:
            assert error is not None
            raise error
        raise Reported(sentence)

    def lead(self, work: Callable[[], Value]) -> Value:
        """Do `work` in rank 0 while the others wait; all get what it returned, or fail as it failed."""
        if self.size == 1:
            return work()
        value = self.together(lambda: work() if self.rank == 0 else None)
        box = [value]
        dist.broadcast_object_list(box, src=0)
        return box[0]  # type: ignore[return-value]

    def error(self, sentence: str) -> MyopiaError:
        """What every process raises when all have found the same fault: one of them puts it into words."""
        return MyopiaError(sentence) if self.rank == 0 else Reported(sentence)

    def sum(self, values: torch.Tensor) -> torch.Tensor:
        """Element-wise sum over processes, of values that lie on the CPU."""
        if self.size > 1:
            dist.all_reduce(values)
        return values

    def most(self, *values: int) -> list[int]:
        """Element-wise largest of a few whole numbers over processes."""
        if self.size == 1:
            return list(values)
        shared = torch.tensor(values, dtype=torch.int64)
        dist.all_reduce(shared, op=dist.ReduceOp.MAX)
        return shared.tolist()


@contextmanager
def assemble(device: str) -> Iterator[Team]:
    """The team this process was started in: torchrun's, or of one.

    Raises:
        MyopiaError: `device` is not there, or there are more processes than devices.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield Team(device=resolve_device(device))
        return
    rank = int(os.environ["RANK"])
    try:
        mine = resolve_device(device, int(os.environ["LOCAL_RANK"]), int(os.environ["LOCAL_WORLD_SIZE"]))
    except MyopiaError as error:
        raise error if rank == 0 else Reported(str(error)) from None
    if mine.type == "cuda":
        torch.cuda.set_device(mine)
    dist.init_process_group("cpu:gloo,cuda:nccl" if mine.type == "cuda" else "gloo", timeout=PATIENCE)
    try:
        yield Team(rank, size, mine)
    except BaseException as error:
        _let_go(error)
        raise
    finally:
        gc.collect()  # a replicated network and its reducer refer to each other
        dist.destroy_process_group()


def _let_go(error: BaseException) -> None:
    """Drop what the calls that `error` ended held: their networks must not outlive the process group.

    A reducer that holds the last reference to the group frees it with the GIL in hand, and the group then waits for its
    own threads, which may want that to free a tensor: the process never ends.
    """
    here: BaseException | None = error
    while here is not None:
        traceback.clear_frames(here.__traceback__)
        here = here.__context__
