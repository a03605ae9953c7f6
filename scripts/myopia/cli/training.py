"""Commands that train and measure."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated, Any

import typer

from myopia.cli.start import Settings, Threads, log_to, open_dag, start


def train(
    run: Annotated[list[str] | None, typer.Option(help="runs of the scale, in order; needs --settings")] = None,
    settings: Annotated[Path | None, typer.Option(help="settings.json of a results folder")] = None,
    spec: Annotated[list[str] | None, typer.Option(help="run specs as JSON, in place of --run and --settings")] = None,
    seeds: Annotated[str, typer.Option(help="training seeds, with commas")] = "0",
    runs: Annotated[str | None, typer.Option(help="results go to RUNS/<run>/seed<k>")] = None,
    state: Annotated[str | None, typer.Option(help="state goes to STATE/<run>/seed<k>")] = None,
    tokens: Annotated[str | None, typer.Option(help="encoded corpus of a language run")] = None,
    tokenizer: Annotated[str | None, typer.Option(help="its tokenizer")] = None,
    teachers: Annotated[str | None, typer.Option(help="teachers of local arms are in TEACHERS/<run>/seed<k>")] = None,
    networks: Annotated[
        str | None, typer.Option(help="released weights, as fetched, are in NETWORKS/<network>")
    ] = None,
    log: Annotated[Path | None, typer.Option(help="progress goes to stderr and to this file")] = None,
    device: Annotated[str, typer.Option(help="cpu or cuda; with --settings: the scale's")] = "cpu",
    devices: Annotated[int, typer.Option(help="processes that train one run together")] = 1,
    sharding: Annotated[str, typer.Option(help="auto, replicate, shard or shard-recompute")] = "auto",
    threads: Annotated[int, typer.Option(help="of all processes together")] = 1,
    compile: Annotated[bool, typer.Option("--compile", help="torch.compile")] = False,
    save_seconds: Annotated[float, typer.Option(help="seconds between saved states")] = 30.0,
    save_steps: Annotated[int | None, typer.Option(help="additionally, steps between saved states")] = None,
    progress_seconds: Annotated[float, typer.Option(help="seconds between lines of progress")] = 5.0,
) -> int:
    """Train one or several runs, one after another; each resumes from its own state.

    Exit code 75: told to stop, state saved, the same command goes on.
    """
    from myopia.common.errors import EXIT_PREEMPTED, MyopiaError
    from myopia.common.gpus import claim_gpus
    from myopia.common.process import use_huge_pages
    from myopia.train.signals import stop_signals

    use_huge_pages()
    start()
    log_to(log)
    numbers = [int(seed) for seed in str(seeds).split(",")]
    placed: dict[str, Any] = {"runs": runs, "state": state, "tokens": tokens, "tokenizer": tokenizer, "teachers": teachers,
                              "networks": networks, "device": device, "devices": devices, "sharding": sharding,
                              "compile": compile}  # fmt: skip
    if settings is not None:
        specs, placed = _planned(settings, run or [], numbers, placed)
    elif spec and runs and state:
        specs = [json.loads(text) for text in spec]
    else:
        raise MyopiaError("train: give --settings and --run, or --spec, --runs and --state")
    share = max(1, threads // placed["devices"])
    with stop_signals() as stop:  # from here on, because importing torch takes seconds
        if placed["device"] == "cuda" and not claim_gpus(placed["devices"], stop):
            return EXIT_PREEMPTED
        if placed["devices"] == 1 or "RANK" in os.environ:
            from myopia.train.job import train_all
            from myopia.train.run_context import RunContext

            options = ("tokens", "tokenizer", "networks", "device", "compile", "sharding")
            context = RunContext(
                Path(placed["runs"]), Path(placed["state"]), **{key: placed[key] for key in options},
                save_seconds=save_seconds, save_steps=save_steps, progress_seconds=progress_seconds,
            )  # fmt: skip
            return train_all(specs, numbers, context, placed["teachers"] or placed["runs"], share, stop)
    from myopia.train.launch import launch

    return launch(placed["devices"], share)  # of this command, in so many processes


def _planned(
    settings: Path, names: list[str], seeds: list[int], given: dict[str, Any]
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Specs and places of a scale's runs, which share a folder and a corpus."""
    from myopia.common.errors import MyopiaError
    from myopia.config.runs import output_root

    dag = open_dag(settings)
    unknown = [name for name in names if name not in dag.runs and name not in dag.tuning]
    if unknown or not names:
        raise MyopiaError(f"{settings} has no run {unknown[0] if unknown else '(give --run)'}")
    specs = [dag.spec(name, seeds) for name in names]
    roots, corpora = {output_root(spec) for spec in specs}, {spec["data"].get("corpus") for spec in specs}
    if len(roots) > 1 or len(corpora) > 1:
        raise MyopiaError("train: runs of one command must share their corpus and their folder")
    (corpus,) = corpora
    text = (
        {} if corpus is None else {"tokens": dag.tokens(corpus), "tokenizer": f"{dag.results}/data/{corpus}/tokenizer"}
    )
    scale = {key: dag.settings[key] for key in ("device", "devices", "sharding", "compile")}
    return specs, given | scale | text | {
        "runs": f"{dag.results}/{roots.pop()}",
        "state": f"{dag.results}/.state",
        "teachers": f"{dag.results}/runs",
        "networks": f"{dag.results}/networks",
    }


def measure(
    name: Annotated[str, typer.Argument(help="a measurement of an experiment")],
    settings: Settings,
    out: Annotated[Path, typer.Option(help="folder the tables go to")],
    unit: Annotated[str, typer.Option(help="what is measured: a unit, or all")] = "all",
    threads: Threads = 1,
) -> None:
    """Measure trained runs: the tables of one measurement, of all its runs or of one unit."""
    dag = open_dag(settings)
    device = dag.settings["device"]
    one, measurement = dag.measurement(name)
    runs = dag.units(measurement)[unit]
    start(device=device if measurement.gpu else "cpu", threads=threads)
    from myopia.common.files import write_csv

    tables = one.load(measurement.run)(runs, measurement.options(dag.settings), device)
    for table in measurement.tables:
        frame = tables[table.name]
        if list(frame.columns) != list(table.columns):
            raise AssertionError(f"{measurement.run} made {list(frame.columns)}, {table.name} declares {table.columns}")
        write_csv(out / table.name, frame)


def gather(
    name: Annotated[str, typer.Argument(help="a measurement of an experiment")],
    settings: Settings,
    out: Annotated[Path, typer.Option(help="folder the tables go to")],
) -> None:
    """Put together what the jobs of one measurement measured apart."""
    start()
    import pandas as pd

    from myopia.common.files import write_csv

    dag = open_dag(settings)
    _, measurement = dag.measurement(name)
    for table in measurement.tables:
        frames = [  # as text: numbers keep their digits
            pd.read_csv(f"{dag.part(measurement, unit)}/{table.name}", dtype=str, keep_default_na=False)
            for unit in dag.units(measurement)
        ]
        write_csv(out / table.name, pd.concat(frames, ignore_index=True))


def add_to(app: typer.Typer) -> None:
    """Register these commands."""
    for command in (train, measure, gather):
        app.command(rich_help_panel="What the workflow's rules call: training and measuring")(command)
