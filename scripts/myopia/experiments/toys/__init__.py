"""The toys (protocol section 9): tasks small enough to be solved exactly, in which planning must or cannot pay."""

from myopia.config.experiment import Experiment, Figure, Measurement, Table
from myopia.experiments.toys import settings

SHARED = Table.of(
    "toy_shared.csv",
    "overlap,balance,capacity,arm,seed,loss1,loss2,bits_future",
    about="one row per trained run, bits; `bits_future`: I(y; z2)",
)
OPTIMUM = Table.of(
    "toy_optimum.csv",
    "overlap,balance,capacity,aim,ties,loss1,loss2,entropy1,entropy2,floor1,floor2",
    text="aim,ties",
    about="`aim`: `vanilla`, `myopic`, with `ties` `best`, `mean`, `worst`; `frontier`; `entropy*`: losses of an f that says nothing, `floor*`: everything",
)
HIDDEN = Table.of(
    "toy_hidden.csv",
    "training,seed,step,bits,bits_permuted,amplitude,rms,bits_expected,amplitude_expected",
    text="training",
)
CONSEQUENCE = Table.of(
    "toy_consequence.csv.gz",
    "training,arm,seed,step,p_easy,p_expected,spread_expected,loss1,loss_rollout",
    text="training",
    about="`training`: `offline`, `own`, `reward`, `mixed`; `loss_rollout`: bits of z2 after the network's own z1",
)
TUNING = Table.of("tuning_toys.csv", "lr,start,arm,seed,regret")
"""Under `tables/`: the grid of the target `tuned`."""

EXPERIMENT = Experiment(
    name="toys",
    title="Tasks small enough to be solved exactly",
    section=settings.Toys,
    check=settings.check,
    commands={"tune-toys": "commands:tune_toys"},
    tuning_tables=(TUNING.name,),
    measurements=(
        Measurement(
            name="toys",
            tables=(SHARED, OPTIMUM, HIDDEN, CONSEQUENCE),
            run="measure:measure",
            units=settings.units,
            options=settings.measuring,
            files=(),
            gpu=False,
        ),
    ),
    figures=(
        Figure.of(
            "toy_capacity",
            "panel,overlap,balance,capacity,series,seed,x,value,ci_low,ci_high,seeds",
            table="tables:toy_capacity",
            draw="show:toy_capacity",
            caption=settings.capacity_caption,
        ),
        Figure.of(
            "toy_hidden_bits",
            "panel,training,kind,step,value,ci_low,ci_high,seeds",
            table="tables:toy_hidden_bits",
            draw="show:toy_hidden_bits",
            caption=settings.hidden_caption,
        ),
        Figure.of(
            "three_myopias",
            "panel,training,arm,kind,x,value,ci_low,ci_high,sd,sd_expected,seeds",
            table="tables:three_myopias",
            draw="show:three_myopias",
            caption=settings.myopias_caption,
        ),
    ),
)
