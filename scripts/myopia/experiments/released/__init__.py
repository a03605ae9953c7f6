"""Released: the authors' checkpoints, fetched, converted and measured without training (`snakemake released`)."""

from myopia.config.experiment import Experiment, Figure
from myopia.experiments.released import settings
from myopia.experiments.zero_shot import FIG5

EXPERIMENT = Experiment(
    name="released",
    title="The authors' released checkpoints: learning rates, loss, tasks",
    section=settings.ReleasedSettings,
    reads=("zero_shot",),
    check=settings.check,
    commands={
        "resolve-released": "commands:resolve",
        "fetch-released": "commands:fetch",
        "convert-released": "commands:convert",
        "encode-released": "commands:encode",
        "measure-released": "commands:measure",
        "score-released": "commands:score",
        "tabulate-released": "commands:tabulate",
    },
    figures=(
        Figure.of(
            "fig7_released",
            "kind,corpus,size,parameters,series,value,ci_low,ci_high,seeds,documents",
            table="tables:fig7_released",
            draw="show:fig7_released",
            caption=settings.caption,
        ),
        Figure.of(
            "released_position",
            "kind,corpus,size,parameters,position,value,ci_low,ci_high,band_low,band_high,seeds,documents",
            table="tables:released_position",
            draw="show:released_position",
            caption=settings.caption,
        ),
        Figure.of(
            "fig5_released",
            FIG5,
            table="tables:fig5_released",
            draw="show:fig5_released",
            caption=settings.tasks_caption,
        ),
        Figure.of(
            "released_audit",
            "size,arm,parameters,lr_in_name,lr_in_hyper_parameters,lr_in_schedule,lr_in_optimizer,lr_as_named,"
            "warmup_in_name,warmup_in_hyper_parameters,steps_in_name,global_step,train_loss_in_name,optimizer_state,"
            "lightning_version,repo,commit,file,sha256",
            table="tables:released_audit",
        ),
    ),
    optional=True,
)
