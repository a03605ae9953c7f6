"""The synthetic task D_p (paper section 4.1): a task that only planning solves, and what networks store for it."""

from myopia.config.experiment import Experiment, Figure, Measurement, Table
from myopia.experiments.synthetic import settings

LOSS = Table.of(
    "synthetic_loss.csv",
    "run,arm,p,a,b,shift,seed,block,n_sequences,n_tokens,n_z1,loss,loss_z1,loss_zero,loss_zero_z1,loss_trivial,"
    "loss_trivial_z1,loss_present",
    about="`loss*`: mean Huber over the tokens of the block",
)
PROBE_R2 = Table.of(
    "probe_r2.csv",
    "run,arm,p,seed,weights,layer,feature,lookback,r2_heldout,r2_insample,r2_noisy",
    text="weights,feature",
    about="`weights`: `trained`, `untrained`, `shuffled`; `feature`: `sin`, `x`",
)
CORRELATION = Table.of(
    "neuron_correlation.csv", "run,arm,p,seed,layer,neuron,feature,lookback,abs_corr", text="feature"
)
ESTIMATE = Table.of(
    "probe_estimate.csv", "run,arm,p,seed,layer,x,n,estimate_mean,estimate_sd,truth", about="equal-width bins of x"
)
INTERVENTION = Table.of(
    "intervention.csv",
    "run,arm,p,seed,direction,lag,slope,n",
    text="direction",
    about="`direction`: `probe`, `random`, `pattern`, `random-pattern`",
)

EXPERIMENT = Experiment(
    name="synthetic",
    title="A task that only planning solves (D_p)",
    section=settings.Synthetic,
    runs=settings.runs,
    tuning=settings.tuning_runs,
    prefix="dp-",
    check=settings.check,
    streams={"dp": "data:DpTask.from_spec"},
    measurements=(
        Measurement(
            name="synthetic",
            tables=(LOSS,),
            run="measure:measure",
            units=settings.units,
            options=settings.evaluating,
        ),
        Measurement(
            name="probes",
            tables=(PROBE_R2, CORRELATION, ESTIMATE, INTERVENTION),
            run="probing:measure",
            units=settings.probed_units,
            options=settings.probing,
            env="probe",
        ),
    ),
    figures=(
        Figure.of(
            "table1_loss_by_p",
            "kind,series,shift,on,p,a,b,value,ci_low,ci_high,seeds,documents",
            table="tables:table1_loss_by_p",
            draw="show:table1_loss_by_p",
            caption=settings.caption,
        ),
        Figure.of(
            "fig2_probe_r2",
            "kind,arm,p,weights,layer,feature,lookback,metric,value,ci_low,ci_high,seeds,a,b",
            table="tables:fig2_probe_r2",
            draw="show:fig2_probe_r2",
            caption=settings.caption,
        ),
        Figure.of(
            "fig3_neuron_correlation",
            "arm,p,seed,seeds,layer,neuron,feature,lookback,abs_corr",
            table="tables:fig3_neuron_correlation",
            draw="show:fig3_neuron_correlation",
            caption=settings.caption,
        ),
        Figure.of(
            "fig6_probe_estimate",
            "arm,p,layer,x,n,value,ci_low,ci_high,sd,truth,seeds",
            table="tables:fig6_probe_estimate",
            draw="show:fig6_probe_estimate",
            caption=settings.caption,
        ),
        Figure.of(
            "intervention",
            "arm,p,direction,lag,value,ci_low,ci_high,seeds,n,expected",
            table="tables:intervention",
            draw="show:intervention",
            caption=settings.caption,
        ),
    ),
)
