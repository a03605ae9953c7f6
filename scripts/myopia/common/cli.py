"""What every script in `scripts/` shares: arguments, logging, exit codes."""

from __future__ import annotations

import argparse
import gc
import logging
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from myopia.common.errors import EXIT_BAD_INPUT, MyopiaError


def parser(description: str | None, *paths: str) -> argparse.ArgumentParser:
    """An argument parser with one required `--name` path option for each of `paths`."""
    result = argparse.ArgumentParser(description=description)
    for name in paths:
        result.add_argument(f"--{name}", required=True, metavar="PATH")
    return result


def log_to(path: str | None) -> None:
    """Append log lines to the file `path` as well (a resumed run adds to its log); None logs to stderr only.

    On ranks other than 0 of a process group only errors are logged, and to stderr.
    """
    if os.environ.get("RANK", "0") != "0":
        logging.getLogger().setLevel(logging.ERROR)
        return
    if path is not None:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        logging.getLogger().addHandler(logging.FileHandler(path))


def run(main: Callable[[Sequence[str] | None], int | None], *, network: bool = False) -> None:
    """Run a script's `main` and exit with its code; MyopiaError ends in one line on stderr and exit code 2.

    Args:
        main: takes the argument list (None: sys.argv) and returns an exit code, or None for 0.
        network: whether the script downloads. All others run with the Hugging Face clients offline, so that no stage
            after the downloads can reach the hub by accident.
    """
    # Importing torch and transformers makes 600,000 objects; collecting garbage every 700 took a ninth of that time.
    gc.set_threshold(20_000, 10, 10)
    if not network:
        os.environ.update(HF_HUB_OFFLINE="1", HF_DATASETS_OFFLINE="1")  # read when the clients are imported
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    try:
        code = main(None)
    except MyopiaError as error:
        logging.error("error: %s", error)
        sys.exit(EXIT_BAD_INPUT)
    except Exception:
        logging.exception("unexpected error")  # into the log file too
        sys.exit(1)
    sys.exit(code or 0)
