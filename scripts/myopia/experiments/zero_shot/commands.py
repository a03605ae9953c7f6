"""Command of the experiment's own rule."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from myopia.cli.start import Settings, open_dag, start


def make_task(
    task: Annotated[str, typer.Argument(help="name of a task of the scale")],
    settings: Settings,
    out: Annotated[Path, typer.Option(help="folder of the task")],
) -> None:
    """Put the items of one zero-shot task on disk: a cloze from a corpus, a local file, or a dataset on the hub."""
    start(network=True)
    from myopia.experiments.zero_shot import tasks

    dag = open_dag(settings)
    known = dag.settings["zero_shot"]["tasks"]
    if task not in known:
        raise typer.BadParameter(f"{task} is not a task of {settings}: it has {', '.join(known)}")
    corpus = known[task]["source"].get("corpus")
    tasks.make_task(task, known[task], out, f"{dag.results}/data/{corpus}" if corpus else None)
