"""From one csv to one picture: the shared body of every `scripts/plot_*.py`."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence

import pandas as pd
from matplotlib.figure import Figure

from myopia.common import cli
from myopia.experiments.dose_response import show as dose
from myopia.experiments.gradients import show as anatomy
from myopia.experiments.induction import show as induction
from myopia.experiments.multiplication import show as multiplication
from myopia.experiments.released import show as released
from myopia.experiments.size_sweep import show as family
from myopia.experiments.synthetic import show as synthetic
from myopia.experiments.text import show as text
from myopia.experiments.tokens import show as tokens
from myopia.experiments.toys import show as toys
from myopia.experiments.zero_shot import show as zero_shot
from myopia.show import style

Draw = Callable[[pd.DataFrame, str], Figure]
ZERO_SHOT = (
    "task,kind,model,arm,parameters,value,ci_low,ci_high,chance,above_chance,gap,gap_low,gap_high,seeds,documents,"
    "truncated,left_out,split,version,harness"
)
FIGURES: dict[str, tuple[Draw, str]] = {
    "table1_loss_by_p": (
        synthetic.table1_loss_by_p,
        "kind,series,shift,on,p,a,b,value,ci_low,ci_high,seeds,documents",
    ),
    "fig2_probe_r2": (
        synthetic.fig2_probe_r2,
        "kind,arm,p,weights,layer,feature,lookback,metric,value,ci_low,ci_high,seeds,a,b",
    ),
    "fig3_neuron_correlation": (
        synthetic.fig3_neuron_correlation,
        "arm,p,seed,seeds,layer,neuron,feature,lookback,abs_corr",
    ),
    "fig6_probe_estimate": (synthetic.fig6_probe_estimate, "arm,p,layer,x,value,sd,truth,seeds"),
    "intervention": (synthetic.intervention, "arm,p,direction,lag,value,ci_low,ci_high,seeds,expected"),
    "influence": (synthetic.influence, "model,arm,seed,t,s,influence,token"),
    "fig4_position": (
        text.fig4_position,
        "corpus,kind,series,position,value,ci_low,ci_high,band_low,band_high,seeds,documents",
    ),
    "text_gap_by_step": (text.text_gap_by_step, "corpus,series,step,value,ci_low,ci_high,seeds,still_rising"),
    "table2_text_loss": (
        text.table2_text_loss,
        "corpus,arm,kind,value,ci_low,ci_high,gap,gap_low,gap_high,seeds,documents",
    ),
    "fig7_gap_by_size": (
        family.fig7_gap_by_size,
        "panel,start,choice,kind,size,arm,n_params,x,group,value,ci_low,ci_high,hollow,edge,selected_on,seeds,documents",
    ),
    "audit_gap_by_lr": (
        family.audit_gap_by_lr,
        "panel,start,size,n_params,choice,arm,lr,value,ci_low,ci_high,best,edge,selected_on,seeds,documents",
    ),
    "token_gap": (
        tokens.token_gap,
        "corpus,by,bin,order,x,metric,value,ci_low,ci_high,band_low,band_high,seeds,documents",
    ),
    "future_probes": (tokens.future_probes, "corpus,arm,layer,tau,metric,value,ci_low,ci_high,seeds,documents"),
    "fig5_zero_shot": (zero_shot.fig5_zero_shot, ZERO_SHOT),
    "toy_capacity": (toys.toy_capacity, "panel,overlap,balance,capacity,series,seed,x,value,ci_low,ci_high,seeds"),
    "toy_hidden_bits": (toys.toy_hidden_bits, "panel,training,kind,step,value,ci_low,ci_high,seeds"),
    "three_myopias": (
        toys.three_myopias,
        "panel,training,arm,kind,x,value,ci_low,ci_high,sd,sd_expected,seeds",
    ),
    "fig9_multiplication": (
        multiplication.fig9_multiplication,
        "kind,series,digits,pad,x_digits,y_digits,value,ci_low,ci_high,seeds,documents,judged,share_new",
    ),
    "fig10_filler": (
        multiplication.fig10_filler,
        "kind,measure,role,arm,digits,pad,T,x_digits,y_digits,value,ci_low,ci_high,seeds,documents,judged",
    ),
    "multiplication_digits": (
        multiplication.multiplication_digits,
        "role,arm,digits,pad,T,position,metric,value,ci_low,ci_high,seeds",
    ),
    "fig11_gradient_anatomy": (
        anatomy.fig11_gradient_anatomy,
        "corpus,run,arm,kind,of,group,step,quantity,form,value,ci_low,ci_high,seeds,documents",
    ),
    "forward_bias": (anatomy.forward_bias, "task,arm,kind,matrix,x,value,imaginary,ci_low,ci_high,method,seeds"),
    "theory": (anatomy.theory, "toy,quantity,x,value,low,high,seeds"),
    "dose_response": (dose.dose_response, "task,unit,arm,beta,metric,value,ci_low,ci_high,seeds,documents"),
    "induction": (induction.induction, "panel,arm,label,x,value,ci_low,ci_high,seeds,documents"),
}
"""Figure -> (the function that draws it, the columns its table must have)."""

RELEASED: dict[str, tuple[Draw, str]] = {
    "fig7_released": (
        released.fig7_released,
        "kind,corpus,size,parameters,series,value,ci_low,ci_high,seeds,documents",
    ),
    "released_position": (
        released.released_position,
        "kind,corpus,size,parameters,position,value,ci_low,ci_high,seeds,documents",
    ),
    "fig5_released": (zero_shot.fig5_zero_shot, ZERO_SHOT),
}
"""The same for the target `released`, which is never part of `all`."""


def draw(name: str, table: str, svg: str, png: str, caption: str = "") -> None:
    """Read the figure's table, draw, write SVG and PNG."""
    function, columns = {**FIGURES, **RELEASED}[name]
    style.save(function(style.read_table(table, columns.split(",")), caption), svg, png)


def arguments(description: str | None, argv: Sequence[str] | None) -> argparse.Namespace:
    """The one command line of all figure scripts."""
    parser = cli.parser(description, "table", "svg", "png")
    parser.add_argument("--caption", default="", help="deviations to name under the figure, e.g. the scale")
    return parser.parse_args(argv)
