"""Would other seeds give the same verdict? Answered by judging again and again with few of many seeds.

A claim is judged at a scale with n seeds. Here it was measured with many more; n of them are drawn without replacement,
the claim is judged from those alone, and the share of draws that give each answer is counted.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
import pandas as pd

from myopia.common.errors import MyopiaError
from myopia.judge.claims import ClaimSet
from myopia.judge.measures import Measures, Paper
from myopia.judge.verdicts import ANSWERS, judge

COLUMNS = (
    "id",
    "claim",
    "pool",
    "seeds",
    "draws",
    "answer",
    "repeats",
    *(f"share_{one.replace(' ', '_')}" for one in ANSWERS),
)
SEED = 20261201


def repeat(
    measures: Measures,
    claims: ClaimSet,
    paper: Paper,
    scale: str,
    ids: Collection[str],
    pool: Sequence[int],
    seeds: int,
    draws: int,
) -> pd.DataFrame:
    """How often each claim of `ids` gets which answer from `seeds` of the `pool`; `repeats` is the largest share.

    Raises:
        MyopiaError: too few seeds to draw from.
    """
    if len(pool) < 2 * seeds:
        raise MyopiaError(
            f"{len(pool)} seeds are too few to draw {seeds} of them again and again: at least {2 * seeds}"
        )
    rng = np.random.default_rng(SEED)
    found: dict[str, list[str]] = {}
    texts: dict[str, str] = {}
    for _ in range(draws):
        drawn = sorted(int(seed) for seed in rng.choice(pool, seeds, replace=False))
        for row in judge(measures.of_seeds(drawn), claims, paper, scale, ids).itertuples():
            found.setdefault(row.id, []).append(row.answer)
            texts[row.id] = row.claim
    rows = []
    for name, answers in found.items():
        shares = {one: answers.count(one) / draws for one in ANSWERS}
        most = max(shares, key=lambda one: shares[one])
        row = {"id": name, "claim": texts[name], "pool": len(pool), "seeds": seeds, "draws": draws, "answer": most}
        row |= {"repeats": shares[most]} | {f"share_{one.replace(' ', '_')}": shares[one] for one in ANSWERS}
        rows.append(row)
    return pd.DataFrame(rows, columns=[*COLUMNS])
