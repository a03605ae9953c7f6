"""Multiplication digit by digit: do models compute at filler tokens, and only if gradients reach them from later ones?"""

from myopia.config.experiment import Experiment, Figure, Measurement, Table
from myopia.experiments.multiplication import settings

CELLS = Table.of(
    "multiplication_cells.csv.gz",
    "role,run,arm,seed,digits,pad,T,x_digits,y_digits,block,n,correct,n_new,correct_new",
    text="role",
    about="exact match by cell and block of 32 problems; `_new`: problems that training never showed; `role`: `grid`, `short`, `long`, `after`, `lead`; a run that plays two roles has its rows twice",
)
"""By pair of digit counts and block of test problems. `correct`: problems whose product is right in its first x_digits +
y_digits digits, the longest it can be (the authors' score); `n_new`, `correct_new`: the same for problems that training
never showed. A run that plays two roles has its rows twice."""

DIGITS = Table.of(
    "multiplication_digits.csv",
    "role,run,arm,seed,digits,pad,T,x_digits,y_digits,position,n,loss,right_given,right_greedy",
    text="role",
    about="by answer digit, 0 the least significant; `given`: after the right digits before",
)
"""By answer digit, 0 the least significant: nats given all earlier digits, share of right digits given them, share of
right digits in the model's own answer."""

EXPERIMENT = Experiment(
    name="multiplication",
    title="Products of numbers, digit by digit, with and without filler tokens (paper D.3, Figs 8-10)",
    section=settings.Multiplication,
    runs=settings.runs,
    tuning=settings.tuning_runs,
    prefix="mult-",
    check=settings.check,
    streams={"multiplication": "data:Multiplication.from_spec"},
    measurements=(
        Measurement(
            name="multiplication",
            tables=(CELLS, DIGITS),
            run="measure:measure",
            units=settings.units,
            options=settings.options,
        ),
    ),
    figures=(
        Figure.of(
            "fig9_multiplication",
            "kind,series,digits,pad,x_digits,y_digits,value,ci_low,ci_high,seeds,documents,judged,share_new,value_new",
            table="tables:fig9_multiplication",
            draw="show:fig9_multiplication",
            caption=settings.caption,
        ),
        Figure.of(
            "fig10_filler",
            "kind,measure,role,arm,digits,pad,T,x_digits,y_digits,value,ci_low,ci_high,seeds,documents,judged,share_new",
            table="tables:fig10_filler",
            draw="show:fig10_filler",
            caption=settings.caption,
        ),
        Figure.of(
            "multiplication_digits",
            "role,arm,digits,pad,T,x_digits,y_digits,position,metric,value,ci_low,ci_high,seeds",
            table="tables:multiplication_digits",
            draw="show:multiplication_digits",
            caption=settings.caption,
        ),
    ),
)
