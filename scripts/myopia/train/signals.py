"""Being told to stop. Free of torch, so that a script can listen before it spends seconds on importing it."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager


class Preempted(Exception):
    """The process was asked to stop; what it had done is saved."""


@contextmanager
def stop_signals() -> Iterator[list[int]]:
    """Collect SIGTERM and SIGUSR1 in a list that the work looks at when it can stop without loss."""
    caught: list[int] = []
    previous = {s: signal.signal(s, lambda number, _: caught.append(number)) for s in (signal.SIGTERM, signal.SIGUSR1)}
    try:
        yield caught
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
