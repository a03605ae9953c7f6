"""A zero-shot task on disk: `items.jsonl`, `task.yaml` and the manifest `task.json` that vouches for the items.

lm-eval reads items from a local file when a task's `dataset_path` is the format's name. `task.yaml` says so, to be
laid over lm-eval's own definition of the task, which `task.json` names. The cloze's `task.yaml` is a whole definition:
`lm_eval --include_path FOLDER` takes it as it is.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from myopia.common.errors import MyopiaError
from myopia.common.files import sha256_file

ITEMS, DEFINITION, MANIFEST = "items.jsonl", "task.yaml", "task.json"


def read_task(folder: str | Path) -> dict[str, Any]:
    """The manifest of a task folder: `task`, `definition` (or None), `split`, `cluster` (a column, or None), `items`.

    Raises MyopiaError when there is no manifest or the items are not the manifest's.
    """
    folder = Path(folder)
    try:
        manifest = json.loads((folder / MANIFEST).read_text())
        wanted = manifest["sha256"]
    except (OSError, ValueError, KeyError, TypeError):
        raise MyopiaError(
            f"{folder / MANIFEST}: no readable manifest; make the task with `python -m myopia make-task`."
        ) from None
    if not (folder / ITEMS).is_file() or sha256_file(folder / ITEMS) != wanted:
        raise MyopiaError(f"{folder / ITEMS}: the items do not match their manifest; make the task again.")
    return manifest
