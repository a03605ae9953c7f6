"""Stop signals. Free of torch, so that a script can install the handlers before it spends seconds on importing it."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager


class Preempted(Exception):
    """The process was told to stop and has saved its state."""


@contextmanager
def stop_signals() -> Iterator[list[int]]:
    """Collect SIGTERM and SIGUSR1 in the yielded list, for the caller to check where it can stop without loss."""
    caught: list[int] = []
    previous = {s: signal.signal(s, lambda number, _: caught.append(number)) for s in (signal.SIGTERM, signal.SIGUSR1)}
    try:
        yield caught
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
