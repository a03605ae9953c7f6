"""From a source to `docs.jsonl.zst` and its manifest."""

from __future__ import annotations

import logging
import os
import shutil
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from myopia.common.errors import MyopiaError
from myopia.common.files import atomic_path, write_json
from myopia.data.disk import DiskUsage, disk_full_is_bad_input, require_space
from myopia.data.documents import SPLITS, Document, open_writer, read_documents
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
    """Write the documents of `source`, each with its split, to `out` (zstd) and return the manifest.

    Equal sources give equal bytes. Raises MyopiaError for a bad spec or source, an empty corpus, a split
    without documents, or too little disk.
    """
    out = Path(out)
    spec = checked_splits(splits)
    provenance = source_provenance(source)
    if "commit" in provenance:
        # A branch may move between the two looks at it; the text must be that of the recorded commit.
        source = {**source, "revision": provenance["commit"]}
    require_space(out.parent, estimated_bytes(source), disk_usage)
    dropped: Counter[str] = Counter()
    splitter = DocumentSplitter(spec)
    spool = out.with_name(f".{out.name}.spool-{os.getpid()}")
    with disk_full_is_bad_input(out.parent), atomic_path(out) as temporary:
        try:
            # Shares of characters are known only at the end of the source, and a hub source is not read twice.
            with open_writer(spool) as writer:
                for document in iter_documents(source, dropped):
                    splitter.add(document)
                    writer.write(document)
            if not writer.counts:
                raise MyopiaError(f"source: the corpus is empty: no document was kept ({_reasons(dropped)}).")
            if splitter.undecided:
                splitter.finish()
                with open_writer(temporary) as writer:
                    for document in read_documents(spool):
                        split = splitter.split_of(document)
                        writer.write(Document(document.id, document.group, document.text, split))
            else:
                os.replace(spool, temporary)
        finally:
            spool.unlink(missing_ok=True)
        for split in SPLITS:
            if split not in writer.counts:
                raise MyopiaError(
                    f"source: no document is in the split '{split}'; name its files or give no splits at all."
                )
        # The old manifest must not stand beside the new text if the run ends between the two.
        Path(manifest).unlink(missing_ok=True)
    result = {
        "format": 1,
        "source": provenance,
        "splits": spec,
        "counts": writer.counts,
        "dropped": dict(dropped),
        "text_sha256": writer.text_sha256,
    }
    write_json(manifest, result)
    for split in SPLITS:
        LOG.info("%s: %d documents, %d characters", split, *list(writer.counts[split].values())[:2])
    LOG.info("left out: %s", _reasons(dropped))
    return result


def _reasons(dropped: Counter[str]) -> str:
    return ", ".join(f"{count} {reason}" for reason, count in sorted(dropped.items())) or "nothing left out"
