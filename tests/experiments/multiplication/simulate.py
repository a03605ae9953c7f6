"""Simulated measurements of multiplication: a grid of 3 x 3 digits and four formats, with the paper's directions."""

from __future__ import annotations

import numpy as np
import pandas as pd

from myopia.experiments.multiplication import CELLS, DIGITS

BLOCKS, BLOCK = 8, 32
# Exact match of the hardest cell by format; the others are at ceiling but for the next hardest.
HARDEST = {
    "vanilla": {"short": 0.45, "long": 0.85, "after": 0.75, "lead": 0.44},
    "myopic": {"short": 0.35, "long": 0.10, "after": 0.20, "lead": 0.30},
}


def multiplication(
    rng: np.random.Generator,
    seeds: int,
    gap: float,
    noise: float,
    digits: int = 3,
    pads=(3, 6),
    roles=("short", "long", "after", "lead"),
):
    """Both tables; the short format is the grid's, too."""
    cells, by_digit = [], []
    easy = rng.random((digits + 1, digits + 1, BLOCKS * BLOCK))  # how hard each problem is, for all models
    for arm in ("vanilla", "myopic"):
        for role in roles:
            pad = pads[1] if role == "long" else pads[0]
            extra = 0 if role in ("short", "long") else 2 * (pads[1] - pads[0])
            T = 2 * pad + 2 + 2 * digits + extra
            name = f"mult-d{digits}-pad{pad}{f'-{role}{extra}' if extra else ''}-{arm}"
            for seed in range(seeds):
                own = rng.normal(0, 0.02 * noise)
                for a in range(1, digits + 1):
                    for b in range(1, digits + 1):
                        hard = HARDEST["vanilla"][role] + gap * (HARDEST[arm][role] - HARDEST["vanilla"][role])
                        level = {2 * digits: hard + own, 2 * digits - 1: 1 - (1 - hard) / 3 + own}.get(a + b, 0.995)
                        right = 0.9 * easy[a, b] + 0.1 * rng.random(BLOCKS * BLOCK) < 0.9 * level + 0.05
                        new = rng.random(BLOCKS * BLOCK) < min(1.0, 10 ** (a + b - 5))
                        common = {"run": name, "arm": arm, "seed": seed, "digits": digits, "pad": pad, "T": T,
                                  "x_digits": a, "y_digits": b}  # fmt: skip
                        cases = {"n": np.ones_like(right), "correct": right, "n_new": new, "correct_new": right & new}
                        by_block = {key: values.reshape(BLOCKS, BLOCK).sum(axis=1) for key, values in cases.items()}
                        one = pd.DataFrame({"block": np.arange(BLOCKS), **common, "role": role, **by_block})
                        t = np.arange(2 * digits)
                        shape = np.exp(-((t - digits) ** 2) / 4) * (1 - level)
                        two = pd.DataFrame({**common, "role": role, "position": t, "n": len(right), "loss": shape,
                                            "right_given": 1 - 0.5 * shape, "right_greedy": 1 - 0.8 * shape})  # fmt: skip
                        for played in ("short", "grid") if role == "short" else (role,):
                            cells.append(one.assign(role=played))
                            by_digit.append(two.assign(role=played))
    return {
        CELLS.name: pd.concat(cells)[[*CELLS.columns]],
        DIGITS.name: pd.concat(by_digit)[[*DIGITS.columns]],
    }
