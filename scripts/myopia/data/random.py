"""Random numbers that can be recomputed from their index alone, whatever was drawn before: Philox, by counter."""

from __future__ import annotations

import hashlib

import numpy as np

WORDS_PER_COUNTER = 4
"""One step of Philox's 256-bit counter yields four 64-bit words."""


def uniforms(seed: int, stream: str, first_counter: int, count: int) -> np.ndarray:
    """`count` uniforms in the open interval (0, 1), float64 [count], from a given counter on.

    Pure function of its arguments. Counter c yields the words 4c..4c+3, so a request that starts at
    counter c equals the tail of one that starts at 0, bit for bit. (seed, stream) are hashed into
    Philox's 128-bit key: different seeds or stream names give unrelated sequences.
    """
    key = hashlib.sha256(f"myopia synthetic {stream} {seed}".encode()).digest()[:16]
    generator = np.random.Philox(key=int.from_bytes(key, "little"), counter=first_counter)
    # 52 bits, not 53: k + 1/2 is then exact in float64, so neither 0 nor 1 (infinite normals) can occur.
    return ((generator.random_raw(count) >> np.uint64(12)) + 0.5) * 2.0**-52
