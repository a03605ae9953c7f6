"""Reading and copying tokenizer folders, apart from making them: training a network needs no more than this."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from myopia.common.errors import MyopiaError
from myopia.common.files import write_json

TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json")


def load_tokenizer(folder: str | Path) -> Any:
    """The `tokenizers.Tokenizer` of a folder, without padding, truncation or special treatment of text.

    Raises MyopiaError when the folder holds no readable tokenizer.json.
    """
    from tokenizers import Tokenizer

    path = Path(folder) / "tokenizer.json"
    if not path.is_file():
        raise MyopiaError(f"{path}: no such file; the folder holds no fast tokenizer.")
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises bare Exception
        raise MyopiaError(f"{path}: not a readable tokenizer ({error}).") from error
    tokenizer.no_padding()
    tokenizer.no_truncation()
    # "<|endoftext|>" written inside a document is text, not an end.
    tokenizer.encode_special_tokens = True
    return tokenizer


def vocabulary_size(tokenizer: Any) -> int:
    """One more than the largest token number: the rows a model's embedding must have at least."""
    return max(tokenizer.get_vocab(with_added_tokens=True).values()) + 1


def copy_tokenizer(found: str | Path, name: str, folder: Path) -> None:
    """Copy the tokenizer files of the folder `found` (called `name` in errors) into `folder`.

    Raises MyopiaError when there is no fast tokenizer.
    """
    if not (Path(found) / "tokenizer.json").is_file():
        raise MyopiaError(f"tokenizer: '{name}' has no tokenizer.json; a fast tokenizer is needed.")
    for file in TOKENIZER_FILES:
        if (Path(found) / file).is_file():
            shutil.copyfile(Path(found) / file, folder / file)
    config = folder / "tokenizer_config.json"
    value = json.loads(config.read_text()) if config.is_file() else {}
    # A model's config.json would name the class; this folder holds a tokenizer alone.
    value.setdefault("tokenizer_class", "PreTrainedTokenizerFast")
    write_json(config, value)
