"""All figure tables of one scale: `tables/<figure>.csv`, each exactly what its figure draws."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd

from myopia.common.errors import MyopiaError
from myopia.common.files import write_csv
from myopia.experiments.dose_response import tables as dose
from myopia.experiments.gradients import tables as anatomy
from myopia.experiments.induction import tables as induction
from myopia.experiments.multiplication import tables as multiplication
from myopia.experiments.size_sweep import tables as family
from myopia.experiments.synthetic import tables as synthetic
from myopia.experiments.text import component as component
from myopia.experiments.text import tables as text
from myopia.experiments.tokens import tables as tokens
from myopia.experiments.toys import tables as toys
from myopia.experiments.zero_shot import tables as zero_shot
from myopia.judge.measures import NotRun
from myopia.judge.registry import Context

FIGURES: dict[str, tuple[Callable[[Context], pd.DataFrame], list[str]]] = {
    "table1_loss_by_p": (synthetic.table1_loss_by_p, synthetic.TABLE1),
    "fig2_probe_r2": (synthetic.fig2_probe_r2, synthetic.FIG2),
    "fig3_neuron_correlation": (synthetic.fig3_neuron_correlation, synthetic.FIG3),
    "fig6_probe_estimate": (synthetic.fig6_probe_estimate, synthetic.FIG6),
    "intervention": (synthetic.intervention, synthetic.INTERVENTION),
    "influence": (synthetic.influence, synthetic.INFLUENCE),
    "fig4_position": (text.fig4_position, text.FIG4),
    "text_gap_by_step": (text.text_gap_by_step, text.BY_STEP),
    "table2_text_loss": (text.table2_text_loss, text.TABLE2),
    "fig7_gap_by_size": (family.fig7_gap_by_size, family.FIG7),
    "audit_gap_by_lr": (family.audit_gap_by_lr, family.AUDIT),
    "token_gap": (tokens.token_gap, tokens.TOKEN_GAP),
    "future_probes": (tokens.future_probes, tokens.FUTURE),
    "fig5_zero_shot": (zero_shot.fig5_zero_shot, zero_shot.FIG5),
    "toy_capacity": (toys.toy_capacity, toys.CAPACITY),
    "toy_hidden_bits": (toys.toy_hidden_bits, toys.HIDDEN_BITS),
    "three_myopias": (toys.three_myopias, toys.MYOPIAS),
    "fig9_multiplication": (multiplication.fig9_multiplication, multiplication.FIG9),
    "fig10_filler": (multiplication.fig10_filler, multiplication.FIG10),
    "multiplication_digits": (multiplication.multiplication_digits, multiplication.BY_DIGIT),
    "fig11_gradient_anatomy": (anatomy.fig11_gradient_anatomy, anatomy.FIG11),
    "forward_bias": (anatomy.forward_bias, anatomy.BIAS),
    "theory": (anatomy.theory, anatomy.TOYS),
    "dose_response": (dose.dose_response, dose.DOSE),
    "induction": (induction.induction, induction.INDUCTION),
}
"""Figure -> (what makes its table, the columns the table has even when nothing was measured)."""

LISTS: dict[str, tuple[Callable[[Context], pd.DataFrame], list[str]]] = {
    "top_tokens": (tokens.top_tokens, tokens.TOP_TOKENS),
    "planning_map": (tokens.planning_map, tokens.PLANNING_MAP),
    "text_by_component": (component.text_by_component, component.COLUMNS),
}
"""Tables that are read, not drawn; otherwise as `FIGURES`."""


def write_tables(context: Context, folder: str | Path, names: Sequence[str] | None = None) -> None:
    """Write the named tables (all of them if not given); one without its measurement has a header and no rows."""
    known = FIGURES | LISTS
    for name in names or known:
        if name not in known:
            raise MyopiaError(f"There is no table {name}; known are {', '.join(known)}.")
        make, columns = known[name]
        try:
            frame = make(context)
        except NotRun:
            frame = pd.DataFrame(columns=columns)
        write_csv(Path(folder) / f"{name}.csv", frame)
