"""What can be told of a corpus from its description alone."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

TOKENIZERS = {"gpt2": 50257, "pythia": 50277, "gpt-neox": 50277}
"""Vocabulary of a fixed tokenizer by a word in its name."""


def from_hub(tokenizer: Mapping[str, Any]) -> bool:
    """Whether a corpus's tokenizer is downloaded: it is fixed, and its name is no folder here."""
    return tokenizer["kind"] == "pretrained" and not Path(tokenizer["path_or_id"]).expanduser().is_dir()


def tokenizer_vocab(tokenizer: Mapping[str, Any]) -> int | None:
    """The vocabulary of a corpus's tokenizer, or None where only the tokenizer itself tells."""
    if tokenizer["kind"] == "bpe":
        return tokenizer.get("vocab_size", 4096)
    name = str(tokenizer["path_or_id"]).lower()
    return next((size for word, size in TOKENIZERS.items() if word in name), None)
