"""Simulated measurements of the synthetic task with known answers; `gap` scales every difference of arms."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from myopia.config.runs import PAIR
from myopia.experiments.synthetic import CORRELATION, ESTIMATE, INTERVENTION, LOSS, PROBE_R2

LEVEL = {"vanilla": 0.05, "beta1": 0.05, "myopic": 0.57, "myopic-kv": 0.60}
"""Huber loss as a share of the trivial predictor's, window without the present."""

LEVEL_SHIFT0 = {"vanilla": 0.05, "myopic": 0.25}
"""The same with the present inside the window."""

WINDOW, ANGULAR, TOKENS = 3, 4.0, 6144
PS = (0.3, 1.0)


def synthetic(rng: np.random.Generator, seeds: int, gap: float, noise: float) -> dict[str, pd.DataFrame]:
    """All five tables. gap: 0 for arms that do not differ, -1 for reversed ones; noise: 1 is that of short trials."""
    return {LOSS.name: losses(rng, seeds, gap, noise), PROBE_R2.name: probes(rng, seeds, gap, noise)} | states(
        rng, seeds, gap
    )


def losses(
    rng: np.random.Generator, seeds: int, gap: float, noise: float, ps: Sequence[float] = PS, blocks: int = 16
) -> pd.DataFrame:
    """synthetic_loss.csv."""
    rows = []
    share = {arm: LEVEL["vanilla"] + gap * (level - LEVEL["vanilla"]) for arm, level in LEVEL.items()}
    for p in ps:
        trivial = p * 1.6 + rng.normal(0, 0.02, blocks) * p
        difficulty = rng.normal(0, 0.01, blocks)
        for seed in range(seeds):
            for arm, shift in [(arm, shift) for arm in LEVEL for shift in (0, 1)]:
                if shift == 0 and (p != 1.0 or arm not in PAIR):
                    continue
                level = share[arm] if shift == 1 else LEVEL_SHIFT0[arm]
                own = rng.normal(0, 0.01 * noise)
                loss = trivial * (level + own + difficulty + rng.normal(0, 0.005 * noise, blocks))
                rows.append(
                    pd.DataFrame(
                        {
                            "run": f"dp-p{p:g}-{arm}-s{shift}", "arm": arm, "p": p, "a": WINDOW, "b": ANGULAR,
                            "shift": shift, "seed": seed, "block": range(blocks), "n_sequences": 256,
                            "n_tokens": TOKENS, "n_z1": int(TOKENS * p), "loss": loss, "loss_z1": loss / p,
                            "loss_zero": trivial + (1 - p) * 0.42, "loss_zero_z1": trivial / p,
                            "loss_trivial": trivial, "loss_trivial_z1": trivial / p,
                            "loss_present": 0.66 * trivial if shift == 0 else np.nan,
                        }
                    )
                )  # fmt: skip
    return pd.concat(rows, ignore_index=True)[[*LOSS.columns]]


def profile(layer: int, lag: int, strength: float) -> float:
    """R^2 of Algorithm 1: layer 1 holds the present, layer 2 the window's sum."""
    if layer == 0:
        return 0.001
    if lag == 0:
        return (0.93 if layer == 1 else 0.8) * strength
    return 0.004 if layer == 1 or lag > WINDOW else 0.3 * strength + 0.004


def strengths(gap: float) -> dict[str, float]:
    """How much of Algorithm 1 each arm does."""
    return {"vanilla": 1.0, "myopic": 1 - 0.95 * gap}


def probes(
    rng: np.random.Generator, seeds: int, gap: float, noise: float, ps: Sequence[float] = PS, untrained: float = 0.05
) -> pd.DataFrame:
    """probe_r2.csv; untrained: what the probe of an untrained network reads of the present."""
    rows = []
    for p in ps:
        for arm, strength in strengths(gap).items():
            for seed, weights, layer, feature, lag in (
                (seed, weights, layer, feature, lag)
                for seed in range(seeds)
                for weights in ("trained", "untrained", "shuffled")
                for layer in (0, 1, 2)
                for feature in ("sin", "x")
                for lag in range(WINDOW + 6)
            ):
                r2 = profile(layer, lag, strength) if weights == "trained" else 0.0
                if weights == "untrained" and lag == 0 and layer:
                    r2 = untrained
                r2 = max(r2 + rng.normal(0, 0.003 * noise), -0.01)
                run = f"dp-p{p:g}-{arm}-s1"
                rows.append((run, arm, p, seed, weights, layer, feature, lag, r2 - 0.001, r2, r2 - 0.002))
    return pd.DataFrame(rows, columns=PROBE_R2.columns)


def states(rng: np.random.Generator, seeds: int, gap: float) -> dict[str, pd.DataFrame]:
    """Neurons, probe estimates and interventions at p = 0.3."""
    neurons, estimates, edits = [], [], []
    for arm, strength in strengths(gap).items():
        for seed in range(seeds):
            told = (f"dp-p0.3-{arm}-s1", arm, 0.3, seed)
            for layer in (0, 1, 2):
                taste = rng.random(32) ** 3
                for feature in ("x", "sin"):
                    for lag in range(8):
                        peak = profile(layer, lag, strength) if feature == "sin" else 0.6 * (lag == 0)
                        corr = np.abs(taste * np.sqrt(peak) * 0.7 + rng.normal(0, 0.01, 32))
                        neurons += [(*told, layer, neuron, feature, lag, corr[neuron]) for neuron in range(32)]
            for layer in (1, 2):
                for x in np.linspace(-2.4, 2.4, 49):
                    truth = np.sin(ANGULAR * x)
                    estimate = strength * truth * np.exp(-0.02 * x**4) + rng.normal(0, 0.03)
                    estimates.append((*told, layer, x, 800, estimate, 0.12, truth))
            for direction in ("pattern", "random-pattern", "probe", "random"):
                for lag in range(8):
                    inside = direction == "pattern" and 1 <= lag <= WINDOW
                    edits.append((*told, direction, lag, strength * 0.9 * inside + rng.normal(0, 0.02), 512))
    return {
        CORRELATION.name: pd.DataFrame(neurons, columns=CORRELATION.columns),
        ESTIMATE.name: pd.DataFrame(estimates, columns=ESTIMATE.columns),
        INTERVENTION.name: pd.DataFrame(edits, columns=INTERVENTION.columns),
    }
