"""Made data: tasks whose every sample is a function of (seed, index). Experiments bring them (`Experiment.streams`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np

from myopia.common.errors import MyopiaError
from myopia.config.experiment import stream_builder


class TokenStream(Protocol):
    """An endless stream of token sequences of one length: a language-modelling task."""

    T: int
    vocab_size: int

    def sample(self, seed: int, first: int, count: int, stream: str) -> tuple[np.ndarray, np.ndarray]:
        """Sequences first..first+count-1 of a named stream ("train", "validation", "test").

        Returns:
            ids_BT: int64 [count, T].
            predicted_BT: bool [count, T], the tokens whose prediction from what stands before them is trained and
            scored; at least one in every sequence, never the first token.
        """


class RegressionStream(Protocol):
    """An endless stream of regression sequences of one length."""

    T: int

    def sample(self, seed: int, first: int, count: int, stream: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(x_BT, z_BT, y_BT), float32 [count, T]: two input channels and the target of every position."""


def build_stream(data: Mapping[str, Any]) -> Any:
    """The stream a run spec's `data` describes; MyopiaError names a kind that no experiment brings."""
    builder = stream_builder(data["kind"])
    if builder is None:
        raise MyopiaError(f"data.kind is {data['kind']!r}, which is neither tokens nor the data of any experiment.")
    return builder({key: value for key, value in data.items() if key != "kind"})
