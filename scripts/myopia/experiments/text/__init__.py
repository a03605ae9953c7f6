"""Text: language models from random initialisation, in every arm, on each corpus (Table 2, Fig 4)."""

from myopia.config.experiment import Experiment, Figure, Measurement, Table
from myopia.config.tables import TEXT_COMPONENTS, TEXT_CURVE, TEXT_LOSS
from myopia.experiments.text import settings

INFLUENCE = Table.of("influence.csv", "model,arm,seed,t,s,influence,token", text="model,token")

EXPERIMENT = Experiment(
    name="text",
    title="Language models on text: loss of every arm, by position and by step",
    section=settings.TextSettings,
    runs=settings.runs,
    tuning=settings.tuning_runs,
    prefix="text-",
    corpora=settings.corpora,
    resolve=settings.resolve,
    check=settings.check,
    measurements=(
        Measurement(
            name="text",
            tables=(TEXT_LOSS, TEXT_COMPONENTS, TEXT_CURVE, INFLUENCE),
            run="measure:measure",
            units=settings.units,
            options=settings.measuring,
            files=("model.safetensors", "curve.csv"),
            needs=settings.further_manifests,
        ),
    ),
    figures=(
        Figure.of(
            "influence",
            "model,arm,seed,t,s,influence,token",
            table="tables:influence",
            draw="show:influence",
            caption=settings.caption,
        ),
        Figure.of(
            "fig4_position",
            "corpus,kind,series,position,value,ci_low,ci_high,band_low,band_high,seeds,documents",
            table="tables:fig4_position",
            draw="show:fig4_position",
            caption=settings.caption,
        ),
        Figure.of(
            "text_gap_by_step",
            "corpus,series,step,tokens,value,ci_low,ci_high,seeds,settled",
            table="tables:text_gap_by_step",
            draw="show:text_gap_by_step",
            caption=settings.caption,
        ),
        Figure.of(
            "table2_text_loss",
            "corpus,arm,kind,value,ci_low,ci_high,gap,gap_low,gap_high,seeds,documents",
            table="tables:table2_text_loss",
            draw="show:table2_text_loss",
            caption=settings.caption,
        ),
        Figure.of(
            "text_by_component",
            "corpus,component,series,value,ci_low,ci_high,p_holm,seeds,documents",
            table="component:text_by_component",
        ),
    ),
)
