"""The verdict table as plain text, for the end of `make`."""

from __future__ import annotations

import math
import textwrap
from pathlib import Path

import pandas as pd

from myopia.common.errors import MyopiaError
from myopia.judge.verdicts import COLUMNS, INCONCLUSIVE, NO_PAPER, NOT_RUN, PARTLY, REPLICATED

WIDTH = 120


def read_verdicts(path: str | Path) -> pd.DataFrame:
    """Read verdicts.csv; refused if it is not one."""
    try:
        frame = pd.read_csv(path, dtype={"reason": str, "control": str})
    except (OSError, ValueError) as error:
        raise MyopiaError(f"{path} cannot be read ({error}); run the rule that judges the claims.") from None
    missing = [c for c in COLUMNS if c not in frame.columns]
    if missing:
        raise MyopiaError(f"{path} lacks the column(s) {', '.join(missing)}; run the rule that judges again.")
    return frame


def label(verdict: str, judged_by: str) -> str:
    """A verdict as it may be printed: a direction is never passed off as a value."""
    return f"{verdict} (direction only)" if judged_by == "direction" and verdict in (REPLICATED, PARTLY) else verdict


def number(value: float) -> str:
    """Three significant digits, plain; empty if undefined."""
    if math.isnan(value):
        return ""
    if value != 0 and abs(value) < 1e-3:
        return f"{value:.1e}"
    return f"{value:.3f}"


def render(frame: pd.DataFrame) -> str:
    """All judged claims as a table, then what was estimated but not judged, then what was not run."""
    lines = [_heading("claim", "paper", "ours", "95% interval", "n", "verdict")]
    lines.append("-" * WIDTH)
    frame = frame.assign(reason=frame["reason"].fillna(""))
    judged = frame[frame["verdict"] != NOT_RUN]
    shown = frame[(frame["verdict"] == NOT_RUN) & frame["ours"].notna()]
    absent = frame[(frame["verdict"] == NOT_RUN) & frame["ours"].isna()]
    own = judged["verdict"] == NO_PAPER
    for title, part in (
        ("", judged[~own]),
        ("Controls and findings of our own (not in the paper):", judged[own]),
    ):
        if title and len(part):
            lines += ["", title]
        for row in part.itertuples():
            lines.append(_line(row, label(row.verdict, row.judged_by)))
            if row.reason and row.verdict in (INCONCLUSIVE, PARTLY):
                lines += textwrap.wrap(row.reason, WIDTH - 6, initial_indent="    - ", subsequent_indent="      ")
    if not len(judged):
        lines.append("nothing is judged at this scale")
    if len(shown):
        lines += ["", f"Estimated, {NOT_RUN}:"]
        for reason, group in shown.groupby("reason", sort=False):
            lines.append(f"  {reason}")
            lines += [_line(row, "") for row in group.itertuples()]
    if len(absent):
        lines += [
            "",
            f"{NOT_RUN.capitalize()}, nothing measured ({len(absent)} claims; reasons in verdicts.csv):",
        ]
        lines += textwrap.wrap(
            ", ".join(absent["id"]),
            WIDTH,
            initial_indent="  ",
            subsequent_indent="  ",
            break_on_hyphens=False,
        )
    counts = [f"{n} {verdict}" for verdict, n in frame["verdict"].value_counts().items()]
    lines += ["", f"{len(frame)} rows: " + ", ".join(counts) + "."]
    return "\n".join(line.rstrip() for line in lines)


def _heading(*cells: str) -> str:
    return "{:<33} {:>6} {:>7}  {:<16} {:<6} {}".format(*cells)


def _line(row: object, verdict: str) -> str:
    interval = "" if math.isnan(row.ci_low) else f"[{number(row.ci_low)}, {number(row.ci_high)}]"
    n = f"{row.seeds:g}x{row.documents:g}" if row.documents else f"{row.seeds:g}"
    # An own finding has its outcome in the reason ("criterion met; ..."): the part before the semicolon.
    if verdict == NO_PAPER:
        verdict = row.reason.split(";")[0]
    return _heading(row.id, number(row.paper_value), number(row.ours), interval, n if row.seeds else "", verdict)
