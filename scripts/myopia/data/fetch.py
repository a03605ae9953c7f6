"""Text from the hub: streamed, resumable, in a seeded order, checked against `hub.lock.json`.

Documents are kept in the order they come (chunks.py) and shuffled when all are there. So a fetch that was killed
ends with the same bytes as one that was not, with any release of `datasets`: its own shuffle buffer is lost when a
stream is resumed, and works differently from one release to the next.
"""

from __future__ import annotations

import logging
import random
import shutil
from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby, islice
from pathlib import Path
from typing import Any

from tenacity import RetryCallState

from myopia.common.errors import MyopiaError
from myopia.common.files import canonical_json, sha256_text
from myopia.common.locks import exclusive_lock
from myopia.data.chunks import Chunks
from myopia.data.disk import DiskUsage, disk_full_is_bad_input, require_space
from myopia.data.documents import Document, seeded_hash
from myopia.data.harvest import write_corpus
from myopia.data.hub import HubDataset, checked_hub
from myopia.data.hub_client import ATTEMPTS, WAIT_S, HubUnavailable, resolve, retry
from myopia.data.lock import check_text, locked_commit, read_lock
from myopia.data.rows import document
from myopia.data.split import checked_splits

LOG = logging.getLogger(__name__)

# A chunk is written when either is reached; what a kill costs is one chunk.
CHUNK_DOCUMENTS = 10_000
_CHUNK_CHARACTERS = 32_000_000


def fetch_corpus(
    source: Mapping[str, Any],
    splits: Mapping[str, Any],
    out: str | Path,
    manifest: str | Path,
    *,
    state: str | Path,
    lock: str | Path | None = None,
    attempts: int = ATTEMPTS,
    wait_s: float = WAIT_S,
    chunk_documents: int = CHUNK_DOCUMENTS,
    disk_usage: DiskUsage = shutil.disk_usage,
) -> dict[str, Any]:
    """Write the documents of a hub dataset, each with its split, to `out` (zstd) and return the manifest.

    The revision is resolved once, or read from the `lock` file. What has arrived stays in `state` until the corpus is
    written, so the same call resumes after a kill or a failure, and needs no hub once all has come.

    Args:
        source: which dataset to read (docs/data.md).
        splits: fractions, seed and unit of the split.
        out: docs.jsonl.zst.
        manifest: docs.manifest.json: the commit, the rows that came, the documents and their sha256.
        state: folder of the chunks.
        lock: hub.lock.json, which the text must agree with.
        attempts: failures of the hub in a row, without a new row, that end the fetch.
        wait_s: seconds before the second attempt; later waits double.
        chunk_documents: documents per chunk.
        disk_usage: for tests.

    Raises:
        MyopiaError: hub, dataset, revision, split or column not there; a shard that cannot be read to its end; too
            many failures in a row; another text than the lock's.
    """
    spec, out = checked_hub(source), Path(out)
    checked_splits(splits)
    known = read_lock(lock)
    pinned = locked_commit(known, "dataset", spec["dataset"], spec["revision"])
    fingerprint = sha256_text(canonical_json([spec, pinned]))[:16]
    with exclusive_lock(Path(state) / fingerprint, spec["dataset"]) as folder, disk_full_is_bad_input(folder):
        chunks = Chunks(folder)
        fetch = _Fetch(spec, chunks, attempts, wait_s, chunk_documents)
        fetch.run(pinned)
        require_space(out.parent, 2 * chunks.n_bytes(), disk_usage)
        provenance = {**spec, "commit": chunks.commit, "rows": dict(fetch.cursor.rows)}
        limit = spec["max_documents"]

        def documents() -> Iterator[Document]:
            for _, part in groupby(chunks.documents(), key=lambda document: document.split):
                yield from islice(shuffled(part, spec["shuffle_buffer"], spec["seed"]), limit)

        def check(result: dict[str, Any]) -> None:
            try:
                check_text(known, result)
            except MyopiaError:
                chunks.remove()  # or the next attempt would find the same text here
                raise

        result = write_corpus(documents, provenance, splits, out, manifest, fetch.cursor.dropped, check)
        chunks.remove()
    return result


def shuffled(items: Iterable[Document], buffer: int, seed: int) -> Iterator[Document]:
    """The items in an order drawn from `seed`, holding at most `buffer` of them; 0 leaves the order alone."""
    # Of random's methods only random() promises the same numbers in every release of Python.
    draw = random.Random(seeded_hash(seed, "shuffle"))
    held: list[Document] = []
    for item in items:
        if len(held) < buffer:
            held.append(item)
        elif not buffer:
            yield item
        else:
            place = int(draw.random() * buffer)
            held[place], item = item, held[place]
            yield item
    while held:
        place = int(draw.random() * len(held))
        held[place], held[-1] = held[-1], held[place]
        yield held.pop()


class _Fetch:
    """One dataset on its way into the chunks."""

    def __init__(
        self, spec: Mapping[str, Any], chunks: Chunks, attempts: int, wait_s: float, chunk_documents: int
    ) -> None:
        self.spec = spec
        self.chunks = chunks
        self.cursor = chunks.cursor
        self.attempts, self.wait_s = attempts, wait_s
        self.chunk_documents = chunk_documents
        self.pending: list[Document] = []  # read, but in no chunk yet
        self.characters = 0  # of the pending documents
        self.arrived = self.arrived_before = 0  # rows read by this process, and up to its last failure
        # (Split, split of the dataset), in an order that does not depend on how the spec was written.
        self.splits = sorted((spec["splits"] or {None: spec["split"]}).items(), key=lambda pair: pair[0] or "")

    def run(self, pinned: str | None) -> None:
        """Fetch what is missing, retrying while the hub is unavailable."""
        if self.cursor.rows:
            LOG.info("resumed: %d rows are here already", sum(self.cursor.rows.values()))
        if self.cursor.complete:
            return
        try:
            retry(lambda: self._stream(pinned), self.attempts, self.wait_s, self._count_in_a_row)
        except HubUnavailable as error:
            raise MyopiaError(f"{error} What has arrived is kept: run again to go on.") from error
        except MyopiaError as error:
            if not self.chunks.paths:
                raise
            # A later fetch would read the same commit: the branch may have been repaired since.
            raise MyopiaError(
                f"{error} What has arrived is in {self.chunks.folder}: delete it to start over."
            ) from error

    def _count_in_a_row(self, state: RetryCallState) -> None:
        """Count the attempts anew after a failure that came after new rows."""
        if self.arrived > self.arrived_before:
            state.attempt_number = 1
        self.arrived_before = self.arrived

    def _stream(self, pinned: str | None) -> None:
        if self.chunks.commit is None:
            self.chunks.commit = pinned or resolve("dataset", self.spec["dataset"], self.spec["revision"], "source")
        dataset, cursor = HubDataset(self.spec, self.chunks.commit), self.cursor
        while cursor.split < len(self.splits):
            split, hub_split = self.splits[cursor.split]
            shards = dataset.shards(hub_split)
            while cursor.shard < len(shards) and not self._enough(hub_split):
                for row in dataset.rows(hub_split, shards[cursor.shard], cursor.row):
                    self._take(row, split, hub_split, shards[cursor.shard])
                    if self._enough(hub_split):
                        break
                else:
                    cursor.shard, cursor.row = cursor.shard + 1, 0
            self._check_rows(split, hub_split, whole=cursor.shard == len(shards))
            cursor.split, cursor.shard, cursor.row = cursor.split + 1, 0, 0
        cursor.complete = True
        self._save()

    def _take(self, row: Mapping[str, Any], split: str | None, hub_split: str, shard: int) -> None:
        cursor = self.cursor
        where = f"{self.spec['dataset']} ({hub_split})"
        found = document(row, self.spec, f"{hub_split}:{shard}:{cursor.row}", split, where, cursor.dropped)
        cursor.row += 1
        cursor.rows[hub_split] += 1
        self.arrived += 1
        if found is not None:
            cursor.kept[hub_split] += 1
            self.pending.append(found)
            self.characters += len(found.text)
        if len(self.pending) >= self.chunk_documents or self.characters >= _CHUNK_CHARACTERS:
            self._save()

    def _save(self) -> None:
        self.chunks.append(self.pending, self.cursor)
        LOG.info("%d documents of %s have arrived", sum(self.cursor.kept.values()), self.spec["dataset"])
        self.pending, self.characters = [], 0

    def _enough(self, hub_split: str) -> bool:
        """Whether the first `max_documents` of the shuffled stream are among those that came."""
        limit = self.spec["max_documents"]
        return limit is not None and self.cursor.kept[hub_split] >= limit + self.spec["shuffle_buffer"]

    def _check_rows(self, split: str | None, hub_split: str, whole: bool) -> None:
        expected = (self.spec["expected_rows"] or {}).get(split or hub_split)
        came = self.cursor.rows[hub_split]
        if whole and expected is not None and came != expected:
            self.chunks.remove()
            raise MyopiaError(
                f"{self.spec['dataset']} ({hub_split}): {came} rows came instead of the {expected} in 'expected_rows'; a "
                "shard may be cut short."
            )
