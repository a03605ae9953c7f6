"""Single files of model repositories on the Hugging Face Hub: pinned, resumable, checked, with patience.

A file is worth trusting only when its bytes have the sha256 that the hub states for the pinned commit.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from myopia.common.errors import MyopiaError
from myopia.common.files import sha256_file
from myopia.data.disk import disk_full_is_bad_input, require_space
from myopia.data.hub_client import Patience, hub_error, not_there, patiently, prepare_hub, resolve

LOG = logging.getLogger(__name__)
Result = TypeVar("Result")

PATIENCE = Patience(attempts=3, wait_s=1.0)
"""Few attempts of our own: within each the client itself waits and resumes."""


@dataclass(frozen=True)
class HubFile:
    """One file at one commit; `sha256` is None for small files, which git keeps under another hash."""

    path: str
    size: int
    sha256: str | None


def resolve_commit(repo: str, revision: str) -> str:
    """The commit a branch, tag or commit of a model repository stands for; MyopiaError if there is none."""
    return patiently(lambda: resolve("model", repo, revision, "hub"), PATIENCE)


def list_files(repo: str, commit: str) -> dict[str, HubFile]:
    """Every file of a model repository at a commit, by path."""
    prepare_hub()
    from huggingface_hub import HfApi
    from huggingface_hub.hf_api import RepoFile

    listed = _ask(lambda: list(HfApi().list_repo_tree(repo, recursive=True, revision=commit)), repo, commit)
    return {
        entry.path: HubFile(entry.path, entry.size, entry.lfs.sha256 if entry.lfs else None)
        for entry in listed
        if isinstance(entry, RepoFile)
    }


def download(repo: str, commit: str, file: HubFile, folder: str | Path) -> Path:
    """Bring one file into `folder` and return its path; a download that was broken off is continued.

    Raises MyopiaError when the hub cannot be reached, the file is not there, the disk is too small, or the bytes
    that came are not those the hub lists.
    """
    folder = Path(folder)
    path = folder / file.path
    if matches(path, file):
        return path
    prepare_hub()
    from huggingface_hub import hf_hub_download

    require_space(folder, file.size)
    with disk_full_is_bad_input(folder):
        for last in (False, True):
            found = Path(
                _ask(lambda: hf_hub_download(repo, file.path, revision=commit, local_dir=folder), repo, commit)
            )
            if matches(found, file):
                return found
            # The client trusts what lies in the folder under the right commit; it must fetch these bytes again.
            found.unlink(missing_ok=True)
            LOG.warning("%s: %s is not what the hub lists%s", repo, file.path, "" if last else "; once more")
    raise MyopiaError(
        f"hub: {file.path} of '{repo}' at {commit[:12]} does not have the size and sha256 that the hub lists, twice; "
        "it was cut short or changed on the way: try again later."
    )


def matches(path: str | Path, file: HubFile) -> bool:
    """Whether the file at `path` has the listed size and, where one is listed, sha256."""
    path = Path(path)
    if not path.is_file() or path.stat().st_size != file.size:
        return False
    return file.sha256 is None or sha256_file(path) == file.sha256


def _ask(call: Callable[[], Result], repo: str, commit: str) -> Result:
    """A request to the hub, with patience; every failure as one sentence."""

    def once() -> Result:
        try:
            return call()
        except Exception as error:  # the client's errors have no common class
            ours = isinstance(error, OSError) and error.errno is not None
            if ours and not isinstance(error, ConnectionError | TimeoutError):
                raise  # a full disk, or a mistake of ours: not the hub's
            unknown = hub_error(error, f"hub: '{repo}' at {commit[:12]} cannot be fetched")
            raise (not_there(error, "model", repo, commit, "hub") or unknown) from error

    return patiently(once, PATIENCE)
