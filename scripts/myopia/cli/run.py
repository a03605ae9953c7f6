"""The command behind `make`: the workflow with a line of progress in place of Snakemake's log."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import typer

from myopia.cli.start import open_dag, start, write

EVERY_S, LINE_EVERY_S = 2.0, 60.0
SETTINGS_FILE = "MYOPIA_TELL_SETTINGS"
"""Names the file in which the workflow, once it has started, says where its settings lie."""
TAIL = 12


def run() -> int:
    """Run the workflow, as `snakemake --cores all` with all words given here, and show how far it is.

    Snakemake's own lines go to .snakemake/run.log. What a run comes to is printed at the end, on one screen.
    """
    start()
    log = Path(".snakemake/run.log")
    log.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        told = Path(folder, "settings")
        command = [sys.executable, "-m", "snakemake", "--cores", "all", *sys.argv[2:]]  # as written: typer drops a "--"
        with open(log, "wb") as output:
            process = subprocess.Popen(
                command, stdout=output, stderr=subprocess.STDOUT, env={**os.environ, SETTINGS_FILE: str(told)}
            )
        # A terminal's Ctrl-C reaches Snakemake, too; a scheduler's SIGTERM only this process.
        signal.signal(signal.SIGTERM, lambda *_: process.send_signal(signal.SIGINT))
        try:
            settings = _follow(process, told, log)
        except KeyboardInterrupt:  # Snakemake stops its jobs, which save their states
            write("\nstopping: runs at work save their state ...")
            process.wait()
            write("stopped; the same command goes on where it was")
            return 130
    _end(process.returncode, settings, log)
    return process.returncode


def _follow(process: subprocess.Popen[bytes], told: Path, log: Path) -> Path | None:
    """Show progress until Snakemake ends; where its settings lie, None if it never started a job."""
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    from myopia.show.progress import Watcher

    console = Console(file=sys.stdout)
    begun, said, watcher, before = time.monotonic(), -LINE_EVERY_S, None, 0.0
    shown = Live(console=console, auto_refresh=False, transient=True) if console.is_terminal else None
    with shown or contextlib.nullcontext():
        while process.poll() is None:
            time.sleep(EVERY_S if watcher else 0.2)
            if watcher is None and told.is_file() and told.read_text().endswith("\n"):
                watcher = Watcher(open_dag(told.read_text().strip()), log)
                before = watcher.look().share
            if watcher is None:
                continue
            seconds = time.monotonic() - begun
            if shown:
                shown.update(
                    Text(watcher.look().line(seconds, before), no_wrap=True, overflow="ellipsis"), refresh=True
                )
            elif seconds - said >= LINE_EVERY_S:
                write(watcher.look().line(seconds, before))
                said = seconds
    return Path(told.read_text().strip()) if told.is_file() else None


def _end(code: int, settings: Path | None, log: Path) -> None:
    """What it came to: the summary, or what failed and where to read more."""
    from myopia.show.progress import Watcher

    lines = log.read_text(errors="replace").splitlines()
    if code == 0:
        asked_for_all = settings is not None and any(line.startswith("report: ") for line in lines)
        if asked_for_all:
            from myopia.cli.results import summary

            summary(settings)
        elif any("Nothing to be done" in line for line in lines):
            write("nothing to be done")
        else:
            write("done")
        return
    if any(line.startswith("Terminating processes on user request") for line in lines):
        write("stopped; the same command goes on where it was")
        return
    failures = Watcher(open_dag(settings), log).failures() if settings else []
    for rule, path, last in failures:
        write(f"{rule} failed: {last}\n  its log: {path}")
    if not failures:
        told = [line for line in lines if line.startswith(("config", "error:"))] or lines[-TAIL:]
        write("\n".join(told))
    write(f"Snakemake's own log: {log}; once the cause is mended the same command goes on where it was")


def add_to(app: typer.Typer, panel: str) -> None:
    """Register this command."""
    words = {"allow_extra_args": True, "ignore_unknown_options": True}
    app.command(rich_help_panel=panel, context_settings=words)(run)
