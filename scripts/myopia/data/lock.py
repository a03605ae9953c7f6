"""`hub.lock.json`: the commits and checksums that the names in config.yaml were resolved to at the first fetch.

config.yaml names a branch. Its commit, the number of documents and their sha256 are known only after the first fetch
and must not change after it. `myopia lock-hub` records them from the manifests of what was fetched; every later
fetch reads the same commit and compares the counts and checksums.

    datasets   {"<id>@<revision>": {"commit", "texts": [{"source", "splits", "counts", "rows", "text_sha256"}]}}
    models     {"<id>@<revision>": {"commit", "files": {name: sha256}}}
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from myopia.common.errors import MyopiaError
from myopia.data.hub import SPEC_DEFAULTS

_FORMAT = 1
# Keys of a manifest's source that say where the text was, not which text was asked for.
_LOCATION = ("dataset", "revision", "commit", "rows")


def read_lock(path: str | Path | None) -> dict[str, Any]:
    """The lock file, or an empty one where `path` is None or does not exist. Raises MyopiaError for a bad file."""
    empty: dict[str, Any] = {"format": _FORMAT, "datasets": {}, "models": {}}
    if path is None or not Path(path).exists():
        return empty
    try:
        value = json.loads(Path(path).read_text())
        if value["format"] != _FORMAT:
            raise ValueError(f"format {value['format']} is unknown")
        return {**empty, **value}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise MyopiaError(f"{path}: not a readable lock file ({error}); restore it from version control.") from None


def locked_commit(lock: Mapping[str, Any], kind: str, name: str, revision: str | None) -> str | None:
    """The commit that a revision of a "dataset" or "model" is locked to, or None."""
    return lock[f"{kind}s"].get(_key(name, revision), {}).get("commit")


def check_text(lock: Mapping[str, Any], manifest: Mapping[str, Any]) -> None:
    """Raise MyopiaError if the lock holds the text of this manifest with another commit, count or sha256."""
    source = manifest["source"]
    name = _key(source["dataset"], source["revision"])
    entry = lock["datasets"].get(name)
    if entry is None:
        return
    _same(f"the dataset '{name}'", "commit", entry["commit"], source["commit"])
    new = _text(manifest)
    for old in entry["texts"]:
        if (old["source"], old["splits"]) == (new["source"], new["splits"]):
            then, now = _documents(old), _documents(new)
            if (then, old["text_sha256"]) != (now, new["text_sha256"]):
                raise MyopiaError(
                    f"{now} documents of '{name}' (sha256 {new['text_sha256'][:12]}) came instead of the {then} "
                    f"(sha256 {old['text_sha256'][:12]}) in hub.lock.json; fetch again, or delete the entry if the "
                    "new text is the right one."
                )


def check_files(lock: Mapping[str, Any], name: str, revision: str | None, files: Mapping[str, str]) -> None:
    """Raise MyopiaError if the lock holds a file of this model with another sha256; `files`: name to sha256."""
    known = lock["models"].get(_key(name, revision), {}).get("files", {})
    for file, digest in files.items():
        if file in known:
            _same(f"the model '{_key(name, revision)}'", f"sha256 of {file}", known[file], digest)


def locked_with(
    lock: Mapping[str, Any],
    texts: Sequence[Mapping[str, Any]],
    tokenizers: Sequence[Mapping[str, Any]],
    checkpoints: Sequence[Mapping[str, Any]] = (),
) -> dict[str, Any]:
    """The lock with the entries of these manifests added; sources on local disk add nothing.

    Raises MyopiaError when a manifest contradicts the lock: no entry is ever replaced.
    """
    result = copy.deepcopy(dict(lock))
    for manifest in texts:
        source = manifest["source"]
        if "commit" not in source:
            continue
        check_text(result, manifest)
        name = _key(source["dataset"], source["revision"])
        entry = result["datasets"].setdefault(name, {"commit": source["commit"], "texts": []})
        text = _text(manifest)
        if text not in entry["texts"]:
            entry["texts"].append(text)
    for manifest in tokenizers:
        spec = manifest["spec"]
        if "commit" in spec:
            files = {"tokenizer.json": manifest["sha256"]}
            _lock_model(result, spec["path_or_id"], spec["revision"], spec["commit"], files)
    for record in checkpoints:
        _lock_model(result, record["repo"], record["revision"], record["commit"], record["files"])
    return result


def _lock_model(lock: dict[str, Any], repo: str, revision: str | None, commit: str, files: Mapping[str, str]) -> None:
    name = _key(repo, revision)
    entry = lock["models"].setdefault(name, {"commit": commit, "files": {}})
    _same(f"the model '{name}'", "commit", entry["commit"], commit)
    check_files(lock, repo, revision, files)
    entry["files"].update(files)


def _key(name: str, revision: str | None) -> str:
    return f"{name}@{revision or 'main'}"


def _text(manifest: Mapping[str, Any]) -> dict[str, Any]:
    source = manifest["source"]
    request = {key: value for key, value in source.items() if key not in _LOCATION and value != SPEC_DEFAULTS.get(key)}
    return {
        "source": request,
        "splits": manifest["splits"],
        "counts": {split: count["documents"] for split, count in manifest["counts"].items()},
        "rows": source["rows"],
        "text_sha256": manifest["text_sha256"],
    }


def _documents(text: Mapping[str, Any]) -> int:
    return sum(text["counts"].values())


def _same(what: str, part: str, then: str, now: str) -> None:
    if then != now:
        raise MyopiaError(
            f"{what}: the {part} is {now[:12]}, but hub.lock.json has {then[:12]} from an earlier fetch; fetch again, or "
            "delete the entry if the new one is right."
        )
