"""Single files of model repositories on the Hugging Face Hub: pinned, resumable, checked, with patience.

A file is worth trusting only when its bytes have the sha256 that the hub states for the pinned commit.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from myopia.common.errors import MyopiaError
from myopia.common.files import sha256_file
from myopia.data.disk import disk_full_is_bad_input, require_space

LOG = logging.getLogger(__name__)

ATTEMPTS = 3
FIRST_WAIT_SECONDS = 1.0  # doubled after every failure; within an attempt the client itself waits and resumes
_TIMEOUT_SECONDS = "15"
_TRANSIENT_STATUS = (408, 429, 500, 502, 503, 504)

Result = TypeVar("Result")


@dataclass(frozen=True)
class HubFile:
    """One file at one commit; `sha256` is None for small files, which git keeps under another hash."""

    path: str
    size: int
    sha256: str | None


def resolve_commit(repo: str, revision: str) -> str:
    """The commit a branch, tag or commit of a model repository stands for; MyopiaError if there is none."""
    from huggingface_hub import HfApi

    _prepare()
    timeout = float(os.environ["HF_HUB_DOWNLOAD_TIMEOUT"])
    info = _patiently(lambda: HfApi().model_info(repo, revision=revision, timeout=timeout), repo, revision)
    return str(info.sha)


def list_files(repo: str, commit: str) -> dict[str, HubFile]:
    """Every file of a model repository at a commit, by path."""
    from huggingface_hub import HfApi
    from huggingface_hub.hf_api import RepoFile

    _prepare()
    listed = _patiently(lambda: list(HfApi().list_repo_tree(repo, recursive=True, revision=commit)), repo, commit)
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
    from huggingface_hub import hf_hub_download

    folder = Path(folder)
    path = folder / file.path
    if matches(path, file):
        return path
    _prepare()
    require_space(folder, file.size)
    with disk_full_is_bad_input(folder):
        for last in (False, True):
            found = Path(
                _patiently(lambda: hf_hub_download(repo, file.path, revision=commit, local_dir=folder), repo, commit)
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


def _prepare() -> None:
    # Read by huggingface_hub when it is first imported; a user's own value wins.
    os.environ.setdefault("HF_HUB_DOWNLOAD_TIMEOUT", _TIMEOUT_SECONDS)
    os.environ.setdefault("HF_HUB_ETAG_TIMEOUT", _TIMEOUT_SECONDS)
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    # A line for every request would bury our own log.
    logging.getLogger("httpx2").setLevel(logging.WARNING)


def _patiently(call: Callable[[], Result], repo: str, revision: str) -> Result:
    """`call`, again after 1 and 2 seconds while the failure may pass; every failure as one sentence."""
    wait = FIRST_WAIT_SECONDS
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return call()
        except Exception as error:
            # Refused connections, time-outs and offline mode have no common class in the client.
            final = _final(error, repo, revision)
            if final is not None:
                raise final from None
            reason = _first_line(error)
            if attempt == ATTEMPTS:
                raise MyopiaError(
                    f"hub: {_endpoint()} cannot be reached for '{repo}' ({reason}); check the network and run again."
                ) from error
            LOG.warning("hub: %s failed (%s); again in %g s", repo, reason, wait)
            time.sleep(wait)
            wait *= 2
    raise AssertionError("unreachable")


def _final(error: Exception, repo: str, revision: str) -> MyopiaError | None:
    """The sentence for a failure that waiting cannot mend; None for one that may pass."""
    from huggingface_hub import errors, is_offline_mode

    where = _endpoint()
    if isinstance(error, errors.RevisionNotFoundError):
        return MyopiaError(
            f"hub: the model '{repo}' has no revision '{revision}' on {where}; correct it in config.yaml."
        )
    if isinstance(error, errors.RepositoryNotFoundError | errors.HFValidationError):
        return MyopiaError(f"hub: there is no model '{repo}' on {where} (or it needs a login).")
    if isinstance(error, errors.RemoteEntryNotFoundError):
        return MyopiaError(f"hub: the model '{repo}' lacks a file it listed at {revision[:12]} ({_first_line(error)}).")
    if is_offline_mode():
        return MyopiaError(f"hub: '{repo}' is wanted but HF_HUB_OFFLINE forbids all downloads; unset it and run again.")
    if isinstance(error, errors.HfHubHTTPError):
        status = getattr(getattr(error, "response", None), "status_code", None)
        if status is not None and status not in _TRANSIENT_STATUS:
            return MyopiaError(f"hub: {where} refused '{repo}' ({_first_line(error)}).")
    if isinstance(error, OSError):
        network = isinstance(error, ConnectionError | TimeoutError) or error.errno is None
    else:
        network = type(error).__module__.startswith("httpx")
    if not network:
        raise error  # a full disk, or a mistake of ours: not the hub's
    return None


def _endpoint() -> str:
    from huggingface_hub import constants

    return constants.ENDPOINT


def _first_line(error: BaseException) -> str:
    text = str(error).strip()
    return f"{type(error).__name__}: {text.splitlines()[0]}" if text else type(error).__name__
