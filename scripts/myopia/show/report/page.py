"""The page: one file that needs no network and no neighbour, rendered from a results folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from myopia.common.errors import MyopiaError
from myopia.common.files import atomic_path
from myopia.judge.claims import GROUPS
from myopia.judge.questions import Answer, Question, answers, estimate, number, why
from myopia.judge.verdicts import ANSWERS, NOT_JUDGED, PAPER_SCALE
from myopia.show.report import embed
from myopia.show.report.results import ABANDONED, DAMAGED, Results, fill
from myopia.show.report.sections import Figure, Section, sections, sentences
from myopia.show.states import FINISHED, RUNNING

if TYPE_CHECKING:
    from myopia.config.dag import Dag

RESERVE = 300_000  # bytes kept free for the page's own text beside its pictures and tables


def render(results: Results, dag: Dag, reference: Path, texts: Path) -> str:
    """The report of a results folder.

    `dag`: of its settings. `reference`: the folder of paper values and known errors. `texts`: the folder of page.yaml.

    Raises:
        MyopiaError: the folder is no results folder, or a reference file is broken.
    """
    if not results.folder.is_dir():
        raise MyopiaError(f"{results.folder} is no results folder: run the workflow first")
    paper = pd.read_csv(reference / "paper_values.csv")
    prose = _yaml(texts / "page.yaml")
    budget = embed.Budget(embed.LIMIT - RESERVE)
    parts = sections(results, dag, paper, budget)
    figures = [figure for part in parts for figure in part.figures]
    tables = _tables(results.folder / "tables", budget) | _tables(results.folder / "released/tables", budget)
    linked = (
        {"verdicts", "seeds"} | {figure.name for figure in figures} | {name for part in parts for name in part.tables}
    )
    verdicts = pd.DataFrame({"group": []}) if results.verdicts is None else results.verdicts
    # The paper's claims first, controls last.
    verdicts = verdicts.sort_values("group", kind="stable", key=lambda names: names.map([*GROUPS].index))
    # Questions that were judged come first.
    asked = [] if verdicts.empty else answers(dag.experiments, verdicts)
    asked.sort(key=lambda answer: answer.word == NOT_JUDGED)
    errors = {
        kind: [{**entry, "printed": fill(entry["printed"], results, paper), "correct": fill(entry["correct"], results, paper)} for entry in entries]
        for kind, entries in _yaml(reference / "paper_errors.yaml").items()
    }  # fmt: skip
    environment = Environment(
        loader=PackageLoader("myopia.show.report"), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    environment.filters |= FILTERS
    source = {name: Markup(environment.loader.get_source(environment, name)[0]) for name in ("style.css", "page.js")}
    # As globals, so that macros see them.
    names = {"GROUPS": GROUPS, "ANSWERS": ANSWERS, "NOT_JUDGED": NOT_JUDGED, "PAPER_SCALE": PAPER_SCALE}
    environment.globals |= {"tables": tables, **names}
    return environment.get_template("page.html").render(
        scale=dag.settings["scale"],
        style=source["style.css"],
        script=source["page.js"],
        answers=asked,
        lead=next((figure for figure in figures if figure.lead), next(iter(figures), None)),
        headline=headline(asked),
        sections=[part for part in parts if part.shown],
        absent=[part for part in parts if not part.shown],
        missing=[title for part in parts for title in part.absent],
        figure_of=_figure_of(parts),
        unlinked=sorted(set(tables) - linked),
        refused=budget.refused,
        rows=list(verdicts.itertuples()),
        counts=_counts(verdicts),
        runs=list(results.runs.itertuples()),
        run_counts=_run_counts(results.runs),
        jobs=results.unfinished_jobs,
        provenance=results.provenance,
        corpora=results.corpora,
        cost=results.cost(),
        errors=errors,
        easy=sentences(prose["easy"], results, paper),
        hard=[*sentences(prose["hard"], results, paper), *(text for part in parts for text in part.hard)],
        limits=sentences(prose["limits"], results, paper),
        complete=results.verdicts is not None,
    )


def told(answer: Answer) -> list[tuple[str, Any]]:
    """The rows of an answer that have a number, by label: the judged ones, or all where none was judged."""
    judged = {label: row for label, row in answer.rows.items() if row.answer != NOT_JUDGED}
    return [(label, row) for label, row in (judged or answer.rows).items() if not pd.isna(row.ours)]


def headline(asked: list[Answer]) -> list[tuple[Question, str, Any]]:
    """At most ten rows that answer the questions: as many of each as there is room for, judged ones first."""
    every = [(n, answer, k, *one) for n, answer in enumerate(asked) for k, one in enumerate(told(answer))]
    found = [(n, k, answer.question, label, row) for n, answer, k, label, row in every]
    best = sorted(found, key=lambda one: (one[-1].answer == NOT_JUDGED, one[1]))[:10]
    return [tuple(one[2:]) for one in sorted(best, key=lambda one: one[:2])]


def split(part: Section, lead: Figure | None, asked: list[Answer]) -> tuple[list[Figure], list[Figure]]:
    """Figures of a section that stand open, those that show what answers a question, and the others; `lead` is neither."""
    families = {row.family for answer in asked for row in answer.rows.values()}
    rest = [figure for figure in part.figures if figure != lead]
    main = [figure for figure in rest if families & set(figure.families)]
    if not main and lead not in part.figures:
        main = rest[:1]
    return main, [figure for figure in rest if figure not in main]


def _counts(verdicts: pd.DataFrame) -> list[tuple[str, list[int]]]:
    """How often each answer was given in each group of rows."""
    if verdicts.empty:
        return []
    table = pd.crosstab(verdicts["group"], verdicts["answer"]).reindex(index=GROUPS, columns=ANSWERS, fill_value=0)
    return [(GROUPS[name], row.tolist()) for name, row in table.iterrows() if row.any()]


def write(path: Path, html: str) -> None:
    """Write the page, refused if it is larger than a report may be."""
    size = len(html.encode())
    if size > embed.LIMIT:
        raise MyopiaError(
            f"the report would take {size / 1e6:.1f} MB, more than {embed.LIMIT / 1e6:.0f} MB: its tables of runs and "
            "claims alone are too long for one page"
        )
    with atomic_path(path) as temporary:
        temporary.write_text(html, encoding="utf-8")


def _yaml(path: Path) -> Any:
    try:
        return yaml.safe_load(path.read_text())
    except (OSError, yaml.YAMLError) as error:
        raise MyopiaError(f"{path} cannot be read ({error}); restore it from the repository.") from None


def _tables(folder: Path, budget: embed.Budget) -> dict[str, str]:
    """Table -> address of its csv; small tables first, so that one giant cannot push out the rest."""
    paths = sorted(folder.glob("*.csv"), key=lambda path: (path.stat().st_size, path.name))
    return {path.stem: embed.table(path, budget) for path in paths}


def _figure_of(parts: list[Section]) -> dict[str, tuple[str, str]]:
    """Family of claims -> (anchor, title) of the figure that shows it, or of its section where nothing is drawn."""
    found: dict[str, tuple[str, str]] = {}
    for part in (part for part in parts if part.shown):
        found |= dict.fromkeys(part.families, (part.id, part.title))
        for figure in part.figures:
            found |= dict.fromkeys(figure.families, (f"figure-{figure.name}", figure.title))
    return found


def _run_counts(runs: pd.DataFrame) -> dict[str, int]:
    status = runs["status"]
    return {
        "all": len(runs),
        "finished": int((status == FINISHED).sum()),
        "running": int((status == RUNNING).sum()),
        "broken": int((~status.isin([FINISHED, RUNNING, ABANDONED, DAMAGED])).sum()),
        "damaged": int((status == DAMAGED).sum()),
        "abandoned": int((status == ABANDONED).sum()),
        "retried": int((runs["attempts"] > 1).sum()),
    }


# --- how things are written ---


def duration(seconds: float) -> str:
    """ "3 h 12 min", "4 min 05 s", "2.1 s"."""
    if pd.isna(seconds):
        return ""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"


def amount(value: float) -> str:
    """1,234; 12.3 million; 4.5e+13."""
    if pd.isna(value):
        return ""
    if value >= 1e12:
        return f"{value:.1e}"
    for size, word in ((1e9, "billion"), (1e6, "million")):
        if value >= size:
            return f"{value / size:.1f} {word}"
    return f"{value:,.0f}"


def counted(n: int, noun: str) -> str:
    """ "1 job", "2 jobs"."""
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"


def spans(row: Any) -> Markup:
    """Estimate with its interval, which is kept on one line; nothing where there is none."""
    value, found, bounds = estimate(row).partition(" ")
    return Markup('{} <span class="whole">{}</span>').format(value, bounds) if found else Markup(value)


def n_of(row: Any) -> str:
    """ "3 × 128": seeds and held-out units."""
    if not row.seeds:
        return ""
    return f"{row.seeds:g} × {row.documents:,g}" if row.documents else f"{row.seeds:g}"


def value(x: Any, digits: int = 4) -> str:
    """A number of a table, empty where it is missing."""
    return "" if x is None or pd.isna(x) else f"{x:,.{digits}g}"


def key(x: Any) -> str:
    """What a column is sorted by; missing numbers go last."""
    return "" if x is None or (not isinstance(x, str) and pd.isna(x)) else str(x)


def text(x: Any) -> str:
    """A text field of a table, empty where it is missing."""
    return x if isinstance(x, str) else ""


FILTERS = {
    "duration": duration, "amount": amount, "counted": counted, "spans": spans, "n_of": n_of, "num": value, "key": key,
    "text": text, "number": number, "why": why, "told": told, "split": split, "saved_as": embed.saved_as,
}  # fmt: skip
