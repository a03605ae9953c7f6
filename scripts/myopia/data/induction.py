"""Repeated random sequences: text whose next token is told by what followed the present one last time, and by nothing else.

A sequence draws its period uniformly from `period`, then that many *different* tokens, and repeats them to its end. No
token stands twice in a period, so one earlier occurrence decides what comes next, and the token before the present one
says nothing that the present one does not: only a later position can use it. The period is random, so copying from a
fixed distance fails. Predicted are the tokens a reader can know: from the second of the repeat on (that the period is
over shows only when its first token comes again).

Shape suffixes: B sequences, T positions (0-based), V vocabulary.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from myopia.common.errors import MyopiaError
from myopia.config.induction import why_no_task
from myopia.data.synthetic import WORDS_PER_COUNTER, uniforms


@dataclass(frozen=True)
class Induction:
    """The stream; see the module's text.

    T: tokens in a sequence; vocab_size: different tokens; period: shortest and longest period in tokens.
    Raises MyopiaError for a value outside its domain.
    """

    T: int
    vocab_size: int
    period: tuple[int, int]

    def __post_init__(self) -> None:
        wrong = why_no_task(self.T, self.vocab_size, self.period)
        if wrong:
            raise MyopiaError(f"data.{wrong}.")
        object.__setattr__(self, "period", tuple(self.period))

    @classmethod
    def from_spec(cls, spec: Mapping[str, Any]) -> Induction:
        """Build from a run spec's `data` without its kind; MyopiaError names an unknown or missing key."""
        known = [field.name for field in fields(cls)]
        for key in spec:
            if key not in known:
                raise MyopiaError(f"Unknown key data.{key}: repeated sequences have {', '.join(known)}.")
        for key in known:
            if key not in spec:
                raise MyopiaError(f"Repeated sequences lack the key data.{key}.")
        return cls(**spec)

    def draw(self, seed: int, first: int, count: int, stream: str) -> tuple[np.ndarray, np.ndarray]:
        """Tokens int64 [count, T] and periods int64 [count] of sequences first..first+count-1 of a named stream.

        Pure function of its arguments: a slice of a larger request is the same as asking for the slice.
        """
        if first < 0 or count < 0:
            raise MyopiaError(f"Sample indices must not be negative, but first is {first} and count {count}.")
        counters = -(-(1 + self.vocab_size) // WORDS_PER_COUNTER)  # whole steps keep every sequence addressable
        width = counters * WORDS_PER_COUNTER
        words = uniforms(seed, f"induction {stream}", first * counters, count * width).reshape(count, width)
        shortest, longest = self.period
        period_B = shortest + np.floor(words[:, 0] * (longest - shortest + 1)).astype(np.int64)
        order_BV = np.argsort(words[:, 1 : 1 + self.vocab_size], axis=1, kind="stable")
        place_BT = np.arange(self.T)[None, :] % period_B[:, None]
        return np.take_along_axis(order_BV, place_BT, axis=1).astype(np.int64), period_B

    def sample(self, seed: int, first: int, count: int, stream: str) -> tuple[np.ndarray, np.ndarray]:
        """Tokens [count, T] and which of them are predicted, bool [count, T] (`data.streams.TokenStream`)."""
        ids_BT, period_B = self.draw(seed, first, count, stream)
        return ids_BT, self.since(period_B) >= 1

    def since(self, period_B: np.ndarray) -> np.ndarray:
        """Place of every token counted from the first token of the repeat, int64 [B, T]; negative before it."""
        return np.arange(self.T)[None, :] - period_B[:, None]


def bag_nats(period: np.ndarray) -> np.ndarray:
    """Cross-entropy of knowing which tokens a sequence repeats but not their order: any of them but the present one."""
    return np.log(np.asarray(period, dtype=float) - 1)
