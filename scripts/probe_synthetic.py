"""Probes, neuron maps, sine estimate and causal intervention of synthetic runs -> four tables in measure/."""

from __future__ import annotations

from collections.abc import Sequence

from myopia.common import cli
from myopia.common.files import write_csv


def main(argv: Sequence[str] | None = None) -> None:
    """Probe the runs named in the JSON `--spec` (text or a file) and write one table per `--out-...`."""
    parser = cli.parser(__doc__, "spec", "out-r2", "out-correlation", "out-estimate", "out-intervention")
    parser.add_argument("--threads", type=int, default=1, help="torch threads (default 1)")
    arguments = parser.parse_args(argv)

    import torch

    from myopia.experiments.synthetic import probing as probing
    from myopia.experiments.synthetic.runs import read_spec

    torch.set_num_threads(arguments.threads)
    tables = probing.probe_runs(*read_spec(arguments.spec, probing.OPTIONS))
    write_csv(arguments.out_r2, probing.frame(tables.r2, probing.R2_COLUMNS))
    write_csv(arguments.out_correlation, probing.frame(tables.correlation, probing.CORRELATION_COLUMNS))
    write_csv(arguments.out_estimate, probing.frame(tables.estimate, probing.ESTIMATE_COLUMNS))
    write_csv(arguments.out_intervention, probing.frame(tables.intervention, probing.INTERVENTION_COLUMNS))


if __name__ == "__main__":
    cli.run(main)
