"""Text sources on this machine behind one interface: a spec (a JSON object with a `kind`) in, documents out.

Text from the hub comes through fetch.py instead: a download may break off and is resumed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from myopia.common.errors import MyopiaError
from myopia.data.docstrings import DEFAULT_PACKAGES, docstring_provenance, iter_docstrings
from myopia.data.documents import Document
from myopia.data.text_files import files_bytes, files_provenance, iter_files

__all__ = ["DEFAULT_PACKAGES", "Document", "estimated_bytes", "iter_documents", "source_provenance"]

_READERS = {"docstrings": iter_docstrings, "files": iter_files}
_PROVENANCE = {"docstrings": docstring_provenance, "files": files_provenance}
# Compressed text grows about fourfold; a source whose size nobody knows gets a token amount.
_EXPANSION = 4
_UNKNOWN_BYTES = 100_000_000


def iter_documents(source: Mapping[str, Any], dropped: Counter[str] | None = None) -> Iterator[Document]:
    """The documents of a source, in an order that depends on the source alone.

    Kinds: `docstrings` (see docstrings.py), `files` (text_files.py). `dropped`, when given, counts what was left
    out, by reason. Raises MyopiaError for a bad spec or text that cannot be read.
    """
    return _READERS[_kind(source)](source, Counter() if dropped is None else dropped)


def source_provenance(source: Mapping[str, Any]) -> dict[str, Any]:
    """What the text of a source depends on: package versions or file hashes."""
    return _PROVENANCE[_kind(source)](source)


def estimated_bytes(source: Mapping[str, Any]) -> int:
    """A generous guess of the disk a harvest needs, in bytes."""
    return _EXPANSION * files_bytes(source) if _kind(source) == "files" else _UNKNOWN_BYTES


def _kind(source: Mapping[str, Any]) -> str:
    kind = source.get("kind")
    if kind == "hub":
        raise MyopiaError("source: text from the hub is fetched by myopia fetch-text, not harvested.")
    if kind not in _READERS:
        raise MyopiaError(f"source: unknown kind {kind!r}; use one of {', '.join(sorted(_READERS))}.")
    return str(kind)
