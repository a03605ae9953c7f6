"""A fixed tokenizer from a model repository on the hub, checked against `hub.lock.json`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from myopia.data.hub_client import (
    HubUnavailable,
    Patience,
    hub_error,
    patiently,
    prepare_hub,
    resolve,
    switched_off,
)
from myopia.data.lock import check_files, locked_commit, read_lock
from myopia.data.tokenizer import checked_pretrained, write_tokenizer
from myopia.data.tokenizer_folder import TOKENIZER_FILES, copy_tokenizer


def fetch_tokenizer(
    spec: Mapping[str, Any],
    out: str | Path,
    *,
    lock: str | Path | None = None,
    patience: Patience | None = None,
) -> dict[str, Any]:
    """Make the tokenizer folder `out` from the hub model `{"kind": "pretrained", "path_or_id", "revision"}`.

    The revision is resolved once, or read from the `lock` file; the manifest records the commit. With the hub
    switched off (HF_HUB_OFFLINE) it comes from the client's cache. Raises MyopiaError when it is neither there nor
    on the hub, or is not the one in the lock.
    """
    spec = checked_pretrained(spec)
    known = read_lock(lock)
    pinned = locked_commit(known, "model", spec["path_or_id"], spec["revision"])

    def fill(folder: Path) -> dict[str, Any]:
        found = patiently(lambda: _snapshot(spec["path_or_id"], spec["revision"], pinned), patience or Patience())
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
    if wanted is None and not switched_off():
        wanted = resolve("model", name, revision, "tokenizer")
    try:
        # By branch where nothing is locked: so the cache learns which commit the branch is, for a time without hub.
        found = Path(snapshot_download(name, revision=pinned or revision, allow_patterns=list(TOKENIZER_FILES)))
    except Exception as error:
        raise hub_error(error, f"tokenizer: '{name}' cannot be fetched") from error
    if wanted is not None and found.name != wanted:
        raise HubUnavailable(f"tokenizer: the hub failed and the cache holds another commit of '{name}'.")
    return found
