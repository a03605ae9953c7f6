"""Commands that judge, draw, report and publish."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from myopia.cli.start import Settings, open_dag, start, write
from myopia.common.errors import MyopiaError

Out = Annotated[Path, typer.Option()]
Name = Annotated[str, typer.Argument(help="an experiment")]
Reference = Annotated[Path, typer.Option(help="folder of claims.yaml and paper_values.csv")]
REFERENCE = Path("workflow/reference")
TEXTS = Path("workflow/report")


def judge(
    name: Name,
    settings: Settings,
    reference: Reference = REFERENCE,
    measured: Annotated[Path | None, typer.Option(help="folder of measurements; default: that of the results")] = None,
    tables: Annotated[Path | None, typer.Option(help="folder of tables; default: that of the results")] = None,
) -> None:
    """Judge the claims of an experiment, and make the tables of its figures."""
    import logging

    start()
    from myopia.common.files import write_csv
    from myopia.judge.claims import claims_of, loaded_code, read_claims
    from myopia.judge.measures import Measures, Paper
    from myopia.judge.registry import Context
    from myopia.judge.tables import write_tables
    from myopia.judge.verdicts import judge as judged

    dag = open_dag(settings)
    one = dag.experiment(name)
    out = tables or Path(dag.results, "tables")
    for source in dag.sources(one):
        source.register_estimators()
    code = loaded_code([source.name for source in dag.sources(one)])
    claims = read_claims(dag.claim_files(one), reference / "claims.yaml", code)
    own = {claim.id for claim in claims_of(one.folder / "claims.yaml")} if one.has_claims else set()
    measures = Measures(measured or Path(dag.results, "measure"), claims.tuning_seeds)
    paper = Paper.read(reference / "paper_values.csv")
    verdicts = judged(measures, claims, paper, dag.settings["scale"], own)
    write_csv(out / "verdicts" / f"{name}.csv", verdicts)
    write_tables(Context(measures, paper), one, out)
    counts = verdicts["verdict"].value_counts().to_dict()
    logging.info("judged %d claims: %s", len(verdicts), ", ".join(f"{n} {v}" for v, n in counts.items()))


def verdicts(
    parts: Annotated[list[Path], typer.Argument(help="verdicts of the experiments, in order")], out: Out
) -> None:
    """Put the verdicts of all experiments together."""
    start()
    import pandas as pd

    from myopia.common.files import write_csv
    from myopia.judge.verdicts import COLUMNS

    # As text: numbers keep their digits.
    frames = [pd.read_csv(path, dtype=str, keep_default_na=False) for path in parts]
    write_csv(out, pd.concat([f for f in frames if len(f)] or [pd.DataFrame(columns=COLUMNS)], ignore_index=True))


def repeat(
    name: Name,
    settings: Settings,
    out: Out,
    seeds: Annotated[int, typer.Option(help="seeds of a draw: as many as the scale judges from")] = 3,
    draws: Annotated[int, typer.Option(help="draws")] = 400,
    reference: Reference = REFERENCE,
) -> None:
    """How often the headline claims of an experiment get the same answer from few of its many seeds."""
    start()
    from myopia.common.files import write_csv
    from myopia.judge.claims import read_claims
    from myopia.judge.measures import Measures, Paper
    from myopia.judge.questions import questions
    from myopia.judge.repeat import repeat as repeated

    dag = open_dag(settings)
    one = dag.experiment(name)
    for source in dag.sources(one):
        source.register_estimators()
    claims = read_claims(dag.claim_files(one), reference / "claims.yaml")
    ids = {claim for question in questions([one]) for claim in question.claims.values()}
    families = {claim.family for claim in claims.claims if claim.id in ids}
    together = {claim.id for claim in claims.claims if claim.family in families}  # Holm's correction needs them all
    measures = Measures(Path(dag.results, "measure"), claims.tuning_seeds)
    paper = Paper.read(reference / "paper_values.csv")
    pool = dag.seeds_of(one)
    frame = repeated(measures, claims, paper, dag.settings["scale"], together, pool, seeds, draws)
    write_csv(out, frame[frame["id"].isin(ids)])


def seeds(
    settings: Settings, out: Out, tuning: Annotated[bool, typer.Option("--tuning", help="grids")] = False
) -> None:
    """Every run once, with its losses; with --tuning the runs of the learning-rate grids."""
    start()
    from myopia.common.files import write_csv
    from myopia.judge.seeds import seeds_table

    dag = open_dag(settings)
    folders = (
        [path.rsplit("/", 1)[0] for path in dag.files(dag.tuning, "metrics.json")] if tuning else dag.run_folders()
    )
    write_csv(out, seeds_table(folders))


def draw(
    name: Annotated[str, typer.Argument(help="an experiment, or one of its figures")],
    settings: Annotated[
        Path | None, typer.Option("--settings", help="settings.json: where tables are and figures go")
    ] = None,
    table: Annotated[Path | None, typer.Option(help="a figure's csv, in place of the one of the results")] = None,
    out: Annotated[
        Path | None, typer.Option(help="folder of figures; default: that of the results, or this one")
    ] = None,
) -> None:
    """Draw all figures of an experiment, or one figure from its table alone."""
    start()
    from myopia.config.experiment import experiment, figure_named, known
    from myopia.show.render import draw_figure

    if name in known():
        one, wanted = experiment(name), experiment(name).drawn
    else:
        one, figure = figure_named(name)
        wanted = [figure]
    if settings is None and (table is None or len(wanted) > 1):
        raise MyopiaError("draw: give --settings, or one figure and its --table")
    dag = open_dag(settings) if settings else None
    place = Path(dag.results, one.output) if dag else Path()
    for figure in wanted:
        draw_figure(one, figure, table or place / "tables" / f"{figure.name}.csv", out or place / "figures")


def report(
    settings: Settings,
    out: Annotated[Path | None, typer.Option(help="default: report.html of the results")] = None,
    reference: Reference = REFERENCE,
    texts: Annotated[Path, typer.Option(help="folder of page.yaml")] = TEXTS,
    stopped: Annotated[
        bool, typer.Option("--stopped", help="the workflow stopped: say what is missing or damaged")
    ] = False,
) -> None:
    """Write the replication report of a results folder: one page, no network, whatever has finished so far."""
    start()
    from myopia.show.report import page
    from myopia.show.report.results import Results

    dag = open_dag(settings)
    results = Results(Path(dag.results), stopped=stopped)
    html = page.render(results, dag, reference, texts)
    page.write(out or Path(dag.results, "report.html"), html)


def summary(settings: Settings) -> None:
    """What a results folder says, on one screen: what a person sees when the workflow ends."""
    start()
    from myopia.judge.console import read_verdicts, render
    from myopia.judge.questions import answers

    dag = open_dag(settings)
    table, page = Path(dag.results, "tables", "verdicts.csv"), Path(dag.results, "report.html")
    if table.is_file():
        verdicts = read_verdicts(table)
        write(render(answers(dag.experiments, verdicts), verdicts, dag.settings["scale"]))
    if page.is_file():
        write(f"\nreport: {page}   every row: {table}")


def crate(
    settings: Settings,
    out: Out,
    records: Annotated[Path, typer.Option(help="Snakemake's records of jobs")] = Path(".snakemake/metadata"),
) -> None:
    """Describe a results folder as a research object (Provenance Run Crate)."""
    start()
    from myopia.common.files import write_json
    from myopia.config.load import ROOT
    from myopia.show.crate.build import build, copy_sources
    from myopia.show.crate.records import read_jobs

    dag = open_dag(settings)
    results = Path(dag.results)
    copy_sources(ROOT, results, dag.settings)
    write_json(out, build(results, read_jobs(records, results), dag.settings["scale"]))


def publish(
    results: Annotated[Path | None, typer.Option(help="a scale's results folder to publish")] = None,
    name: Annotated[str | None, typer.Option(help="name to publish it under; default: the folder's name")] = None,
    benchmark: Annotated[Path | None, typer.Option(help="attention.csv of make bench")] = None,
    survey: Annotated[Path | None, typer.Option(help="architectures.csv of make survey")] = None,
) -> None:
    """Copy tables, figures and provenance of a run into docs/results, and write the generated pages anew."""
    start()
    from myopia.show.publish import publish_results

    publish_results(results, name, {"attention.csv": benchmark, "architectures.csv": survey})


def add_to(app: typer.Typer) -> None:
    """Register these commands."""
    for command in (judge, verdicts, repeat, seeds, draw, report, summary, crate, publish):
        app.command(rich_help_panel="What the workflow's rules call: judging and showing")(command)
