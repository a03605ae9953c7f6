"""Commands of the experiment's own rules: resolve, fetch, convert, encode, measure, score, tabulate."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated

import typer

from myopia.cli.start import Settings, Threads, open_dag, start
from myopia.experiments.released import settings as released

Checkpoint = Annotated[str, typer.Argument(help="one of the released runs, such as pythia-14m-myopic")]
Out = Annotated[Path, typer.Option()]


def _checkpoint(settings: dict, run: str) -> dict[str, str]:
    known = released.checkpoints(settings)
    if run not in known:
        raise typer.BadParameter(f"{run} is not among the released checkpoints of this scale: {', '.join(known)}")
    return known[run]


def resolve(
    settings: Settings,
    out: Annotated[Path, typer.Option(help="folder of released.lock.json, base/ and tokenizer/")],
    pins: Annotated[Path | None, typer.Option(help="a lock file to be held to, if it exists")] = None,
) -> None:
    """Pin the authors' released checkpoints on the hub; fetch their architecture's config and tokenizer."""
    start(network=True)
    from myopia.experiments.released.fetch import resolve_released

    resolve_released(list(released.checkpoints(open_dag(settings).settings).values()), out, pins)


def fetch(
    run: Checkpoint,
    settings: Settings,
    lock: Annotated[Path, typer.Option(help="released.lock.json")],
    state: Annotated[Path, typer.Option(help="where a download that is killed goes on")],
    out: Out,
    record: Annotated[Path, typer.Option(help="what was fetched")],
) -> None:
    """Download one released checkpoint at its pinned commit, checked against the hub's sha256. It is not opened."""
    start(network=True)
    from myopia.experiments.released.fetch import fetch_released

    found = _checkpoint(open_dag(settings).settings, run)
    fetch_released(lock, found["repo"], found["revision"], state, out, record)


def convert(
    run: Checkpoint,
    settings: Settings,
    checkpoint: Annotated[Path, typer.Option(help="the Lightning file")],
    fetched: Annotated[Path, typer.Option(help="what fetch-released recorded")],
    base: Annotated[Path, typer.Option(help="folder of the architecture's config.json")],
    tokenizer: Annotated[Path, typer.Option(help="folder whose files are copied")],
    out: Out,
) -> None:
    """Read a released Lightning checkpoint as data, and write it as a plain Hugging Face folder with checkpoint.json."""
    start()
    from myopia.experiments.released.convert import convert_released

    found = _checkpoint(open_dag(settings).settings, run)
    convert_released(checkpoint, fetched, found["size"], found["arm"], base, tokenizer, out)


def encode(
    corpus: Annotated[str, typer.Argument(help="name of a corpus")],
    settings: Settings,
    docs: Annotated[Path, typer.Option(help="docs.jsonl.zst")],
    tokenizer: Annotated[Path, typer.Option(help="folder of the checkpoints' tokenizer")],
    out: Out,
) -> None:
    """Cut a corpus into windows of the released checkpoints' tokens."""
    start()
    from myopia.data.encode import encode_corpus

    dag = open_dag(settings)
    windows = dag.settings["corpora"][corpus]["windows"]
    encode_corpus(docs, tokenizer, {**windows, "T": dag.settings["released"]["T"]}, out)


def measure(run: Checkpoint, settings: Settings, out: Out, threads: Threads = 1) -> None:
    """Held-out loss of one released checkpoint by document and position, on every corpus of the scale."""
    dag = open_dag(settings)
    device = dag.settings["device"]
    start(device=device, threads=threads)
    from myopia.common.files import write_csv
    from myopia.measure.text import TextRun, text_loss

    arm, folder = _checkpoint(dag.settings, run)["arm"], Path(released.run_folder(dag.settings, run))
    runs = [
        TextRun(run, arm, 0, corpus, folder, Path(released.tokens_folder(dag.settings, corpus)))
        for corpus in dag.settings["corpora"]
    ]
    write_csv(out, text_loss(runs, dag.settings["released"]["test_windows"], device))


def score(settings: Settings, out: Out, threads: Threads = 1) -> None:
    """Zero-shot accuracy of all released checkpoints on every task of the scale."""
    dag = open_dag(settings)
    device = dag.settings["device"]
    start(device=device, threads=threads)
    from myopia.common.files import write_csv
    from myopia.experiments.zero_shot import SCORES
    from myopia.experiments.zero_shot import measure as zero_shot

    write_csv(out, zero_shot.measure(released.scored(dag.settings), {}, device)[SCORES.name])


def tabulate(
    settings: Settings,
    paper: Annotated[Path, typer.Option(help="paper_values.csv")],
    out: Annotated[Path, typer.Option(help="folder of the tables")],
) -> None:
    """Write the audit of the checkpoints' learning rates and the tables of their figures; say what they recorded."""
    start()
    from myopia.experiments.released import EXPERIMENT
    from myopia.experiments.released.tables import Released, released_audit
    from myopia.judge.tables import write_tables

    resolved = open_dag(settings).settings
    runs = released.checkpoints(resolved)
    context = Released.read(
        [released.run_folder(resolved, run) for run in runs],
        [released.losses_folder(resolved, run) for run in runs],
        f"{released.folder(resolved)}/measure",
        paper,
    )
    write_tables(context, EXPERIMENT, out)
    for row in released_audit(context).itertuples():
        logging.info(
            "pythia-%s-%s: learning rate %s in the file's name, %s in hyper_parameters, %s in the schedule",
            row.size, row.arm, row.lr_in_name, row.lr_in_hyper_parameters, row.lr_in_schedule,
        )  # fmt: skip
