"""A finished run's folder: plain files that other tools open without our code."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from torch import nn

from myopia.common.files import sha256_file, write_json
from myopia.model.attach import to_vanilla


def export_model(
    model: nn.Module, folder: Path, tokenizer: str | None, arm: dict[str, Any], teacher: str | None
) -> None:
    """Write config.json, model.safetensors and the tokenizer into `folder`, each file moved into place whole.

    The model is detached from its arm first, so that config.json never names our attention. Arms whose forward is
    not the vanilla one (local, bigram) get a `myopia.json` that says how to run them.
    """
    to_vanilla(model)
    folder.mkdir(parents=True, exist_ok=True)
    for leftover in folder.glob(".export-*"):  # of a process that was killed; the run's lock is ours
        shutil.rmtree(leftover)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".export-") as name:
        temporary = Path(name)
        model.save_pretrained(temporary)
        if tokenizer is not None:
            for file in Path(tokenizer).iterdir():
                if (file.is_file() and "token" in file.name) or file.name in ("vocab.json", "merges.txt"):
                    shutil.copy(file, temporary / file.name)
        if arm["kind"] in ("local", "bigram"):
            record = {"arm": arm}
            if teacher is not None:
                record["teacher_sha256"] = sha256_file(Path(teacher) / "model.safetensors")
            write_json(temporary / "myopia.json", record)
        for file in sorted(temporary.iterdir()):
            os.chmod(file, 0o644)
            with open(file, "rb+") as handle:
                os.fsync(handle.fileno())
            os.replace(file, folder / file.name)
