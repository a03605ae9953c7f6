"""Token files: memory-mapped windows `[n_windows, T]` with a manifest that vouches for every byte."""

from __future__ import annotations

import csv
import json
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from myopia.common.errors import MyopiaError
from myopia.common.files import sha256_file

MANIFEST = "tokens.manifest.json"
DOCS_HEADER = ("window", "doc", "group", "component")
"""Columns of `<split>.docs.csv`; the last is there only if the source names components."""


class TokenFile:
    """One split of an encoded corpus.

    Attributes: `tokens` (read-only np.memmap [n_windows, T], uint16 or uint32), `sha256` of its bytes, `split`,
    `manifest` (of the whole corpus) and, read when first asked for, `docs`, `groups` and `components` (one name per
    window).
    """

    def __init__(self, folder: Path, split: str, manifest: dict[str, Any], tokens: np.memmap) -> None:
        self.folder = folder
        self.split = split
        self.manifest = manifest
        self.tokens = tokens
        self.sha256: str = manifest["splits"][split]["sha256"]

    @classmethod
    def open(cls, folder: str | Path, split: str, *, verify: bool = True) -> TokenFile:
        """Open a split; `verify` also compares the sha256 of the file (its size is compared always).

        Raises MyopiaError when a file is missing or does not match the manifest.
        """
        folder = Path(folder)
        manifest = _manifest(folder)
        entry = manifest["splits"].get(split)
        if entry is None:
            raise MyopiaError(f"{folder}: there is no split '{split}'; it has {', '.join(manifest['splits'])}.")
        path = folder / f"{split}.bin"
        if not path.is_file():
            raise MyopiaError(f"{path}: the token file is missing; encode the corpus again.")
        shape = (entry["n_windows"], manifest["T"])
        dtype = np.dtype(manifest["dtype"]).newbyteorder("<")
        expected, size = shape[0] * shape[1] * dtype.itemsize, path.stat().st_size
        if size != expected:
            raise MyopiaError(
                f"{path}: the token file does not match its manifest ({size} bytes instead of {expected}); "
                "encode the corpus again."
            )
        if verify and sha256_file(path) != entry["sha256"]:
            raise MyopiaError(
                f"{path}: the token file does not match its manifest (sha256 differs); encode the corpus again."
            )
        return cls(folder, split, manifest, np.memmap(path, dtype=dtype, mode="r", shape=shape))

    def __len__(self) -> int:
        return len(self.tokens)

    @property
    def vocab_size(self) -> int:
        """Vocabulary of the tokenizer: one more than its largest token number."""
        return int(self.manifest["vocab_size"])

    def require_windows(self, n: int) -> None:
        """Raise MyopiaError unless there are at least `n` windows (one batch)."""
        if len(self) < n:
            raise MyopiaError(
                f"{self.folder}: the split '{self.split}' has {len(self)} windows, fewer than one batch of {n}; "
                "take more text or a smaller batch."
            )

    def require_vocab(self, vocab_size: int) -> None:
        """Raise MyopiaError unless a model with `vocab_size` embedding rows can read these tokens."""
        if self.vocab_size > vocab_size:
            raise MyopiaError(
                f"{self.folder}: the tokenizer has {self.vocab_size} tokens, more than the model's vocabulary of "
                f"{vocab_size}; raise the model's vocab_size or train a smaller tokenizer."
            )

    @property
    def docs(self) -> list[str]:
        """The document id of every window."""
        return self._rows[0]

    @property
    def groups(self) -> list[str]:
        """The group of every window."""
        return self._rows[1]

    @property
    def components(self) -> list[str] | None:
        """The part of the mixture every window comes from; None if the source names none."""
        return self._rows[2] if len(self._rows) > 2 else None

    @cached_property
    def _rows(self) -> list[list[str]]:
        path = self.folder / f"{self.split}.docs.csv"
        if not path.is_file():
            raise MyopiaError(f"{path}: the list of documents is missing; encode the corpus again.")
        if sha256_file(path) != self.manifest["splits"][self.split]["docs_sha256"]:
            raise MyopiaError(f"{path}: the list of documents does not match its manifest; encode the corpus again.")
        with open(path, newline="", encoding="utf-8") as handle:
            rows = csv.reader(handle)
            columns: list[list[str]] = [[] for _ in next(rows)[1:]]
            for _, *names in rows:
                for column, name in zip(columns, names, strict=True):
                    # One string per group, not one per window: a corpus has few groups and many windows.
                    column.append(column[-1] if column and column[-1] == name else name)
        return columns


def _manifest(folder: Path) -> dict[str, Any]:
    path = folder / MANIFEST
    try:
        value = json.loads(path.read_text())
        value["splits"].keys()
    except FileNotFoundError:
        raise MyopiaError(f"{path}: no such manifest; make it with myopia encode.") from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise MyopiaError(f"{path}: not a readable manifest; encode the corpus again.") from None
    return value
