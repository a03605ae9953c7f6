"""From documents to token files: windows inside one document, bounded, de-overlapped, checksummed."""

from __future__ import annotations

import csv
import gc
import logging
import os
import shutil
from array import array
from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from myopia.common.errors import MyopiaError
from myopia.common.files import atomic_path, sha256_file, write_json
from myopia.data.disk import DiskUsage, disk_full_is_bad_input, require_space
from myopia.data.documents import (
    SPLITS,
    Document,
    manifest_path,
    read_batches,
    read_manifest,
    seeded_hash,
)
from myopia.data.specs import checked, positive
from myopia.data.split import NGRAM, SharedNgrams, blocks
from myopia.data.tokenizer import excerpt, splits_words, word_prefix
from myopia.data.tokenizer_folder import load_tokenizer, vocabulary_size
from myopia.data.tokens import DOCS_HEADER, MANIFEST

LOG = logging.getLogger(__name__)

_TYPES = {
    "T": int,
    "window": str,
    "max_tokens": dict,
    "max_windows_per_document": int,
    "seed": int,
    "ngram": int,
}
_DEFAULTS = {
    "T": 64,
    "window": "chunks",
    "max_tokens": {},
    "max_windows_per_document": None,
    "seed": 0,
    "ngram": NGRAM,
}
_BATCH_BYTES = 1_000_000
# English takes three to five characters a token; an excerpt this generous nearly always fills its windows.
_CHARACTERS_PER_TOKEN = 8
# Bytes on disk: never more than a token for two bytes of text, written once raw and once chosen.
_BYTES_PER_TOKEN = 2
_CSV_BYTES_PER_WINDOW = 100


def encode_corpus(
    docs: str | Path,
    tokenizer: str | Path,
    spec: Mapping[str, Any],
    out: str | Path,
    *,
    disk_usage: DiskUsage = shutil.disk_usage,
) -> dict[str, Any]:
    """Write `{split}.bin`, `{split}.docs.csv` and `tokens.manifest.json` into `out`; return the manifest.

    `T`: tokens in a window. `window`: "chunks" (every non-overlapping window of a document) or "first" (its
    first T tokens). Documents shorter than T tokens are dropped and counted. `max_windows_per_document`: a
    contiguous run of windows from a place drawn from `seed`. `max_tokens` {split: n}: whole documents in an
    order drawn from `seed` until n tokens are reached. Then held-out windows that share `ngram` tokens in a row
    with a training window are dropped; the shares before and after are in the manifest. Memory is flat: three
    batches of text, a byte for each window, and the held-out hashes. Raises MyopiaError for bad input or too little disk.
    """
    settings = _checked(spec)
    out = Path(out)
    source = read_manifest(docs)
    coder = load_tokenizer(tokenizer)
    vocab_size = vocabulary_size(coder)
    dtype = np.dtype("<u2" if vocab_size <= 1 << 16 else "<u4")
    require_space(out, _estimate(source, settings, dtype), disk_usage)
    work = out / f".encode-{os.getpid()}"
    with disk_full_is_bad_input(out):
        work.mkdir(parents=True, exist_ok=True)
        try:
            splits = {name: _Split(work, name, settings["T"], dtype) for name in SPLITS}
            with ExitStack() as stack:
                for split in splits.values():
                    stack.enter_context(split.writing())
                _encode(docs, source, coder, settings, splits)
            for split in splits.values():
                split.cap(settings["max_tokens"].get(split.name), settings["seed"])
            overlap = _drop_overlap(splits, settings["ngram"])
            (out / MANIFEST).unlink(missing_ok=True)
            entries = {name: split.publish(out, "components" in source) for name, split in splits.items()}
        finally:
            shutil.rmtree(work, ignore_errors=True)
    manifest = {
        "format": 1,
        "T": settings["T"],
        "dtype": f"uint{8 * dtype.itemsize}",
        "vocab_size": vocab_size,
        "spec": settings,
        "splits": entries,
        "overlap": overlap,
        "source_manifest_sha256": sha256_file(manifest_path(docs)),
        "tokenizer_sha256": sha256_file(Path(tokenizer) / "tokenizer.json"),
    }
    write_json(out / MANIFEST, manifest)
    for name, entry in entries.items():
        LOG.info("%s: %d windows from %d documents", name, entry["n_windows"], entry["n_documents"])
        if entry["short_documents_dropped"]:
            LOG.info("%s: %d documents under %d tokens", name, entry["short_documents_dropped"], settings["T"])
    return manifest


class _Split:
    """Windows of one split on their way to disk: raw rows in file order, then a mask of those kept."""

    def __init__(self, work: Path, name: str, length: int, dtype: np.dtype) -> None:
        self.name = name
        self.length = length
        self.dtype = dtype
        self.raw = work / f"{name}.raw"
        self.names = work / f"{name}.names"
        self.n_rows = 0
        self.n_short = 0
        self.n_rest_tokens = 0
        self.keep = np.zeros(0, bool)
        self._raw_file: Any = None
        self._names_writer: Any = None

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Hold the raw files open: `add` is for the inside of this block, the rest for after it."""
        with open(self.raw, "wb") as raw, open(self.names, "w", newline="", encoding="utf-8") as names:
            self._raw_file, self._names_writer = raw, csv.writer(names, lineterminator="\n")
            yield
        if not self.n_rows:
            raise MyopiaError(
                f"the split '{self.name}' is empty: none of its {self.n_short} documents has {self.length} "
                "tokens; take more text or a smaller T."
            )
        self.keep = np.ones(self.n_rows, bool)

    def add(self, documents: list[tuple[Document, list[int]]]) -> None:
        """Append the tokens of a batch of documents, each a whole number of windows long."""
        tokens, names, length = array("I"), [], self.length
        for document, ids in documents:
            tokens.fromlist(ids)
            names.append((document.id, document.group, document.component or "", len(ids) // length))
        self.n_rows += len(tokens) // length
        # One write for a batch, and no numpy for each document: those would cost as much as tokenizing.
        np.frombuffer(tokens, np.uint32).astype(self.dtype).tofile(self._raw_file)
        self._names_writer.writerows(names)

    def listed(self) -> Iterator[tuple[str, str, str, int]]:
        """(document, group, component, windows) in the order of the rows."""
        with open(self.names, newline="", encoding="utf-8") as names:
            for doc, group, component, count in csv.reader(names):
                yield doc, group, component, int(count)

    @property
    def rows(self) -> np.memmap:
        """All raw windows [n_rows, T]."""
        return np.memmap(self.raw, self.dtype, "r", shape=(self.n_rows, self.length))

    def cap(self, max_tokens: int | None, seed: int) -> None:
        """Keep whole documents in the order of their seeded hash until `max_tokens`; cut the last one."""
        if max_tokens is None or self.n_rows * self.length <= max_tokens:
            return
        room = max_tokens // self.length
        if not room:
            raise MyopiaError(f"encode: 'max_tokens' of the split '{self.name}' is less than one window.")
        counts, keys = array("q"), array("Q")
        for doc, _, _, count in self.listed():
            counts.append(count)
            keys.append(seeded_hash(seed, doc))
        first = np.cumsum(counts) - counts
        self.keep[:] = False
        for index in np.argsort(np.asarray(keys), kind="stable"):
            take = min(room, counts[index])
            self.keep[first[index] : first[index] + take] = True
            room -= take
            if not room:
                break

    def kept_blocks(self) -> Iterator[np.ndarray]:
        """The kept windows in blocks [w, T]."""
        start = 0
        for block in blocks(self.rows):
            yield block[self.keep[start : start + len(block)]]
            start += len(block)

    def _listing(self, components: bool, groups: array[int]) -> Iterator[tuple[Any, ...]]:
        """The rows of `{split}.docs.csv`, a kept window each; the group of every kept document goes to `groups`."""
        window, row, keep = 0, 0, self.keep.tobytes()
        for doc, group, component, count in self.listed():
            kept = keep.count(1, row, row + count)
            row += count
            if kept:
                groups.append(hash(group))
            for number in range(window, window + kept):
                yield (number, doc, group, component) if components else (number, doc, group)
            window += kept

    def publish(self, out: Path, components: bool) -> dict[str, Any]:
        """Write the kept windows and their documents into `out`; return the split's manifest entry."""
        target, listing = out / f"{self.name}.bin", out / f"{self.name}.docs.csv"
        with atomic_path(target) as temporary, open(temporary, "wb") as handle:
            for block in self.kept_blocks():
                block.tofile(handle)
        groups = array("q")  # one for each document
        with atomic_path(listing) as temporary, open(temporary, "w", newline="", encoding="utf-8") as handle:
            writer = csv.writer(handle, lineterminator="\n")
            writer.writerow(DOCS_HEADER if components else DOCS_HEADER[:-1])
            writer.writerows(self._listing(components, groups))
        return {
            "n_windows": int(self.keep.sum()),
            "n_documents": len(groups),
            "n_groups": len(np.unique(groups)),
            "n_tokens": int(self.keep.sum()) * self.length,
            "short_documents_dropped": self.n_short,
            "rest_tokens_dropped": self.n_rest_tokens,  # of the text that was encoded
            "sha256": sha256_file(target),
            "docs_sha256": sha256_file(listing),
        }


def _encode(
    docs: str | Path,
    source: Mapping[str, Any],
    coder: Any,
    settings: Mapping[str, Any],
    splits: Mapping[str, _Split],
) -> None:
    """Encode in batches; while the tokenizer works on one, on all cores, the next is read and the last is written."""
    cut = _Cutter(coder, settings)
    with _no_cycle_search(), ThreadPoolExecutor(max_workers=1) as pool:
        waiting: deque[tuple[list[Document], Future[list[list[int]]]]] = deque()
        for batch in read_batches(docs, dict(source), _BATCH_BYTES):
            waiting.append((batch, pool.submit(cut.encode, batch)))
            if len(waiting) > 1:
                _add(*waiting.popleft(), cut, splits)
        while waiting:
            _add(*waiting.popleft(), cut, splits)


@contextmanager
def _no_cycle_search() -> Iterator[None]:
    """Documents and their tokens hold no reference cycles; looking for some costs a sixth of what Python does here."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _add(batch: list[Document], codes: Future[list[Any]], cut: _Cutter, splits: Mapping[str, _Split]) -> None:
    windows: dict[str, list[tuple[Document, list[int]]]] = {name: [] for name in splits}
    for document, code in zip(batch, codes.result(), strict=True):
        split = splits.get(document.split or "")
        if split is None:
            raise MyopiaError(
                f"the document '{document.id}' is in the unknown split '{document.split}'; harvest again."
            )
        ids, rest = cut.windows(document, code)
        split.n_rest_tokens += rest
        if ids:
            windows[split.name].append((document, ids))
        else:
            split.n_short += 1
    for name, documents in windows.items():
        splits[name].add(documents)


class _Cutter:
    """Which part of a document is encoded, and which of its windows are taken."""

    def __init__(self, coder: Any, settings: Mapping[str, Any]) -> None:
        self.coder = coder
        self.length, self.seed = settings["T"], settings["seed"]
        self.first = settings["window"] == "first"
        self.limit = settings["max_windows_per_document"]
        self.prefixes = self.first and splits_words(coder)

    def encode(self, batch: list[Document]) -> list[Any]:
        """The library's encodings of what is needed of each document."""
        return self.coder.encode_batch_fast([self._text(document) for document in batch], add_special_tokens=False)

    def windows(self, document: Document, code: Any) -> tuple[list[int], int]:
        """The tokens of the windows taken of a document, one after another, and how many were left over."""
        ids = code.ids
        if self.first and len(ids) >= self.length:
            return ids[: self.length], len(ids) - self.length
        if self.prefixes and len(self._text(document)) < len(document.text):
            ids = self.coder.encode(document.text, add_special_tokens=False).ids
        whole = len(ids) // self.length
        first, last = 0, min(whole, 1) if self.first else whole
        if self.limit is not None and whole > self.limit:
            first = seeded_hash(self.seed, document.id, "window") % (whole - self.limit + 1)
            last = first + self.limit
        return ids[first * self.length : last * self.length], len(ids) - (last - first) * self.length

    def _text(self, document: Document) -> str:
        characters = (self.limit or 1) * self.length * _CHARACTERS_PER_TOKEN
        if self.limit is not None:
            return excerpt(document.text, characters, document.id, seed=self.seed)
        return word_prefix(document.text, characters) if self.prefixes else document.text


def _drop_overlap(splits: Mapping[str, _Split], ngram: int) -> dict[str, Any]:
    """Unset `keep` of held-out windows that share an n-gram with training; return the counts and shares."""
    held_out = {name: split for name, split in splits.items() if name != "train"}
    rows = {name: np.concatenate(list(split.kept_blocks())) for name, split in held_out.items()}
    shared = SharedNgrams(splits["train"].kept_blocks(), rows.values(), ngram)
    report: dict[str, Any] = {"ngram": ngram}
    for name, split in held_out.items():
        before = shared.inside(rows.pop(name))
        if before.all():
            raise MyopiaError(
                f"the split '{name}' is empty: every window shares {ngram} tokens in a row with the training text."
            )
        split.keep[np.flatnonzero(split.keep)[before]] = False
        # Measured on what will be published, not put down as zero: it shows that the right windows were dropped.
        after = np.concatenate([shared.inside(block) for block in split.kept_blocks()])
        report[name] = {
            "windows_before": len(before),
            "share_before": round(float(before.mean()), 6),
            "windows_after": len(after),
            "share_after": round(float(after.mean()), 6),
        }
    return report


def _checked(spec: Mapping[str, Any]) -> dict[str, Any]:
    settings = checked(spec, "encode", _TYPES, _DEFAULTS)
    positive(settings, "encode", "T", "ngram", "max_windows_per_document")
    if settings["window"] not in ("chunks", "first"):
        raise MyopiaError(f"encode: 'window' must be chunks or first, got '{settings['window']}'.")
    if settings["window"] == "first" and settings["max_windows_per_document"] is not None:
        raise MyopiaError("encode: 'max_windows_per_document' has no meaning with 'window': \"first\"; remove it.")
    if settings["T"] < settings["ngram"]:
        raise MyopiaError(f"encode: 'T' ({settings['T']}) must be at least 'ngram' ({settings['ngram']}).")
    for split, value in settings["max_tokens"].items():
        if split not in SPLITS or not isinstance(value, int) or isinstance(value, bool) or value <= 0:
            raise MyopiaError(
                f"encode: 'max_tokens' maps train, validation or test to a number above 0, got '{split}': {value!r}."
            )
    return settings


def _estimate(source: Mapping[str, Any], settings: Mapping[str, Any], dtype: np.dtype) -> int:
    """Bytes that the raw and the chosen token files and the lists need, on the generous side."""
    limit, length = settings["max_windows_per_document"], settings["T"]
    per_document = 1 if settings["window"] == "first" else limit
    tokens = 0
    for count in source["counts"].values():
        all_tokens = count["bytes"] // _BYTES_PER_TOKEN
        tokens += all_tokens if per_document is None else min(all_tokens, per_document * length * count["documents"])
    return 2 * tokens * dtype.itemsize + tokens // length * _CSV_BYTES_PER_WINDOW
