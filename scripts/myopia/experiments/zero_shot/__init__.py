"""Zero-shot: accuracy of both arms through lm-eval (Fig 5), and a last-word cloze that needs no network."""

from myopia.config.experiment import Experiment, Figure, Measurement, Table
from myopia.experiments.zero_shot import settings

SCORES = Table.of(
    "zero_shot.csv.gz",
    "task,version,harness,split,model,run,arm,parameters,seed,item,cluster,correct,chance,ll_answer,ll_rival,truncated,"
    "left_out",
    text="task,version,harness,split,model,cluster",
    about="`model`: what the arms share, a corpus or a Pythia size such as `70m`",
)
"""`correct` is lm-eval's `acc` of the item; `chance` what a guess scores on it (a share of the choices; for a last-word
task 1 where the answer is the commonest one, which a constant guess gets right); `ll_answer` and `ll_rival` the
log-likelihoods (nats) of the right and the likeliest wrong choice, the latter empty where the greedy continuation
decides; `truncated` 1 if the prompt was cut to the model's positions; `left_out` how many items of the task no answer of
which fits."""

FIG5 = (
    "task,kind,model,arm,parameters,value,se,ci_low,ci_high,chance,above_chance,gap,gap_low,gap_high,p,test,seeds,"
    "documents,items,truncated,left_out,split,version,harness"
)
"""`gap`: vanilla - myopic on the same items, in the row of myopic, with its interval and p (`test`: `mcnemar`, exact,
for one pair; `seeds` for several). `above_chance`: 1 if the 95 % interval of accuracy minus a guess's lies above 0.
`documents`: clusters. `truncated`: share of items whose prompt was cut. kind `published`: Pythia as released."""

EXPERIMENT = Experiment(
    name="zero_shot",
    title="Zero-shot tasks through lm-eval, and a last-word cloze",
    section=settings.ZeroShot,
    reads=("text", "size_sweep"),
    resolve=settings.resolve,
    check=settings.check,
    commands={"make-task": "commands:make_task"},
    measurements=(
        Measurement(
            name="zero_shot",
            tables=(SCORES,),
            run="measure:measure",
            units=settings.units,
            needs=settings.task_files,
            env="zeroshot",
        ),
    ),
    figures=(
        Figure.of(
            "fig5_zero_shot",
            FIG5,
            table="tables:fig5_zero_shot",
            draw="show:fig5_zero_shot",
            caption=settings.caption,
        ),
    ),
)
