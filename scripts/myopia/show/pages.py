"""Pages of the documentation that show results: their marked blocks, filled from the files in docs/results.

What stands between `<!-- generated: NAME -->` and `<!-- end -->` is made by the function NAME of `BLOCKS`; no number there
is typed by hand. Which claims answer which question stands with the experiments (section.yaml), sentences with
numbers in them in docs/pages.yaml.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from myopia.common.errors import MyopiaError
from myopia.common.files import atomic_path
from myopia.config.experiment import Experiment, experiment, known
from myopia.config.load import ROOT
from myopia.judge.claims import GROUPS, Claim, claims_of
from myopia.judge.console import read_verdicts
from myopia.judge.questions import Answer, answers, estimate, number, why
from myopia.judge.verdicts import NO, NOT_JUDGED, PAPER_SCALE, PARTLY, UNDECIDED, YES
from myopia.show.api import api
from myopia.show.costs import (
    architectures,
    benchmark,
    folded,
    measured,
    planned,
    scales,
    schedule,
    table,
    tokenizing,
)

PAGES = ("README.md", "docs/findings.md", "docs/library.md", "docs/cost.md", "docs/api.md")
BLOCK = re.compile(r"(<!-- generated: (?P<name>[a-z-]+) -->\n).*?(<!-- end -->)", re.DOTALL)

SCALES = ("paper", "gpu", "cpu", "cpu-real-text", "laptop", "laptop-real-text")
"""Published results, the most telling first; any other name comes after them."""
TWO_MACHINES = ("laptop", "laptop-avx2")
"""The same runs, seeds and code on two machines."""
SMALL = "at small scale"


def write_pages(root: Path = ROOT) -> list[Path]:
    """Fill the blocks of every page; returns the pages that changed."""
    changed = []
    for path, old, new in _rendered(root):
        if new != old:
            with atomic_path(path) as temporary:
                temporary.write_text(new)
            changed.append(path)
    return changed


def check_pages(root: Path = ROOT) -> list[str]:
    """Every block that no longer says what the published files say, as "README.md, block questions"."""
    stale = []
    for path, old, new in _rendered(root):
        for was, now in zip(BLOCK.finditer(old), BLOCK.finditer(new), strict=True):
            if was[0] != now[0]:
                stale.append(f"{path.relative_to(root)}, block {was['name']}")
    return stale


def render(text: str, results: Results) -> str:
    """A page's text with every block filled.

    Raises:
        MyopiaError: a block that no function makes.
    """

    def fill(match: re.Match[str]) -> str:
        if match["name"] not in BLOCKS:
            raise MyopiaError(f"a page asks for the generated block {match['name']!r}, which does not exist")
        return match[1] + BLOCKS[match["name"]](results).rstrip("\n") + "\n" + match[3]

    return BLOCK.sub(fill, text)


def _rendered(root: Path) -> Iterable[tuple[Path, str, str]]:
    results = Results(root)
    for name in PAGES:
        old = (root / name).read_text()
        yield root / name, old, render(old, results)


class Results:
    """What is published below `root`: verdicts by scale, and which row speaks for a claim."""

    def __init__(self, root: Path) -> None:
        self.root, self.folder = root, root / "docs" / "results"

    @cached_property
    def texts(self) -> dict[str, Any]:
        """docs/pages.yaml."""
        return yaml.safe_load((self.root / "docs" / "pages.yaml").read_text())

    @cached_property
    def scales(self) -> dict[str, pd.DataFrame]:
        """Verdicts of every published scale by claim, the most telling scale first."""
        names = sorted(path.parent.name for path in self.folder.glob("*/verdicts.csv"))
        names.sort(key=lambda name: SCALES.index(name) if name in SCALES else len(SCALES))
        frames = {}
        for name in names:
            frame = read_verdicts(self.folder / name / "verdicts.csv").assign(scale=name)
            frame["reason"] = frame["reason"].fillna("").astype(str)
            frames[name] = frame.set_index("id", drop=False)
        return frames

    @cached_property
    def claims(self) -> dict[str, Claim]:
        """Every claim of the experiments by id, in the order of the report."""
        return {claim.id: claim for _, claim in self._claims()}

    @cached_property
    def owner(self) -> dict[str, str]:
        """Claim -> experiment."""
        return {claim.id: name for name, claim in self._claims()}

    def _claims(self) -> list[tuple[str, Claim]]:
        having = [one for one in self.experiments.values() if one.has_claims]
        return [(one.name, claim) for one in having for claim in claims_of(one.folder / "claims.yaml")]

    @cached_property
    def experiments(self) -> dict[str, Experiment]:
        """Every experiment by name."""
        return {one.name: one for one in map(experiment, known())}

    @cached_property
    def rows(self) -> pd.DataFrame:
        """One row per claim that has an estimate or a verdict: judged before not judged, then the most telling scale."""
        if not self.scales:
            return pd.DataFrame()
        frame = pd.concat(self.scales.values(), ignore_index=True)
        frame = frame[frame["id"].isin(self.owner) & (frame["ours"].notna() | (frame["answer"] != NOT_JUDGED))]
        frame = frame.assign(
            unjudged=frame["answer"] == NOT_JUDGED,
            order=frame["scale"].map([*self.scales].index),
            experiment=frame["id"].map(self.owner),
        )
        frame = (
            frame.sort_values(["unjudged", "order"], kind="stable").drop_duplicates("id").set_index("id", drop=False)
        )
        return frame.loc[[name for name in self.owner if name in frame.index]]

    def row(self, name: str) -> Any:
        """The row of a claim; "SCALE/ID" asks for that of one scale.

        Raises:
            MyopiaError: nothing of that name is published.
        """
        scale, _, claim = name.rpartition("/")
        frame = self.scales.get(scale, pd.DataFrame()) if scale else self.rows
        if claim not in frame.index:
            raise MyopiaError(f"docs/pages.yaml names {name!r}, but no published verdicts.csv has it")
        return frame.loc[claim]

    def say(self, sentence: str) -> str:
        """The sentence with {ours:ID} and {paper:ID} filled in."""
        fillers = {"ours": ours, "paper": lambda row: number(row.paper_value)}
        return re.sub(r"\{(ours|paper):([^}]+)\}", lambda m: fillers[m[1]](self.row(m[2])), " ".join(sentence.split()))


def ours(row: Any) -> str:
    """An estimate with its 95 % interval."""
    return estimate(row)


# --- findings --------------------------------------------------------------------------------------------------


def questions(results: Results) -> str:
    """Every question of the paper that has been judged: its value, ours, the answer; several claims below each other."""
    lines = []
    for one in answers(results.experiments.values(), results.rows) if len(results.rows) else []:
        of_paper = one.question.paper or any(not pd.isna(row.paper_value) for row in one.rows.values())
        if one.word != NOT_JUDGED and of_paper:
            lines.append(_question(one))
    return table(("question", "paper", "here [95 % interval]", "answer"), lines) if lines else "Nothing judged yet.\n"


def _question(one: Answer) -> tuple[str, ...]:
    judged = {label: row for label, row in one.rows.items() if row.answer != NOT_JUDGED}
    paper = {label: number(row.paper_value) for label, row in judged.items() if not pd.isna(row.paper_value)}
    cells = (
        _stacked(paper, judged) or one.question.paper,
        _stacked({label: estimate(row) for label, row in judged.items() if not pd.isna(row.ours)}, judged),
        _stacked({label: _small(row) for label, row in judged.items()}, judged),
    )
    return (f"**{one.question.ask}** {one.question.measure}", *cells)


def _small(row: Any) -> str:
    """An answer as README may print it: small networks are not passed off as the paper's."""
    return f"{row.answer}, {SMALL}" if row.answer in (YES, NO) and row.scale != PAPER_SCALE else row.answer


def _stacked(cells: Mapping[str, str], rows: Mapping[str, Any]) -> str:
    """One cell of several: each with its label, or the value alone where all rows have the same."""
    if len(set(cells.values())) == 1 and len(cells) == len(rows):
        return next(iter(cells.values()))
    return "<br>".join(f"{label}: {value}" for label, value in cells.items())


def surprises(results: Results) -> str:
    """Findings worth a line, as docs/pages.yaml words them."""
    return "".join(f"{n}. {results.say(text)}\n" for n, text in enumerate(results.texts["surprises"], 1))


def counts(results: Results) -> str:
    """How many rows of each kind came out how; kinds are never added up."""
    words = (YES, PARTLY, UNDECIDED, NO)
    lines = []
    for name, title in GROUPS.items():
        rows = results.rows[(results.rows["group"] == name) & (results.rows["answer"] != NOT_JUDGED)]
        lines.append((title, str(len(rows)), *(str((rows["answer"] == one).sum() or "") for one in words)))
    scales = ", ".join(f"[`{name}`](results/{name}/verdicts.csv)" for name in results.rows["scale"].unique())
    return table(("kind of row", "judged", *words), lines) + f"\nEvery row with its criterion: {scales}.\n"


def claims(results: Results) -> str:
    """Every row that has an estimate, by experiment."""
    parts = []
    for name, one in results.experiments.items():
        rows = results.rows[results.rows["experiment"] == name]
        if rows.empty:
            continue
        section = yaml.safe_load((one.folder / "section.yaml").read_text())
        parts.append(f"## {section['title']}\n\n{' '.join(section['lead'].split())}\n")
        judged = rows[rows["answer"] != NOT_JUDGED]
        parts += [results.say(note) + "\n" for note in results.texts["notes"].get(name, [])]
        for what in GROUPS:
            if (these := judged[judged["group"] == what]).empty:
                continue
            title, shown = f"{GROUPS[what].capitalize()}: {len(these)}", _claims_table(results, these)
            parts.append(f"**{title}**\n\n{shown}" if what in ("paper", "summary") else folded(title, shown))
        if len(rest := rows[rows["answer"] == NOT_JUDGED]):
            title = f"Estimates that no published scale may judge: {len(rest)}"
            parts.append(folded(title, _claims_table(results, rest)))
    return "\n".join(parts)


def _claims_table(results: Results, rows: pd.DataFrame) -> str:
    lines = []
    for row in rows.itertuples():
        claim = results.texts["wording"].get(row.id, row.claim)
        n = f"{row.seeds:g} x {row.documents:g}" if row.documents else f"{row.seeds:g}"
        answer = row.answer + (f": {why(row)}" if why(row) else "")
        lines.append((f"{claim} ({row.where})", number(row.paper_value), ours(row), n, row.scale, answer))
    return table(("claim (where in the paper)", "paper", "here [95 %]", "n", "scale", "answer"), lines)


def machines(results: Results) -> str:
    """What became of the same runs on another machine."""
    if not set(TWO_MACHINES) <= set(results.scales):
        return "Not published yet.\n"
    here, there = (results.scales[name].query("ours.notna()") for name in TWO_MACHINES)
    shared = [name for name in here.index if name in there.index]
    here, there = here.loc[shared], there.loc[shared]
    half = (here["ci_high"] - here["ci_low"]) / 2
    apart = ((here["ours"] - there["ours"]).abs() / half)[half > 0].median()
    lines = []
    for name in shared:
        one, other = here.loc[name], there.loc[name]
        if one["answer"] != other["answer"]:
            claim = results.texts["wording"].get(name, one["claim"])
            lines.append((claim, ours(one), one["answer"], ours(other), other["answer"]))
    head = ("claim", "one machine", "answer", "another", "answer")
    links = ", ".join(f"[`{name}`](results/{name}/verdicts.csv)" for name in TWO_MACHINES)
    return (
        f"Of {len(shared)} estimates ({links}) half differ by more than {apart:.2g} of the interval's half-width, and "
        f"{len(lines)} have another answer:\n\n" + table(head, lines)
    )


# --- who to cite -----------------------------------------------------------------------------------------------


def clone(results: Results) -> str:
    """How to get the code, from CITATION.cff."""
    url = _citation(results).get("repository-code", "ADDRESS_OF_THIS_REPOSITORY")
    return f"```sh\ngit clone {url} myopia && cd myopia\nmake                       # sets up .venv, then runs the laptop scale\n. .venv/bin/activate       # python, snakemake and myopia\n```\n"


def cite(results: Results) -> str:
    """BibTeX of this project and of the paper, from CITATION.cff."""
    about = _citation(results)
    (paper,) = about["references"]
    entries = (
        ("software", "myopia", about, {"version": about["version"], "url": about.get("repository-code")}),
        ("inproceedings", "wu2024plan", paper,
         {"booktitle": paper["conference"]["name"], "year": paper["year"], "url": paper["url"]}),
    )  # fmt: skip
    found = []
    for what, key, entry, more in entries:
        names = (a["name"] if "name" in a else f"{a['family-names']}, {a['given-names']}" for a in entry["authors"])
        fields = {"title": "{" + entry["title"] + "}", "author": " and ".join(names)}
        first, second = (
            ", ".join(f"{name} = {{{value}}}" for name, value in some.items() if value is not None)
            for some in (fields, more)
        )
        found.append(f"@{what}{{{key}, {first},\n  {second}}}\n")
    return "```bibtex\n" + "".join(found) + "```\n"


def _citation(results: Results) -> dict[str, Any]:
    return yaml.safe_load((results.root / "CITATION.cff").read_text())


BLOCKS: dict[str, Callable[[Results], str]] = {
    block.__name__: block for block in (questions, surprises, counts, claims, machines, clone, cite)
}
BLOCKS |= {
    block.__name__: lambda results, block=block: block(results.folder)
    for block in (benchmark, architectures, measured, planned, tokenizing, schedule)
}
BLOCKS |= {"scales": lambda results: scales(results.folder, results.texts["scales"]), "api": lambda results: api()}
