"""The corpus file `docs.jsonl.zst`: one `{"group","id","split","text"}` object per line, and its manifest.

A source that names the part of a mixture a document comes from adds `"component"` to its lines.

The manifest holds the sha256 of the *uncompressed* lines, so that two environments with different
releases of zstd agree on it, and every reader can check it at no cost while it reads.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from myopia.common.errors import MyopiaError
from myopia.common.files import canonical_json
from myopia.data.zstd import zstd_blocks

SPLITS = ("train", "validation", "test")
HELD_OUT = "held_out"
"""Split label of a source that knows only "not for training"; divided into validation and test later."""

_LEVEL = 6
QUICK = 1
"""Level of compression for a file that is read once and thrown away."""


class Document(NamedTuple):
    """One text. `group` is the unit that must not straddle splits and over which intervals are clustered.

    `component` is the part of a mixture the text comes from ("ArXiv"); None where the source names none.
    """

    id: str
    group: str
    text: str
    split: str | None = None
    component: str | None = None


class DocumentWriter:
    """Writes documents to a binary stream, counting as it goes; made by `open_writer`.

    Attributes: `counts` {split: {"documents", "characters", "bytes"}}, `components` {split: {component: documents}}
    of the documents that have one, and `text_sha256`.
    """

    def __init__(self, stream: Any) -> None:
        self.counts: dict[str, dict[str, int]] = {}
        self.components: dict[str, dict[str, int]] = {}
        self._hash = hashlib.sha256()
        self._stream = stream

    def write(self, document: Document) -> None:
        """Append one document."""
        # A lone surrogate (legal in JSON and in a Python literal) has no UTF-8 form.
        text = document.text.encode("utf-8", "replace").decode()
        record = {"id": document.id, "group": document.group, "split": document.split, "text": text}
        if document.component is not None:
            record["component"] = document.component
            parts = self.components.setdefault(document.split or "", {})
            parts[document.component] = parts.get(document.component, 0) + 1
        line = (json.dumps(record, sort_keys=True, ensure_ascii=False) + "\n").encode("utf-8", "replace")
        self._hash.update(line)
        self._stream.write(line)
        count = self.counts.setdefault(document.split or "", {"documents": 0, "characters": 0, "bytes": 0})
        count["documents"] += 1
        count["characters"] += len(text)
        count["bytes"] += len(line)

    @property
    def text_sha256(self) -> str:
        """Hex sha256 of the uncompressed lines written so far."""
        return self._hash.hexdigest()


@contextmanager
def open_writer(path: str | Path, level: int = _LEVEL) -> Iterator[DocumentWriter]:
    """A `DocumentWriter` for the zstd file `path`; equal documents give equal bytes."""
    import zstandard

    compressor = zstandard.ZstdCompressor(level=level, write_checksum=True)
    with open(path, "wb") as file, compressor.stream_writer(file) as stream:
        yield DocumentWriter(stream)


def zstd_lines(path: str | Path) -> Iterator[bytes]:
    """Lines (without the newline) of a zstd file. Raises MyopiaError for a file that is cut short or damaged."""
    rest = b""
    with open(path, "rb") as handle:
        for block in zstd_blocks(handle, str(path)):
            *lines, rest = (rest + block).split(b"\n")
            yield from lines
    if rest:
        yield rest


def manifest_path(docs: str | Path) -> Path:
    """Where the manifest of a corpus file lies: `docs.jsonl.zst` has `docs.manifest.json` beside it."""
    docs = Path(docs)
    return docs.with_name(docs.name.removesuffix(".zst").removesuffix(".jsonl") + ".manifest.json")


def read_manifest(docs: str | Path) -> dict[str, Any]:
    """The manifest beside a corpus file. Raises MyopiaError when there is none or it is not JSON."""
    path = manifest_path(docs)
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        raise MyopiaError(f"{path}: no such manifest; make the corpus with myopia harvest-text.") from None
    except (OSError, ValueError) as error:
        raise MyopiaError(f"{path}: unreadable manifest ({error}); harvest the corpus again.") from None


def read_documents(docs: str | Path, manifest: dict[str, Any] | None = None) -> Iterator[Document]:
    """Documents of a corpus file, in file order; checked against the manifest when the end is reached.

    Raises MyopiaError for a missing, damaged or cut file, a bad line, or text that is not the manifest's.
    """
    for batch in read_batches(docs, manifest, 1 << 18):
        yield from batch


def read_batches(docs: str | Path, manifest: dict[str, Any] | None, n_bytes: int) -> Iterator[list[Document]]:
    """The same in lists of documents whose lines add up to about `n_bytes`: several times faster than one by one."""
    digest, path = hashlib.sha256(), Path(docs)
    if not path.is_file():
        raise MyopiaError(f"{path}: no such corpus file; make it with myopia harvest-text.")
    number = 0
    for text in _whole_lines(path, n_bytes):
        digest.update(text)
        try:
            records = json.loads(b"[" + text[:-1].replace(b"\n", b",") + b"]")
            batch = [Document(r["id"], r["group"], r["text"], r["split"], r.get("component")) for r in records]
        except (ValueError, KeyError, TypeError, AttributeError):
            line = number + _bad_line(text.split(b"\n")[:-1])
            raise MyopiaError(f"{path}: line {line} is not a document; harvest again.") from None
        number += len(batch)
        yield batch
    if manifest is not None and digest.hexdigest() != manifest.get("text_sha256"):
        raise MyopiaError(f"{path}: the text does not match its manifest; harvest the corpus again.")


def _whole_lines(path: Path, n_bytes: int) -> Iterator[bytes]:
    """The text of a corpus file in pieces of about `n_bytes`, each of which ends a line."""
    rest = b""
    with open(path, "rb") as handle:
        for block in zstd_blocks(handle, str(path)):
            text, start = rest + block, 0
            while end := text.find(b"\n", start + n_bytes - 1) + 1:
                yield text[start:end]
                start = end
            rest = text[start:]
    if rest:
        yield rest if rest.endswith(b"\n") else rest + b"\n"


def _bad_line(lines: list[bytes]) -> int:
    """The number, from 1, of the first line that is not a document."""
    for number, line in enumerate(lines, 1):
        try:
            record = json.loads(line)
            record["id"], record["group"], record["text"], record["split"]
        except (ValueError, KeyError, TypeError):
            return number
    return len(lines)


def seeded_hash(seed: int, *names: str) -> int:
    """A 64-bit number that depends on the seed and the names alone: same on every machine and run."""
    digest = hashlib.sha256(canonical_json([seed, *names]).encode("utf-8", "replace")).digest()
    return int.from_bytes(digest[:8], "big")
