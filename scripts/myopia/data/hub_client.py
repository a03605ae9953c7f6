"""Requests to the Hugging Face Hub: settings of its clients, retries, and every failure as one sentence."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from typing import TypeVar

from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential

from myopia.common.errors import MyopiaError

LOG = logging.getLogger(__name__)

ATTEMPTS = 6
WAIT_S = 2.0
_TIMEOUT_SECONDS = "15"
_TRANSIENT_STATUS = {408, 425, 429, 500, 502, 503, 504}
_HTTP_CLIENTS = {"httpx", "httpx2", "httpcore", "httpcore2", "requests", "urllib3", "aiohttp"}


Result = TypeVar("Result")


class HubUnavailable(MyopiaError):
    """The hub or the way to it failed; another attempt may succeed."""


def retry(
    call: Callable[[], Result],
    attempts: int = ATTEMPTS,
    wait_s: float = WAIT_S,
    after: Callable[[RetryCallState], None] | None = None,
) -> Result:
    """`call()`, repeated while it raises HubUnavailable.

    Args:
        call: any other exception of it ends the retries at once.
        attempts: calls at most.
        wait_s: seconds before the second attempt; each later wait is twice as long, a minute at most.
        after: called after each failed attempt with tenacity's state, whose `attempt_number` it may reset.

    Raises:
        HubUnavailable: the last attempt failed.
    """

    def log_retry(state: RetryCallState) -> None:
        error, wait = state.outcome.exception(), state.next_action.sleep  # type: ignore[union-attr]
        LOG.warning("%s Attempt %d of %d in %g s.", error, state.attempt_number + 1, attempts, wait)

    retrying = Retrying(
        retry=retry_if_exception_type(HubUnavailable),
        stop=stop_after_attempt(attempts),
        wait=wait_exponential(multiplier=wait_s, max=60),
        after=after,
        before_sleep=log_retry,
        reraise=True,
    )
    return retrying(call)


def prepare_hub() -> None:
    """Set the clients' environment variables, before huggingface_hub is imported; a user's own values win."""
    os.environ.setdefault("HF_HUB_DOWNLOAD_TIMEOUT", _TIMEOUT_SECONDS)
    os.environ.setdefault("HF_HUB_ETAG_TIMEOUT", _TIMEOUT_SECONDS)
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    # A line for every request would bury our own log; the clients' warnings come through handlers of their own.
    logging.getLogger("httpx2").setLevel(logging.WARNING)
    for name in ("huggingface_hub", "datasets"):
        logging.getLogger(name).propagate = False


def offline() -> bool:
    """Whether the user told the clients not to use the network."""
    from huggingface_hub import constants

    return constants.HF_HUB_OFFLINE or os.environ.get("HF_DATASETS_OFFLINE", "0") not in ("", "0")


def resolve(kind: str, name: str, revision: str | None, what: str) -> str:
    """The commit hash of a revision: one small request, so that an unreachable hub shows within seconds.

    Args:
        kind: "dataset" or "model".
        name: repository, `owner/name`.
        revision: branch, tag or commit; None is the default branch.
        what: starts the message of an error ("source", "tokenizer").

    Raises:
        HubUnavailable: the hub cannot be reached.
        MyopiaError: there is no such repository or revision.
    """
    prepare_hub()
    from huggingface_hub import HfApi

    api = HfApi()
    try:
        if offline():
            raise ConnectionError
        ask = api.dataset_info if kind == "dataset" else api.model_info
        return str(ask(name, revision=revision, timeout=float(os.environ["HF_HUB_DOWNLOAD_TIMEOUT"])).sha)
    except Exception as error:
        known = missing_error(error, kind, name, revision, what)
        unknown = hub_error(error, f"{what}: the hub {api.endpoint} cannot be reached for '{name}'")
        raise (known or unknown) from error


def missing_error(error: Exception, kind: str, name: str, revision: str | None, what: str) -> MyopiaError | None:
    """The error to raise for a repository or revision that the hub does not have; None for any other `error`."""
    from huggingface_hub import constants
    from huggingface_hub.errors import HFValidationError, RepositoryNotFoundError, RevisionNotFoundError

    if isinstance(error, RevisionNotFoundError):
        return MyopiaError(f"{what}: the {kind} '{name}' has no revision '{revision}' on the hub.")
    if isinstance(error, RepositoryNotFoundError | HFValidationError):
        return MyopiaError(
            f"{what}: there is no {kind} '{name}' on the hub {constants.ENDPOINT} (or it needs a login)."
        )
    return None


def hub_error(error: BaseException, what: str) -> MyopiaError:
    """The error to raise for a failure of a hub client: HubUnavailable if another attempt may succeed."""
    chain = _chain(error)
    for link in chain:
        if isinstance(link, MyopiaError):  # our own, from inside the client: a truncated zstd file
            return MyopiaError(f"{what}: {link}")
    if offline():
        return MyopiaError(
            f"{what}: the hub is switched off (HF_HUB_OFFLINE) and nothing is in the cache; unset the variable once, "
            "or use local files."
        )
    text = f"{what} ({_first_line(error)})"
    if any(_is_transient(link) for link in chain):
        return HubUnavailable(f"{text}; check the network, or use local files.")
    return MyopiaError(f"{text}.")


def _is_transient(error: BaseException) -> bool:
    response = getattr(error, "response", None)
    status = getattr(response, "status_code", None)
    if status is not None:
        return status in _TRANSIENT_STATUS
    # Name resolution, refused connections and time-outs have no common class.
    library = type(error).__module__.split(".")[0]
    return isinstance(error, ConnectionError | TimeoutError) or library in _HTTP_CLIENTS


def _chain(error: BaseException | None) -> list[BaseException]:
    """An error and all that it was raised from."""
    chain: list[BaseException] = []
    while error is not None and error not in chain:
        chain.append(error)
        error = error.__cause__ or error.__context__
    return chain


def _first_line(error: BaseException) -> str:
    text = str(error).strip()
    return f"{type(error).__name__}: {text.splitlines()[0]}" if text else type(error).__name__
