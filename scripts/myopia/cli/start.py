"""How every command starts: logging, the hub switched off, threads, GPUs of its own."""

from __future__ import annotations

import gc
import json
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from myopia.common.errors import MyopiaError
from myopia.common.gpus import claim_gpus
from myopia.common.process import go_offline

if TYPE_CHECKING:
    from myopia.config.dag import Dag

Settings = Annotated[Path, typer.Option("--settings", help="settings.json of a results folder")]
Threads = Annotated[int, typer.Option(help="threads of this process")]
AsJson = Annotated[bool, typer.Option("--json", help="print one JSON object instead of text")]


def start(
    *, log: str | Path | None = None, network: bool = False, device: str = "cpu", threads: int | None = None
) -> None:
    """Prepare this process; call it before anything imports torch or the clients of the hub.

    Args:
        log: log lines go to this file as well.
        network: whether the command downloads. All others run with the Hugging Face clients switched off, so that no
            stage after the downloads can reach the hub by accident.
        device: "cuda" claims a GPU that no other job of this machine holds.
        threads: of torch; None leaves it alone.
    """
    # Importing torch and transformers makes 600,000 objects; looking for garbage every 700 took a ninth of the time.
    gc.set_threshold(20_000, 10, 10)
    if not network:
        go_offline()
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    log_to(log)
    if device == "cuda":
        claim_gpus(1)
    if threads is not None:
        import torch

        torch.set_num_threads(threads)


def log_to(path: str | Path | None) -> None:
    """Send log lines to a file as well, each in one write; what was there is kept (a resumed run adds to it).

    Of processes that torchrun has started together the first speaks for all, unless another one fails.
    """
    if os.environ.get("RANK", "0") != "0":
        logging.getLogger().setLevel(logging.ERROR)
        return
    if path is not None:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        logging.getLogger().addHandler(logging.FileHandler(path))


def open_dag(settings: str | Path) -> Dag:
    """The jobs and files of the scale whose settings.json this is."""
    from myopia.config.dag import Dag
    from myopia.config.load import read_settings

    return Dag(read_settings(settings))


def write(text: str) -> None:
    """To stdout, whole lines."""
    sys.stdout.write(text if text.endswith("\n") else text + "\n")
    sys.stdout.flush()


def write_json(value: Any) -> None:
    """One JSON object to stdout."""
    write(json.dumps(value, indent=1, default=str))


def scale_settings(scale: str, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """The resolved settings of a scale, with `key=value` overrides; a dotted key reaches into a section."""
    import yaml

    from myopia.config.load import ROOT, load_config, merge

    config = yaml.safe_load((ROOT / "config.yaml").read_text()) | {"scale": scale}
    for word in overrides:
        key, found, value = word.partition("=")
        if not found:
            raise MyopiaError(f"--set {word}: write KEY=VALUE, such as device=cuda or text.steps=2400")
        given = yaml.safe_load(value)
        for part in reversed(key.split(".")):
            given = {part: given}
        config = merge(config, given)
    return load_config(config)
