"""|corr(neuron, feature)|: which hidden-state coordinates carry which past value (paper Fig 3)."""

from __future__ import annotations

import numpy as np

from myopia.experiments.synthetic.moments import Pooled


def absolute_correlation(moments: Pooled) -> np.ndarray:
    """|Pearson correlation| of every feature with every target, float64 [D, K], in [0, 1].

    0 where a neuron or a target is constant: it carries no linear information then, and a map needs a value.
    """
    scale = np.sqrt(np.outer(np.diag(moments.hh_DD), moments.zz_K))
    varies = scale > 0
    result = np.abs(moments.hz_DK) / np.where(varies, scale, 1.0)
    return np.where(varies, np.minimum(result, 1.0), 0.0)
