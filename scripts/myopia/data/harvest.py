"""From a source to `docs.jsonl.zst` and its manifest."""

from __future__ import annotations

import logging
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from myopia.common.errors import MyopiaError
from myopia.common.files import atomic_path, write_json
from myopia.data.disk import DiskUsage, disk_full_is_bad_input, require_space
from myopia.data.documents import QUICK, SPLITS, Document, open_writer, read_documents
from myopia.data.sources import estimated_bytes, iter_documents, source_provenance
from myopia.data.split import DocumentSplitter, checked_splits

LOG = logging.getLogger(__name__)


def harvest(
    source: Mapping[str, Any],
    splits: Mapping[str, Any],
    out: str | Path,
    manifest: str | Path,
    *,
    disk_usage: DiskUsage = shutil.disk_usage,
) -> dict[str, Any]:
    """Write the documents of a source on this machine, each with its split, to `out` (zstd); return the manifest.

    Equal sources give equal bytes. Raises MyopiaError for a bad spec or source, an empty corpus, a split
    without documents, or too little disk.
    """
    out = Path(out)
    checked_splits(splits)
    provenance = source_provenance(source)
    require_space(out.parent, estimated_bytes(source), disk_usage)
    dropped: Counter[str] = Counter()
    spool = out.with_name(f".{out.name}.spool-{os.getpid()}")
    with disk_full_is_bad_input(out.parent):
        try:
            # Shares of characters are known only at the end of the source, and a file might change between two looks.
            with open_writer(spool, QUICK) as writer:
                for document in iter_documents(source, dropped):
                    writer.write(document)
            return write_corpus(lambda: read_documents(spool), provenance, splits, out, manifest, dropped)
        finally:
            spool.unlink(missing_ok=True)


def write_corpus(
    documents: Callable[[], Iterator[Document]],
    provenance: Mapping[str, Any],
    splits: Mapping[str, Any],
    out: str | Path,
    manifest: str | Path,
    dropped: Counter[str],
    check: Callable[[dict[str, Any]], None] = lambda manifest: None,
) -> dict[str, Any]:
    """Write the documents, each with its split, to `out` and return the manifest; `documents` is called twice.

    `check` sees the manifest before anything is put in place, and may raise. Raises MyopiaError for an empty corpus
    or a split without documents.
    """
    spec = checked_splits(splits)
    splitter = DocumentSplitter(spec)
    n_documents = 0
    for document in documents():
        splitter.add(document)
        n_documents += 1
    if not n_documents:
        raise MyopiaError(f"source: the corpus is empty: no document was kept ({_reasons(dropped)}).")
    splitter.finish()
    with disk_full_is_bad_input(Path(out).parent), atomic_path(out) as temporary:
        with open_writer(temporary) as writer:
            for document in documents():
                writer.write(document._replace(split=splitter.split_of(document)))
        for split in SPLITS:
            if split not in writer.counts:
                raise MyopiaError(
                    f"source: no document is in the split '{split}'; name its files or give no splits at all."
                )
        result = {
            "format": 1,
            "source": dict(provenance),
            "splits": spec,
            "counts": writer.counts,
            "dropped": dict(dropped),
            "text_sha256": writer.text_sha256,
        }
        if writer.components:
            result["components"] = writer.components
        check(result)
        # The old manifest must not stand beside the new text if the run ends between the two.
        Path(manifest).unlink(missing_ok=True)
    write_json(manifest, result)
    for split in SPLITS:
        LOG.info("%s: %d documents, %d characters", split, *list(writer.counts[split].values())[:2])
    LOG.info("left out: %s", _reasons(dropped))
    return result


def _reasons(dropped: Counter[str]) -> str:
    return ", ".join(f"{count} {reason}" for reason, count in sorted(dropped.items())) or "nothing left out"
