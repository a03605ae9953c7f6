"""A dataset on the Hugging Face Hub as rows: pinned to a commit, shard by shard, never hanging, every error named."""

from __future__ import annotations

import io
import logging
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from myopia.common.errors import MyopiaError
from myopia.data.documents import HELD_OUT, SPLITS, seeded_hash
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
_TIMEOUT_SECONDS = "15"
_RETRIED_STATUS = {408, 425, 429, 500, 502, 503, 504}
_HTTP_CLIENTS = {"httpx", "httpx2", "httpcore", "httpcore2", "requests", "urllib3", "aiohttp"}


class HubUnavailable(MyopiaError):
    """The hub or the way to it failed; another attempt may succeed."""


@dataclass(frozen=True)
class Patience:
    """How often a fetch is tried while nothing arrives, and the pause before the second attempt; pauses double."""

    attempts: int = 6
    wait_s: float = 2.0

    def pause(self, failures: int) -> float:
        """Seconds to wait after the given number of failures in a row; a minute at most."""
        return min(60.0, self.wait_s * 2 ** (failures - 1))


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


def prepare_hub() -> None:
    """Set the clients' knobs. Must run before huggingface_hub is imported; a user's own values win."""
    os.environ.setdefault("HF_HUB_DOWNLOAD_TIMEOUT", _TIMEOUT_SECONDS)
    os.environ.setdefault("HF_HUB_ETAG_TIMEOUT", _TIMEOUT_SECONDS)
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    # A line for every request would bury our own log; the clients' warnings come through handlers of their own.
    logging.getLogger("httpx2").setLevel(logging.WARNING)
    for name in ("huggingface_hub", "datasets"):
        logging.getLogger(name).propagate = False


def switched_off() -> bool:
    """Whether the user told the clients to leave the network alone."""
    from huggingface_hub import constants

    return constants.HF_HUB_OFFLINE or os.environ.get("HF_DATASETS_OFFLINE", "0") not in ("", "0")


def resolve(kind: str, name: str, revision: str | None, what: str) -> str:
    """The commit of a revision of a "dataset" or "model": one small request, so that a dead hub shows in seconds.

    `what` ("source", "tokenizer") starts the message of an error. Raises HubUnavailable, or MyopiaError when there
    is no such repository or revision.
    """
    prepare_hub()
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HFValidationError, RepositoryNotFoundError, RevisionNotFoundError

    api = HfApi()
    try:
        if switched_off():
            raise ConnectionError
        ask = api.dataset_info if kind == "dataset" else api.model_info
        return str(ask(name, revision=revision, timeout=float(os.environ["HF_HUB_DOWNLOAD_TIMEOUT"])).sha)
    except RevisionNotFoundError:
        raise MyopiaError(f"{what}: the {kind} '{name}' has no revision '{revision}' on the hub.") from None
    except (RepositoryNotFoundError, HFValidationError):
        raise MyopiaError(
            f"{what}: there is no {kind} '{name}' on the hub {api.endpoint} (or it needs a login)."
        ) from None
    except Exception as error:
        raise hub_error(error, f"{what}: the hub {api.endpoint} cannot be reached for '{name}'") from error


class HubDataset:
    """The splits of a dataset at one commit, read shard by shard in a seeded order."""

    def __init__(self, spec: Mapping[str, Any], commit: str) -> None:
        """Read the dataset's listing. Raises HubUnavailable, or MyopiaError when it cannot be opened."""
        prepare_hub()
        import datasets
        import fsspec.compression

        # `datasets` reads through fsspec, whose zstd ends a file that is cut short quietly.
        fsspec.compression.register_compression("zstd", _open_zstd, "zst", force=True)
        # Patience is ours: with the library's own (20 rounds of five requests each) a job hangs for half an hour.
        for name in ("STREAMING_READ_MAX_RETRIES", "STREAMING_OPEN_MAX_RETRIES"):
            setattr(datasets.config, name, 1)
        for name in ("READ", "OPEN", "READ_SERVER_UNAVAILABLE", "READ_RATE_LIMIT"):
            setattr(datasets.config, f"STREAMING_{name}_RETRY_INTERVAL", 0)
        self.spec = spec
        self._name = f"source: the dataset '{spec['dataset']}' at {commit[:12]}"
        try:
            if switched_off():
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
        """The rows of one shard but for the first `skip`. Only the library's own steps are guarded: no error of
        ours is the hub's."""
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


def hub_error(error: BaseException, what: str) -> MyopiaError:
    """What to raise for an error of a hub client: `HubUnavailable` if another attempt may help."""
    chain = _chain(error)
    for link in chain:
        if isinstance(link, MyopiaError):  # our own, from inside the client: a zstd file cut short
            return MyopiaError(f"{what}: {link}")
    if switched_off():
        return MyopiaError(
            f"{what}: the hub is switched off (HF_HUB_OFFLINE) and nothing is in the cache; unset the variable once, "
            "or use local files."
        )
    text = f"{what} ({_first_line(error)})"
    if any(_may_pass(link) for link in chain):
        return HubUnavailable(f"{text}; check the network, or use local files.")
    return MyopiaError(f"{text}.")


def _may_pass(error: BaseException) -> bool:
    response = getattr(error, "response", None)
    status = getattr(response, "status_code", None)
    if status is not None:
        return status in _RETRIED_STATUS
    # Name resolution, refused connections and time-outs have no common class.
    library = type(error).__module__.split(".")[0]
    return isinstance(error, ConnectionError | TimeoutError) or library in _HTTP_CLIENTS


def _chain(error: BaseException | None) -> list[BaseException]:
    chain: list[BaseException] = []
    while error is not None and error not in chain:
        chain.append(error)
        error = error.__cause__ or error.__context__
    return chain


def _first_line(error: BaseException) -> str:
    text = str(error).strip()
    return f"{type(error).__name__}: {text.splitlines()[0]}" if text else type(error).__name__
