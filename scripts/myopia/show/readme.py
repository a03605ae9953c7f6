"""README's tables, rendered from published result files: no number there is typed by hand."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd

from myopia.common.errors import MyopiaError
from myopia.judge.console import label, number, read_verdicts
from myopia.judge.verdicts import INCONCLUSIVE, NO_PAPER, NOT_RUN

BLOCK = re.compile(r"(<!-- generated: (?P<name>[a-z-]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def render(readme: str, published: Path) -> str:
    """README's text with every generated block filled from the files in `published`.

    Raises:
        MyopiaError: a block nobody can fill.
    """

    def fill(match: re.Match[str]) -> str:
        if match["name"] not in SECTIONS:
            raise MyopiaError(f"README asks for the generated block {match['name']!r}, which does not exist")
        return match[1] + SECTIONS[match["name"]](published) + match[3]

    return BLOCK.sub(fill, readme)


def findings(published: Path) -> str:
    """One table per published scale: claims of the paper that were judged or estimated, then our own controls."""
    parts, shown = [], set()
    for folder in sorted(p.parent for p in published.glob("*/verdicts.csv")):
        frame = read_verdicts(folder / "verdicts.csv")
        frame = frame[frame["ours"].notna() | ~frame["verdict"].isin([NOT_RUN, NO_PAPER])]
        # A scale run again with more corpora repeats what it measured before: each finding is shown once.
        rows = [(row.id, number(row.ours), row.verdict) for row in frame.itertuples()]
        frame = frame[[row not in shown for row in rows]]
        shown.update(rows)
        own = frame["where"].str.startswith("control") | (frame["verdict"] == NO_PAPER)
        parts.append(
            f"**Scale `{folder.name}`** (`docs/results/{folder.name}/verdicts.csv`). Intervals: 95 %; "
            "n: seeds x held-out units.\n\n" + _table(frame[~own])
        )
        if own.any():
            parts.append("Controls and findings of our own:\n\n" + _table(frame[own]))
    return "\n".join(parts) if parts else "No results are published yet.\n"


def _table(frame: pd.DataFrame) -> str:
    lines = ["| claim | paper's | ours | n | verdict |", "| --- | --- | --- | --- | --- |"]
    for row in frame.itertuples():
        ours = number(row.ours) + ("" if pd.isna(row.ci_low) else f" [{number(row.ci_low)}, {number(row.ci_high)}]")
        n = f"{row.seeds:g} x {row.documents:g}" if row.documents else f"{row.seeds:g}"
        verdict = label(row.verdict, row.judged_by)
        reason = "" if pd.isna(row.reason) else row.reason
        if row.verdict == NO_PAPER:
            verdict = reason.split(";")[0]
        elif row.verdict in (INCONCLUSIVE, NOT_RUN) and reason:
            verdict += f" ({reason})"
        lines.append(f"| {row.claim} ({row.where}) | {number(row.paper_value)} | {ours} | {n} | {verdict} |")
    return "\n".join(lines) + "\n"


def benchmark(published: Path) -> str:
    """The operator's cost, from `make bench`."""
    path = published / "attention.csv"
    if not path.exists():
        return "No benchmark is published yet: `make bench` measures it.\n"
    frame = pd.read_csv(path)
    if "operator_dense_over_fused" not in frame:  # measured before it was
        frame["operator_dense_over_fused"] = float("nan")
    lines = [
        "Training step of the myopic twin over the vanilla SDPA step (CPU, fp32, 4 layers, d_model 256, 8 heads, 4,096",
        f"tokens a step, {_count(frame.threads[0], 'thread')}; median of {frame.pairs[0]} interleaved pairs ± the",
        "half-width of the A/A ratio measured beside it), peak memory above the state before the step, and the dense",
        "formulation's time over ours, for the whole step and for the operator alone (forward and backward):",
        "",
        "| architecture | T | step ratio | peak memory ratio | dense / fused, step | dense / fused, operator |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for row in frame.itertuples():
        step = f"{row.ratio:.3f} ± {row.aa_half_width:.3f}"
        rest = (_shown(row.peak_ratio, 2), _shown(row.dense_over_fused, 1), _shown(row.operator_dense_over_fused, 1))
        lines.append(" | ".join(["| " + row.architecture, str(row.T), step, *rest]) + " |")
    return "\n".join(lines) + "\n"


def _shown(value: float, digits: int) -> str:
    return "" if pd.isna(value) else f"{value:.{digits}f}"


def _count(n: int, what: str) -> str:
    return f"{n} {what}" if n == 1 else f"{n} {what}s"


SECTIONS = {"findings": findings, "benchmark": benchmark}
