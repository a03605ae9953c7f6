"""Repeated random sequences: text whose next token is told by what followed the present one last time, and by nothing else.

A sequence draws its period uniformly from `period`, then that many *different* tokens, and reads them again and again,
each time from a random place to their end. No token stands twice in a period, so one earlier occurrence decides what
comes next, and the token before the present one says nothing that the present one does not: only a later position can
use it. Period and places are random, so copying from a fixed distance fails; were every reading a whole one, the token
not seen for longest would come next, and a sum over the past would do without looking at order. Predicted are the
tokens a reader can know: all of a reading but its first.

Shape suffixes: B sequences, T positions (0-based), V vocabulary.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from myopia.common.errors import MyopiaError
from myopia.data.random import WORDS_PER_COUNTER, uniforms
from myopia.experiments.induction.settings import why_no_task


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

    def draw(self, seed: int, first: int, count: int, stream: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Sequences first..first+count-1 of a named stream, all int64.

        Pure function of its arguments: a slice of a larger request is the same as asking for the slice.

        Returns:
            ids_BT: tokens.
            period_B: how many different ones.
            since_BT: place in the present reading, from 0; -1 before the first repeat.
        """
        if first < 0 or count < 0:
            raise MyopiaError(f"Sample indices must not be negative, but first is {first} and count {count}.")
        readings = self.T // 2  # at most, as each takes two positions or more
        counters = -(-(1 + self.vocab_size + readings) // WORDS_PER_COUNTER)  # whole steps: addressable sequences
        width = counters * WORDS_PER_COUNTER
        words = uniforms(seed, f"induction {stream}", first * counters, count * width).reshape(count, width)
        shortest, longest = self.period
        period_B = shortest + np.floor(words[:, 0] * (longest - shortest + 1)).astype(np.int64)
        order_BV = np.argsort(words[:, 1 : 1 + self.vocab_size], axis=1, kind="stable")
        # A reading begins anywhere but at the last token, which has nothing after it to be known.
        start_BK = np.floor(words[:, 1 + self.vocab_size :] * (period_B[:, None] - 1)).astype(np.int64)
        place_BT, since_BT = self._read(period_B, start_BK)
        return np.take_along_axis(order_BV, place_BT, axis=1).astype(np.int64), period_B, since_BT

    def _read(self, period_B: np.ndarray, start_BK: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Place in the period and place in the reading, [B, T] each, given where the readings begin."""
        B = len(period_B)
        place_BT = np.zeros((B, self.T), dtype=np.int64)
        since_BT = np.full((B, self.T), -1, dtype=np.int64)
        reading_B, rows = np.full(B, -1), np.arange(B)
        for t in range(1, self.T):
            over = place_BT[:, t - 1] == period_B - 1
            reading_B = reading_B + over
            place_BT[:, t] = np.where(over, start_BK[rows, reading_B], place_BT[:, t - 1] + 1)
            since_BT[:, t] = np.where(over, 0, np.where(reading_B >= 0, since_BT[:, t - 1] + 1, -1))
        return place_BT, since_BT

    def sample(self, seed: int, first: int, count: int, stream: str) -> tuple[np.ndarray, np.ndarray]:
        """Tokens [count, T] and which of them are predicted, bool [count, T] (`data.streams.TokenStream`)."""
        ids_BT, _, since_BT = self.draw(seed, first, count, stream)
        return ids_BT, since_BT >= 1


def bag_nats(period: np.ndarray) -> np.ndarray:
    """Cross-entropy of knowing which tokens a sequence repeats but not their order: any of them but the present one."""
    return np.log(np.asarray(period, dtype=float) - 1)
