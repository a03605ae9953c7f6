"""One pair of models on shared items: McNemar's exact test as an estimate with an interval of its own."""

from __future__ import annotations

import math
from dataclasses import dataclass

from scipy import stats as _scipy

from myopia.judge.stats import Estimate


@dataclass(frozen=True)
class Pair(Estimate):
    """Difference in accuracy of two models, from the items that one of them alone gets right.

    Given the m = better + worse such items, `better` is binomial with a chance pi that is 1/2 if the models are
    equally good; the difference is (2 pi - 1) m / items. The interval is Clopper and Pearson's for pi, so it leaves
    out 0 exactly when McNemar's exact test rejects at 1 - level. It speaks of these weights, not of training again.
    """

    better: int = 0
    worse: int = 0

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """Exact two-sided interval of the difference; both ends 0 where the models never differ."""
        m = self.better + self.worse
        if not m:
            return 0.0, 0.0
        tail = (1 - level) / 2
        low = _scipy.beta.ppf(tail, self.better, self.worse + 1) if self.better else 0.0
        high = _scipy.beta.ppf(1 - tail, self.better + 1, self.worse) if self.worse else 1.0
        return tuple(float((2 * pi - 1) * m / self.documents) for pi in (low, high))

    def p_value(self, against: float) -> float:
        """Two-sided p against a difference; against 0 it is McNemar's exact p."""
        m = self.better + self.worse
        if not m:
            return 1.0 if against == 0 else 0.0
        pi = (1 + against * self.documents / m) / 2
        if not 0 <= pi <= 1:
            return 0.0
        tails = _scipy.binom.cdf(self.better, m, pi), _scipy.binom.sf(self.better - 1, m, pi)
        return min(1.0, 2 * float(min(tails)))


def pair(better: int, worse: int, items: int) -> Pair:
    """The estimate of `items` shared items, `better` of which the first model alone gets right, `worse` the second."""
    value = (better - worse) / items
    se = math.sqrt(max(better + worse - (better - worse) ** 2 / items, 0)) / items
    return Pair(value, se, math.inf, math.nan, 1, items, better=better, worse=worse)
