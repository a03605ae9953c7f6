"""Gradients taken apart: what comes from a position's own loss and what from later ones; forward bias; the theory."""

from myopia.config.experiment import Experiment, Figure, Measurement, Table
from myopia.experiments.gradients import settings, units

ANATOMY = Table.of(
    "gradient_anatomy.csv.gz",
    "corpus,run,arm,seed,step,of,group,block,windows,m_m,f_f,m_f,m_M,f_F,m_F,f_M,loss",
    text="of,group",
    about="inner products of a block's gradient parts (m myopic, f future) with themselves and with the sums over blocks (M, F); `of`: `gradient`, `adamw`; `group`: `embeddings`, `no-embeddings`; arm `public`: revisions of the hub",
)
"""`of`: gradient or adamw; m, f: myopic and future parts of this block; M, F: parts summed over all blocks; loss: total's,
of the block."""

SPECTRA = Table.of(
    "forward_bias.csv.gz",
    "task,run,arm,seed,matrix,position,index,real,imaginary,method",
    text="task,matrix,method",
    about="eigenvalues (`matrix`: `jacobian`, `symmetric`, `present`, `untied`; `method`: `dense`, `lanczos`)",
)
"""Eigenvalues of H_yy + H_xy (`jacobian`), its symmetric part, H_yy (`present`) and each position's block (`untied`)."""

POINTS = Table.of(
    "forward_bias_points.csv",
    "task,run,arm,seed,parameters,sequences,loss,weights,gradient_total,gradient_myopic,gradient_future",
    text="task",
    about="norms where the spectra were taken",
)
"""The networks that spectra were taken at: norms of weights and gradients."""

THEORY = Table.of(
    "theory.csv.gz", "toy,seed,quantity,x,value", text="toy,quantity", about="random convex problems, no network"
)
"""Convex toys, each drawn from its seed."""

EXPERIMENT = Experiment(
    name="gradients",
    title="Own-position and future parts of gradients, forward bias, convex toys (paper Fig 11, Appendix C)",
    section=settings.Gradients,
    runs=settings.runs,
    tuning=settings.tuning_runs,
    prefix="bias-",
    reads=("synthetic", "text"),
    corpora=settings.corpora,
    check=settings.check,
    checkpoints=units.checkpoints,
    measurements=(
        Measurement(
            name="gradients",
            tables=(ANATOMY, SPECTRA, POINTS, THEORY),
            run="measure:measure",
            units=units.units,
            options=settings.options,
            priority=5,  # the longest of those that measure: not last and alone
        ),
    ),
    figures=(
        Figure.of(
            "fig11_gradient_anatomy",
            "corpus,run,arm,kind,of,group,step,quantity,form,value,ci_low,ci_high,seeds,documents",
            table="tables:fig11_gradient_anatomy",
            draw="show:fig11_gradient_anatomy",
            caption=settings.anatomy_caption,
        ),
        Figure.of(
            "forward_bias",
            "task,arm,kind,matrix,x,value,imaginary,ci_low,ci_high,method,seeds",
            table="tables:forward_bias",
            draw="show:forward_bias",
            caption=settings.bias_caption,
        ),
        Figure.of(
            "theory",
            "toy,quantity,x,value,low,high,seeds",
            table="tables:theory",
            draw="show:theory",
            caption=settings.toys_caption,
        ),
    ),
)
