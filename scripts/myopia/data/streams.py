"""Made token sequences: language-modelling tasks whose every sample is a function of (seed, index)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np

from myopia.common.errors import MyopiaError
from myopia.experiments.induction.data import Induction
from myopia.experiments.multiplication.data import Multiplication


class TokenStream(Protocol):
    """An endless stream of sequences of one length."""

    T: int
    vocab_size: int

    def sample(self, seed: int, first: int, count: int, stream: str) -> tuple[np.ndarray, np.ndarray]:
        """Sequences first..first+count-1 of a named stream ("train", "validation", "test").

        Returns:
            ids_BT: int64 [count, T].
            predicted_BT: bool [count, T], the tokens whose prediction from what stands before them is trained and
            scored; at least one in every sequence, never the first token.
        """


STREAMS: dict[str, Callable[[Mapping[str, Any]], TokenStream]] = {
    "multiplication": Multiplication.from_spec,
    "induction": Induction.from_spec,
}
"""`data.kind` of a run spec -> what builds the stream from its other keys (raises MyopiaError)."""


def build_stream(data: Mapping[str, Any]) -> TokenStream:
    """The stream a run spec's `data` describes; MyopiaError names an unknown kind."""
    if data["kind"] not in STREAMS:
        raise MyopiaError(f"data.kind must be dp, tokens or one of {', '.join(sorted(STREAMS))}, not {data['kind']!r}.")
    return STREAMS[data["kind"]]({key: value for key, value in data.items() if key != "kind"})
