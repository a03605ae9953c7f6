"""Blocks of the documentation that show what things cost: the operator, whole scales, text, a thousand jobs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import pandas as pd


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines)


def folded(title: str, text: str) -> str:
    """Text behind a title that a reader opens."""
    return f"<details>\n<summary>{title}</summary>\n\n{text}\n</details>\n"


def count(n: int, what: str) -> str:
    """ "1 step", "1,020 steps"."""
    return f"{n:,} {what}" + ("" if n == 1 else "s")


def benchmark(folder: Path) -> str:
    """What the operator costs, from `make bench`, once and again."""
    parts = []
    for file in ("attention.csv", "attention-rerun.csv"):
        if not (folder / file).is_file():
            continue
        frame, lines = pd.read_csv(folder / file), []
        for row in frame.to_dict("records"):
            step = f"{row['ratio']:.3f} ± {row['aa_half_width']:.3f}"
            rest = (("peak_ratio", 2), ("dense_over_fused", 1), ("operator_dense_over_fused", 1))
            cells = ("" if pd.isna(value := row.get(key)) else f"{value:.{digits}f}" for key, digits in rest)
            lines.append(
                (row["architecture"], str(row["T"]), step, *cells, "" if row["within"] else "beyond its limit")
            )
        head = ("architecture", "T", "step", "peak memory", "dense step", "dense operator", "")
        pairs = " or ".join(map(str, sorted(set(frame["pairs"]))))
        intro = f"Medians of {pairs} interleaved pairs, {count(frame['threads'][0], 'thread')} (`docs/results/{file}`):"
        parts.append(f"{intro}\n\n{table(head, lines)}")
    return "\n".join(parts) or "Not measured yet: `make bench` does it.\n"


def architectures(folder: Path) -> str:
    """On which of transformers' architectures the cut is exact, from `make survey`."""
    path = folder / "architectures.csv"
    if not path.is_file():
        return "Not surveyed yet: `make survey` does it.\n"
    frame = pd.read_csv(path)
    names = {outcome: rows["architecture"].tolist() for outcome, rows in frame.groupby("outcome")}
    exact = frame[frame["outcome"] == "exact"]
    off = exact[["forward", "evaluation"]].max(axis=None)
    elsewhere = frame["why"].str.contains("an architecture of its own", na=False).sum()
    intro = (
        f"Of the {len(frame)} causal language models that transformers {frame['transformers'][0]} names, made tiny and random,\n"
        f"**{len(exact)} are exact** (no gradient is off by more than {exact['gradient'].max():.0e} of the largest, no output by\n"
        f"more than {off:.0e}; many compute in fp32 inside), {len(names['refused'])} are refused in one sentence before anything\n"
        f"is trained, and {len(names['not tried'])} were not tried ({elsewhere} of them because their decoder is another of the list).\n"
    )
    lists = [folded(f"{what.capitalize()}: {len(names[what])}", ", ".join(names[what]) + "\n") for what in names]
    return "\n".join([intro, *lists])


def scales(folder: Path, what: Mapping[str, str]) -> str:
    """What each scale is, and what it took or would take; `what` runs at each, in words."""
    lines = []
    for name, sentence in what.items():
        took, disk = "", ""
        if (folder / name / "cost.csv").is_file():
            cost = pd.read_csv(folder / name / "cost.csv").set_index("figure").loc["all runs"]
            took = f"{_wall(folder / name) or f'{cost.device_hours:.2g} device-hours'}, measured"
            disk = f"{_short(cost.disk_gb)} GB"
        elif (path := folder / "planned" / f"{name}.csv").is_file():
            cost = pd.read_csv(path).set_index("experiment").loc["total"]
            took = f"**not run**; planned: {_short(cost.device_hours)} GPU-hours"
            disk = f"{_short(cost.disk_gb)} GB" + (
                f", {_short(cost.download_gb)} GB of downloads" if cost.download_gb else ""
            )
        lines.append((f"`{name}`", " ".join(sentence.split()), took, disk))
    return table(("scale", "what runs", "time", "disk"), lines)


def _wall(scale: Path) -> str:
    """How long a scale took from its first job to its last, if nothing interrupted it."""
    record = json.loads((scale / "provenance.json").read_text())
    if not record.get("wall_seconds") or record["attempts"] != record["runs"]:
        return ""
    hours, minutes = divmod(round(record["wall_seconds"] / 60), 60)
    return f"{f'{hours} h ' if hours else ''}{minutes} min"


def measured(folder: Path) -> str:
    """Device-hours and disk of what was run, by figure."""
    parts = []
    for path in sorted(folder.glob("*/cost.csv")):
        record, name = json.loads((path.parent / "provenance.json").read_text()), path.parent.name
        wall = f" The whole scale, from its first job to its last: {took}." if (took := _wall(path.parent)) else ""
        where = ", ".join([*record["machine"], *record["device"]])
        costs, keys = pd.read_csv(path), ["runs", "device_hours", "disk_gb"]
        groups = costs[costs["runs"] > 0].groupby(keys, sort=False)["figure"]
        lines = [(", ".join(figures), f"{n:g}", f"{h:.2g}", f"{gb:.2g}") for (n, h, gb), figures in groups]
        parts.append(
            f"### {name}\n\nOn {where}.{wall}\n\n{table(('figures', 'runs', 'device-hours', 'disk (GB)'), lines)}"
        )
    return "\n".join(parts)


def planned(folder: Path) -> str:
    """What scales that were not run would take."""
    record = json.loads((folder / "planned" / "provenance.json").read_text())
    parts = [f"Device-hours are those of {record['device']}.\n"]
    for path in sorted(folder.glob("planned/*.csv")):
        frame = pd.read_csv(path)
        keys = ("runs", "device_hours", "memory_gb", "disk_gb", "download_gb")
        frame["runs"] *= frame["seeds"].fillna(1)
        frame = frame[(frame[list(keys)].fillna(0) > 0).any(axis=1) & ~frame["experiment"].str.startswith("tuning: ")]
        frame.loc[frame["experiment"] == "total", "runs"] = frame["runs"][frame["experiment"] != "total"].sum()
        lines = [
            (
                row["experiment"],
                row["model"] if isinstance(row["model"], str) else "",
                *(_short(row[key]) for key in keys),
            )
            for row in frame.to_dict("records")
        ]
        head = ("experiment", "network", "runs", "device-hours", "memory (GB)", "disk (GB)", "download (GB)")
        parts.append(f"### {path.stem}\n\n{table(head, lines)}")
    return "\n".join(parts)


def _short(value: float) -> str:
    """Two digits are more than a plan knows; nothing is left empty."""
    return "" if not value or pd.isna(value) else f"{value:,.0f}" if value >= 10 else f"{value:.2g}"


def tokenizing(folder: Path) -> str:
    """How fast text is encoded, beside the bare tokenizer."""
    lines = [
        (
            row.kind,
            f"{row.documents:,}",
            f"{row.ours_mb_per_s:.1f}",
            f"{row.bare_mb_per_s:.1f}",
            f"{row.ours_peak_mb:.0f}",
        )
        for row in pd.read_csv(folder / "tokenize.csv").itertuples()
    ]
    return table(("text", "documents", "MB/s", "MB/s, tokenizer alone", "peak memory (MB)"), lines)


def schedule(folder: Path) -> str:
    """A thousand jobs on a simulated cluster that takes machines away."""
    row = pd.read_csv(folder / "scheduling" / "schedule.csv").iloc[0]
    return (
        f"{row.finished:,} of {count(row.training_jobs, 'training job')} finished in {count(row.attempts, 'attempt')}; "
        f"{row.preemptions} were interrupted ({row.told} with a warning, {row.killed} killed, {row.lost} on a machine that went "
        f"away). {row.steps_lost} of {count(row.steps, 'step')} were trained twice. The {row.runs_struck} interrupted runs were "
        f"trained again undisturbed, and {row.runs_equal} of them ended with the same bytes.\n"
    )
