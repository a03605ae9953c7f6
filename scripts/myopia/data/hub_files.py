"""Single files of model repositories on the Hugging Face Hub, at a pinned commit and with a verified sha256.

`hf_hub_download` does the downloading. Checksums and retries are ours, because with huggingface_hub 2.4.0 neither it nor
`snapshot_download` noticed other bytes on the wire, or a bit flipped on disk under an unchanged mtime, and neither
retried a 503 of the file itself (measured with tests/support/standin.py). `HfApi.verify_repo_checksums` does notice, but
needs the hub to list the repository again and repairs nothing.
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
from myopia.data.hub_client import hub_error, missing_error, prepare_hub, resolve, retry

LOG = logging.getLogger(__name__)
Result = TypeVar("Result")

ATTEMPTS, WAIT_S = 3, 1.0  # few: within each attempt the client itself waits and resumes


@dataclass(frozen=True)
class HubFile:
    """One file at one commit: size in bytes, and sha256 or None for a small file, for which the hub lists a git hash."""

    path: str
    size: int
    sha256: str | None


def resolve_commit(repo: str, revision: str) -> str:
    """The commit hash of a branch, tag or commit of a model repository. Raises MyopiaError if there is none."""
    return retry(lambda: resolve("model", repo, revision, "hub"), ATTEMPTS, WAIT_S)


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
    """Download one file into `folder`, unless it is already there and undamaged, and return its path.

    A broken connection is resumed by the client. After a kill the client starts the file over, and would leave what
    had arrived beside it.

    Args:
        repo: hub id.
        commit: commit hash.
        file: path, size and sha256 that must come.
        folder: used by no other process.

    Raises:
        MyopiaError: the hub cannot be reached, the file is not there, the disk is too small, or the bytes that came
            are not those the hub lists.
    """
    folder = Path(folder)
    path = folder / file.path
    if matches(path, file):
        return path
    prepare_hub()
    from huggingface_hub import hf_hub_download

    for leftover in folder.rglob("*.incomplete"):
        leftover.unlink(missing_ok=True)
    require_space(folder, file.size)
    with disk_full_is_bad_input(folder):
        for last in (False, True):
            found = Path(
                _ask(lambda: hf_hub_download(repo, file.path, revision=commit, local_dir=folder), repo, commit)
            )
            if matches(found, file):
                return found
            # The client trusts a file that it has recorded under this commit; without it, it fetches again.
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
    """A request to the hub, retried while the hub is unavailable; every failure as one sentence."""

    def once() -> Result:
        try:
            return call()
        except Exception as error:  # the client's errors have no common class
            ours = isinstance(error, OSError) and error.errno is not None
            if ours and not isinstance(error, ConnectionError | TimeoutError):
                raise  # a full disk or an error of ours, not the hub's
            unknown = hub_error(error, f"hub: '{repo}' at {commit[:12]} cannot be fetched")
            raise (missing_error(error, "model", repo, commit, "hub") or unknown) from error

    return retry(once, ATTEMPTS, WAIT_S)
