"""What Snakemake remembers of the jobs that made a results folder.

Snakemake keeps a record for every output file: rule, inputs, log, command, start and end. They lie under
.snakemake/metadata as JSON, named by the file's path in base64; no command of Snakemake prints their times. The layout
has been the same since Snakemake 8 and is checked record by record.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from myopia.common.errors import MyopiaError

FIELDS = {"rule": str, "input": list, "log": list, "starttime": (int, float), "endtime": (int, float)}


@dataclass(frozen=True)
class Job:
    """A job that ended well; `inputs` and `outputs` are paths as the workflow writes them."""

    name: str  # its log's path without folder and ending, which is unique: "train/dp-p1-vanilla"
    rule: str
    command: str  # the rule's, with its placeholders
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    start: float  # seconds since 1970
    end: float


def read_jobs(records: Path, results: Path) -> list[Job]:
    """Jobs whose outputs lie in `results` and are still there, by start.

    Raises:
        MyopiaError: there are no records, or they have another layout.
    """
    groups: dict[tuple[str, str], list[tuple[str, dict[str, Any]]]] = defaultdict(list)
    for path in sorted(records.rglob("*")) if records.is_dir() else ():
        output = _output(path.relative_to(records))
        if not path.is_file() or output is None or not Path(output).is_relative_to(results):
            continue
        if Path(output).exists():
            record = _record(path)
            name = _name(record, results)
            groups[(record["rule"], name)].append((output, record))
    if not groups:
        raise MyopiaError(
            f"{records} holds no record of a job that made anything in {results}: write the crate in the folder in which "
            "the workflow ran (a moved results folder has left its records behind)."
        )
    jobs = [_job(rule, name, found) for (rule, name), found in groups.items()]
    return sorted(jobs, key=lambda job: (job.start, job.rule, job.name))


def _output(path: Path) -> str | None:
    """The output file a record is named after; long names are cut into folders that begin with @."""
    encoded = "".join(part.removeprefix("@") for part in path.parts)
    try:
        return base64.urlsafe_b64decode(encoded).decode()
    except (binascii.Error, UnicodeDecodeError):
        return None


def _record(path: Path) -> dict[str, Any]:
    try:
        record = json.loads(path.read_text())
    except ValueError:
        record = None
    if not isinstance(record, dict) or not all(isinstance(record.get(k), kind) for k, kind in FIELDS.items()):
        raise MyopiaError(
            f"{path} is no record of a finished job as Snakemake 8 and 9 write them; the crate cannot be made from it."
        )
    return record


def _name(record: dict[str, Any], results: Path) -> str:
    logs = results / "logs"
    for log in record["log"]:
        if Path(log).is_relative_to(logs):
            return str(Path(log).relative_to(logs).with_suffix(""))
    return record["rule"]


def _job(rule: str, name: str, found: list[tuple[str, dict[str, Any]]]) -> Job:
    """One job from the records of its outputs. Some may be older than others; the newest knows what it read."""
    newest = max((record for _, record in found), key=lambda record: record["endtime"])
    return Job(
        name=name,
        rule=rule,
        command=" ".join(str(newest.get("code") or "").split()),
        inputs=tuple(dict.fromkeys(newest["input"])),
        outputs=tuple(sorted(output for output, _ in found)),
        start=newest["starttime"],
        end=newest["endtime"],
    )
