"""Template of an experiment: half of a random sequence is read, then read again; the loss is on the second reading.

Copy this folder, replace `_template` by the new name everywhere in it, and add the name to the list in
`myopia/experiments/__init__.py`. docs/adding.md says what each file is for.
"""

from myopia.config.experiment import Experiment, Figure, Measurement, Table
from myopia.experiments._template import settings

LOSS = Table.of("_template_loss.csv", "run,arm,seed,block,n,loss")

EXPERIMENT = Experiment(
    name="_template",
    title="A second reading of random tokens",
    section=settings.Template,
    runs=settings.runs,
    tuning=settings.tuning_runs,
    prefix="_template-",
    check=settings.check,
    streams={"_template": "data:Copying.from_spec"},
    measurements=(
        Measurement(
            name="_template",
            tables=(LOSS,),
            run="measure:measure",
            units=settings.units,
            options=lambda settings: {"test_sequences": settings["_template"]["test_sequences"]},
        ),
    ),
    figures=(
        Figure.of(
            "_template_loss",
            "arm,value,ci_low,ci_high,seeds,documents",
            table="tables:losses_table",
            draw="show:losses",
            caption=settings.caption,
        ),
    ),
)
