"""The beta sweep: how the myopia gap closes as a share of the gradient through past hidden states is let back in."""

from myopia.config.experiment import Experiment, Figure
from myopia.experiments.dose_response import settings

EXPERIMENT = Experiment(
    name="dose_response",
    title="How the gap closes as some of the gradient through the past is let back in",
    section=settings.DoseResponse,
    reads=("synthetic", "text"),
    figures=(
        Figure.of(
            "dose_response",
            "task,unit,arm,beta,metric,seed,value,ci_low,ci_high,seeds,documents",
            table="tables:dose_response",
            draw="show:dose_response",
            caption=settings.caption,
        ),
    ),
)
