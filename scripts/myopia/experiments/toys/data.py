"""The toys' tasks: joint distributions P(x, z1, z2) of triplets, small enough to be written down.

Shapes: X inputs, Z values of z1, W values of z2. Source of the idea: the comments under "How LLMs are and are not
myopic" (2023), where y = f(x), z1 = g1(y), z2 = g2(y, z1).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from myopia.common.errors import MyopiaError

Array = NDArray[np.float64]


def letter_channel(letters: int, reveal: float) -> Array:
    """P(seen given sent), [letters, letters]: the letter sent with chance `reveal`, else any letter."""
    _share("reveal", reveal)
    return reveal * np.eye(letters) + (1 - reveal) / letters


def shared_joint(alphabet: int, balance: float, overlap: float) -> Array:
    """The task of shared computation, P_XZW with X = alphabet^2 inputs x = (a, b), uniform.

    z1 is a, seen through a channel of reliability 1 - balance. z2 is seen through one of reliability `balance`: of
    a with chance `overlap`, else of b. So `balance` moves bits from the present to the future, and `overlap` says how
    much of the future's computation the present needs as well: at 0 they compete for capacity.
    """
    if alphabet < 2:
        raise MyopiaError(f"toys.shared.alphabet must be at least 2, or there is nothing to tell; it is {alphabet}.")
    for name, value in (("balance", balance), ("overlap", overlap)):
        _share(name, value)
    present, future = letter_channel(alphabet, 1 - balance), letter_channel(alphabet, balance)
    z1_AZ = present
    z2_ABW = overlap * future[:, None, :] + (1 - overlap) * future[None, :, :]
    joint_ABZW = z1_AZ[:, None, :, None] * z2_ABW[:, :, None, :] / alphabet**2
    return joint_ABZW.reshape(alphabet**2, alphabet, alphabet)


def consequence_joint(letters: int, reveal: float) -> Array:
    """The task of consequences, P_XZW with X = W = letters and Z = 2.

    z1 is fair whatever x is. After z1 = 0, z2 is always 0 (easy). After z1 = 1, z2 is x, seen through a channel of
    reliability `reveal` (hard).
    """
    if letters < 2:
        raise MyopiaError(f"toys.consequence.letters must be at least 2, or nothing is hard; it is {letters}.")
    joint_XZW = np.zeros((letters, 2, letters))
    joint_XZW[:, 0, 0] = 0.5 / letters
    joint_XZW[:, 1, :] = 0.5 / letters * letter_channel(letters, reveal)
    return joint_XZW


def _share(name: str, value: float) -> None:
    if not 0 <= value <= 1:
        raise MyopiaError(f"The toy's {name} must be between 0 and 1, but it is {value!r}.")
