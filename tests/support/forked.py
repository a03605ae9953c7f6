"""Processes forked from a server that has imported torch: without the five seconds that importing takes each.

The server is multiprocessing's forkserver, told to preload this module. It never computes, so what its children do is
what a fresh process would do.
"""

import os
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "scripts")]

# Everything that training imports, so that the children need not.
import pandas  # noqa: E402, F401
import torch._dynamo  # noqa: E402, F401
import transformers.models.gpt2.modeling_gpt2  # noqa: E402, F401

from myopia import cli  # noqa: E402
from myopia.train import results, trainer  # noqa: E402


def command(argv, stderr, fsync_s=0, pauses=None):
    """Run `myopia train` on `argv`, its stderr appended to a file.

    fsync_s: how long flushing to disk takes; wide writes are easy to hit. pauses: {name: seconds}: say
    `at <name>` and sleep before a function that the trainer or its results call (`_Run.evaluate`, `export_model`, ...).
    """
    _redirect(stderr)
    if fsync_s:
        _before(os, "fsync", lambda: time.sleep(fsync_s))
    for name, seconds in (pauses or {}).items():
        owner, _, function = name.rpartition(".")
        place = getattr(trainer, owner) if owner else results
        _before(place, function, lambda n=name, s=seconds: _pause(n, s))
    os.environ["GLIBC_TUNABLES"] = ""  # or it would start itself again, as a server
    sys.argv = ["myopia", "train", *argv]
    cli.main()


def as_rank(environment, stderr, work, *arguments):
    """`work(*arguments)` with the variables by which torchrun tells a process its rank."""
    _redirect(stderr)
    os.environ.update(environment)
    work(*arguments)


def _redirect(stderr):
    os.dup2(os.open(stderr, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644), 2)
    sys.stderr = os.fdopen(2, "w", buffering=1, closefd=False)


def _before(owner, name, act):
    original = getattr(owner, name)

    def call(*args, **kwargs):
        act()
        return original(*args, **kwargs)

    setattr(owner, name, call)


def _pause(name, seconds):
    os.write(2, f"at {name}\n".encode())
    time.sleep(seconds)
