"""A live table of training runs, read from their state files; correct while jobs come, go and die."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from rich.console import Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from myopia.show.states import CRASHED, FINISHED, RUNNING, STOPPED, WAITING, State, read_states

SILENT_S = 60.0
"""A run at work reports every few seconds; silence longer than this is shown."""

WIDE = 110  # columns of a terminal that has room for bars

STYLES = {RUNNING: "bold green", FINISHED: "dim", STOPPED: "yellow", CRASHED: "bold red", WAITING: "dim"}
ORDER = (RUNNING, CRASHED, STOPPED, WAITING, FINISHED)


@dataclass(frozen=True)
class Row:
    """One run and seed as it stands now."""

    run: str
    seed: int
    status: str
    step: int
    steps: int
    loss: float | None
    tokens_per_s: float | None
    eta_s: float | None  # from now
    attempts: int
    crashes: int
    remark: str
    last: float  # when it was last heard of, seconds since 1970

    @property
    def share(self) -> float:
        """Finished part, 0 to 1."""
        return self.step / self.steps if self.steps else 0.0


def rows(states: Iterable[State], now: float) -> list[Row]:
    """One row per run and seed, of its newest state: those at work first, then the dead, then the finished, latest first."""
    newest: dict[tuple[str, int], State] = {}
    for state in states:
        known = newest.get((state.run, state.seed))
        if known is None or (_heard(state), state.status == RUNNING) > (_heard(known), known.status == RUNNING):
            newest[state.run, state.seed] = state
    found = [_row(state, now) for state in newest.values()]
    # What works keeps its place from one look to the next; what has ended is sorted by when.
    return sorted(
        found, key=lambda r: (ORDER.index(r.status), 0 if r.status == RUNNING else -r.last, r.run, r.seed)
    )  # fmt: skip


def _heard(state: State) -> float:
    heard = state.progress.get("time")
    return max(heard if isinstance(heard, int | float) else 0.0, state.last_event or 0.0)


def _row(state: State, now: float) -> Row:
    progress = state.progress
    # A file of an earlier attempt says where that one was: the new one has not told anything yet.
    fresh = progress.get("time", 0.0) >= (state.last_event or 0.0) or state.status != RUNNING
    silence = now - _heard(state)
    remarks = []
    eta = None
    if state.status == RUNNING:
        if not fresh:
            remarks.append("starting")
        else:
            eta = max(0.0, float(progress.get("eta_s", float("inf"))) - silence)
        if silence > SILENT_S:
            remarks.append(f"silent for {span(silence)}")
    elif state.status == CRASHED:
        remarks.append("died; nobody holds its lock; resumes when started again")
    elif state.status == STOPPED:
        remarks.append("told to stop; resumes when started again")
    if state.attempts > 1:
        remarks.append(f"attempt {state.attempts}")
    step = progress.get("steps", 0) if state.status == FINISHED else progress.get("step", 0)
    return Row(
        run=state.run, seed=state.seed, status=state.status, step=int(step), steps=int(progress.get("steps", 0)),
        loss=progress.get("loss"), tokens_per_s=progress.get("tokens_per_s") if state.status == RUNNING and fresh else None,
        eta_s=eta, attempts=state.attempts, crashes=state.crashes, remark="; ".join(remarks), last=_heard(state),
    )  # fmt: skip


def picture(results: Path, now: float, limit: int, width: int = 120) -> RenderableType:
    """Counts and a table of at most `limit` rows; in a narrow terminal (columns) without bars."""
    found = rows(read_states(results), now)
    counts = {status: sum(row.status == status for row in found) for status in ORDER}
    speed = sum(row.tokens_per_s or 0.0 for row in found)
    head = Text(f"{results}  ", style="bold", no_wrap=True)
    head.append(", ".join(f"{n} {status}" for status, n in counts.items() if n) or "no run has started here")
    if speed:
        head.append(f"; {speed:,.0f} tokens/s in all")
    if not found:
        return head
    table = Table(box=None, pad_edge=False)
    table.add_column("run", no_wrap=True, overflow="ellipsis")
    for name in ("seed", "status", "step", "loss", "tokens/s", "ETA"):
        longest = max(len(_cells(row)[name]) for row in found[:limit])
        table.add_column(
            name, justify="left" if name == "status" else "right", no_wrap=True, min_width=max(len(name), longest)
        )
    if width >= WIDE:
        table.add_column("", min_width=12)
    table.add_column("")
    for row in found[:limit]:
        cells = _cells(row)
        bar = [ProgressBar(total=max(row.steps, 1), completed=row.step, width=12)] if width >= WIDE else []
        status = Text(cells.pop("status"), STYLES[row.status])
        table.add_row(row.run, cells.pop("seed"), status, *cells.values(), *bar, row.remark)
    rest = len(found) - limit
    return Group(head, table, *([Text(f"and {rest} more", style="dim")] if rest > 0 else []))


def _cells(row: Row) -> dict[str, str]:
    return {
        "seed": str(row.seed),
        "status": row.status,
        "step": f"{row.step:,}/{row.steps:,}" if row.steps else "",
        "loss": "" if row.loss is None else f"{row.loss:.4f}",
        "tokens/s": "" if not row.tokens_per_s else f"{row.tokens_per_s:,.0f}",
        "ETA": span(row.eta_s),
    }


def span(seconds: float | None) -> str:
    """ "45 s", "3 min 20 s", "2 h 05 min"; nothing where there is no end in sight."""
    if seconds is None or seconds == float("inf"):
        return ""
    minutes, rest = divmod(round(seconds), 60)
    if not minutes:
        return f"{rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"


def follow(results: Path, every_s: float) -> None:
    """Redraw until interrupted; as many rows as the terminal has."""
    with Live(auto_refresh=False) as live:
        while True:
            live.update(
                picture(results, time.time(), max(5, live.console.height - 4), live.console.width), refresh=True
            )
            time.sleep(every_s)
