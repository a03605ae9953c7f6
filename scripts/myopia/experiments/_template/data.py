"""The task: random tokens, and the same tokens again. Every sample is a function of (seed, index)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from myopia.data.random import WORDS_PER_COUNTER, uniforms


@dataclass(frozen=True)
class Copying:
    """A `TokenStream` (myopia.data.streams)."""

    length: int
    vocab_size: int

    @property
    def T(self) -> int:
        """Tokens in a sequence."""
        return 2 * self.length

    @classmethod
    def from_spec(cls, spec: Mapping[str, Any]) -> Copying:
        """Build from a run spec's `data` without its kind."""
        return cls(**spec)

    def sample(self, seed: int, first: int, count: int, stream: str) -> tuple[np.ndarray, np.ndarray]:
        """(ids_BT, predicted_BT) of sequences first..first+count-1; predicted is the second reading."""
        counters = -(-self.length // WORDS_PER_COUNTER)
        words = uniforms(seed, f"_template {stream}", first * counters, count * counters * WORDS_PER_COUNTER)
        reading_BL = (words.reshape(count, -1)[:, : self.length] * self.vocab_size).astype(np.int64)
        ids_BT = np.concatenate([reading_BL, reading_BL], axis=1)
        predicted_BT = np.broadcast_to(np.arange(self.T) >= self.length, ids_BT.shape)
        return ids_BT, predicted_BT.copy()
