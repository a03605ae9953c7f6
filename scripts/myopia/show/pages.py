"""Pages of the documentation that show results: their marked blocks, filled from the files in docs/results.

What stands between `<!-- generated: NAME -->` and `<!-- end -->` is made by the function NAME of `BLOCKS`; no number there
is typed by hand. Which claims answer which question, and sentences with numbers in them, stand in docs/pages.yaml.
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
from myopia.config.experiment import known
from myopia.config.load import ROOT
from myopia.judge.claims import expand
from myopia.judge.console import number, read_verdicts
from myopia.judge.verdicts import INCONCLUSIVE, NO_PAPER, NOT_REPLICATED, NOT_RUN, PARTLY, REPLICATED
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
YES, NO, UNDECIDED, NOT_JUDGED = "yes", "no", "undecided", "not judged"
ANSWERS = {
    REPLICATED: YES, NOT_REPLICATED: NO, PARTLY: "partly", INCONCLUSIVE: UNDECIDED, NOT_RUN: NOT_JUDGED,
    "criterion met": YES, "criterion violated": NO, "undecided": UNDECIDED,
}  # fmt: skip
"""Verdict, or outcome of a row that is not a claim of the paper -> answer."""
KINDS = {
    "paper": "claims of the paper, measured on networks",
    "summary": "summaries of several such claims",
    "theorem": "the paper's theorems and identities, computed on random convex problems",
    "own": "findings of our own",
    "control": "controls",
}


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
    def claims(self) -> dict[str, dict[str, Any]]:
        """Every claim of the experiments' claims.yaml by id, `experiment` and `kind` added, in the order of the report."""
        found = {}
        for experiment in self.experiments:
            path = self.experiments[experiment] / "claims.yaml"
            listed = yaml.safe_load(path.read_text())["claims"] if path.is_file() else []
            for claim in (one for entry in listed for one in expand(entry)):
                found[claim["id"]] = {**claim, "experiment": experiment, "kind": kind(claim)}
        return found

    @cached_property
    def experiments(self) -> dict[str, Path]:
        """Experiment -> folder of its package."""
        return {name: ROOT / "scripts" / "myopia" / "experiments" / name for name in known()}

    @cached_property
    def rows(self) -> pd.DataFrame:
        """One row per claim that has an estimate or a verdict: judged before not judged, then the most telling scale."""
        if not self.scales:
            return pd.DataFrame()
        frame = pd.concat(self.scales.values(), ignore_index=True)
        frame = frame[
            frame["id"].isin(self.claims) & (frame["ours"].notna() | ~frame["verdict"].isin([NOT_RUN, NO_PAPER]))
        ]
        frame = frame.assign(unjudged=frame["verdict"] == NOT_RUN, order=frame["scale"].map([*self.scales].index))
        frame = (
            frame.sort_values(["unjudged", "order"], kind="stable").drop_duplicates("id").set_index("id", drop=False)
        )
        frame = frame.loc[[name for name in self.claims if name in frame.index]]
        for key in ("experiment", "kind"):
            frame[key] = [self.claims[name][key] for name in frame.index]
        frame["answer"] = [answer(row) for row in frame.itertuples()]
        return frame

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
        fillers = {"ours": ours, "paper": lambda row: number(row["paper_value"])}
        return re.sub(r"\{(ours|paper):([^}]+)\}", lambda m: fillers[m[1]](self.row(m[2])), " ".join(sentence.split()))


def kind(claim: Mapping[str, Any]) -> str:
    """Which of KINDS a claim is, by its entry in claims.yaml."""
    if claim["where"].startswith("control"):
        return "control"
    if claim.get("own"):
        return "own"
    if claim.get("sub_claims"):
        return "summary"
    return "theorem" if (claim.get("estimand") or {}).get("name", "").startswith("theory_") else "paper"


def answer(row: Any) -> str:
    """Yes, no, partly, undecided or not judged: what came out, whatever the reason."""
    return ANSWERS[row.reason.split(";")[0] if row.verdict == NO_PAPER else row.verdict]


def ours(row: Any) -> str:
    """An estimate with its 95 % interval."""
    interval = "" if pd.isna(row["ci_low"]) else f" [{number(row['ci_low'])}, {number(row['ci_high'])}]"
    return number(row["ours"]) + interval


def why(row: Any) -> str:
    """Why a row is undecided, partly met or not judged; nothing for other rows."""
    if row.verdict not in (INCONCLUSIVE, PARTLY, NOT_RUN):
        return ""
    reason = row.reason.removesuffix("; the estimate is shown").replace(
        "Holm's correction", "correction for several tests"
    )
    for verdict in (REPLICATED, NOT_REPLICATED, INCONCLUSIVE, NOT_RUN):
        reason = re.sub(rf"(\d) {verdict}(?=,|;|$)", lambda m, v=verdict: f"{m[1]} {ANSWERS[v]}", reason)
    return re.sub(r"^judged at (.+) only$", r"needs the scale \1; shown for orientation", reason)


# --- findings --------------------------------------------------------------------------------------------------


def questions(results: Results) -> str:
    """The questions of docs/pages.yaml: the paper's value, ours, and the answer; several claims stand below each other."""
    lines = []
    for question in results.texts["questions"]:
        rows = {label: results.row(name) for label, name in question["claims"].items()}
        answers = {label: _small(row) for label, row in rows.items()}
        shown = {label: ours(row) for label, row in rows.items() if not pd.isna(row["ours"])}
        paper = {label: number(row["paper_value"]) for label, row in rows.items() if not pd.isna(row["paper_value"])}
        cells = (_stacked(paper, rows) or question.get("paper", ""), _stacked(shown, rows), _stacked(answers, rows))
        lines.append((f"**{question['question']}** {question['measure']}", *cells))
    return table(("question", "paper", "here [95 % interval]", "answer"), lines)


def _small(row: Any) -> str:
    """An answer as README may print it: small networks are not passed off as the paper's."""
    found = answer(row)
    if found == NOT_JUDGED:
        return f"{UNDECIDED}: {why(row)}"
    return f"{found}, {SMALL}" if found in (YES, NO) and row.scale != "paper" else found


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
    names = (YES, "partly", UNDECIDED, NO)
    lines = []
    for name, title in KINDS.items():
        rows = results.rows[(results.rows["kind"] == name) & (results.rows["answer"] != NOT_JUDGED)]
        lines.append((title, str(len(rows)), *(str((rows["answer"] == one).sum() or "") for one in names)))
    scales = ", ".join(f"[`{name}`](results/{name}/verdicts.csv)" for name in results.rows["scale"].unique())
    return table(("kind of row", "judged", *names), lines) + f"\nEvery row with its criterion: {scales}.\n"


def claims(results: Results) -> str:
    """Every row that has an estimate, by experiment."""
    parts = []
    for name, folder in results.experiments.items():
        rows = results.rows[results.rows["experiment"] == name]
        if rows.empty:
            continue
        section = yaml.safe_load((folder / "section.yaml").read_text())
        parts.append(f"## {section['title']}\n\n{' '.join(section['lead'].split())}\n")
        judged = rows[rows["answer"] != NOT_JUDGED]
        parts += [results.say(note) + "\n" for note in results.texts["notes"].get(name, [])]
        for what in KINDS:
            if (these := judged[judged["kind"] == what]).empty:
                continue
            title, shown = f"{KINDS[what].capitalize()}: {len(these)}", _claims_table(results, these)
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
        lines.append((f"{claim} ({row.where})", number(row.paper_value), ours(row._asdict()), n, row.scale, answer))
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
        if answer(one) != answer(other):
            claim = results.texts["wording"].get(name, one["claim"])
            lines.append((claim, ours(one), answer(one), ours(other), answer(other)))
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
