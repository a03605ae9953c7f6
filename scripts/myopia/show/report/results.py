"""Everything the report reads, from one results folder; what is absent is empty, never made up."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from myopia.common.errors import MyopiaError
from myopia.judge.console import read_verdicts
from myopia.judge.questions import number
from myopia.show.states import CRASHED, FINISHED, RUNNING, STOPPED, State, read_states

LOG_TAIL = 12  # lines shown of the log of a job that did not end well
ERROR = re.compile(r"^(error: |unexpected error|Traceback )", re.MULTILINE)  # as cli/__init__.py writes them
ABANDONED = "other settings"  # a state that no finished run came from
DAMAGED = "damaged"  # a finished run whose record cannot be read
UNTIMED = ("plan", "cost", "lock_hub", "gap")  # jobs that write no benchmark
TRAINING = ("train",)  # folders of logs: whatever trains is judged afterwards, or not at all


@dataclass(frozen=True)
class Job:
    """A job of the workflow that began and has not ended well."""

    name: str
    tail: str


@dataclass(frozen=True)
class Results:
    """A results folder, finished or not."""

    folder: Path
    own_log: str = "write_report"  # the job that writes the report is not done while it does
    stopped: bool = False  # the workflow has stopped: tell of a record that cannot be read instead of refusing it

    @cached_property
    def verdicts(self) -> pd.DataFrame | None:
        """verdicts.csv, or None before anything was judged."""
        path = self.folder / "tables" / "verdicts.csv"
        return read_verdicts(path) if path.is_file() else None

    def claim(self, name: str) -> Any | None:
        """A row of verdicts.csv by its id."""
        if self.verdicts is None:
            return None
        found = self.verdicts[self.verdicts["id"] == name]
        return None if found.empty else next(found.itertuples())

    def table(self, name: str, kind: str = "tables") -> pd.DataFrame | None:
        """tables/<name>.csv; None if it is not there or holds nothing."""
        path = self.folder / kind / f"{name}.csv"
        if not path.is_file():
            return None
        try:
            # A token may be the text "null": only an empty field is missing.
            frame = pd.read_csv(path, na_values=[""], keep_default_na=False)
        except ValueError as error:
            raise MyopiaError(
                f"{path} cannot be read as a table ({error}); run the rule that tabulates again."
            ) from None
        return None if frame.empty else frame

    def file(self, kind: str, name: str) -> Path | None:
        """A file such as `figures/fig2.svg`, None if it is not there."""
        path = self.folder / kind / name
        return path if path.is_file() else None

    # --- runs ---

    @cached_property
    def records(self) -> dict[tuple[str, int], dict[str, Any]]:
        """provenance.json with metrics.json laid over it, of every run folder that has both, by (run, seed)."""
        found = {}
        for path in sorted(self.folder.glob("runs/*/seed*/metrics.json")) + sorted(
            self.folder.glob("arms/*/seed*/metrics.json")
        ):
            try:
                record = _json(path.with_name("provenance.json")) | _json(path)
            except MyopiaError as error:
                if not self.stopped:
                    raise
                record = {"status": DAMAGED, "note": str(error)}
            found[(str(record.get("run", path.parent.parent.name)), int(path.parent.name.removeprefix("seed")))] = (
                record
            )
        return found

    @cached_property
    def states(self) -> list[State]:
        """What every state folder tells."""
        return read_states(self.folder)

    @cached_property
    def runs(self) -> pd.DataFrame:
        """One row per run and seed that ever started, finished or not, and per state that nothing came of."""
        rows: list[dict[str, Any]] = []
        seen: set[tuple[str, int, str]] = set()
        states = {(s.run, s.seed, s.fingerprint): s for s in self.states}
        for (run, seed), record in self.records.items():
            state = states.get((run, seed, str(record.get("fingerprint"))))
            seen.add((run, seed, str(record.get("fingerprint"))))
            if record.get("status") == DAMAGED:  # it does not say which of its states it came from
                seen.update(key for key in states if key[:2] == (run, seed))
            rows.append(_finished(run, seed, record, state))
        for key, state in states.items():
            if key not in seen:
                rows.append(_unfinished(state, (state.run, state.seed) in self.records))
        frame = pd.DataFrame(rows, columns=RUN_COLUMNS)
        return frame.sort_values(["run", "seed", "status"], kind="stable", ignore_index=True)

    @cached_property
    def unfinished_jobs(self) -> list[Job]:
        """Jobs with a log and no benchmark, which Snakemake writes when a job has succeeded.

        The benchmark of an earlier success outlives a rerun: a newer log that tells of an error counts for more. A
        training job older than the verdicts was none of theirs: settings have changed, and nobody waits for it.
        """
        logs, jobs = self.folder / "logs", []
        verdicts = self.folder / "tables" / "verdicts.csv"
        judged = verdicts.stat().st_mtime if verdicts.exists() else 0.0
        for path in sorted(logs.rglob("*.log")):
            name = path.relative_to(logs).with_suffix("")
            done = (self.folder / "benchmarks" / name).with_name(name.name + ".tsv")
            if name.parts[0] in (self.own_log, *UNTIMED):
                continue
            if name.parts[0] in TRAINING and path.stat().st_mtime < judged:
                continue
            tail = "\n".join(path.read_text(errors="replace").splitlines()[-LOG_TAIL:])
            if done.exists() and not (path.stat().st_mtime > done.stat().st_mtime and ERROR.search(tail)):
                continue
            jobs.append(Job(str(name), tail))
        return jobs

    # --- cost and provenance ---

    def cost(self) -> dict[str, Any]:
        """What training and all other jobs took."""
        records = list(self.records.values())
        benchmarks = [path.relative_to(self.folder) for path in sorted(self.folder.glob("benchmarks/**/*.tsv"))]
        measured = [
            _seconds(self.folder / path) for path in benchmarks if path.with_suffix("").parts[1] not in TRAINING
        ]
        return {
            "runs": len(records),
            "training_s": sum(r.get("seconds", 0.0) for r in records),
            "tokens": sum(r.get("tokens", 0) for r in records),
            "flops": sum(r.get("flops", 0.0) for r in records),
            "peak_bytes": max((r.get("peak_memory_bytes", 0) for r in records), default=0),
            "measuring_s": sum(measured),
            "jobs": len(measured),
        }

    @cached_property
    def provenance(self) -> dict[str, Any]:
        """What made the runs: commits, versions, machines."""
        records = [r for r in self.records.values() if "git" in r]
        versions: dict[str, set[str]] = {}
        for record in records:
            for name, version in record["versions"].items():
                versions.setdefault(name, set()).add(str(version))
        return {
            "commits": sorted({str(r["git"]["commit"]) for r in records}),
            "dirty": any(r["git"]["dirty"] for r in records),
            "versions": {name: ", ".join(sorted(found)) for name, found in sorted(versions.items())},
            "machines": sorted(
                {
                    f"{r['hardware']['machine']}, {r['hardware']['cpu_count']} CPUs, device {r['hardware']['device']}, "
                    f"{r['hardware']['threads']} thread{'' if r['hardware']['threads'] == 1 else 's'} a run"
                    for r in records
                }
            ),
        }

    @cached_property
    def corpora(self) -> list[dict[str, Any]]:
        """Source, size and hash of every corpus."""
        found = []
        for path in sorted(self.folder.glob("data/*/docs.manifest.json")):
            manifest, tokens = _json(path), _json(path.parent / "tokens" / "tokens.manifest.json")
            counts = manifest.get("counts", {})
            found.append(
                {
                    "corpus": path.parent.name,
                    "source": manifest.get("source", {}).get("kind", "unknown"),
                    "documents": sum(c.get("documents", 0) for c in counts.values()),
                    "test_documents": counts.get("test", {}).get("documents"),
                    "windows": tokens.get("splits", {}).get("train", {}).get("n_windows"),
                    "overlap_before": tokens.get("overlap", {}).get("test", {}).get("share_before"),
                    "overlap_after": tokens.get("overlap", {}).get("test", {}).get("share_after"),
                    "sha256": manifest.get("text_sha256", ""),
                }
            )
        return found


RUN_COLUMNS = (
    "run,arm,seed,purpose,status,attempts,crashes,steps,planned_steps,train_loss,validation_loss,"
    "seconds,tokens_per_s,note"
).split(",")


def _finished(run: str, seed: int, record: dict[str, Any], state: State | None) -> dict[str, Any]:
    attempts = max(int(record.get("attempts", 1)), state.attempts if state else 0)
    crashes = state.crashes if state else 0
    notes = [record["note"]] if "note" in record else []
    if crashes:
        notes.append(f"died {crashes} time{'s' if crashes > 1 else ''} and was resumed")
    elif attempts > 1:
        notes.append("continued from its saved state")
    return {
        "run": run, "arm": record.get("arm"), "seed": seed, "purpose": record.get("purpose"),
        "status": record.get("status", FINISHED), "attempts": attempts, "crashes": crashes,
        "steps": record.get("steps"), "planned_steps": record.get("steps"),
        "train_loss": record.get("final_train_loss"), "validation_loss": record.get("final_validation_loss"),
        "seconds": record.get("seconds"), "tokens_per_s": record.get("tokens_per_s"), "note": "; ".join(notes),
    }  # fmt: skip


def _unfinished(state: State, replaced: bool) -> dict[str, Any]:
    """A state without a result: at work, stopped, dead, or left behind by a run with other settings."""
    note = {
        RUNNING: "at work when this page was written",
        STOPPED: "told to stop; resumes from its saved state",
        CRASHED: "died; resumes from its saved state",
        FINISHED: "trained, but its result folder is missing",
    }.get(state.status, "never began")
    status = state.status
    if replaced and status != RUNNING:
        status, note = ABANDONED, f"{status} under other settings; nothing here comes from it"
    elif status == FINISHED:
        status = CRASHED
    return {
        "run": state.run, "seed": state.seed, "status": status, "attempts": state.attempts, "crashes": state.crashes,
        "steps": state.step, "planned_steps": state.steps, "train_loss": state.progress.get("loss"),
        "tokens_per_s": state.progress.get("tokens_per_s"), "note": note,
    }  # fmt: skip


def _seconds(path: Path) -> float:
    try:
        return float(pd.read_csv(path, sep="\t")["s"].iloc[0])
    except (OSError, ValueError, KeyError, IndexError):
        return 0.0


def _json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text())
    except OSError:
        return {}
    except ValueError:
        raise MyopiaError(f"{path} is not JSON; delete its folder and run again.") from None
    return value if isinstance(value, dict) else {}


# --- numbers in prose ---

PLACEHOLDER = re.compile(r"\{(?P<kind>paper|ours|gap):(?P<first>[\w.-]+)(?::(?P<second>[\w.-]+))?\}")


class Missing(Exception):
    """A sentence names an estimate that this results folder does not have."""


def fill(text: str, results: Results, paper: pd.DataFrame) -> str:
    """`text` with its {paper:ID}, {gap:ID:ID} and {ours:ID} filled in.

    Raises:
        MyopiaError: an id that no reference file knows.
        Missing: an estimate that was not made.
    """

    def value(match: re.Match[str]) -> str:
        kind, first, second = match["kind"], match["first"], match["second"]
        if kind == "ours":
            row = results.claim(first)
            if row is None or pd.isna(row.ours):
                raise Missing(first)
            return number(row.ours)
        found = [_paper(paper, name) for name in (first, second) if name]
        return f"{found[0] - found[1]:.2f}" if kind == "gap" else f"{found[0]:g}"

    return PLACEHOLDER.sub(value, text)


def _paper(paper: pd.DataFrame, name: str) -> float:
    found = paper.loc[paper["id"] == name, "value"]
    if found.empty:
        raise MyopiaError(f"the report's prose names the paper's value {name}, which paper_values.csv does not have")
    return float(found.iloc[0])
