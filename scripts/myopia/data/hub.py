"""A dataset on the Hugging Face Hub as rows: pinned to a commit, shard by shard, without endless retries."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from typing import Any

from myopia.common.errors import MyopiaError
from myopia.data.documents import HELD_OUT, SPLITS, seeded_hash
from myopia.data.hub_client import hub_error, offline, prepare_hub
from myopia.data.specs import checked, positive
from myopia.data.zstd import ZstdFile

_SPEC_TYPES = {
    "kind": str,
    "dataset": str,
    "name": str,
    "revision": str,
    "split": str,
    "splits": dict,
    "text_column": str,
    "group_column": str,
    "id_column": str,
    "component_column": str,
    "component_required": bool,
    "shuffle_buffer": int,
    "seed": int,
    "min_chars": int,
    "max_chars": int,
    "max_documents": int,
    "expected_rows": dict,
}
SPEC_DEFAULTS = {
    "name": None,
    "split": None,
    "splits": None,
    "text_column": "text",
    "group_column": None,
    "id_column": None,
    "component_column": None,
    "component_required": True,
    "shuffle_buffer": 10_000,
    "seed": 0,
    "min_chars": 1,
    "max_chars": None,
    "max_documents": None,
    "expected_rows": None,
}


def checked_hub(source: Mapping[str, Any]) -> dict[str, Any]:
    """The source spec with defaults; see docs/data.md for its keys. Raises MyopiaError for a bad one."""
    spec = checked(source, "source", _SPEC_TYPES, SPEC_DEFAULTS)
    positive(spec, "source", "min_chars", "max_chars", "max_documents")
    if spec["shuffle_buffer"] < 0:
        raise MyopiaError("source: 'shuffle_buffer' must not be negative; 0 keeps the order of the files.")
    if bool(spec["split"]) == bool(spec["splits"]):
        raise MyopiaError("source: give either 'split' (divided later) or 'splits' (train, validation, test).")
    for ours, theirs in (spec["splits"] or {}).items():
        if ours not in (*SPLITS, HELD_OUT):
            raise MyopiaError(
                f"source: 'splits' has the unknown split '{ours}'; use {', '.join(SPLITS)} or {HELD_OUT}."
            )
        if not isinstance(theirs, str):
            raise MyopiaError(f"source: 'splits' must name one split of the dataset for '{ours}', not {theirs!r}.")
    return spec


class HubDataset:
    """The splits of a dataset at one commit, read shard by shard in a seeded order."""

    def __init__(self, spec: Mapping[str, Any], commit: str) -> None:
        """Read the dataset's listing. Raises HubUnavailable, or MyopiaError when it cannot be opened."""
        prepare_hub()
        import datasets
        import fsspec.compression

        # `datasets` reads through fsspec, whose zstd reader ends a truncated file without an error.
        fsspec.compression.register_compression("zstd", _open_zstd, "zst", force=True)
        # Retries are ours: with the library's own (20 rounds of five requests each) a job hangs for half an hour.
        for name in ("STREAMING_READ_MAX_RETRIES", "STREAMING_OPEN_MAX_RETRIES"):
            setattr(datasets.config, name, 1)
        for name in ("READ", "OPEN", "READ_SERVER_UNAVAILABLE", "READ_RATE_LIMIT"):
            setattr(datasets.config, f"STREAMING_{name}_RETRY_INTERVAL", 0)
        self.spec = spec
        self._name = f"source: the dataset '{spec['dataset']}' at {commit[:12]}"
        try:
            if offline():
                raise ConnectionError
            self._streams = datasets.load_dataset(spec["dataset"], spec["name"], revision=commit, streaming=True)
        except Exception as error:
            raise hub_error(error, f"{self._name} cannot be opened") from error

    def shards(self, split: str) -> list[int]:
        """The numbers of a split's shards in the order they are read. Raises MyopiaError for an unknown split."""
        if split not in self._streams:
            known = ", ".join(map(str, self._streams))
            raise MyopiaError(f"{self._name} has no split '{split}'; its splits are {known}.")
        order = range(self._streams[split].num_shards)
        if not self.spec["shuffle_buffer"]:
            return list(order)
        return sorted(order, key=lambda shard: seeded_hash(self.spec["seed"], split, str(shard)))

    def rows(self, split: str, shard: int, skip: int) -> Iterator[Mapping[str, Any]]:
        """The rows of one shard but for the first `skip`, as mappings from column to value.

        Raises HubUnavailable or MyopiaError when the shard cannot be read to its end. Only the library's own steps are
        guarded: an error of the caller's between two rows is not the hub's.
        """
        rows = None
        while True:
            try:
                if rows is None:
                    stream = self._streams[split]
                    rows = iter(stream.shard(num_shards=stream.num_shards, index=shard).skip(skip))
                row = next(rows)
            except StopIteration:
                return
            except Exception as error:
                raise hub_error(error, f"{self._name} broke off while it was read") from error
            yield row


def _open_zstd(handle: Any, mode: str = "rb", **_: Any) -> io.BufferedReader:
    return io.BufferedReader(ZstdFile(handle, mode))
