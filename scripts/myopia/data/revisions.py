"""A revision of a model on the hub: one checkpoint as a plain Hugging Face folder, without its tokenizer."""

from __future__ import annotations

import logging
import os
import shutil
from pathlib import Path
from typing import Any

from myopia.common.errors import MyopiaError
from myopia.common.files import sha256_file, write_json
from myopia.data.hub_files import HubFile, download, list_files, resolve_commit
from myopia.data.lock import check_files, locked_commit, read_lock

LOG = logging.getLogger(__name__)

CONFIG = "config.json"
WEIGHTS = ("model.safetensors", "pytorch_model.bin")
"""The first of these that a revision holds is fetched; the second is only ever read as tensors (weights_only)."""


def fetch_revision(
    repo: str, revision: str, state: str | Path, out: str | Path, lock: str | Path | None = None
) -> dict[str, Any]:
    """Download config.json and the weights of `repo` at `revision` into the folder `out`; `revision.json` comes last.

    Args:
        repo: hub id.
        revision: branch, tag or commit, such as `step256`.
        state: folder that outlives a killed job: a file that has come is not downloaded again.
        out: folder of the checkpoint.
        lock: `hub.lock.json`; a commit or sha256 it holds must still be that of the hub.

    Raises:
        MyopiaError: hub, repository, revision or file not there, or other bytes than those pinned.
    """
    out, known = Path(out), read_lock(lock)
    (out / "revision.json").unlink(missing_ok=True)
    commit = locked_commit(known, "model", repo, revision) or resolve_commit(repo, revision)
    files = list_files(repo, commit)
    weights = next((name for name in WEIGHTS if name in files), None)
    if weights is None or CONFIG not in files:
        raise MyopiaError(
            f"hub: '{repo}' at {revision} lacks {CONFIG} or weights in one file ({' or '.join(WEIGHTS)}); name "
            "another revision (config key anatomy.revisions.steps or family.networks)."
        )
    digests = {name: _download(repo, commit, files[name], Path(state), out) for name in (CONFIG, weights)}
    check_files(known, repo, revision, digests)
    for name in WEIGHTS:
        if name != weights:
            (out / name).unlink(missing_ok=True)
    shutil.rmtree(state, ignore_errors=True)
    record = {"repo": repo, "revision": revision, "commit": commit, "weights": weights, "files": digests}
    write_json(out / "revision.json", record)
    LOG.info("%s@%s: %s, sha256 %s", repo, revision, weights, digests[weights])
    return record


def _download(repo: str, commit: str, file: HubFile, state: Path, out: Path) -> str:
    """Download one file to `out` by way of `state`; returns its sha256."""
    found = download(repo, commit, file, state)
    out.mkdir(parents=True, exist_ok=True)
    digest = file.sha256 or sha256_file(found)
    os.replace(found, out / file.path)
    return digest
