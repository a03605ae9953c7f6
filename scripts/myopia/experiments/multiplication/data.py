"""Multiplication as made token sequences (paper D.3, Fig 8; the authors' src/data/arithmetic.py).

Digit counts of both operands are uniform in 1..digits, then x ~ U{0, ..., 10^d - 1}: leading zeros are possible. How a
problem is written down is a `Format` (formats.py). A problem is a function of (seed, stream, index)
and `digits` alone, so that all formats and arms of one seed train on the same problems in the same order.

Shape suffixes: N problems, T tokens, A answer digits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from myopia.common.errors import MyopiaError
from myopia.common.files import write_json
from myopia.data.random import uniforms
from myopia.data.tokenizer_folder import copy_tokenizer, load_tokenizer, vocabulary_size
from myopia.experiments.multiplication.formats import SYMBOLS, Format

STAR, EQUALS, FILLER = (SYMBOLS.index(symbol) for symbol in "*=.")


class Multiplication:
    """The endless stream of problems in one format.

    `tokenizer`: a folder whose vocabulary is used, as the authors used GPT-2's; None means one token for each of our
    symbols and nothing else.
    """

    def __init__(self, form: Format, tokenizer: str | None = None) -> None:
        self.form, self.tokenizer, self.T = form, tokenizer, form.T
        self.symbol_ids, self.vocab_size = _own_symbols() if tokenizer is None else read_symbols(tokenizer)

    @classmethod
    def from_spec(cls, data: Mapping[str, Any]) -> Multiplication:
        """Build from a run spec's `data`; MyopiaError names an unknown key or a T that does not follow."""
        rest = {key: value for key, value in data.items() if key not in ("T", "tokenizer")}
        known = [field.name for field in fields(Format)]
        for key in rest:
            if key not in known:
                raise MyopiaError(f"Unknown key data.{key}: multiplication has {', '.join(known)}, T and tokenizer.")
        for key in ("digits", "pad"):
            if key not in rest:
                raise MyopiaError(f"Multiplication lacks the key data.{key}.")
        form = Format(**rest)
        if data.get("T", form.T) != form.T:
            raise MyopiaError(f"data.T is {data['T']}, but {form.name} has sequences of {form.T} tokens.")
        return cls(form, data.get("tokenizer"))

    def sample(self, seed: int, first: int, count: int, stream: str) -> tuple[np.ndarray, np.ndarray]:
        """(ids_NT, predicted_NT) of problems first..first+count-1 of a stream."""
        predicted = np.zeros((count, self.T), bool)
        predicted[:, 1 if self.form.loss_on == "all" else self.form.prompt :] = True
        return self.encode(*problems(self.form.digits, seed, first, count, stream)), predicted

    def encode(self, x_N: np.ndarray, y_N: np.ndarray) -> np.ndarray:
        """Token ids of the problems x * y with their answers, int64 [N, T]."""
        form, n = self.form, len(x_N)
        parts = [
            np.full((n, form.lead), FILLER),
            reversed_digits(x_N, form.pad),
            np.full((n, 1), STAR),
            reversed_digits(y_N, form.pad),
            np.full((n, 1), EQUALS),
            np.full((n, form.after), FILLER),
            reversed_digits(x_N * y_N, form.answer),
        ]
        return self.symbol_ids[np.concatenate(parts, axis=1)]

    def text(self, x: int, y: int) -> str:
        """A problem and its answer as the tokenizer reads it: a space before every symbol (Fig 8)."""
        symbol_of = dict(zip(self.symbol_ids.tolist(), SYMBOLS, strict=True))
        return "".join(f" {symbol_of[i]}" for i in self.encode(np.array([x]), np.array([y]))[0].tolist())

    def write_tokenizer(self, folder: Path) -> None:
        """Put a tokenizer that `AutoTokenizer` opens into a folder."""
        if self.tokenizer is None:
            write_symbols(folder)
        else:
            copy_tokenizer(self.tokenizer, self.tokenizer, folder)


def problems(digits: int, seed: int, first: int, count: int, stream: str) -> tuple[np.ndarray, np.ndarray]:
    """Operands (x_N, y_N), int64, of problems first..first+count-1 of the endless stream (seed, stream)."""
    if first < 0 or count < 0:
        raise MyopiaError(f"Sample indices must not be negative, but first is {first} and count {count}.")
    # Four words a problem: one step of the counter.
    words = uniforms(seed, f"multiplication {stream}", first, 4 * count).reshape(count, 4)
    sizes = 10 ** (1 + (words[:, :2] * digits).astype(np.int64))
    x_N, y_N = (words[:, 2:] * sizes).astype(np.int64).T
    return x_N, y_N


def cell_problems(x_digits: int, y_digits: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The test problems of one cell of the grid: the same for every run, drawn as in training but apart from it."""
    words = uniforms(0, f"multiplication test {x_digits}x{y_digits}", 0, 2 * count).reshape(count, 2)
    return (words[:, 0] * 10**x_digits).astype(np.int64), (words[:, 1] * 10**y_digits).astype(np.int64)


def pair_keys(digits: int, x_N: np.ndarray, y_N: np.ndarray) -> np.ndarray:
    """One number for each pair (x, y) of operands of at most `digits` digits, uint64 [N]."""
    return x_N.astype(np.uint64) * np.uint64(10**digits) + y_N.astype(np.uint64)


def trained_pairs(digits: int, seed: int, examples: int, chunk: int = 1 << 20) -> np.ndarray:
    """Keys of all pairs that stand among the first `examples` training problems of a seed, sorted, each once.

    With few digits the same problems come again and again: what share of the test problems is new must be known.
    """
    found = []
    for first in range(0, examples, chunk):
        x_N, y_N = problems(digits, seed, first, min(chunk, examples - first), "train")
        found.append(np.unique(pair_keys(digits, x_N, y_N)))
    return np.unique(np.concatenate(found))


def reversed_digits(value_N: np.ndarray, width: int) -> np.ndarray:
    """Decimal digits, least significant first, zeros after the last, int64 [N, width]."""
    powers = np.array([10 ** min(k, 18) for k in range(width)], np.int64)
    digits = value_N[:, None] // powers % 10
    digits[:, 19:] = 0  # beyond 64 bits there is nothing
    return digits


# --- vocabulary ---


def _own_symbols() -> tuple[np.ndarray, int]:
    return np.arange(len(SYMBOLS)), len(SYMBOLS)


def write_symbols(folder: Path) -> None:
    """A word-level tokenizer of our symbols: any other word is an error, never a guess."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    tokenizer = Tokenizer(models.WordLevel({symbol: k for k, symbol in enumerate(SYMBOLS)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "clean_up_tokenization_spaces": False,
        "model_max_length": 1_000_000,
    }
    write_json(folder / "tokenizer_config.json", config)


def read_symbols(folder: str | Path) -> tuple[np.ndarray, int]:
    """(token number of each symbol [len(SYMBOLS)], size of the vocabulary) of a tokenizer folder.

    Raises MyopiaError when a symbol is not one token of its own: one digit must be one prediction.
    """
    tokenizer = load_tokenizer(folder)
    # Read as in a sequence, where a space stands before it; the first word of a text may be treated apart.
    try:
        ids = [tokenizer.encode(f" 0 {symbol}", add_special_tokens=False).ids[1:] for symbol in SYMBOLS]
    except Exception as error:  # the library raises bare Exception
        raise MyopiaError(f"the tokenizer in {folder} cannot read {' '.join(SYMBOLS)} ({error})") from error
    for symbol, pieces in zip(SYMBOLS, ids, strict=True):
        if len(pieces) != 1:
            raise MyopiaError(
                f"the tokenizer in {folder} splits ' {symbol}' into {len(pieces)} tokens; multiplication needs one "
                "token for every digit and sign: leave multiplication.tokenizer null or name another folder"
            )
    numbers = np.array([pieces[0] for pieces in ids])
    if len(np.unique(numbers)) < len(numbers) or numbers[0] != tokenizer.encode(" 0", add_special_tokens=False).ids[0]:
        raise MyopiaError(
            f"the tokenizer in {folder} does not tell {' '.join(SYMBOLS)} apart; leave multiplication.tokenizer null "
            "or name another folder"
        )
    return numbers, vocabulary_size(tokenizer)
