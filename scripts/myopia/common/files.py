"""Atomic writes, hashes and canonical JSON: a half-written file can never be taken for a result."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

CSV_FLOAT = "%.10g"


def canonical_json(value: Any) -> str:
    """JSON with sorted keys and no spare space: equal values give equal text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def sha256_text(text: str) -> str:
    """Hex sha256 of a text's UTF-8 bytes."""
    return hashlib.sha256(text.encode()).hexdigest()


def sha256_file(path: str | Path) -> str:
    """Hex sha256 of a file's bytes, read in blocks."""
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success flush it to disk and move it into place.

    A reader sees the old file or the whole new one, never a part. On an exception the temporary file is removed and
    `path` is unchanged. The folder is made.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # The real suffix stays last because writers (pandas, numpy) choose a format by it.
    temporary = path.with_name(f".{path.stem}.tmp-{os.getpid()}{path.suffix}")
    try:
        yield temporary
        with open(temporary, "rb+") as handle:
            os.fsync(handle.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def remove_leftovers(folder: str | Path) -> None:
    """Delete temporary files of a killed `atomic_path` in `folder`; the caller must be its only writer."""
    for leftover in Path(folder).glob(".*.tmp-*"):
        leftover.unlink(missing_ok=True)


def write_json(path: str | Path, value: Any) -> None:
    """Write indented, key-sorted JSON atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(value, indent=1, sort_keys=True, allow_nan=False) + "\n")


def write_csv(path: str | Path, frame: Any) -> None:
    """Write a pandas DataFrame in the project's csv form: `%.10g`, no index; gzip without name or time stamp."""
    with atomic_path(path) as temporary, open(temporary, "wb") as raw:
        packed = gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0) if Path(path).suffix == ".gz" else raw
        with io.TextIOWrapper(packed, encoding="utf-8", newline="") as handle:
            frame.to_csv(handle, index=False, float_format=CSV_FLOAT, lineterminator="\n")
