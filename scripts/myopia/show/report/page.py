"""The page: one file that needs no network and no neighbour, rendered from a results folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from myopia.common.errors import MyopiaError
from myopia.common.files import atomic_path
from myopia.judge.questions import number
from myopia.judge.verdicts import NO_PAPER, NOT_RUN
from myopia.show.report import embed, interactive
from myopia.show.report.answer import ESTIMATED, JUDGED, answer, shown_verdict
from myopia.show.report.results import ABANDONED, DAMAGED, Results, fill
from myopia.show.report.sections import ABSENT, EMPTY, Section, sections, sentences
from myopia.show.states import FINISHED, RUNNING

if TYPE_CHECKING:
    from myopia.config.dag import Dag

OWN = "controls and findings of our own"
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
    drawn = interactive.charts(results)
    library = Markup(interactive.vega()) if drawn else Markup("")
    windows, cap = interactive.planning_map(results)
    if not budget.take(len(library) + sum(len(chart.json) for chart in drawn)):
        drawn, library = [], Markup("")  # their figures are there
        budget.refused.append("interactive charts")
    tables = _tables(results.folder / "tables", budget) | _tables(results.folder / "released/tables", budget)
    claims = [] if results.verdicts is None else list(results.verdicts.itertuples())
    measured = [row for row in claims if not pd.isna(row.ours) or row.verdict not in (NOT_RUN, NO_PAPER)]
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
    return environment.get_template("page.html").render(
        scale=dag.settings["scale"],
        style=source["style.css"],
        script=source["page.js"],
        answer=answer(results.claim, prose["answer"]),
        shown={figure.name for part in parts for figure in part.figures},
        sections=parts,
        figure_of=_figure_of(parts),
        tables=tables,
        unlinked=sorted(
            set(tables)
            - {"verdicts", "seeds", "tuning", "released_audit", *(f.name for part in parts for f in part.figures)}
        ),
        refused=budget.refused,
        judged=[row for row in measured if not _own(row)],
        own=[row for row in measured if _own(row)],
        not_run=[row for row in claims if row not in measured],
        counts=_counts(claims),
        claims_sha256=claims[0].claims_sha256 if claims else "",
        runs=list(results.runs.itertuples()),
        run_counts=_run_counts(results.runs),
        jobs=results.unfinished_jobs,
        missing=[figure.title for part in parts for figure in part.figures if figure.state == ABSENT],
        charts=drawn,
        library=library,
        map=windows,
        map_cap=cap,
        audit=_audit(results),
        rates=_released_rates(results),
        provenance=results.provenance,
        corpora=results.corpora,
        cost=results.cost(),
        errors=errors,
        easy=sentences(prose["easy"], results, paper),
        hard=[*sentences(prose["hard"], results, paper), *(text for part in parts for text in part.hard)],
        limits=sentences(prose["limits"], results, paper),
        EMPTY=EMPTY,
        ABSENT=ABSENT,
        complete=results.verdicts is not None,
    )


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
    for part in parts:
        for figure in part.figures:
            found |= {family: (f"figure-{figure.name}", figure.title) for family in figure.families}
        for row in part.claims:
            found.setdefault(row.family, (part.id, part.title))
    return found


def _own(row: Any) -> bool:
    return row.verdict == NO_PAPER or row.where.startswith("control") or row.family == "controls"


def _counts(claims: list[Any]) -> list[tuple[str, int]]:
    """How often each verdict was given; what was estimated without a verdict is counted apart from what was not run."""
    kinds = []
    for row in claims:
        estimated = row.verdict == NOT_RUN and not pd.isna(row.ours)
        kinds.append(OWN if row.verdict == NO_PAPER else ESTIMATED if estimated else row.verdict)
    names = [*JUDGED, ESTIMATED, NOT_RUN, OWN]
    return [(name, kinds.count(name)) for name in names if name in kinds]


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


def _audit(results: Results) -> list[Any]:
    """Gap of every size with each way of choosing the learning rate."""
    frame = results.table("audit_gap_by_lr")
    if frame is None:
        return []
    frame = frame[frame["panel"] == "choice"].sort_values(["start", "n_params", "choice"], kind="stable")
    return list(frame.itertuples())


def _released_rates(results: Results) -> list[Any]:
    """What the authors' released checkpoints say of their own learning rates; empty until they have been opened."""
    frame = results.table("released_audit", "released/tables")
    return [] if frame is None else list(frame.itertuples())


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


def interval(row: Any) -> str:
    """Estimate with its interval; nothing where there is none."""
    bounds = "" if pd.isna(row.ci_low) else f" [{number(row.ci_low)}, {number(row.ci_high)}]"
    return number(row.ours) + bounds


def spans(row: Any) -> Markup:
    """The same with the interval kept on one line."""
    estimate, found, bounds = interval(row).partition(" ")
    return Markup('{}{}<span class="whole">{}</span>').format(estimate, found, bounds) if found else Markup(estimate)


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
    "duration": duration, "amount": amount, "interval": interval, "spans": spans, "n_of": n_of, "num": value, "key": key, "text": text,
    "number": number, "verdict": shown_verdict, "saved_as": embed.saved_as, "json": lambda x: Markup(json.dumps(x).replace("<", "\\u003c")),
}  # fmt: skip
