"""One section per experiment: its figures with captions, and what differs from the paper."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd
import yaml

from myopia.common.errors import MyopiaError
from myopia.config.experiment import Experiment
from myopia.judge.verdicts import NOT_JUDGED
from myopia.show.report.embed import Budget, picture, shown_width
from myopia.show.report.results import Missing, Results, fill

if TYPE_CHECKING:
    from myopia.config.dag import Dag


@dataclass(frozen=True)
class Figure:
    """A figure that was drawn."""

    name: str
    title: str
    uri: str  # an address, escaped for an attribute
    width: int  # CSS pixels
    method: str  # what is drawn and how
    note: str  # what the scale makes of it
    sample: str
    families: tuple[str, ...]
    lead: bool  # wants to stand at the top of the page

    @property
    def alt(self) -> str:
        """What a reader who cannot see it is told; the caption is beside it, the numbers are in the table."""
        return f"{self.title}; the numbers are in {self.name}.csv"


@dataclass(frozen=True)
class Section:
    """An experiment."""

    id: str
    title: str
    lead: str
    note: str  # of all figures, where they share it
    figures: list[Figure]
    empty: list[str]  # figures of which nothing was run at this scale
    absent: list[str]  # figures that the workflow did not get to
    families: set[str]  # of claims
    tables: list[str]  # that are read, not drawn
    deviations: list[str]
    hard: list[str]
    optional: str  # the target that makes what it shows, where that is not the one that makes the report
    judged: bool

    @property
    def shown(self) -> bool:
        """Whether there is anything to show."""
        return bool(self.figures or self.judged or (self.optional and self.tables))


def sections(results: Results, dag: Dag, paper: pd.DataFrame, budget: Budget) -> list[Section]:
    """Every experiment of this run, in the order of the list."""
    return [_section(one, results, dag, paper, budget) for one in dag.experiments]


def _section(one: Experiment, results: Results, dag: Dag, paper: pd.DataFrame, budget: Budget) -> Section:
    texts, captions = section_texts(one), dag.captions(one)
    place = f"{one.output}/" if one.output else ""
    figures, empty, absent = [], [], []
    for name in (figure.name for figure in one.drawn):
        of = {"title": name.replace("_", " ").capitalize(), **texts["figures"].get(name, {})}
        svg, table = results.file(f"{place}figures", f"{name}.svg"), results.file(f"{place}tables", f"{name}.csv")
        if svg is None or table is None:  # a picture without its table is of an earlier run
            # What a target of its own makes was perhaps never asked for.
            absent += [] if one.optional else [of["title"]]
        elif (frame := results.table(name, f"{place}tables")) is None:
            empty.append(of["title"])
        else:
            families, method = tuple(of.get("families", ())), " ".join(of.get("method", "").replace("``", "").split())
            figure = Figure(name, of["title"], picture(svg, budget), shown_width(svg), method, captions[name],
                            sample(frame), families, bool(of.get("lead")))  # fmt: skip
            figures.append(figure)
    families = {family for of in texts["figures"].values() for family in of.get("families", ())}
    rows = [] if results.verdicts is None else results.verdicts.itertuples()
    notes = {figure.note for figure in figures}
    return Section(
        id=one.name,
        title=texts["title"],
        lead=fill(texts["lead"], results, paper),
        note=notes.pop() if len(notes) == 1 and len(figures) > 1 else "",
        figures=figures,
        empty=empty,
        absent=absent,
        families=families,
        tables=[f.name for f in one.figures if not f.draw and results.table(f.name, f"{place}tables") is not None],
        deviations=sentences(texts.get("deviations", ()), results, paper),
        hard=sentences(texts.get("hard", ()), results, paper),
        optional=one.output,
        judged=any(row.family in families and row.answer != NOT_JUDGED for row in rows),
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


def sample(frame: pd.DataFrame) -> str:
    """n of the figure's own rows (the paper's points have no n): "n = 3 seeds, 512-1066 held-out units"."""
    if "seeds" not in frame.columns:
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
