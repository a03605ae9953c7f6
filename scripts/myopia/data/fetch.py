"""Text from the hub: streamed, resumable, in a seeded order, checked against `hub.lock.json`.

Documents are kept in the order they come (chunks.py) and shuffled when all are there. So a fetch that was killed
ends with the same bytes as one that was not, whichever release of `datasets` does the streaming: its own shuffle
buffer is lost when a stream is resumed, and works differently from one release to the next.
"""

from __future__ import annotations

import logging
import random
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby, islice
from pathlib import Path
from typing import Any

from myopia.common.errors import MyopiaError
from myopia.common.files import canonical_json, sha256_text
from myopia.common.locks import exclusive_lock
from myopia.data.chunks import Chunks
from myopia.data.disk import DiskUsage, disk_full_is_bad_input, require_space
from myopia.data.documents import Document, seeded_hash
from myopia.data.harvest import write_corpus
from myopia.data.hub import HubDataset, checked_hub
from myopia.data.hub_client import HubUnavailable, Patience, resolve
from myopia.data.lock import check_text, locked_commit, read_lock
from myopia.data.rows import document
from myopia.data.split import checked_splits

LOG = logging.getLogger(__name__)

# A piece is written when either is reached; what a kill costs is one piece.
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
    patience: Patience | None = None,
    chunk_documents: int = CHUNK_DOCUMENTS,
    disk_usage: DiskUsage = shutil.disk_usage,
) -> dict[str, Any]:
    """Write the documents of a hub dataset, each with its split, to `out` (zstd) and return the manifest.

    The revision is resolved once, or read from the `lock` file; the manifest records the commit, the rows that came,
    the documents and their sha256. What has arrived stays in `state` until the corpus is written, so the same call
    goes on after a kill or a failure, and needs no hub once all has come. Raises MyopiaError when the hub, dataset,
    revision, split or column is not there, a shard cannot be read to its end, the hub stays away longer than
    `patience`, or the text is not the one in the lock.
    """
    spec, out = checked_hub(source), Path(out)
    checked_splits(splits)
    known = read_lock(lock)
    pinned = locked_commit(known, "dataset", spec["dataset"], spec["revision"])
    fingerprint = sha256_text(canonical_json([spec, pinned]))[:16]
    with exclusive_lock(Path(state) / fingerprint, spec["dataset"]) as folder, disk_full_is_bad_input(folder):
        chunks = Chunks(folder)
        fetch = _Fetch(spec, chunks, patience or Patience(), chunk_documents)
        fetch.run(pinned)
        require_space(out.parent, 2 * chunks.n_bytes(), disk_usage)
        provenance = {**spec, "commit": chunks.commit, "rows": dict(fetch.place.rows)}
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

        result = write_corpus(documents, provenance, splits, out, manifest, fetch.place.dropped, check)
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

    def __init__(self, spec: Mapping[str, Any], chunks: Chunks, patience: Patience, chunk_documents: int) -> None:
        self.spec = spec
        self.chunks = chunks
        self.place = chunks.place
        self.patience = patience
        self.chunk_documents = chunk_documents
        self.waiting: list[Document] = []
        self.characters = 0
        self.arrived = 0  # rows seen by this process
        # Ours, theirs: in an order that does not depend on how the spec was written.
        self.splits = sorted((spec["splits"] or {None: spec["split"]}).items(), key=lambda pair: pair[0] or "")

    def run(self, pinned: str | None) -> None:
        """Fetch what is missing; try again after a failure of the hub as long as `patience` lasts."""
        failures = seen = 0
        if self.place.rows:
            LOG.info("resumed: %d rows are here already", sum(self.place.rows.values()))
        while not self.place.complete:
            try:
                if self.chunks.commit is None:
                    self.chunks.commit = pinned or resolve(
                        "dataset", self.spec["dataset"], self.spec["revision"], "source"
                    )
                self._stream(HubDataset(self.spec, self.chunks.commit))
            except HubUnavailable as error:
                failures = failures + 1 if self.arrived == seen else 1
                seen = self.arrived
                if failures >= self.patience.attempts:
                    raise MyopiaError(
                        f"{error} Gave up after {failures} attempt{'s' * (failures > 1)} in a row; what has arrived is "
                        "kept: run again to go on."
                    ) from error
                pause = self.patience.pause(failures)
                LOG.warning("%s Attempt %d of %d in %g s.", error, failures + 1, self.patience.attempts, pause)
                time.sleep(pause)
            except MyopiaError as error:
                if not self.chunks.paths:
                    raise
                # A later fetch would read the same commit: the branch may have been mended since.
                raise MyopiaError(
                    f"{error} What has arrived is in {self.chunks.folder}: delete it to start over."
                ) from error

    def _stream(self, dataset: HubDataset) -> None:
        place = self.place
        while place.split < len(self.splits):
            ours, theirs = self.splits[place.split]
            shards = dataset.shards(theirs)
            while place.shard < len(shards) and not self._enough(theirs):
                for row in dataset.rows(theirs, shards[place.shard], place.row):
                    self._take(row, ours, theirs, shards[place.shard])
                    if self._enough(theirs):
                        break
                else:
                    place.shard, place.row = place.shard + 1, 0
            self._check_rows(ours, theirs, whole=place.shard == len(shards))
            place.split, place.shard, place.row = place.split + 1, 0, 0
        place.complete = True
        self._save()

    def _take(self, row: Mapping[str, Any], ours: str | None, theirs: str, shard: int) -> None:
        place = self.place
        where = f"{self.spec['dataset']} ({theirs})"
        found = document(row, self.spec, f"{theirs}:{shard}:{place.row}", ours, where, place.dropped)
        place.row += 1
        place.rows[theirs] += 1
        self.arrived += 1
        if found is not None:
            place.kept[theirs] += 1
            self.waiting.append(found)
            self.characters += len(found.text)
        if len(self.waiting) >= self.chunk_documents or self.characters >= _CHUNK_CHARACTERS:
            self._save()

    def _save(self) -> None:
        self.chunks.append(self.waiting, self.place)
        LOG.info("%d documents of %s have arrived", sum(self.place.kept.values()), self.spec["dataset"])
        self.waiting, self.characters = [], 0

    def _enough(self, theirs: str) -> bool:
        """Whether the first `max_documents` of the shuffled stream are among those that came."""
        limit = self.spec["max_documents"]
        return limit is not None and self.place.kept[theirs] >= limit + self.spec["shuffle_buffer"]

    def _check_rows(self, ours: str | None, theirs: str, whole: bool) -> None:
        expected = (self.spec["expected_rows"] or {}).get(ours or theirs)
        came = self.place.rows[theirs]
        if whole and expected is not None and came != expected:
            self.chunks.remove()
            raise MyopiaError(
                f"{self.spec['dataset']} ({theirs}): {came} rows came instead of the {expected} in 'expected_rows'; a "
                "shard may be cut short."
            )
