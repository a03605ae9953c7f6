"""What every script in `scripts/` shares: arguments, logging, and one clear sentence for bad input."""

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
    """Send log lines to a file as well, each line in one write; what was there is kept (a resumed run adds to it).

    Of processes that torchrun has started together the first speaks for all, unless another one fails.
    """
    if os.environ.get("RANK", "0") != "0":
        logging.getLogger().setLevel(logging.ERROR)
        return
    if path is not None:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        logging.getLogger().addHandler(logging.FileHandler(path))


def run(main: Callable[[Sequence[str] | None], int | None], *, network: bool = False) -> None:
    """Run a script's `main`; bad input ends in one line on stderr and exit code 2, not in a traceback.

    `network`: whether the script downloads. All others run with the Hugging Face clients switched off, so that no
    stage after the downloads can reach the hub by accident.
    """
    # Importing torch and transformers makes 600,000 objects; looking for garbage among them every 700 took a ninth of it.
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
