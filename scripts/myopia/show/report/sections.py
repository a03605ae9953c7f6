"""One section per experiment: its figures with captions, tables, claims, deviations and cost."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pandas as pd
import yaml

from myopia.common.errors import MyopiaError
from myopia.config.experiment import Experiment
from myopia.show.report.embed import Budget, picture, shown_width
from myopia.show.report.results import Missing, Results, fill

if TYPE_CHECKING:
    from myopia.config.dag import Dag

DRAWN, EMPTY, ABSENT = "drawn", "empty", "absent"


@dataclass(frozen=True)
class Figure:
    """A figure of the report, drawn or not."""

    name: str
    title: str
    state: str  # drawn | empty (nothing of it was run at this scale) | absent (the workflow did not get that far)
    uri: str = ""  # an address, escaped for an attribute
    width: int = 0  # CSS pixels
    method: str = ""  # what is drawn and how
    note: str = ""  # what the scale makes of it; stands under the picture itself, too
    sample: str = ""
    families: tuple[str, ...] = ()

    @property
    def alt(self) -> str:
        """What a reader who cannot see it is told; the numbers are in the table beside it."""
        return f"{self.title}. {self.note} The numbers are in {self.name}.csv.".replace(". .", ".").replace("  ", " ")


@dataclass(frozen=True)
class Section:
    """An experiment."""

    id: str
    title: str
    lead: str
    figures: list[Figure]
    claims: list[Any]  # rows of verdicts.csv
    deviations: list[str] = field(default_factory=list)
    hard: list[str] = field(default_factory=list)
    cost: dict[str, Any] = field(default_factory=dict)
    optional: str = ""  # the target that makes what it shows, where that is not the one that makes the report


def sections(results: Results, dag: Dag, paper: pd.DataFrame, budget: Budget) -> list[Section]:
    """Every experiment that this run planned or measured, in the order of the list."""
    made = [_section(one, results, dag, paper, budget) for one in dag.experiments]
    return [section for section in made if section.figures or section.claims or section.optional]


def _section(one: Experiment, results: Results, dag: Dag, paper: pd.DataFrame, budget: Budget) -> Section:
    texts, captions = section_texts(one), dag.captions(one)
    apart = f"{one.output}/" if one.output else ""  # made by a target of its own, which may never have been asked for
    figures = []
    for figure in one.drawn:
        if not apart or results.file(f"{apart}figures", f"{figure.name}.svg"):
            texts_of = texts["figures"].get(figure.name, {})
            figures.append(_figure(figure.name, texts_of, results, captions[figure.name], budget, apart))
    rows = [] if results.verdicts is None else list(results.verdicts.itertuples())
    # A section without a figure still shows its claims, which then say why they were not run.
    families = {family for texts_of in texts["figures"].values() for family in texts_of.get("families", ())}
    return Section(
        id=one.name,
        title=texts["title"],
        lead=fill(texts["lead"], results, paper),
        figures=figures,
        claims=[row for row in rows if row.family in families],
        deviations=sentences(texts.get("deviations", ()), results, paper),
        hard=sentences(texts.get("hard", ()), results, paper),
        cost=results.cost([one.prefix] if one.prefix else [], [f"measure/{m.name}" for m in one.measurements]),
        optional=one.output,
    )


def section_texts(one: Experiment) -> dict[str, Any]:
    """The prose of an experiment's section; without a section.yaml its title alone."""
    path = one.folder / "section.yaml"
    if not path.is_file():
        return {"title": one.title, "lead": "", "figures": {}}
    try:
        return {"title": one.title, "lead": "", "figures": {}} | yaml.safe_load(path.read_text())
    except (OSError, yaml.YAMLError) as error:
        raise MyopiaError(f"{path} cannot be read ({error}); restore it from the repository.") from None


def sentences(texts: Any, results: Results, paper: pd.DataFrame) -> list[str]:
    """The sentences whose numbers exist."""
    found = []
    for text in texts:
        try:
            found.append(fill(text, results, paper))
        except Missing:
            continue
    return found


def _figure(name: str, texts_of: dict[str, Any], results: Results, note: str, budget: Budget, apart: str) -> Figure:
    svg, table = results.file(f"{apart}figures", f"{name}.svg"), results.table(name, f"{apart}tables")
    described = {
        "name": name, "title": texts_of.get("title", _title(name)), "method": " ".join(texts_of.get("method", "").replace("``", "").split()),
        "note": note,
        "families": tuple(texts_of.get("families", ())),
    }  # fmt: skip
    if svg is None or not results.file(
        f"{apart}tables", f"{name}.csv"
    ):  # a picture without its table is of an earlier run
        return Figure(state=ABSENT, **described)
    if table is None:
        return Figure(state=EMPTY, **described)
    return Figure(state=DRAWN, uri=picture(svg, budget), width=shown_width(svg), sample=sample(table), **described)


def sample(frame: pd.DataFrame | None) -> str:
    """n of the figure's own rows (the paper's points have no n): "n = 3 seeds, 512-1066 held-out documents"."""
    if frame is None or "seeds" not in frame.columns:
        return ""
    if "kind" in frame.columns and (frame["kind"] == "ours").any():
        frame = frame[frame["kind"] == "ours"]
    seeds = _span(frame["seeds"])
    text = f"n = {seeds} seed{'' if seeds == '1' else 's'}" if seeds else ""
    documents = _span(frame["documents"]) if "documents" in frame.columns else ""
    return f"{text}, {documents} held-out units" if text and documents else text


def _span(values: pd.Series) -> str:
    values = values[values > 0]
    if values.empty:
        return ""
    low, high = f"{values.min():,g}", f"{values.max():,g}"
    return low if low == high else f"{low}-{high}"


def _title(name: str) -> str:
    return name.replace("_", " ").capitalize()
