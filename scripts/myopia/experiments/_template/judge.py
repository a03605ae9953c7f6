"""Estimators that claims.yaml names: from measurements to one estimate with its interval."""

from __future__ import annotations

from collections.abc import Sequence

from myopia.experiments._template import LOSS
from myopia.judge.measures import common_seeds, select, to_array
from myopia.judge.registry import Context, estimator
from myopia.judge.stats import Array, Estimate, Ratio, ratio_contrast


def losses(context: Context, arms: Sequence[str]) -> tuple[dict[str, Array], Array]:
    """(summed loss by arm, counts), [seeds, blocks], on the seeds all arms share."""
    table = context.measures.table(LOSS.name)
    frames = {arm: select(table, f"_template, arm {arm},", arm=arm) for arm in arms}
    seeds = common_seeds(list(frames.values()), "_template")
    axes = {"block": sorted(table["block"].unique())}
    n = to_array(frames[arms[0]], "n", seeds, axes)
    return {arm: n * to_array(frame, "loss", seeds, axes) for arm, frame in frames.items()}, n


@estimator
def _template_gap(context: Context, *, arms: Sequence[str]) -> Estimate:
    """Loss of the first arm minus the second's on the second reading."""
    sums, n = losses(context, arms)
    return ratio_contrast([Ratio(sums[arms[0]] - sums[arms[1]], n)])
