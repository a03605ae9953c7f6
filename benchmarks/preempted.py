"""`python -m myopia train` in a child forked from a server that has torch imported, and what befalls it there.

Loaded by `fake_cluster.py`: starting Python with torch costs ten times what a network of its size trains for. The
server never computes, so what its children do is what a fresh process would do.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).resolve().parents[1] / "scripts")]

# Everything that training imports, so that the children need not.
import pandas  # noqa: E402, F401
import torch._dynamo  # noqa: E402, F401
import transformers.models.gpt2.modeling_gpt2  # noqa: E402
import transformers.models.gpt_neox.modeling_gpt_neox  # noqa: E402, F401

from myopia import cli  # noqa: E402
from myopia.train import job, results, trainer  # noqa: E402, F401


def run(root: str, argv: list[str], folder: str, blow: tuple[str, float] | None) -> None:
    """Run `myopia train` on `argv` in the project `root`; `folder` gets its output (`out`) and its record.

    Args:
        blow: how this attempt is preempted (`fake_cluster.HOW`), and when: as a share of the steps it has before it.
    """
    os.chdir(root)
    for stream in (1, 2):
        os.dup2(os.open(f"{folder}/out", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644), stream)
    sys.stderr = os.fdopen(2, "w", buffering=1, closefd=False)
    _watch(Path(folder), blow)
    os.environ["GLIBC_TUNABLES"] = ""  # or it would start itself again, as a server
    sys.argv = ["myopia", *argv]
    cli.main()


def _watch(folder: Path, blow: tuple[str, float] | None) -> None:
    """Write down where this attempt starts, and strike where it is meant to be struck."""
    struck: list[int] = []

    def strike(step: int) -> None:
        if struck and struck[0] == step and blow is not None:
            struck.clear()
            if blow[0] == "lost":
                (folder / "lost").touch()
            else:
                os.kill(os.getpid(), signal.SIGTERM if blow[0] == "told" else signal.SIGKILL)

    def begin(attempt: trainer._Run, *_: Any) -> None:
        first, steps = attempt.step, attempt.spec["steps"]
        if blow is not None:
            # A process may die while it writes its results as well, and who is told before the last step saves.
            places = steps - 1 - first if blow[0] == "told" else steps + 1 - first
            if places > 0:
                struck.append(first + int(blow[1] * places))
        record = {"run": attempt.spec["name"], "seed": attempt.seed, "first": first, "steps": steps, "struck": struck}
        path = folder / "record.json"
        path.with_suffix(".part").write_text(json.dumps(record))
        path.with_suffix(".part").rename(path)

    _before(trainer._Run, "loop", begin)
    _before(trainer._Run, "train_step", lambda attempt: strike(attempt.step))
    _before(results, "export_model", lambda *_, **__: strike(_steps(folder)))


def _steps(folder: Path) -> int:
    return json.loads((folder / "record.json").read_text())["steps"]


def _before(owner: Any, name: str, act: Callable[..., None]) -> None:
    original = getattr(owner, name)

    def call(*args: Any, **kwargs: Any) -> Any:
        act(*args, **kwargs)
        return original(*args, **kwargs)

    setattr(owner, name, call)
