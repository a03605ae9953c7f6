"""README's tables, rendered from published result files: no number there is typed by hand."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd

from myopia.common.errors import MyopiaError
from myopia.judge.console import label, number, read_verdicts
from myopia.judge.verdicts import INCONCLUSIVE, NO_PAPER, NOT_RUN

SIZES = ("paper", "gpu", "cpu", "laptop")
"""Scales, the most telling first; any other name comes after them."""
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
    """Every claim once, from the largest published scale that judged it: the paper's first, the rest folded away."""
    frame = _most_telling(published)
    if frame.empty:
        return "No results are published yet.\n"
    judged, control = ~frame["verdict"].isin([NOT_RUN, NO_PAPER]), frame["where"].str.startswith("control")
    own = (frame["verdict"] == NO_PAPER) & ~control
    shown = frame[judged & ~control]
    scales = ", ".join(f"[`{name}`](docs/results/{name}/verdicts.csv)" for name in frame["scale"].unique())
    parts = [
        f"{_tally(shown['verdict'])}, of {_count(len(shown), 'claim')} of the paper judged so far. Intervals: 95 %; n: seeds x "
        f"held-out units. Every row with its criterion: {scales}.\n\n" + _table(shown)
    ]
    for title, these in (("Findings of our own", own), ("Controls", control & (frame["verdict"] == NO_PAPER))):
        if these.any():
            states = frame["reason"][these].str.split(";").str[0]
            parts.append(_folded(f"{title}, {these.sum()}: {_tally(states)}", frame[these]))
    rest = frame[~judged & (frame["verdict"] != NO_PAPER)]
    if len(rest):
        title = f"{_count(len(rest), 'estimate')} that no published scale judges (too few seeds, or too small)"
        parts.append(_folded(title, rest))
    return "\n".join(parts)


def _most_telling(published: Path) -> pd.DataFrame:
    """Rows with an estimate or a verdict, `scale` added, one per claim: judged before not, then in the order of SIZES."""
    found = []
    for folder in sorted(p.parent for p in published.glob("*/verdicts.csv")):
        frame = read_verdicts(folder / "verdicts.csv").assign(scale=folder.name)
        found.append(frame.assign(size=SIZES.index(folder.name) if folder.name in SIZES else len(SIZES)))
    if not found:
        return pd.DataFrame()
    frame = pd.concat(found, ignore_index=True)
    frame = frame[frame["ours"].notna() | ~frame["verdict"].isin([NOT_RUN, NO_PAPER])]
    place = {name: n for n, name in enumerate(frame["id"].unique())}
    frame = frame.assign(unjudged=frame["verdict"] == NOT_RUN, place=frame["id"].map(place))
    frame = frame.sort_values(["unjudged", "size"], kind="stable").drop_duplicates("id")
    return frame.sort_values("place", kind="stable")


def _tally(values: pd.Series) -> str:
    counts = sorted(values.value_counts().items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{count} {value}" for value, count in counts)


def _folded(title: str, frame: pd.DataFrame) -> str:
    return f"<details>\n<summary>{title}</summary>\n\n{_table(frame)}\n</details>\n"


def _table(frame: pd.DataFrame) -> str:
    lines = ["| claim | paper's | ours | n | scale | verdict |", "| --- | --- | --- | --- | --- | --- |"]
    for row in frame.itertuples():
        ours = number(row.ours) + ("" if pd.isna(row.ci_low) else f" [{number(row.ci_low)}, {number(row.ci_high)}]")
        n = f"{row.seeds:g} x {row.documents:g}" if row.documents else f"{row.seeds:g}"
        verdict = label(row.verdict, row.judged_by)
        reason = "" if pd.isna(row.reason) else row.reason
        if row.verdict == NO_PAPER:
            verdict = reason.split(";")[0]
        elif row.verdict == NOT_RUN:
            verdict = reason.removesuffix("; the estimate is shown")
        elif row.verdict == INCONCLUSIVE and reason:
            verdict += f" ({reason})"
        cells = (f"{row.claim} ({row.where})", number(row.paper_value), ours, n, row.scale, verdict)
        lines.append("| " + " | ".join(cells) + " |")
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
