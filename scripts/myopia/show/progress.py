"""How far a whole run of the workflow is: what a person sees while Snakemake works, in place of Snakemake's own lines."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from myopia.config.plan import run_shape
from myopia.show.states import FINISHED, RUNNING, read_states
from myopia.show.watch import span

if TYPE_CHECKING:
    from myopia.config.dag import Dag

STEPS_DONE = re.compile(r"^(\d+) of (\d+) steps", re.MULTILINE)
FAILED = re.compile(r"^Error in rule (\w+):.*?^\s+log: (.*?) \(check", re.MULTILINE | re.DOTALL)
OVERHEAD = 30_000
"""Parameters that a token costs beside the network's own: in networks this small most time goes elsewhere."""


@dataclass(frozen=True)
class Progress:
    """Where a run of the workflow stands."""

    runs: int
    finished: int
    at_work: tuple[str, ...]
    jobs: int
    jobs_done: int
    share: float  # of all training, 0 to 1, weighed by what it costs

    def line(self, seconds: float, since: float) -> str:
        """One line. `seconds`: since the workflow was started; `since`: the share there was then."""
        eta = ""
        if self.share - since > 0.02 and seconds > 20:
            left = seconds * (1 - self.share) / (self.share - since)
            eta = f", about {span(left)} of training left" if left >= 1 else ", training done"
        working = f"; at work: {', '.join(self.at_work[:3])}{' ...' if len(self.at_work) > 3 else ''}"
        jobs = f"job {self.jobs_done} of {self.jobs}, " if self.jobs else ""
        return (
            f"{span(seconds):>12}  {jobs}{self.finished} of {self.runs} training runs{eta}"
            f"{working if self.at_work else ''}"
        )


class Watcher:
    """Reads the state of runs and Snakemake's log, again and again."""

    def __init__(self, dag: Dag, log: Path) -> None:
        self.dag, self.log = dag, log
        self.weights = {}
        for path in dag.run_folders():
            run, seed = Path(path).parent.name, int(Path(path).name.removeprefix("seed"))
            spec = dag.spec(run)
            shape = run_shape(dag.settings, spec)
            tokens = spec["steps"] * spec["batch_size"] * spec["data"].get("T", 1)
            self.weights[run, seed] = tokens * (OVERHEAD + (shape.parameters if shape else 0))

    def look(self) -> Progress:
        """Where it stands now."""
        done: dict[tuple[str, int], float] = {}
        working = []
        now = time.time()
        for state in read_states(self.dag.results):
            key = (state.run, state.seed)
            if key not in self.weights:
                continue
            share = 1.0 if state.status == FINISHED else (state.step or 0) / max(state.steps or 1, 1)
            done[key] = max(done.get(key, 0.0), share)
            if state.status == RUNNING and now - state.progress.get("time", now) < 60:
                working.append(f"{state.run} seed {state.seed} ({share:.0%})")
        total = sum(self.weights.values()) or 1
        text = self.log.read_text(errors="replace") if self.log.is_file() else ""
        jobs_done, jobs = (int(n) for n in (STEPS_DONE.findall(text) or [(0, _planned(text))])[-1])
        return Progress(
            runs=len(self.weights),
            finished=sum(share == 1.0 for share in done.values()),
            at_work=tuple(working),
            jobs=jobs,
            jobs_done=jobs_done,
            share=sum(self.weights[key] * share for key, share in done.items()) / total,
        )

    def failures(self) -> list[tuple[str, Path, str]]:
        """(rule, log, its last line) of every job that failed."""
        text = self.log.read_text(errors="replace") if self.log.is_file() else ""
        found = dict(FAILED.findall(text))
        told = []
        for rule, name in found.items():
            path = Path(name.split(",")[0])
            lines = [line for line in path.read_text(errors="replace").splitlines() if line] if path.is_file() else []
            told.append((rule, path, lines[-1] if lines else "it wrote nothing"))
        return told


def _planned(log: str) -> int:
    found = re.search(r"^total +(\d+)$", log, re.MULTILINE)
    return int(found[1]) if found else 0
