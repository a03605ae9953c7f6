"""Text streamed from a dataset on the Hugging Face Hub: pinned, shuffled with a seed, and never hanging."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from myopia.common.errors import MyopiaError
from myopia.data.documents import HELD_OUT, SPLITS, Document
from myopia.data.specs import checked, positive
from myopia.data.text_files import column

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
    "shuffle_buffer": int,
    "seed": int,
    "min_chars": int,
    "max_documents": int,
    "expected_rows": dict,
}
_SPEC_DEFAULTS = {
    "name": None,
    "split": None,
    "splits": None,
    "text_column": "text",
    "group_column": None,
    "id_column": None,
    "shuffle_buffer": 10_000,
    "seed": 0,
    "min_chars": 1,
    "max_documents": None,
    "expected_rows": None,
}
# With the library's defaults (20 retries of 24 s) a shard that is always cut short holds a job for minutes.
_MAX_RETRIES = 2
_RETRY_SECONDS = 1
_TIMEOUT_SECONDS = "15"


def iter_hub(source: Mapping[str, Any], dropped: Counter[str]) -> Iterator[Document]:
    """Documents of a hub dataset, streamed in the order of a shuffle buffer seeded by `seed`.

    `revision` is a commit, tag or branch (resolved to a commit before anything is read); either `split`
    (documents without a split, divided later) or `splits` ({"train": "train", "validation": ...}; our name
    first). `shuffle_buffer` 0 keeps the file order. `max_documents` and `expected_rows` ({"train": n}) hold for
    each split: a truncated jsonl.zst on the hub gives fewer rows and no error, so a known count is checked.
    Raises MyopiaError when the hub, dataset, revision, split or column is not there or a shard cannot be read.
    """
    spec = _checked(source)
    _prepare_environment()
    commit = _resolve(spec)
    streams = _open(spec, commit)
    for ours, theirs in sorted((spec["splits"] or {None: spec["split"]}).items()):
        where = f"{spec['dataset']} ({theirs})"
        rows = read = 0
        for row in _rows(streams, theirs, spec, commit):
            rows += 1
            text = column(row, spec["text_column"], where)
            if len(text) < spec["min_chars"]:
                dropped["short"] += 1
                continue
            read += 1
            default = f"{theirs}:{rows - 1}"
            identity = column(row, spec["id_column"], where) if spec["id_column"] else default
            group = column(row, spec["group_column"], where) if spec["group_column"] else identity
            yield Document(identity, group, text, ours)
            if read == spec["max_documents"]:
                break
        expected = (spec["expected_rows"] or {}).get(ours or theirs)
        if expected is not None and rows != expected:
            raise MyopiaError(
                f"{where}: {rows} rows came instead of the {expected} in 'expected_rows'; a shard may be cut short."
            )


def hub_provenance(source: Mapping[str, Any]) -> dict[str, Any]:
    """The spec, with `commit`: what `revision` resolved to on the hub."""
    spec = _checked(source)
    _prepare_environment()
    return {**spec, "commit": _resolve(spec)}


def _checked(source: Mapping[str, Any]) -> dict[str, Any]:
    spec = checked(source, "source", _SPEC_TYPES, _SPEC_DEFAULTS)
    positive(spec, "source", "min_chars", "max_documents")
    if spec["shuffle_buffer"] < 0:
        raise MyopiaError("source: 'shuffle_buffer' must not be negative; 0 keeps the order of the files.")
    if bool(spec["split"]) == bool(spec["splits"]):
        raise MyopiaError("source: give either 'split' (divided later) or 'splits' (train, validation, test).")
    for split in spec["splits"] or {}:
        if split not in (*SPLITS, HELD_OUT):
            raise MyopiaError(
                f"source: 'splits' has the unknown split '{split}'; use {', '.join(SPLITS)} or {HELD_OUT}."
            )
    return spec


def _prepare_environment() -> None:
    # Read by huggingface_hub when it is first imported; a user's own value wins.
    os.environ.setdefault("HF_HUB_DOWNLOAD_TIMEOUT", _TIMEOUT_SECONDS)
    os.environ.setdefault("HF_HUB_ETAG_TIMEOUT", _TIMEOUT_SECONDS)
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    # A line for every request would bury our own log.
    logging.getLogger("httpx2").setLevel(logging.WARNING)


def _resolve(spec: Mapping[str, Any]) -> str:
    """The commit of `revision`: one small request, so that a dead hub is noticed in seconds."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError, RevisionNotFoundError

    dataset, revision = spec["dataset"], spec["revision"]
    api = HfApi()
    try:
        timeout = float(os.environ["HF_HUB_DOWNLOAD_TIMEOUT"])
        info = api.dataset_info(dataset, revision=revision, timeout=timeout)
    except RevisionNotFoundError:
        raise MyopiaError(f"source: the dataset '{dataset}' has no revision '{revision}' on the hub.") from None
    except RepositoryNotFoundError:
        raise MyopiaError(
            f"source: there is no dataset '{dataset}' on the hub {api.endpoint} (or it needs a login)."
        ) from None
    except HfHubHTTPError as error:
        raise MyopiaError(
            f"source: the hub {api.endpoint} refused '{dataset}' ({_first_line(error)}); try again later."
        ) from None
    except Exception as error:
        # Name resolution, refused connections, time-outs and offline mode have no common class here.
        raise MyopiaError(
            f"source: the hub {api.endpoint} cannot be reached ({_first_line(error)}); check the network, "
            "or use the sources 'docstrings' or 'files'."
        ) from error
    return str(info.sha)


def _open(spec: Mapping[str, Any], commit: str) -> Mapping[str, Any]:
    """The data set's splits as streams; nothing but its listing is read yet."""
    import datasets

    datasets.config.STREAMING_READ_MAX_RETRIES = _MAX_RETRIES
    datasets.config.STREAMING_READ_RETRY_INTERVAL = _RETRY_SECONDS
    try:
        return datasets.load_dataset(spec["dataset"], spec["name"], revision=commit, streaming=True)
    except Exception as error:
        raise MyopiaError(f"{_name(spec, commit)} cannot be opened ({_first_line(error)}).") from error


def _rows(streams: Mapping[str, Any], split: str, spec: Mapping[str, Any], commit: str) -> Iterator[Any]:
    """The rows of a split, shuffled. Only the library's own steps are guarded: no error of ours is the hub's."""
    if split not in streams:
        known = ", ".join(map(str, streams))
        raise MyopiaError(f"{_name(spec, commit)} has no split '{split}'; its splits are {known}.")
    rows = None
    while True:
        try:
            if rows is None:
                stream = streams[split]
                if spec["shuffle_buffer"]:
                    # One shard after another: the buffer that reads several at once does so in threads and
                    # sleeps for five seconds at the end of every split.
                    stream = stream.shuffle(
                        seed=spec["seed"], buffer_size=spec["shuffle_buffer"], max_buffer_input_shards=1
                    )
                rows = iter(stream)
            row = next(rows)
        except StopIteration:
            return
        except Exception as error:
            raise MyopiaError(f"{_name(spec, commit)} broke off while it was read ({_first_line(error)}).") from error
        yield row


def _name(spec: Mapping[str, Any], commit: str) -> str:
    return f"source: the dataset '{spec['dataset']}' at {commit[:12]}"


def _first_line(error: BaseException) -> str:
    text = str(error).strip()
    return f"{type(error).__name__}: {text.splitlines()[0]}" if text else type(error).__name__
