"""Does the gap grow with model size? Sizes x training recipes x arms, and the myopia gap of networks of one's own."""

from myopia.config.experiment import Experiment, Figure, Measurement, Table
from myopia.experiments.size_sweep import runs, settings

RUNS = Table.of(
    "family_runs.csv",
    "corpus,recipe,start,size,arm,run,lr,warmup,batch_size,frozen,seed,steps,tokens,parameters,"
    "parameters_without_embeddings,validation_loss",
    text="recipe,start,size",
    about="one row per condition and seed, tuning seeds included; a run that serves two recipes has two rows",
)
"""By condition and seed. `frozen`: the rate that was chosen before, on record in the settings."""

LOSS = Table.of(
    "family_loss.csv.gz",
    "corpus,run,arm,seed,doc,group,component,position,last_position,n,loss",
    text="doc,group,component",
    about="as text_loss.csv.gz, positions pooled into 0, 1-8, 9-31, 32 on; `n` counts tokens",
)
"""Positions are pooled: `position` is the first of a stretch, `n` counts its tokens."""

CURVE = Table.of("family_curve.csv", "corpus,run,arm,seed,step,tokens,validation_loss", about="as text_curve.csv")

AUDIT = (
    "panel,start,size,n_params,choice,arm,lr,value,ci_low,ci_high,validation_loss,best,edge,selected_on,seeds,documents"
)

GAP = Figure.of(
    "gap",
    "size,start,choice,gap,ci_low,ci_high,seeds,documents,vanilla,myopic,lr_vanilla,lr_myopic,selected_on,edge,hollow",
    table="tables:gap_of_networks",
)
"""Of the target `gap`, as is the next: never part of `all`."""

GAP_BY_LR = Figure.of(
    "gap_by_lr", AUDIT, table="tables:audit_gap_by_lr", draw="show:audit_gap_by_lr", caption=settings.caption
)

EXPERIMENT = Experiment(
    name="size_sweep",
    title="Gap against model size (paper section 5.2, Table 5, Fig 7)",
    section=settings.SizeSweep,
    runs=runs.runs,
    tuning=runs.tuning_runs,
    prefix="family-",
    corpora=settings.corpora,
    resolve=settings.resolve,
    check=settings.check,
    seeds=runs.seeds,
    grid=runs.grid,
    groups=runs.groups,
    verbs={"gap": "gap:gap"},
    commands={
        "tabulate-gap": "gap:tabulate_gap",
        "draw-gap": "gap:draw_gap",
        "print-gap": "gap:print_gap",
    },
    measurements=(
        Measurement(
            name="size_sweep",
            tables=(RUNS, LOSS, CURVE),
            run="measure:measure",
            units=runs.units,
            options=settings.options,
            files=("model.safetensors", "curve.csv", "metrics.json"),
        ),
    ),
    figures=(
        Figure.of(
            "fig7_gap_by_size",
            "panel,start,choice,kind,size,arm,n_params,x,group,value,ci_low,ci_high,hollow,edge,selected_on,seeds,documents",
            table="tables:fig7_gap_by_size",
            draw="show:fig7_gap_by_size",
            caption=settings.caption,
        ),
        Figure.of(
            "audit_gap_by_lr",
            AUDIT,
            table="tables:audit_gap_by_lr",
            draw="show:audit_gap_by_lr",
            caption=settings.caption,
        ),
    ),
)
