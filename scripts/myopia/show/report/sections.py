"""One section per experiment: its figures with captions, tables, claims, deviations and cost."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from myopia.show.report.embed import Budget, picture, shown_width
from myopia.show.report.results import Missing, Results, fill

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


def sections(
    results: Results, texts: dict[str, Any], captions: dict[str, str], rst: Path, paper: pd.DataFrame, budget: Budget
) -> list[Section]:
    """Every experiment that this run planned or measured, in the order of the texts; what no section names comes last."""
    made, placed = [], set()
    for spec in texts["sections"]:
        placed |= set(spec["figures"])
        made.append(_section(spec, results, captions, rst, paper, budget))
    rest = {name: {"title": _title(name)} for name in captions if name not in placed}
    if rest:
        spec = {"id": "further", "title": "Further figures", "lead": "", "runs": [], "jobs": [], "figures": rest}
        made.append(_section(spec, results, captions, rst, paper, budget))
    return [section for section in made if section.figures or section.claims or section.optional]


def _section(
    spec: dict[str, Any],
    results: Results,
    captions: dict[str, str],
    rst: Path,
    paper: pd.DataFrame,
    budget: Budget,
) -> Section:
    apart = spec.get("folder", "")  # of results that another target makes, which may never have been asked for
    figures = [
        _figure(name, told, results, captions.get(name, ""), rst, budget, apart)
        for name, told in spec["figures"].items()
        if (name in captions and not apart) or results.file(f"{apart}figures", f"{name}.svg")
    ]
    # A section without a figure still shows its claims, which then say why they were not run.
    families = {family for told in spec["figures"].values() for family in told.get("families", ())}
    rows = [] if results.verdicts is None else list(results.verdicts.itertuples())
    return Section(
        id=spec["id"],
        title=spec["title"],
        lead=fill(spec["lead"], results, paper),
        figures=figures,
        claims=[row for row in rows if row.family in families],
        deviations=sentences(spec.get("deviations", ()), results, paper),
        hard=sentences(spec.get("hard", ()), results, paper),
        cost=results.cost(spec["runs"], spec["jobs"]),
        optional=apart.rstrip("/"),
    )


def sentences(texts: Any, results: Results, paper: pd.DataFrame) -> list[str]:
    """The sentences whose numbers exist."""
    found = []
    for text in texts:
        try:
            found.append(fill(text, results, paper))
        except Missing:
            continue
    return found


def _figure(
    name: str, told: dict[str, Any], results: Results, note: str, rst: Path, budget: Budget, apart: str
) -> Figure:
    svg, table = results.file(f"{apart}figures", f"{name}.svg"), results.table(name, f"{apart}tables")
    described = {
        "name": name, "title": told["title"], "method": method(rst / f"{name}.rst"), "note": note,
        "families": tuple(told.get("families", ())),
    }  # fmt: skip
    if svg is None or not results.file(
        f"{apart}tables", f"{name}.csv"
    ):  # a picture without its table is of an earlier run
        return Figure(state=ABSENT, **described)
    if table is None:
        return Figure(state=EMPTY, **described)
    return Figure(state=DRAWN, uri=picture(svg, budget), width=shown_width(svg), sample=sample(table), **described)


def method(path: Path) -> str:
    """The figure's caption as Snakemake's own report has it, without its markup."""
    text = " ".join(path.read_text().split()) if path.is_file() else ""
    return re.sub(r"``([^`]*)``|\*([^*]*)\*", lambda m: m[1] or m[2], text)


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
