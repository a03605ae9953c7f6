"""README's tables, rendered from published result files: no number there is typed by hand."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from myopia.common.errors import MyopiaError
from myopia.config.figures import plan_by_experiment
from myopia.config.load import ROOT, load_config
from myopia.judge.console import label, number, read_verdicts
from myopia.judge.verdicts import INCONCLUSIVE, NO_PAPER, NOT_RUN
from myopia.show.report.answer import JUDGED, answer

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


def answered(published: Path) -> str:
    """The report's three sentences and their figures.

    Each from a scale that judged it, else from one that can show numbers; of several the one that asked it of the corpus
    named first in `sections.yaml`, then the largest.
    """
    scales = _scales(published)
    if not scales:
        return "No results are published yet.\n"
    topics = yaml.safe_load((ROOT / "workflow/report/sections.yaml").read_text())["answer"]
    said, pictures = [], []
    for topic in topics:
        found = []
        for size, (name, frame) in enumerate(scales.items()):
            rows = {row.id: row for row in frame.itertuples()}
            (one,) = answer(rows.get, {topic: topics[topic]})
            row = one["row"]
            rank = 3 if row is None else 0 if row.verdict in JUDGED else 1 if one["known"] else 2
            asked = 0 if row is None else topics[topic]["claims"].index(row.id)
            found.append((rank, asked, size, name, one))
        rank, _, _, name, one = min(found, key=lambda item: item[:3])
        said.append(f"- {one['text']}" + (f" Scale `{name}`." if rank < 2 else ""))
        picture = f"{name}/{one['figure']}.png"
        if rank < 2 and (published / picture).is_file():
            path, alt = f"docs/results/{picture}", f"{one['figure'].replace('_', ' ')}, scale {name}"
            pictures.append(f'<a href="{path}"><img src="{path}" width="32%" alt="{alt}"></a>')
    return "\n".join(said) + "\n\n" + "\n".join(pictures) + "\n"


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


def _scales(published: Path) -> dict[str, pd.DataFrame]:
    """Verdicts of every published scale, in the order of SIZES, others after them."""
    names = sorted(path.parent.name for path in published.glob("*/verdicts.csv"))
    names.sort(key=lambda name: SIZES.index(name) if name in SIZES else len(SIZES))
    return {name: read_verdicts(published / name / "verdicts.csv") for name in names}


def _most_telling(published: Path) -> pd.DataFrame:
    """Rows with an estimate or a verdict, `scale` added, one per claim: judged before not, then in the order of SIZES."""
    found = [frame.assign(scale=name, size=size) for size, (name, frame) in enumerate(_scales(published).items())]
    if not found:
        return pd.DataFrame()
    frame = pd.concat(found, ignore_index=True)
    place = {name: n for n, name in enumerate(frame["id"].unique())}
    frame = frame[frame["ours"].notna() | ~frame["verdict"].isin([NOT_RUN, NO_PAPER])]
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
    again = published / "attention-rerun.csv"
    if again.exists():
        found = pd.read_csv(again)
        pairs = " and ".join(str(n) for n in sorted(set(found.pairs)))
        lines += [
            "",
            f"Measured again, {pairs} pairs, for the operator, too: {'; '.join(map(_again, found.itertuples()))}.",
        ]
    return "\n".join(lines) + "\n"


def _again(row: Any) -> str:
    told = f"{row.architecture}, T = {row.T}: {row.ratio:.3f} ± {row.aa_half_width:.3f}"
    if pd.isna(row.dense_over_fused):
        return told
    return f"{told} (dense / fused: step {row.dense_over_fused:.1f}, operator {row.operator_dense_over_fused:.1f})"


def architectures(published: Path) -> str:
    """On which of transformers' architectures a myopic twin is exact, from `make survey`."""
    path = published / "architectures.csv"
    if not path.exists():
        return "Not surveyed yet: `make survey` does it.\n"
    frame = pd.read_csv(path)
    names = {outcome: rows["architecture"].tolist() for outcome, rows in frame.groupby("outcome")}
    exact = frame[frame["outcome"] == "exact"]
    off = exact[["forward", "evaluation"]].max(axis=None)
    elsewhere = frame["why"].str.contains("an architecture of its own", na=False).sum()
    lines = [
        f"Of the {len(frame)} causal language models that transformers {frame['transformers'][0]} names, made tiny and random,",
        f"**{len(exact)} are exact** (no gradient is off by more than {exact['gradient'].max():.0e} of the largest, no output by",
        f"more than {off:.0e}; many compute in fp32 inside), {len(names['refused'])} are refused in one sentence before anything",
        f"is trained, and {len(names['not tried'])} were not tried ({elsewhere} of them because their decoder is another of the list).",
        "Each with its reason: [docs/results/architectures.csv](docs/results/architectures.csv).",
        "",
    ]
    for title in ("exact", "refused", "not tried"):
        told = ", ".join(names[title])
        lines += [
            "<details>",
            f"<summary>{title.capitalize()}: {len(names[title])}</summary>",
            "",
            told,
            "",
            "</details>",
        ]
    return "\n".join(lines) + "\n"


TWICE = ("laptop", "laptop-avx2")
"""One scale, the same seeds and code, on CPUs with different instructions."""


def machines(published: Path) -> str:
    """What became of the same runs on another kind of CPU."""
    scales = _scales(published)
    if not set(TWICE) <= set(scales):
        return "Not published yet.\n"
    here, there = (scales[name].set_index("id") for name in TWICE)
    both = here.join(there, rsuffix="_there", how="inner").query("ours.notna() and ours_there.notna()")
    half = (both["ci_high"] - both["ci_low"]) / 2
    apart = ((both["ours"] - both["ours_there"]).abs() / half)[half > 0]
    outcome, outcome_there = (
        both["verdict" + end].where(
            both["verdict" + end] != NO_PAPER, both["reason" + end].astype("string").str.split(";").str[0]
        )
        for end in ("", "_there")
    )
    lines = [
        f"Of {len(both)} estimates ({_link(TWICE[0])}, {_link(TWICE[1])}) half differ by more than {apart.median():.2g} of the",
        f"interval's half-width, and {(outcome != outcome_there).sum()} have another outcome:",
        "",
        "| claim | one CPU | outcome | another CPU | outcome |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name in both.index[outcome != outcome_there]:
        cells = [both.loc[name, "claim"]]
        for end, what in (("", outcome[name]), ("_there", outcome_there[name])):
            low, high = number(both.loc[name, "ci_low" + end]), number(both.loc[name, "ci_high" + end])
            cells += [
                f"{number(both.loc[name, 'ours' + end])} [{low}, {high}]",
                label(what, both.loc[name, "judged_by"]),
            ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _link(name: str) -> str:
    return f"[`{name}`](docs/results/{name}/verdicts.csv)"


FULL = ("gpu", "paper")


def hardware(published: Path) -> str:
    """Device-hours, memory and disk by figure: measured where a scale was run and published, else as `snakemake plan` says."""
    parts = []
    for path in sorted(published.glob("*/cost.csv")):
        record = json.loads((path.parent / "provenance.json").read_text())
        where = f"{', '.join(record['machine'])}, {', '.join(record['device'])}"
        lines = [
            f"**Measured, scale `{path.parent.name}`** ({where}): training of all attempts, by figure. A run behind several",
            "figures counts in each, and once in the last row; measuring, judging and drawing come on top."
            + _in_one_go(record),
            "",
            "| figures | runs | device-hours | disk (GB) |",
            "| --- | --- | --- | --- |",
        ]
        costs = pd.read_csv(path)
        for (runs, hours, disk), same in costs[costs["runs"] > 0].groupby(
            ["runs", "device_hours", "disk_gb"], sort=False
        ):
            lines.append(f"| {', '.join(same['figure'])} | {runs} | {hours:.2g} | {disk:.2g} |")
        parts.append("\n".join(lines) + "\n")
    config = yaml.safe_load((ROOT / "config.yaml").read_text())
    for scale in FULL:
        settings = load_config({**config, "scale": scale})
        rows, device = plan_by_experiment(settings), settings["plan"]
        hours, disk, download = (sum(row[key] for row in rows) for key in ("device_hours", "disk_gb", "download_gb"))
        lines = [
            f"**Planned, scale `{scale}`**, not run: hours of one device of {device['device_tflops']:g} TFLOP/s at "
            f"{device['mfu']:.0%}, {device['device_memory_gb']:g} GB.",
            "",
            "| figures | networks | runs | device-hours | memory (GB) | disk (GB) | download (GB) |",
            "| --- | --- | --- | --- | --- | --- | --- |",
        ]
        for row in rows:
            if not (row["runs"] or row["disk_gb"] or row["download_gb"]):
                continue  # text of this machine, whose size nobody knows before it is harvested
            what = ", ".join(row["figures"]) or row["experiment"]
            numbers = [_short(row[key]) for key in ("device_hours", "memory_gb", "disk_gb", "download_gb")]
            lines.append(" | ".join([f"| {what}", _first_last(row["models"]), _short(row["runs"]), *numbers]) + " |")
        lines.append(
            f"| all |  | {sum(row['runs'] for row in rows):,} | {_short(hours)} |  | {_short(disk)} | {_short(download)} |"
        )
        parts.append("\n".join(lines) + "\n")
    return "\n".join(parts)


def _in_one_go(record: dict[str, Any]) -> str:
    """How long it all took, of a scale that nothing interrupted."""
    seconds = record.get("wall_seconds")
    if not seconds or record["attempts"] != record["runs"]:
        return ""
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"\nThe whole scale, from its first job to its last: {f'{hours} h ' if hours else ''}{minutes} min."


def _first_last(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{names[0]} to {names[-1]}" if names else ""


def _short(value: float) -> str:
    """Two digits are more than a plan knows; nothing is left empty."""
    return "" if not value else f"{value:,.0f}" if value >= 10 else f"{value:.2g}"


def _shown(value: float, digits: int) -> str:
    return "" if pd.isna(value) else f"{value:.{digits}f}"


def _count(n: int, what: str) -> str:
    return f"{n} {what}" if n == 1 else f"{n} {what}s"


SECTIONS = {
    "answer": answered,
    "findings": findings,
    "machines": machines,
    "benchmark": benchmark,
    "architectures": architectures,
    "hardware": hardware,
}
