"""What a run comes to, on one screen: the end of `make`."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from myopia.common.errors import MyopiaError
from myopia.judge.claims import CONTROL, OWN, PAPER, THEOREM
from myopia.judge.questions import Answer, estimate, number
from myopia.judge.verdicts import ANSWERS, COLUMNS, NOT_JUDGED, PAPER_SCALE, YES

WIDTH = 100
SHORT = {
    PAPER: "claims of the paper",
    OWN: "own findings",
    THEOREM: "theorem checks",
    CONTROL: "controls",
}
"""Groups of rows that are counted; summaries are left out, as their parts are counted."""


def read_verdicts(path: str | Path) -> pd.DataFrame:
    """Read verdicts.csv; refused if it is not one."""
    try:
        frame = pd.read_csv(path, dtype={"reason": str, "control": str})
    except (OSError, ValueError) as error:
        raise MyopiaError(f"{path} cannot be read ({error}); run the rule that judges the claims.") from None
    missing = [c for c in COLUMNS if c not in frame.columns]
    if missing:
        raise MyopiaError(f"{path} lacks the column(s) {', '.join(missing)}; run the rule that judges again.")
    return frame.assign(reason=frame["reason"].fillna(""))


def render(answers: Sequence[Answer], verdicts: pd.DataFrame, scale: str) -> str:
    """The answers in sentences, a row for each question, counts by kind, and what went wrong."""
    lines = []
    for answer in answers:
        if answer.sentence:
            lines += textwrap.wrap(answer.sentence, WIDTH, subsequent_indent="  ", break_on_hyphens=False)
    if scale != PAPER_SCALE:
        lines += ["", "Small networks: an answer is a direction, never a size."]
    told = [_line(answer, label, row) for answer in answers for label, row in answer.told.items()]
    if told:
        lines += ["", _cells("", "paper", "here [95 % interval]", "answer"), *told]
    lines += ["", *counts(verdicts), *problems(verdicts)]
    return "\n".join(line.rstrip() for line in lines)


def _line(answer: Answer, label: str, row: Any) -> str:
    name = answer.question.row + (f", {label}" if label else "")
    return _cells(name, number(row.paper_value) or answer.question.paper, estimate(row), row.answer)


def _cells(*cells: str) -> str:
    return "{:<54} {:>6}  {:<24} {}".format(*cells)


def counts(verdicts: pd.DataFrame) -> list[str]:
    """How the judged rows came out, kinds apart."""
    found = []
    for group, name in SHORT.items():
        rows = verdicts[(verdicts["group"] == group) & (verdicts["answer"] != NOT_JUDGED)]
        each = [f"{n} {answer}" for answer in ANSWERS if (n := int((rows["answer"] == answer).sum()))]
        if each:
            found.append(f"{name}: {', '.join(each)}")
    text = "; ".join(found) + "." if found else "Nothing is judged at this scale."
    return textwrap.wrap(text, WIDTH, break_on_hyphens=False)


def problems(verdicts: pd.DataFrame) -> list[str]:
    """Controls that did not hold: what leans on them is undecided."""
    failed = verdicts[(verdicts["group"] == CONTROL) & ~verdicts["answer"].isin([YES, NOT_JUDGED])]
    if failed.empty:
        return []
    names = ", ".join(f"{row.id} ({row.answer})" for row in failed.itertuples())
    return textwrap.wrap(
        f"Controls not met: {names}.", WIDTH, subsequent_indent="  ", break_on_hyphens=False, break_long_words=False
    )
