"""Checkpoints of one download: documents in checksummed chunks, so that a killed fetch resumes where it was.

`<state>/<fingerprint>/` is no declared output, so Snakemake never deletes it. The fingerprint covers everything that
determines which documents come, and in which order.

    lock                     held by the one process that may write here
    source.json              the commit, resolved once: a resumed fetch reads the same text even if the branch moved
    chunk-<k>.jsonl.zst      documents in the order they came
    chunk-<k>.json           sha256 of the chunk and the cursor after it; written last: without it, and without a valid
                             record of every chunk before it, a chunk does not count
"""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from myopia.common.files import atomic_path, remove_leftovers, sha256_file, write_json
from myopia.data.documents import QUICK, Document, open_writer, read_documents

LOG = logging.getLogger(__name__)
_FORMAT = 1
_CURSOR = "place"  # key of the cursor in records on disk


@dataclass
class FetchCursor:
    """How far a fetch is: `split` and `shard` count in the order of reading, `row` rows of that shard are done.

    `rows` read and documents `kept`, by split of the dataset; `dropped` documents, by reason; `complete`: all is read.
    """

    split: int = 0
    shard: int = 0
    row: int = 0
    rows: Counter[str] = field(default_factory=Counter)
    kept: Counter[str] = field(default_factory=Counter)
    dropped: Counter[str] = field(default_factory=Counter)
    complete: bool = False


class Chunks:
    """The chunks in one state folder, whose lock the caller holds."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.cursor = FetchCursor()
        self.paths: list[Path] = []
        remove_leftovers(folder)
        self._read()

    @property
    def commit(self) -> str | None:
        """The commit that the revision resolved to when this fetch began; None before that."""
        path = self.folder / "source.json"
        return json.loads(path.read_text())["commit"] if path.exists() else None

    @commit.setter
    def commit(self, value: str) -> None:
        write_json(self.folder / "source.json", {"commit": value})

    def append(self, documents: Sequence[Document], cursor: FetchCursor) -> None:
        """Add a chunk and the cursor after it. A crash at any point leaves the earlier chunks valid."""
        path = self._path(len(self.paths))
        with atomic_path(path) as temporary:
            with open_writer(temporary, QUICK) as writer:
                for document in documents:
                    writer.write(document)
            digest = sha256_file(temporary)
        values = {key: dict(value) if isinstance(value, Counter) else value for key, value in vars(cursor).items()}
        record = {"format": _FORMAT, "sha256": digest, "documents": len(documents), _CURSOR: values}
        write_json(_record(path), record)
        self.paths.append(path)

    def documents(self) -> Iterator[Document]:
        """All documents so far, in the order they came."""
        for path in self.paths:
            yield from read_documents(path)

    def n_bytes(self) -> int:
        """Size of all chunks on disk, in bytes."""
        return sum(path.stat().st_size for path in self.paths)

    def remove(self) -> None:
        """Delete all but the lock file, on which another process may be waiting."""
        for path in self.folder.iterdir():
            if path.name != "lock":
                path.unlink(missing_ok=True)

    def _path(self, number: int) -> Path:
        return self.folder / f"chunk-{number:06d}.jsonl.zst"

    def _read(self) -> None:
        """Take over every chunk up to the first that is missing or damaged; delete the rest."""
        while (path := self._path(len(self.paths))).exists():
            try:
                record = json.loads(_record(path).read_text())
                if record["format"] != _FORMAT or sha256_file(path) != record["sha256"]:
                    raise ValueError("its checksum does not match")
                values = record[_CURSOR]
                counters = {key: Counter(values.pop(key)) for key in ("rows", "kept", "dropped")}
                self.cursor = FetchCursor(**values, **counters)
            except (OSError, ValueError, KeyError, TypeError) as error:
                LOG.warning("%s is not used and will be fetched again (%s)", path.name, error)
                break
            self.paths.append(path)
        valid = {path.name for known in self.paths for path in (known, _record(known))}
        for path in self.folder.glob("chunk-*"):
            if path.name not in valid:
                path.unlink()


def _record(path: Path) -> Path:
    return path.with_name(path.name.replace(".jsonl.zst", ".json"))
