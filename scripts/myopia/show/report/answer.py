"""The answer in three sentences: a template for every verdict there is, filled from verdicts.csv."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import zip_longest
from typing import Any

import pandas as pd

from myopia.judge.console import number
from myopia.judge.verdicts import INCONCLUSIVE, NO_PAPER, NOT_REPLICATED, NOT_RUN, PARTLY, REPLICATED

DIRECTION = "(direction only)"
JUDGED = (REPLICATED, PARTLY, NOT_REPLICATED, INCONCLUSIVE)
ABSENT = "absent"  # no verdicts yet, or no such claim among them
ESTIMATED = "estimated, not judged"
UNJUDGED = NOT_RUN + ", estimated"  # an estimate that this scale may not judge

SENTENCES: dict[str, dict[str, str]] = {
    "synthetic": {
        REPLICATED: "Where only planning solves the task, networks learn to plan{mark}: cut off from future losses they "
        "fall far behind at every p asked for{numbers}.",
        PARTLY: "Where only planning solves the task, networks are shown to plan at some p of the paper{mark}, but not at "
        "all of them{numbers}.",
        NOT_REPLICATED: "Even where only planning solves the task, cutting networks off from future losses does not make "
        "them far worse{mark}, against the paper{numbers}.",
        INCONCLUSIVE: "Whether networks learn to plan where only planning solves the task stays open{mark}{numbers}.",
        UNJUDGED: "On the task that only planning solves nothing is judged at this scale; the estimates are shown "
        "without a verdict{numbers}.",
        NOT_RUN: "The task that only planning solves was not run at this scale.",
        NO_PAPER: "On the task that only planning solves this scale has findings of its own, none of them a claim of the "
        "paper{numbers}.",
        ABSENT: "The task that only planning solves has not been judged yet.",
    },
    "text": {
        REPLICATED: "On natural text planning pays, too{mark}: models cut off from future losses predict worse{numbers}.",
        PARTLY: "On natural text models cut off from future losses predict worse in part of what was asked{mark}{numbers}.",
        NOT_REPLICATED: "On natural text models cut off from future losses do not predict worse{mark}, against the "
        "paper{numbers}.",
        INCONCLUSIVE: "Whether planning pays on natural text stays open at this sample size{mark}{numbers}.",
        UNJUDGED: "On natural text the gap is estimated but not judged at this scale, which is too small for a "
        "verdict{numbers}.",
        NOT_RUN: "Natural text was not run at this scale.",
        NO_PAPER: "On natural text this scale has findings of its own, none of them a claim of the paper{numbers}.",
        ABSENT: "Natural text has not been judged yet.",
    },
    "scale": {
        REPLICATED: "The gap grows with model size even when each arm has its own best learning rate{mark}{numbers}.",
        PARTLY: "The gap grows with model size in part of what was asked, each arm at its own best learning "
        "rate{mark}{numbers}.",
        NOT_REPLICATED: "The gap does not grow with model size once each arm has its own best learning rate{mark}, "
        "against the paper{numbers}.",
        INCONCLUSIVE: "Whether the gap grows with model size, each arm at its own best learning rate, stays "
        "open{mark}{numbers}.",
        UNJUDGED: "Whether the gap grows with model size is shown but not judged at this scale{numbers}.",
        NOT_RUN: "Whether the gap grows with model size was not run at this scale.",
        NO_PAPER: "On model size this scale has findings of its own, none of them a claim of the paper{numbers}.",
        ABSENT: "Whether the gap grows with model size has not been judged yet.",
    },
}
"""Topic -> verdict -> sentence. `mark` is where a direction says so; `numbers` the estimates, in brackets."""

UNITS = {
    "synthetic": "gap as a share of the trivial predictor's loss",
    "text": "gap in nats per token",
    "scale": "nats per tenfold of parameters",
}


def sentence(topic: str, row: Any | None, estimates: list[Any], labels: Iterable[str] = ()) -> str:
    """One sentence for one claim; `estimates` are the rows whose numbers stand behind it, `labels` what they are called."""
    if row is None:
        return SENTENCES[topic][ABSENT]
    verdict = row.verdict
    named = zip_longest(estimates, labels, fillvalue=None)
    shown = [estimate(one, label) for one, label in named if one is not None and not pd.isna(one.ours)]
    if verdict == NOT_RUN and shown:
        verdict = UNJUDGED
    mark = f" {DIRECTION}" if verdict in JUDGED and row.judged_by == "direction" else ""
    numbers = f" ({UNITS[topic]}: {'; '.join(shown)})" if shown else ""
    return SENTENCES[topic][verdict].format(mark=mark, numbers=numbers)


def estimate(row: Any, label: str | None = None) -> str:
    """ "0.374 [0.247, 0.500], 3 seeds": an estimate as prose may name it, with where it stands in the paper."""
    interval = "" if pd.isna(row.ci_low) else f" [{number(row.ci_low)}, {number(row.ci_high)}]"
    paper = "" if pd.isna(row.paper_value) else f", paper {number(row.paper_value)}"
    seeds = f"{row.seeds:g} seed{'' if row.seeds == 1 else 's'}"
    return f"{f'{label}: ' if label else _short(row)}{number(row.ours)}{interval}, {seeds}{paper}"


def _short(row: Any) -> str:
    """What tells estimates of one sentence apart: the p of a claim, or its corpus."""
    _, found, p = str(row.id).rpartition("-p")
    if found and p.replace(".", "").isdigit():
        return f"p = {p}: "
    corpus = str(row.claim).rpartition("(")[2].rstrip(")") if str(row.claim).endswith(")") else ""
    return f"{corpus}: " if corpus else ""


def answer(claim: Callable[[str], Any | None], topics: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """The three sentences, each with its figure, the row it rests on and whether there are numbers behind it.

    `claim` finds the row of an id, or None; a topic's `estimates` are ids, or a mapping of ids to what they are called.
    """
    said = []
    for topic, spec in topics.items():
        row = _speaker([row for name in spec["claims"] if (row := claim(name)) is not None])
        names = spec.get("estimates")
        estimates = [claim(name) for name in names] if names else [row]
        text = sentence(topic, row, estimates, names.values() if isinstance(names, dict) else ())
        known = any(one is not None and not pd.isna(one.ours) for one in estimates)
        said.append({"topic": topic, "text": text, "figure": spec["figure"], "row": row, "known": known})
    return said


def _speaker(rows: Iterable[Any]) -> Any | None:
    """Of several corpora the first that was judged speaks; if none was, the first measured; if none was, the first."""
    rank = lambda row: 0 if row.verdict in JUDGED else 1 if row.seeds > 0 else 2  # noqa: E731
    return min(rows, key=rank, default=None)


def shown_verdict(row: Any) -> str:
    """A verdict as the report prints it: every judgement by direction says that it is one.

    An estimate that the scale may not judge is not called "not run": it was, and stands beside the word.
    """
    if row.verdict == NOT_RUN and not pd.isna(row.ours):
        return ESTIMATED
    if row.verdict == NO_PAPER and isinstance(row.reason, str):
        return row.reason.split(";")[0]
    return f"{row.verdict} {DIRECTION}" if row.verdict in JUDGED and row.judged_by == "direction" else row.verdict
