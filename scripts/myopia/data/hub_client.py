"""Talking to the Hugging Face Hub: the client's knobs, patience, and every failure as one sentence."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from myopia.common.errors import MyopiaError

LOG = logging.getLogger(__name__)

_TIMEOUT_SECONDS = "15"
_RETRIED_STATUS = {408, 425, 429, 500, 502, 503, 504}
_HTTP_CLIENTS = {"httpx", "httpx2", "httpcore", "httpcore2", "requests", "urllib3", "aiohttp"}


Result = TypeVar("Result")


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


def patiently(call: Callable[[], Result], patience: Patience) -> Result:
    """`call`, again after a growing pause while the hub is unavailable.

    Raises MyopiaError when all attempts are spent, and whatever else `call` raises at once.
    """
    for failures in range(1, patience.attempts + 1):
        try:
            return call()
        except HubUnavailable as error:
            if failures == patience.attempts:
                raise MyopiaError(f"{error} Gave up after {failures} attempt{'s' * (failures > 1)}.") from error
            LOG.warning("%s Attempt %d of %d follows.", error, failures + 1, patience.attempts)
            time.sleep(patience.pause(failures))
    raise MyopiaError("hub: at least one attempt is needed to fetch anything.")


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

    api = HfApi()
    try:
        if switched_off():
            raise ConnectionError
        ask = api.dataset_info if kind == "dataset" else api.model_info
        return str(ask(name, revision=revision, timeout=float(os.environ["HF_HUB_DOWNLOAD_TIMEOUT"])).sha)
    except Exception as error:
        known = not_there(error, kind, name, revision, what)
        unknown = hub_error(error, f"{what}: the hub {api.endpoint} cannot be reached for '{name}'")
        raise (known or unknown) from error


def not_there(error: Exception, kind: str, name: str, revision: str | None, what: str) -> MyopiaError | None:
    """The sentence for a repository or revision that the hub does not have; None for any other error."""
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
