"""The questions a run answers, and what its verdicts say to each: told alike on the screen, in README and in the report.

They stand with their experiments, under `questions` of section.yaml: what is asked, what is measured, the claims that
answer, and for some a sentence per answer (the few lines that a run ends with).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pandas as pd
import yaml

from myopia.common.errors import MyopiaError
from myopia.config.experiment import Experiment
from myopia.judge.verdicts import NO, NOT_JUDGED, PARTLY, UNDECIDED, UNMET, YES


@dataclass(frozen=True)
class Question:
    """One question: `ask` in a sentence, `row` in few words, `measure` what the numbers are, with their unit.

    claims: label -> id; the label says which of several it is ("" where there is one). paper: what the paper says where it
    has no number. unit: the numbers' unit in a sentence. say: answer -> sentence, without its numbers and full stop.
    """

    experiment: str
    ask: str
    row: str
    measure: str
    claims: Mapping[str, str]
    unit: str = ""
    paper: str = ""
    say: Mapping[str, str] = field(default_factory=dict)


def questions(experiments: Iterable[Experiment]) -> list[Question]:
    """All questions of these experiments, in order.

    Raises:
        MyopiaError: a section.yaml that cannot be read, or a question in it that is none.
    """
    found = []
    for one in experiments:
        path = one.folder / "section.yaml"
        if not path.is_file():
            continue
        try:
            listed = (yaml.safe_load(path.read_text()) or {}).get("questions", [])
            found += [Question(one.name, **entry) for entry in listed]
        except (OSError, yaml.YAMLError, TypeError, AttributeError) as error:
            raise MyopiaError(f"{path} cannot be read ({error}); restore it from the repository.") from None
    return found


@dataclass(frozen=True)
class Answer:
    """A question with the rows of verdicts.csv that answer it, by label; a claim without a row is left out."""

    question: Question
    rows: Mapping[str, Any]

    @property
    def word(self) -> str:
        """yes, no, partly, undecided or not judged: of several rows that were judged, what they have in common."""
        return combined(row.answer for row in self.rows.values())

    @property
    def told(self) -> Mapping[str, Any]:
        """Its rows that were judged, or would be if what they lean on held."""
        return {k: row for k, row in self.rows.items() if row.answer != NOT_JUDGED or row.reason.startswith(UNMET)}

    @property
    def sentence(self) -> str:
        """The answer in a sentence, with the estimates of the judged rows; "" where the question has no sentences."""
        if not self.question.say or not self.told:
            return ""
        if self.word == NOT_JUDGED:  # an answer that is held back is not left out in silence
            return f"{self.question.ask} Not answered: {why(next(iter(self.told.values())))}."
        judged = {label: row for label, row in self.rows.items() if row.answer != NOT_JUDGED and not pd.isna(row.ours)}
        shown = [f"{label}: {estimate(row)}" if label else estimate(row) for label, row in judged.items()]
        unit = f"{self.question.unit}: " if self.question.unit else ""
        return self.question.say[self.word] + (f" ({unit}{'; '.join(shown)})" if shown else "") + "."


def answers(experiments: Iterable[Experiment], verdicts: pd.DataFrame) -> list[Answer]:
    """Every question that has a row among the verdicts."""
    rows = {row.id: row for row in verdicts.itertuples()}
    found = []
    for question in questions(experiments):
        here = {label: rows[name] for label, name in question.claims.items() if name in rows}
        if here:
            found.append(Answer(question, here))
    return found


def combined(answers: Iterable[str]) -> str:
    """What several answers come to: one that all share, else partly where any is yes, no or undecided where none is."""
    found = {answer for answer in answers if answer != NOT_JUDGED}
    if not found:
        return NOT_JUDGED
    if len(found) == 1:
        return found.pop()
    return PARTLY if found & {YES, PARTLY} else UNDECIDED if UNDECIDED in found else NO


def estimate(row: Any) -> str:
    """ "0.374 [0.247, 0.500]": an estimate with its 95 % interval, "" if there is none."""
    interval = "" if pd.isna(row.ci_low) else f" [{number(row.ci_low)}, {number(row.ci_high)}]"
    return number(row.ours) + interval


def why(row: Any) -> str:
    """Why a row is undecided, partly met or not judged; nothing for other rows."""
    if row.answer not in (UNDECIDED, PARTLY, NOT_JUDGED):
        return ""
    reason = row.reason.removesuffix("; the estimate is shown").replace(
        "Holm's correction", "correction for several tests"
    )
    return re.sub(r"^judged at (.+) only$", r"needs the scale \1; shown for orientation", reason)


def number(value: float) -> str:
    """Three decimals, or two digits in scientific notation below a thousandth; "" if undefined."""
    if pd.isna(value):
        return ""
    return f"{value:.1e}" if value != 0 and abs(value) < 1e-3 else f"{value:.3f}"
