"""The table behind the figure."""

from __future__ import annotations

import pandas as pd

from myopia.config.runs import PAIR
from myopia.experiments._template.judge import losses
from myopia.judge.registry import Context
from myopia.judge.stats import Ratio, ratio_contrast


def losses_table(context: Context) -> pd.DataFrame:
    """One row for each arm."""
    rows = []
    for arm in PAIR:
        sums, n = losses(context, [arm])
        estimate = ratio_contrast([Ratio(sums[arm], n)])
        low, high = estimate.interval()
        rows.append({"arm": arm, "value": estimate.value, "ci_low": low, "ci_high": high, "seeds": estimate.seeds,
                     "documents": estimate.documents})  # fmt: skip
    return pd.DataFrame(rows)
