"""Text from local parquet, jsonl, jsonl.zst and txt files."""

from __future__ import annotations

import glob
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from myopia.common.errors import MyopiaError
from myopia.common.files import sha256_file
from myopia.data.documents import HELD_OUT, SPLITS, Document, zstd_lines
from myopia.data.rows import COLUMNS, column, document
from myopia.data.specs import checked, positive

SUFFIXES = (".parquet", ".jsonl", ".jsonl.zst", ".txt")

_SPEC_TYPES = {
    "kind": str,
    "path": str,
    "text_column": str,
    "group_column": str,
    "id_column": str,
    "component_column": str,
    "component_required": bool,
    "split_files": dict,
    "min_chars": int,
    "max_chars": int,
    "max_documents": int,
}
_SPEC_DEFAULTS = {
    "text_column": "text",
    "group_column": None,
    "id_column": None,
    "component_column": None,
    "component_required": True,
    "split_files": None,
    "min_chars": 1,
    "max_chars": None,
    "max_documents": None,
}
# Books of half a megabyte stand in one column; a few rows at a time keep the memory flat.
_PARQUET_ROWS = 64


def iter_files(source: Mapping[str, Any], dropped: Counter[str]) -> Iterator[Document]:
    """Documents of the files at `path` (a file, a folder or a glob), in path order.

    `split_files` maps train, validation, test (or held_out, to be divided later) to a file name, glob or list
    of them inside the folder `path`; without it no document has a split. Columns may be dotted
    (`meta.pile_set_name`); of a list the first value counts. Without `id_column` the id is `file:row`; the rest as
    in rows.py. `max_documents` holds for each split.
    """
    spec = _checked(source)
    root, files = _find(spec)
    kept: Counter[str | None] = Counter()
    for split, path in files:
        name = path.relative_to(root).as_posix()
        for number, row in enumerate(_rows(path, spec)):
            if spec["max_documents"] is not None and kept[split] >= spec["max_documents"]:
                break
            default = name if path.suffix == ".txt" else f"{name}:{number}"
            found = document(row, spec, default, split, name, dropped)
            if found is not None:
                kept[split] += 1
                yield found


def files_provenance(source: Mapping[str, Any]) -> dict[str, Any]:
    """The spec without the machine's path, and name, bytes and sha256 of every file read."""
    spec = _checked(source)
    root, files = _find(spec)
    return {
        **{key: value for key, value in spec.items() if key != "path"},
        "files": [
            {
                "name": path.relative_to(root).as_posix(),
                "split": split,
                "bytes": path.stat().st_size,
                "sha256": sha256_file(path),
            }
            for split, path in files
        ],
    }


def files_bytes(source: Mapping[str, Any]) -> int:
    """Bytes of all files of the source, for the disk estimate."""
    return sum(path.stat().st_size for _, path in _find(_checked(source))[1])


def _checked(source: Mapping[str, Any]) -> dict[str, Any]:
    spec = checked(source, "source", _SPEC_TYPES, _SPEC_DEFAULTS)
    positive(spec, "source", "min_chars", "max_chars", "max_documents")
    for split in spec["split_files"] or {}:
        if split not in (*SPLITS, HELD_OUT):
            raise MyopiaError(
                f"source: 'split_files' has the unknown split '{split}'; use {', '.join(SPLITS)} or {HELD_OUT}."
            )
    return spec


def _find(spec: Mapping[str, Any]) -> tuple[Path, list[tuple[str | None, Path]]]:
    """The folder that names are relative to, and (split, file) in a fixed order."""
    path = Path(spec["path"]).expanduser()
    if spec["split_files"]:
        if not path.is_dir():
            raise MyopiaError(f"source: 'path' must be an existing folder when 'split_files' is given: {path}.")
        files: list[tuple[str | None, Path]] = []
        for split in sorted(spec["split_files"]):
            patterns = spec["split_files"][split]
            for pattern in [patterns] if isinstance(patterns, str) else patterns:
                # The folder's own name may hold glob characters; only the pattern is one.
                names = sorted(glob.glob(str(pattern), root_dir=path, recursive=True))
                found = [path / name for name in names if (path / name).is_file()]
                if not all(file.resolve().is_relative_to(path.resolve()) for file in found):
                    raise MyopiaError(f"source: '{pattern}' ({split}) leads out of the folder {path}.")
                if not found:
                    raise MyopiaError(f"source: no file matches '{pattern}' ({split}) in {path}.")
                files += [(split, file) for file in found]
        return path, files
    if path.is_dir():
        found = sorted(file for file in path.rglob("*") if file.is_file() and file.name.endswith(SUFFIXES))
        if not found:
            raise MyopiaError(f"source: the folder {path} holds no {', '.join(SUFFIXES)} file.")
        return path, [(None, file) for file in found]
    found = _glob(path)
    if not found:
        raise MyopiaError(f"source: no such file or folder: {path}.")
    root = path.parent
    while glob.has_magic(str(root)):
        root = root.parent
    return root, [(None, file) for file in found]


def _glob(pattern: Path) -> list[Path]:
    if pattern.is_file():
        return [pattern]
    return [Path(name) for name in sorted(glob.glob(str(pattern), recursive=True)) if Path(name).is_file()]


def _rows(path: Path, spec: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Rows of one file as mappings. Raises MyopiaError for a file that cannot be read as what its name says."""
    try:
        if path.name.endswith(".parquet"):
            yield from _parquet_rows(path, spec)
        elif path.name.endswith(".jsonl.zst"):
            yield from _json_rows(path, zstd_lines(path))
        elif path.name.endswith(".jsonl"):
            with open(path, "rb") as handle:
                yield from _json_rows(path, handle)
        elif path.name.endswith(".txt"):
            yield {spec["text_column"]: path.read_bytes().decode("utf-8")}
        else:
            raise MyopiaError(f"{path}: unknown kind of file; use {', '.join(SUFFIXES)}.")
    except UnicodeDecodeError:
        raise MyopiaError(f"{path}: not UTF-8 text; convert the file to UTF-8.") from None
    except OSError as error:
        raise MyopiaError(f"{path}: cannot be read ({error.strerror or error}).") from None


def _json_rows(path: Path, lines: Iterator[bytes] | Any) -> Iterator[Mapping[str, Any]]:
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError:
            raise MyopiaError(f"{path}: line {number} is not valid JSON; the file may be cut short.") from None
        if not isinstance(row, dict):
            raise MyopiaError(f"{path}: line {number} is not a JSON object.")
        yield row


def _parquet_rows(path: Path, spec: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    import pyarrow
    import pyarrow.parquet

    optional = set() if spec["component_required"] else {spec["component_column"]}
    dotted = [spec[key] for key in COLUMNS if spec[key]]
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            present = file.schema_arrow.names
            for name in dotted:
                if name not in optional:
                    # Name every column in the error, not only those that would have been read.
                    column(dict.fromkeys(present), name.split(".")[0], str(path))
            wanted = sorted({name.split(".")[0] for name in dotted} & set(present))
            for batch in file.iter_batches(batch_size=_PARQUET_ROWS, columns=wanted):
                yield from batch.to_pylist()
    except pyarrow.ArrowException as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise MyopiaError(f"{path}: not a readable parquet file ({first}); fetch the file again.") from None
