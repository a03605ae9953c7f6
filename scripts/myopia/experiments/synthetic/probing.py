"""All probing of the synthetic runs: R^2 by lookback, neuron maps, the sine estimate and the intervention."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from myopia.common.errors import MyopiaError
from myopia.common.files import canonical_json
from myopia.experiments.synthetic import probes
from myopia.experiments.synthetic.correlation import absolute_correlation
from myopia.experiments.synthetic.intervention import intervention_slopes
from myopia.experiments.synthetic.probes import FEATURES, FIT_STREAM, HELDOUT_STREAM, ProbeMoments, Scores
from myopia.experiments.synthetic.runs import Regressor, SyntheticRun, hidden_states
from myopia.model.regression import RegressionModel, load_regression_model

log = logging.getLogger(__name__)

EARLY_LAYER = 1
"""The hidden state after the first block: where pre-cached values have to stand (paper Algorithm 1)."""

OPTIONS: dict[str, Any] = {
    "n_fit": 4096,
    "n_heldout": 4096,
    "max_lookback": None,
    "batch": 128,
    "ridge": 1e-4,
    "estimate_bins": 200,
    "estimate_limit": 2.5,
    "n_intervention": 1024,
    "data_seed": 0,
}
"""Defaults of the measurement spec. Sizes in sequences; `max_lookback` null means min(a + 10, T - 1);
`estimate_limit` is the largest |x| of Fig 6; `data_seed` names the probing sequences, shared by all runs."""

IDENTITY = ["run", "arm", "p", "seed"]
R2_COLUMNS = [*IDENTITY, "weights", "layer", "feature", "lookback", "r2_heldout", "r2_insample", "r2_noisy"]
CORRELATION_COLUMNS = [*IDENTITY, "layer", "neuron", "feature", "lookback", "abs_corr"]
ESTIMATE_COLUMNS = [*IDENTITY, "layer", "x", "n", "estimate_mean", "estimate_sd", "truth"]
INTERVENTION_COLUMNS = [*IDENTITY, "direction", "lag", "slope", "n"]
SORTED_BY = ["run", "seed", "weights", "layer", "neuron", "feature", "direction", "x", "lag", "lookback"]


@dataclass
class ProbeTables:
    """Rows of the four tables of probing; columns as in the design."""

    r2: list[dict[str, Any]] = field(default_factory=list)
    correlation: list[dict[str, Any]] = field(default_factory=list)
    estimate: list[dict[str, Any]] = field(default_factory=list)
    intervention: list[dict[str, Any]] = field(default_factory=list)


def probe_runs(runs: Iterable[SyntheticRun], options: Mapping[str, Any]) -> ProbeTables:
    """Probe every run: its trained network, the untrained one it began as, and shuffled targets.

    Raises MyopiaError when max_lookback does not fit into a run's sequences.
    """
    tables = ProbeTables()
    # Both arms of a seed start from the same network and are probed on the same inputs: measured once.
    untrained: dict[str, list[Scores]] = {}
    for run in sorted(runs, key=lambda run: (run.run, run.seed)):
        _max_lookback(run, options)
        key = canonical_json([run.model, run.seed, vars(run.task)])
        if key not in untrained:
            untrained[key] = _untrained_scores(RegressionModel.from_spec(dict(run.model), run.seed), run, options)
        trained = _probe_trained(load_regression_model(run.folder), run, options, tables)
        for weights, layers in [*trained.items(), ("untrained", untrained[key])]:
            _add_r2(tables, run, weights, layers)
        log.info("[%s] probed: sin(b x_n) at layer 1 R2 %.3f", run.label(), _lag0(trained["trained"]))
    return tables


def frame(rows: list[dict[str, Any]], columns: list[str]) -> pd.DataFrame:
    """A tidy table with exactly these columns, rows sorted by the columns that identify them."""
    table = pd.DataFrame(rows, columns=columns)
    return table.sort_values([key for key in SORTED_BY if key in columns], kind="stable")


def _max_lookback(run: SyntheticRun, options: Mapping[str, Any]) -> int:
    chosen = options["max_lookback"]
    if chosen is None:
        return min(run.task.a + 10, run.task.T - 1)
    if chosen >= run.task.T:
        raise MyopiaError(f"The key max_lookback ({chosen}) must be below T ({run.task.T}) of {run.label()}.")
    return chosen


def _batch(options: Mapping[str, Any], count: int) -> int:
    """Sequences per batch, no more than there are; MyopiaError where that leaves a remainder."""
    batch = min(options["batch"], count)
    # The shuffled control permutes inside a batch: a last batch of one would not be shuffled at all.
    if batch < 2 or count % batch:
        raise MyopiaError(f"n_fit and n_heldout must be multiples of batch ({batch}) and at least 2: {count}.")
    return batch


def _gather(
    model: Regressor, run: SyntheticRun, options: Mapping[str, Any], stream: str, count: int, shuffled: bool
) -> ProbeMoments:
    return probes.gather(
        model,
        run.task,
        stream,
        data_seed=options["data_seed"],
        count=count,
        batch=_batch(options, count),
        max_lookback=_max_lookback(run, options),
        shuffled=shuffled,
    )


def _untrained_scores(model: Regressor, run: SyntheticRun, options: Mapping[str, Any]) -> list[Scores]:
    fit = _gather(model, run, options, FIT_STREAM, options["n_fit"], shuffled=False)
    heldout = _gather(model, run, options, HELDOUT_STREAM, options["n_heldout"], shuffled=False)
    return [probes.score(fit, heldout, layer, options["ridge"]) for layer in range(len(fit.layers))]


def _probe_trained(
    model: Regressor, run: SyntheticRun, options: Mapping[str, Any], tables: ProbeTables
) -> dict[str, list[Scores]]:
    """Everything but the untrained control; two passes: the fit set, then the held-out set."""
    ridge, lookback = options["ridge"], _max_lookback(run, options)
    fit = _gather(model, run, options, FIT_STREAM, options["n_fit"], shuffled=True)
    sine = probes.sine_probe(fit, EARLY_LAYER)
    estimate = probes.SineEstimate(sine, run.task.b, options["estimate_limit"], options["estimate_bins"])
    heldout = ProbeMoments(run.task.b, lookback, shuffled=True)
    kept_h: list[Tensor] = []
    kept_z: list[Tensor] = []
    wanted = options["n_intervention"]
    count = options["n_heldout"]
    stream = hidden_states(model, run.task, HELDOUT_STREAM, options["data_seed"], count, _batch(options, count))
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
        weights: [probes.score(fit, heldout, layer, ridge, shuffled) for layer in range(len(fit.layers))]
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
