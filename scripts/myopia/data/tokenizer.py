"""Tokenizer folders that `AutoTokenizer.from_pretrained` opens: a byte-level BPE of our own, or a fixed one.

One from the hub is fetched by hub_tokenizer.py. Only the small `tokenizers` library is used, not transformers, which would load torch into a data job.
"""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from myopia.common.errors import MyopiaError
from myopia.common.files import sha256_file, write_json
from myopia.data.documents import Document, read_documents, read_manifest, seeded_hash
from myopia.data.specs import checked
from myopia.data.tokenizer_folder import copy_tokenizer, load_tokenizer, vocabulary_size

LOG = logging.getLogger(__name__)

END_OF_TEXT = "<|endoftext|>"
MANIFEST = "tokenizer.manifest.json"

_BPE_TYPES = {"kind": str, "vocab_size": int, "max_chars": int, "seed": int}
_BPE_DEFAULTS = {"vocab_size": 4096, "max_chars": 50_000_000, "seed": 0}
_PRETRAINED_TYPES = {"kind": str, "path_or_id": str, "revision": str}
_PRETRAINED_DEFAULTS = {"revision": None}
_MIN_VOCABULARY = 257  # 256 bytes and the end-of-text token
_WORD_END = re.compile(r"\w(?=[ \n])")


def make_tokenizer(docs: str | Path, spec: Mapping[str, Any], out: str | Path) -> dict[str, Any]:
    """Make the tokenizer folder `out` and return its manifest.

    `{"kind": "bpe", "vocab_size", "max_chars", "seed"}` trains a byte-level BPE on the train split of `docs`
    (evenly thinned when the split has more than `max_chars` characters); `{"kind": "pretrained", "path_or_id"}`
    takes a local folder. Equal input gives equal bytes. Raises MyopiaError for a bad spec or corpus, or a folder
    without a tokenizer.
    """
    kind = spec.get("kind")
    if kind not in ("bpe", "pretrained"):
        raise MyopiaError(f"tokenizer: unknown kind {kind!r}; use bpe or pretrained.")
    return write_tokenizer(out, lambda folder: _train(docs, spec, folder) if kind == "bpe" else _copy(spec, folder))


def write_tokenizer(
    out: str | Path,
    fill: Callable[[Path], dict[str, Any]],
    check: Callable[[dict[str, Any]], None] = lambda manifest: None,
) -> dict[str, Any]:
    """Make the folder `out` whole or not at all, and return its manifest.

    `fill` puts the tokenizer's files into the folder it is given and returns the settings they follow from; `check`
    sees the manifest before anything is put in place, and may raise.
    """
    out = Path(out)
    staging = out.with_name(f".{out.name}.tmp-{os.getpid()}")
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir(parents=True)
    try:
        settings = fill(staging)
        manifest = {
            "format": 1,
            "spec": settings,
            "vocab_size": vocabulary_size(load_tokenizer(staging)),
            "sha256": sha256_file(staging / "tokenizer.json"),
        }
        check(manifest)
        write_json(staging / MANIFEST, manifest)
        shutil.rmtree(out, ignore_errors=True)
        os.replace(staging, out)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    LOG.info("tokenizer: %d tokens in %s", manifest["vocab_size"], out)
    return manifest


def splits_words(tokenizer: Any) -> bool:
    """Whether a tokenizer cuts text at words before it merges anything (GPT-2's, Pythia's and ours do).

    Then no token reaches over the end of a word, and `word_prefix` has the tokens that the whole text begins with.
    """
    cutter = tokenizer.pre_tokenizer
    state = {} if cutter is None else json.loads(cutter.__getstate__())
    return state.get("type") == "ByteLevel" and state.get("use_regex", True)


def word_prefix(text: str, length: int) -> str:
    """The text up to the first end of a word at or after `length` characters; all of it if there is none."""
    found = _WORD_END.search(text, max(length - 1, 0)) if len(text) > length else None
    return text[: found.start() + 1] if found else text


def excerpt(text: str, length: int, *key: str, seed: int = 0) -> str:
    """At most `length` characters of `text` from a place drawn from `seed` and `key`, starting at a word."""
    if len(text) <= length:
        return text
    start = seeded_hash(seed, *key) % (len(text) - length + 1)
    if start:
        for mark in ("\n\n", "\n", " "):
            found = text.find(mark, start - len(mark), start + length // 4)
            if found >= 0:
                start = found + len(mark)
                break
    return text[start : start + length]


def _train(docs: str | Path, spec: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    spec = checked(spec, "tokenizer", _BPE_TYPES, _BPE_DEFAULTS)
    if spec["vocab_size"] < _MIN_VOCABULARY:
        raise MyopiaError(f"tokenizer: 'vocab_size' must be at least {_MIN_VOCABULARY} (all bytes and one mark).")
    if spec["max_chars"] <= 0:
        raise MyopiaError("tokenizer: 'max_chars' must be greater than 0.")
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=spec["vocab_size"],
        special_tokens=[END_OF_TEXT],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_training_text(docs, spec), trainer)
    tokenizer.save(str(folder / "tokenizer.json"))
    size = tokenizer.get_vocab_size()
    if size < spec["vocab_size"]:
        LOG.warning("tokenizer: the text gave only %d of %d tokens", size, spec["vocab_size"])
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": END_OF_TEXT,
        "eos_token": END_OF_TEXT,
        "unk_token": END_OF_TEXT,
        "clean_up_tokenization_spaces": False,
        # Longer than any window: the windows are cut here, not by the tokenizer.
        "model_max_length": 1_000_000,
    }
    write_json(folder / "tokenizer_config.json", config)
    return spec


def _training_text(docs: str | Path, spec: Mapping[str, Any]) -> Iterator[str]:
    manifest = read_manifest(docs)
    characters = manifest["counts"].get("train", {}).get("characters", 0)
    if not characters:
        raise MyopiaError(f"{docs}: the train split is empty; a BPE is trained on it alone.")
    share = min(1.0, spec["max_chars"] / characters)
    for document in read_documents(docs, manifest):
        if document.split == "train":
            yield _thinned(document, share, spec["seed"])


def _thinned(document: Document, share: float, seed: int) -> str:
    """An excerpt of `share` of the document: thinning every book keeps the mixture of books."""
    if share >= 1:
        return document.text
    return excerpt(document.text, max(1, int(len(document.text) * share)), document.id, seed=seed)


def checked_pretrained(spec: Mapping[str, Any]) -> dict[str, Any]:
    """The spec of a fixed tokenizer with defaults. Raises MyopiaError for a bad one."""
    return checked(spec, "tokenizer", _PRETRAINED_TYPES, _PRETRAINED_DEFAULTS)


def _copy(spec: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    spec = checked_pretrained(spec)
    local = Path(spec["path_or_id"]).expanduser()
    if not local.is_dir():
        raise MyopiaError(
            f"tokenizer: there is no folder '{spec['path_or_id']}'; one from the hub is fetched by "
            "myopia fetch-tokenizer."
        )
    copy_tokenizer(local, spec["path_or_id"], folder)
    return {"kind": "pretrained", "path_or_id": local.name, "revision": None}
