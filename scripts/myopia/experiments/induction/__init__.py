"""Induction: on repeated random sequences, does a network form heads that only later positions can use?"""

from myopia.config.experiment import Experiment, Figure, Measurement, Table
from myopia.experiments.induction import settings

LOSS = Table.of(
    "induction_loss.csv.gz",
    "run,arm,seed,block,period,since,n,loss,loss_bag",
    text="since",
    about="mean nats of the n predictions of a block's sequences of one period, by place in the present reading; `loss_bag`: knowing the tokens, not their order",
)
HEADS = Table.of(
    "induction_heads.csv",
    "run,arm,seed,step,layer,head,previous,match,duplicate,damage",
    about="layers from 1; attention weights; `damage`: nats lost without the head, last step only",
)
CURVE = Table.of(
    "induction_curve.csv", "run,arm,seed,step,tokens,validation_loss", about="of the tokens a reader can know"
)

EXPERIMENT = Experiment(
    name="induction",
    title="Repeated random sequences, and heads that only later positions can use",
    section=settings.Induction,
    runs=settings.runs,
    tuning=settings.tuning_runs,
    prefix="induction-",
    check=settings.check,
    streams={"induction": "data:Induction.from_spec"},
    measurements=(
        Measurement(
            name="induction",
            tables=(LOSS, HEADS, CURVE),
            run="measure:measure",
            units=settings.units,
            options=settings.measuring,
            files=("model.safetensors", "curve.csv"),
        ),
    ),
    figures=(
        Figure.of(
            "induction",
            "panel,arm,label,x,value,ci_low,ci_high,seeds,documents",
            table="tables:induction",
            draw="show:induction",
            caption=settings.caption,
        ),
    ),
)
