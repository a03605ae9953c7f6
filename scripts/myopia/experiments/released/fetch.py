"""The authors' released checkpoints: found on the hub, pinned to a commit and sha256, downloaded. None is unpickled here."""

from __future__ import annotations

import fnmatch
import json
import logging
import os
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from myopia.common.errors import MyopiaError
from myopia.common.files import atomic_path, sha256_file, write_json
from myopia.data.hub_files import HubFile, download, list_files, resolve_commit

LOG = logging.getLogger(__name__)

LOCK = "released.lock.json"
_CONFIG = "config.json"
_TOKENIZER = "tokenizer.json"
_OPTIONAL = ("tokenizer_config.json", "special_tokens_map.json")
# PYTHIA-PILE10M64-MYOPIC-fp16_model_name_pythia-31m_lr_4.00e-04_warmup_5.00e-02_global_step=1627.0_train_loss=3.84.ckpt
_NUMBER = r"[0-9]+(?:\.[0-9]+)?(?:e[+-]?[0-9]+)?"
_NAME = re.compile(
    r"PYTHIA-\w+-(?P<arm>VANILLA|MYOPIC)(?:-\w+)?_model_name_pythia-(?P<size>[0-9.]+[mb])"
    rf"_lr_(?P<lr>{_NUMBER})_warmup_(?P<warmup>{_NUMBER})"
    rf"_global_step=(?P<global_step>{_NUMBER})_train_loss=(?P<train_loss>{_NUMBER})\.ckpt"
)


def parse_file_name(name: str) -> dict[str, Any]:
    """The fields of a checkpoint's file name: arm, size, lr, warmup, global_step, train_loss; empty for any other name.

    The learning rate in a name is that of the authors' script's table, which the script did not pass on to the myopic
    runs; what a run used is in the checkpoint itself, if anywhere.
    """
    found = _NAME.fullmatch(name)
    if found is None:
        return {}
    numbers = {key: float(found[key]) for key in ("lr", "warmup", "global_step", "train_loss")}
    return {"arm": found["arm"].lower(), "size": found["size"], **numbers}


def resolve_released(
    specs: Sequence[Mapping[str, str]], out: str | Path, pins: str | Path | None = None
) -> dict[str, Any]:
    """Pin every checkpoint and fetch the small files: `<out>/base/pythia-<size>/config.json`, `<out>/tokenizer/`.

    Args:
        specs: entries of `settings.checkpoints`.
        out: folder; its `released.lock.json` is written last: {"models": {"<repo>@<revision>": {"commit", "files":
            {name: sha256}}}}, for a checkpoint also its name and size.
        pins: a lock of the same form under version control; what it pins must still be there unchanged.

    Raises:
        MyopiaError: hub, repository, revision or file not there; a repository without exactly one checkpoint, or
            with that of another arm or size; sizes with different tokenizers.
    """
    out = Path(out)
    known = _read_lock(pins) if pins is not None and Path(pins).is_file() else {}
    models: dict[str, Any] = {}
    (out / LOCK).unlink(missing_ok=True)
    for spec in specs:
        key = _key(spec["repo"], spec["revision"])
        models[key] = _pin_checkpoint(spec, known.get(key))
    tokenizers: dict[str, Path] = {}
    for spec in {spec["size"]: spec for spec in specs}.values():
        folder = out / "base" / f"pythia-{spec['size']}"
        local = Path(spec["base"]).expanduser()
        # A lock names no folder of one machine.
        key = local.name if local.is_dir() else _key(spec["base"], spec["base_revision"])
        models[key] = _fetch_base(spec, folder, known.get(key))
        tokenizers[spec["size"]] = folder / _TOKENIZER
    _one_tokenizer(tokenizers, out / "tokenizer")
    lock = {"format": 1, "models": models}
    write_json(out / LOCK, lock)
    total = sum(entry.get("size", 0) for entry in models.values())
    LOG.info("released: %d checkpoints, %.1f GB to download", len(specs), total / 1e9)
    return lock


def fetch_released(
    lock: str | Path, repo: str, revision: str, state: str | Path, out: str | Path, record: str | Path
) -> dict[str, Any]:
    """Download the checkpoint of `repo` that the lock pins to `out`, and write where it came from to `record`.

    Args:
        lock: `released.lock.json`.
        repo: hub id.
        revision: as the lock names it.
        state: folder that outlives a killed job: a file that has come is not downloaded again.
        out: file of the checkpoint.
        record: JSON file; the dictionary in it is returned.

    Raises:
        MyopiaError: the lock lacks the checkpoint, the hub cannot be reached, or other bytes came than those pinned.
    """
    try:
        entry = _read_lock(lock)[_key(repo, revision)]
        checkpoint = entry["checkpoint"]
        file = HubFile(checkpoint, entry["size"], entry["files"][checkpoint])
    except KeyError:
        raise MyopiaError(
            f"{lock}: it has no checkpoint of '{repo}'; delete it to resolve the releases again."
        ) from None
    found = download(repo, entry["commit"], file, state)
    result = {
        "repo": repo,
        "commit": entry["commit"],
        "file": checkpoint,
        "size": file.size,
        "sha256": file.sha256 or sha256_file(found),
        "in_name": parse_file_name(Path(checkpoint).name),
    }
    Path(out).parent.mkdir(parents=True, exist_ok=True)
    os.replace(found, out)
    shutil.rmtree(state, ignore_errors=True)
    write_json(record, result)
    LOG.info("%s: %s, %.1f MB, sha256 %s", repo, checkpoint, file.size / 1e6, result["sha256"])
    return result


def _pin_checkpoint(spec: Mapping[str, str], known: Mapping[str, Any] | None) -> dict[str, Any]:
    repo = spec["repo"]
    commit = known["commit"] if known else resolve_commit(repo, spec["revision"])
    files = list_files(repo, commit)
    fitting = sorted(fnmatch.filter(files, spec["file"]))
    if len(fitting) != 1:
        there = ", ".join(fitting) or f"none of {', '.join(sorted(files)) or 'its files (it is empty)'}"
        raise MyopiaError(
            f"hub: '{repo}' must hold exactly one checkpoint that fits '{spec['file']}', but {there} fit; "
            "name the file in config key released.file."
        )
    name = fitting[0]
    named = parse_file_name(Path(name).name)
    for key in ("arm", "size"):
        if named and named[key] != spec[key]:
            raise MyopiaError(
                f"hub: '{repo}' should hold the {spec['arm']} model of size {spec['size']}, but its file is called "
                f"{name}: a mislabelled checkpoint; correct config key released.repo or leave the size out."
            )
    entry = _entry(commit, [files[name]], known, repo)
    return {**entry, "checkpoint": name, "size": files[name].size}


def _fetch_base(spec: Mapping[str, str], folder: Path, known: Mapping[str, Any] | None) -> dict[str, Any]:
    """config.json and tokenizer of the architecture, from a local folder or the hub."""
    base, local = spec["base"], Path(spec["base"]).expanduser()
    if local.is_dir():
        commit = None
        files = {p.name: HubFile(p.name, p.stat().st_size, sha256_file(p)) for p in local.iterdir() if p.is_file()}
    else:
        commit = known["commit"] if known else resolve_commit(base, spec["base_revision"])
        files = list_files(base, commit)
    for name in (_CONFIG, _TOKENIZER):
        if name not in files:
            raise MyopiaError(
                f"'{base}' has no {name}; config key released.base must name a model with a fast tokenizer."
            )
    wanted = [files[name] for name in (_CONFIG, _TOKENIZER, *_OPTIONAL) if name in files]
    for file in wanted:
        found = local / file.path if commit is None else download(base, commit, file, folder / ".download")
        with atomic_path(folder / file.path) as temporary:
            shutil.copyfile(found, temporary)
    shutil.rmtree(folder / ".download", ignore_errors=True)
    described = [HubFile(f.path, f.size, sha256_file(folder / f.path)) for f in wanted]
    return _entry(commit, described, known, base)


def _entry(commit: str | None, files: Sequence[HubFile], known: Mapping[str, Any] | None, repo: str) -> dict[str, Any]:
    """A repository's entry in the lock. Raises MyopiaError if `known`, an earlier entry, has another sha256 of a file."""
    listed = {file.path: file.sha256 for file in files}
    for path, earlier in (known or {}).get("files", {}).items():
        if listed.get(path, earlier) != earlier:
            raise MyopiaError(
                f"hub: {path} of '{repo}' is no longer the pinned one (sha256 {listed[path]} instead of {earlier}); "
                "results would not be comparable: find out why before changing the pin."
            )
    return {"commit": commit, "files": listed}


def _key(repo: str, revision: str) -> str:
    return f"{repo}@{revision}"


def _one_tokenizer(paths: Mapping[str, Path], out: Path) -> None:
    """Copy the tokenizer that all sizes share to `out`; text encoded once must serve every model."""
    first, *others = paths
    meaning = {size: _tokenizer_meaning(path) for size, path in paths.items()}
    for size in others:
        if meaning[size] != meaning[first]:
            raise MyopiaError(
                f"the tokenizers of pythia-{first} and pythia-{size} differ, so one encoding of the text cannot serve "
                "both; measure them in separate runs (config key released.sizes)."
            )
    for name in (_TOKENIZER, *_OPTIONAL):
        source = paths[first].with_name(name)
        if source.is_file():
            with atomic_path(out / name) as temporary:
                shutil.copyfile(source, temporary)


def _tokenizer_meaning(path: Path) -> dict[str, Any]:
    """A tokenizer.json without what differs between the library versions that wrote it."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
        model = value["model"]
        merges = [tuple(m.split(" ")) if isinstance(m, str) else tuple(m) for m in model.get("merges", [])]
        added = sorted((token["id"], token["content"]) for token in value.get("added_tokens", []))
        return {"vocab": model["vocab"], "merges": merges, "added": added} | {
            key: value.get(key) for key in ("normalizer", "pre_tokenizer")
        }
    except (ValueError, KeyError, TypeError, AttributeError):
        raise MyopiaError(f"{path}: not a readable tokenizer; resolve the releases again.") from None


def _read_lock(path: str | Path) -> dict[str, Any]:
    """The models a lock names; it may name other things of the hub as well."""
    try:
        models = json.loads(Path(path).read_text()).get("models", {})
        models.keys()
    except (OSError, ValueError, AttributeError):
        raise MyopiaError(f"{path}: not a readable lock of hub files; delete it to resolve them again.") from None
    return models
