"""A fixed tokenizer from a model repository on the hub, checked against `hub.lock.json`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from myopia.data.hub_client import (
    ATTEMPTS,
    WAIT_S,
    HubUnavailable,
    hub_error,
    offline,
    prepare_hub,
    resolve,
    retry,
)
from myopia.data.lock import check_files, locked_commit, read_lock
from myopia.data.tokenizer import checked_pretrained, write_tokenizer
from myopia.data.tokenizer_folder import TOKENIZER_FILES, copy_tokenizer


def fetch_tokenizer(
    spec: Mapping[str, Any],
    out: str | Path,
    *,
    lock: str | Path | None = None,
    attempts: int = ATTEMPTS,
    wait_s: float = WAIT_S,
) -> dict[str, Any]:
    """Make the tokenizer folder `out` from a model on the hub, and return its manifest, which records the commit.

    Args:
        spec: `{"kind": "pretrained", "path_or_id", "revision"}`.
        out: folder of the tokenizer.
        lock: hub.lock.json; the revision is read from it, or resolved once. With the hub switched off
            (HF_HUB_OFFLINE) it comes from the client's cache.
        attempts: requests at most.
        wait_s: seconds before the second attempt; later waits double.

    Raises:
        MyopiaError: the tokenizer is neither in the cache nor on the hub, or is not the one in the lock.
    """
    spec = checked_pretrained(spec)
    known = read_lock(lock)
    pinned = locked_commit(known, "model", spec["path_or_id"], spec["revision"])

    def fill(folder: Path) -> dict[str, Any]:
        found = retry(lambda: _snapshot(spec["path_or_id"], spec["revision"], pinned), attempts, wait_s)
        copy_tokenizer(found, spec["path_or_id"], folder)
        return {**spec, "commit": found.name}

    def check(manifest: dict[str, Any]) -> None:
        check_files(known, spec["path_or_id"], spec["revision"], {"tokenizer.json": manifest["sha256"]})

    return write_tokenizer(out, fill, check)


def _snapshot(name: str, revision: str | None, pinned: str | None) -> Path:
    """The folder of the tokenizer files in the client's cache; its name is the commit."""
    prepare_hub()
    from huggingface_hub import snapshot_download

    # Given a branch, the client takes an old copy in silence when the hub fails: ask for the commit first.
    wanted = pinned
    if wanted is None and not offline():
        wanted = resolve("model", name, revision, "tokenizer")
    try:
        # By branch where nothing is locked: so the cache learns which commit the branch is, for a time without hub.
        found = Path(snapshot_download(name, revision=pinned or revision, allow_patterns=list(TOKENIZER_FILES)))
    except Exception as error:
        raise hub_error(error, f"tokenizer: '{name}' cannot be fetched") from error
    if wanted is not None and found.name != wanted:
        raise HubUnavailable(f"tokenizer: the hub failed and the cache holds another commit of '{name}'.")
    return found
