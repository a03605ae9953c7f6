"""All probing of the synthetic runs: R^2 by lookback, neuron maps, the sine estimate and the intervention."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from myopia.common.errors import MyopiaError
from myopia.common.files import canonical_json
from myopia.config.experiment import Table
from myopia.experiments.synthetic import CORRELATION, ESTIMATE, INTERVENTION, PROBE_R2, probes
from myopia.experiments.synthetic.correlation import absolute_correlation
from myopia.experiments.synthetic.intervention import intervention_slopes
from myopia.experiments.synthetic.network import Regressor, SyntheticRun, hidden_states
from myopia.experiments.synthetic.probes import FEATURES, FIT_STREAM, HELDOUT_STREAM, ProbeMoments, Scores
from myopia.experiments.synthetic.settings import PROBE_BATCH

log = logging.getLogger(__name__)

EARLY_LAYER = 1
"""The hidden state after the first block: where pre-cached values have to stand (paper Algorithm 1)."""

PROBE_SEED = 0
"""Names the probing sequences, which all runs share."""

RIDGE = 1e-4
"""Of the probes without noise, as the authors'."""

SORTED_BY = ["run", "seed", "weights", "layer", "neuron", "feature", "direction", "x", "lag", "lookback"]


@dataclass(frozen=True)
class Probing:
    """How runs are probed.

    sequences: that probes are fitted on, and as many others to score them; lookback: largest lag, in positions; batch:
    sequences per forward pass; bins: of x in the sine estimate, over |x| <= limit; interventions: sequences changed.
    """

    sequences: int
    lookback: int
    batch: int = PROBE_BATCH
    bins: int = 200
    limit: float = 2.5
    interventions: int = 1024
    device: str = "cpu"

    def check(self, run: SyntheticRun) -> None:
        """Raise MyopiaError where lookbacks do not fit into the run's sequences, or sequences not into batches."""
        if self.lookback >= run.task.T:
            raise MyopiaError(f"The lookback ({self.lookback}) must be below T ({run.task.T}) of {run.label()}.")
        # The shuffled control permutes inside a batch: a last batch of one would not be shuffled at all.
        if self.step < 2 or self.sequences % self.step:
            raise MyopiaError(
                f"{self.sequences} probing sequences are no multiple of batches of {self.step}, or fewer than 2."
            )

    @property
    def step(self) -> int:
        """Sequences per batch, no more than there are."""
        return min(self.batch, self.sequences)


@dataclass
class ProbeTables:
    """Rows of the four tables of probing."""

    r2: list[dict[str, Any]] = field(default_factory=list)
    correlation: list[dict[str, Any]] = field(default_factory=list)
    estimate: list[dict[str, Any]] = field(default_factory=list)
    intervention: list[dict[str, Any]] = field(default_factory=list)

    def frames(self) -> dict[str, pd.DataFrame]:
        """The tables by their file names, rows sorted by the columns that identify them."""
        rows = {PROBE_R2: self.r2, CORRELATION: self.correlation, ESTIMATE: self.estimate,
                INTERVENTION: self.intervention}  # fmt: skip
        return {table.name: _sorted(table, of_table) for table, of_table in rows.items()}


def _sorted(table: Table, rows: list[dict[str, Any]]) -> pd.DataFrame:
    keys = [name for name in SORTED_BY if name in table.columns]
    return pd.DataFrame(rows, columns=table.columns).sort_values(keys, kind="stable")


def measure(runs: Sequence[dict[str, Any]], options: dict[str, Any], device: str) -> dict[str, pd.DataFrame]:
    """Four tables of these runs; runs, options: as `settings.probed_units` and `settings.probing` give them."""
    how = Probing(options["probe_sequences"], options["lookback"], device=device)
    return probe_runs([SyntheticRun.of(run) for run in runs], how).frames()


def probe_runs(runs: Iterable[SyntheticRun], how: Probing) -> ProbeTables:
    """Probe every run: its trained network, the untrained one it began as, and shuffled targets.

    Raises MyopiaError when a lookback does not fit into a run's sequences, or a hidden state is not finite.
    """
    tables = ProbeTables()
    # Both arms of a seed start from the same network and are probed on the same inputs: measured once.
    untrained: dict[str, list[Scores]] = {}
    for run in sorted(runs, key=lambda run: (run.run, run.seed)):
        how.check(run)
        key = canonical_json([run.model, run.seed, vars(run.task)])
        if key not in untrained:
            untrained[key] = _untrained_scores(run.untrained(how.device), run, how)
        trained = _probe_trained(run.trained(how.device), run, how, tables)
        for weights, layers in [*trained.items(), ("untrained", untrained[key])]:
            _add_r2(tables, run, weights, layers)
        log.info("[%s] probed: sin(b x_n) at layer 1 R2 %.3f", run.label(), _lag0(trained["trained"]))
    return tables


def _gather(model: Regressor, run: SyntheticRun, how: Probing, stream: str, shuffled: bool) -> ProbeMoments:
    return probes.gather(
        model,
        run.task,
        stream,
        data_seed=PROBE_SEED,
        count=how.sequences,
        batch=how.step,
        max_lookback=how.lookback,
        shuffled=shuffled,
        device=how.device,
    )


def _untrained_scores(model: Regressor, run: SyntheticRun, how: Probing) -> list[Scores]:
    fit, heldout = (_gather(model, run, how, stream, shuffled=False) for stream in (FIT_STREAM, HELDOUT_STREAM))
    return [probes.score(fit, heldout, layer, RIDGE) for layer in range(len(fit.layers))]


def _probe_trained(model: Regressor, run: SyntheticRun, how: Probing, tables: ProbeTables) -> dict[str, list[Scores]]:
    """Everything but the untrained control; two passes: the fit set, then the held-out set."""
    fit = _gather(model, run, how, FIT_STREAM, shuffled=True)
    sine = probes.sine_probe(fit, EARLY_LAYER)
    estimate = probes.SineEstimate(sine, run.task.b, how.limit, how.bins)
    heldout = ProbeMoments(run.task.b, how.lookback, shuffled=True)
    kept_h: list[Tensor] = []
    kept_z: list[Tensor] = []
    wanted = how.interventions
    stream = hidden_states(model, run.task, HELDOUT_STREAM, PROBE_SEED, how.sequences, how.step, how.device)
    for x_BT, z_BT, states in stream:
        heldout.add(x_BT, states)
        estimate.add(x_BT, states[EARLY_LAYER])
        if wanted > 0:
            kept_h.append(states[EARLY_LAYER][:wanted])
            kept_z.append(torch.from_numpy(z_BT[:wanted]))
            wanted -= len(kept_z[-1])
    identity = {"run": run.run, "arm": run.arm, "p": run.task.p, "seed": run.seed}
    _add_correlations(tables, identity, fit)
    estimates = pd.DataFrame(estimate.table()).to_dict("records")
    tables.estimate += [{**identity, "layer": EARLY_LAYER, **row} for row in estimates]
    slopes = intervention_slopes(
        model,
        run.task,
        torch.cat(kept_z).numpy(),
        torch.cat(kept_h),
        EARLY_LAYER,
        sine.weight_DK[:, 0],
        probes.readout_pattern(sine, heldout.layers[EARLY_LAYER]),
        probes.readout_sd(sine, heldout.layers[EARLY_LAYER]),
        seed=run.seed,
    )
    tables.intervention += [{**identity, **vars(slope)} for slope in slopes]
    return {
        weights: [probes.score(fit, heldout, layer, RIDGE, shuffled) for layer in range(len(fit.layers))]
        for weights, shuffled in [("trained", False), ("shuffled", True)]
    }


def _add_correlations(tables: ProbeTables, identity: Mapping[str, Any], fit: ProbeMoments) -> None:
    """|corr| of every coordinate with every target, on positions n >= lookback, as the held-out probes."""
    for layer, moments in enumerate(fit.layers):
        for lookback in range(fit.max_lookback + 1):
            correlation = absolute_correlation(moments.pooled(lookback, fit.columns(lookback)))
            tables.correlation += [
                {
                    **identity,
                    "layer": layer,
                    "neuron": neuron,
                    "feature": feature,
                    "lookback": lookback,
                    "abs_corr": value,
                }
                for neuron, pair in enumerate(correlation.tolist())
                for feature, value in zip(FEATURES, pair, strict=True)
            ]


def _add_r2(tables: ProbeTables, run: SyntheticRun, weights: str, layers: list[Scores]) -> None:
    for layer, scores in enumerate(layers):
        for row, feature in enumerate(FEATURES):
            for lookback in range(scores.heldout.shape[1]):
                tables.r2.append(
                    {
                        "run": run.run,
                        "arm": run.arm,
                        "p": run.task.p,
                        "seed": run.seed,
                        "weights": weights,
                        "layer": layer,
                        "feature": feature,
                        "lookback": lookback,
                        "r2_heldout": scores.heldout[row, lookback],
                        "r2_insample": scores.insample[row, lookback],
                        "r2_noisy": scores.noisy[row, lookback],
                    }
                )


def _lag0(layers: list[Scores]) -> float:
    return float(layers[EARLY_LAYER].noisy[0, 0])
