"""Made-up measurements with known answers: a whole `measure/` folder from a seed, no training.

The numbers are of the size short trials gave; `gap` scales every difference of arms.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from experiments.dose_response.simulate import add_doses
from experiments.gradients.simulate import anatomy
from experiments.induction.simulate import induction
from experiments.multiplication.simulate import multiplication
from experiments.size_sweep.simulate import family
from experiments.tokens.simulate import tokens
from experiments.toys.simulate import toys
from myopia.common.files import write_csv

LOSS = {"vanilla": 0.28, "beta1": 0.28, "myopic": 0.80, "myopic-kv": 0.83}
"""Huber loss as a share of the trivial predictor's, shift 1."""
TEXT = {
    "vanilla": 0.0,
    "beta1": 0.0,
    "myopic": 0.15,
    "myopic-kv": 0.3,
    "local-hidden": -0.03,
    "local-kv": -0.06,
    "bigram-zeroed": 1.9,
    "bigram-true": 2.0,
}
"""Nats per token above vanilla."""


def arms_differ(base: dict[str, float], gap: float) -> dict[str, float]:
    """Differences to vanilla scaled by `gap`: 0 is the null world, -1 the reversed one."""
    return {arm: base["vanilla"] + gap * (value - base["vanilla"]) for arm, value in base.items()}


def synthetic(rng: np.random.Generator, seeds: int, gap: float, noise: float, ps=(0.3, 1.0), blocks=16):
    """synthetic_loss.csv."""
    rows = []
    share = arms_differ(LOSS, gap)
    for p in ps:
        trivial = p * 1.6 + rng.normal(0, 0.02, blocks) * p
        doc = rng.normal(0, 0.01, blocks)
        for seed in range(seeds):
            for arm in LOSS:
                for shift in (0, 1):
                    if shift == 0 and (p != 1.0 or arm not in ("vanilla", "myopic")):
                        continue
                    level = share[arm] if shift == 1 else {"vanilla": 0.27, "myopic": 0.45}[arm]
                    own = rng.normal(0, 0.01 * noise)
                    for block in range(blocks):
                        loss = trivial[block] * (level + own + doc[block] + rng.normal(0, 0.005 * noise))
                        rows.append(
                            (
                                f"dp-p{p:g}-{arm}-s{shift}",
                                arm,
                                p,
                                3,
                                4.0,
                                shift,
                                seed,
                                block,
                                256,
                                6144,
                                int(6144 * p),
                                loss,
                                loss / p,
                                trivial[block] + (1 - p) * 0.42,
                                trivial[block] / p,
                                trivial[block],
                                trivial[block] / p,
                                0.66 * trivial[block] if shift == 0 else np.nan,
                            )
                        )
    names = (
        "run,arm,p,a,b,shift,seed,block,n_sequences,n_tokens,n_z1,loss,loss_z1,loss_zero,loss_zero_z1,"
        "loss_trivial,loss_trivial_z1,loss_present"
    )
    return pd.DataFrame(rows, columns=names.split(","))


def probes(rng: np.random.Generator, seeds: int, gap: float, noise: float, ps=(0.3, 1.0), a=3, untrained=0.05):
    """probe_r2.csv."""
    rows = []
    for p in ps:
        for arm in ("vanilla", "myopic"):
            strength = 1.0 if arm == "vanilla" else 1 - 0.95 * gap
            for seed in range(seeds):
                for weights in ("trained", "untrained", "shuffled"):
                    for layer in (0, 1, 2):
                        for feature in ("sin", "x"):
                            for lag in range(a + 6):
                                r2 = profile(layer, lag, a, strength) if weights == "trained" else 0.0
                                if weights == "untrained" and lag == 0 and layer:
                                    r2 = untrained
                                r2 = max(r2 + rng.normal(0, 0.003 * noise), -0.01)
                                rows.append(
                                    (
                                        f"dp-p{p:g}-{arm}-s1",
                                        arm,
                                        p,
                                        seed,
                                        weights,
                                        layer,
                                        feature,
                                        lag,
                                        r2 - 0.001,
                                        r2,
                                        r2 - 0.002,
                                    )
                                )
    return pd.DataFrame(
        rows,
        columns=[
            "run",
            "arm",
            "p",
            "seed",
            "weights",
            "layer",
            "feature",
            "lookback",
            "r2_heldout",
            "r2_insample",
            "r2_noisy",
        ],
    )


def profile(layer: int, lag: int, a: int, strength: float) -> float:
    """R^2 of Algorithm 1: layer 1 holds the present, layer 2 the window's sum."""
    if layer == 0:
        return 0.001
    if lag == 0:
        return (0.93 if layer == 1 else 0.8) * strength
    return 0.004 if layer == 1 or lag > a else 0.3 * strength + 0.004


def others(rng: np.random.Generator, seeds: int, gap: float) -> dict[str, pd.DataFrame]:
    """Neurons, probe estimates, interventions and influence."""
    neurons, estimates, edits, influence = [], [], [], []
    for arm in ("vanilla", "myopic"):
        strength = 1.0 if arm == "vanilla" else 1 - 0.95 * gap
        for seed in range(seeds):
            for layer in (0, 1, 2):
                taste = rng.random(32) ** 3
                for feature in ("x", "sin"):
                    for lag in range(8):
                        peak = profile(layer, lag, 3, strength) if feature == "sin" else 0.6 * (lag == 0)
                        for neuron in range(32):
                            corr = abs(taste[neuron] * np.sqrt(peak) * 0.7 + rng.normal(0, 0.01))
                            neurons.append((f"dp-p0.3-{arm}-s1", arm, 0.3, seed, layer, neuron, feature, lag, corr))
            for layer in (1, 2):
                for x in np.linspace(-2.4, 2.4, 49):
                    estimate = strength * np.sin(4 * x) * np.exp(-0.02 * x**4) + rng.normal(0, 0.03)
                    estimates.append(
                        (f"dp-p0.3-{arm}-s1", arm, 0.3, seed, layer, x, 800, estimate, 0.12, np.sin(4 * x))
                    )
            for direction in ("pattern", "random-pattern", "probe", "random"):
                for lag in range(8):
                    slope = strength * 0.9 * (direction == "pattern" and 1 <= lag <= 3) + rng.normal(0, 0.02)
                    edits.append((f"dp-p0.3-{arm}-s1", arm, 0.3, seed, direction, lag, slope, 512))
            for t in range(12):
                for s in range(t + 1):
                    size = np.exp(-0.15 * (t - s)) * rng.lognormal(0, 0.5)
                    size = 0.0 if arm == "myopic" and s < t else size
                    influence.append((f"text-docstrings-{arm}", arm, seed, t, s, size, f"tok{s}"))
    frame = pd.DataFrame
    return {
        "neuron_correlation.csv": frame(
            neurons, columns=["run", "arm", "p", "seed", "layer", "neuron", "feature", "lookback", "abs_corr"]
        ),
        "probe_estimate.csv": frame(
            estimates, columns=["run", "arm", "p", "seed", "layer", "x", "n", "estimate_mean", "estimate_sd", "truth"]
        ),
        "intervention.csv": frame(edits, columns=["run", "arm", "p", "seed", "direction", "lag", "slope", "n"]),
        "influence.csv": frame(influence, columns=["model", "arm", "seed", "t", "s", "influence", "token"]),
    }


def text(
    rng: np.random.Generator,
    seeds: int,
    gap: float,
    noise: float,
    docs=24,
    corpora=("docstrings",),
    arms=TEXT,
):
    """text_loss.csv.gz, text_curve.csv and text_components.csv (T = 64, trained for 1,200 steps)."""
    levels = arms_differ(dict(TEXT), gap)
    t = np.arange(63)
    rows, curves = [], []
    for corpus in corpora:
        difficulty = rng.normal(0, 0.4, docs)
        for seed in range(seeds):
            shared = rng.normal(0, 0.02)
            for arm in arms:
                own = rng.normal(0, 0.008 * noise)
                base = 3.4 + 2.2 * np.exp(-t / 4) + shared + own
                # The gap rises with position and is negative at 0, as in the paper's Fig 4.
                shape = np.where(t == 0, -0.6, 0.5 + 0.7 * t / 62) if arm.startswith("myopic") else np.ones(63)
                base = base + levels[arm] * shape
                doc = np.arange(docs)
                loss = base + difficulty[:, None] + rng.normal(0, 0.02 * noise, (docs, 63))
                place = {"corpus": corpus, "run": f"text-{corpus}-{arm}", "arm": arm, "seed": seed}
                cells = {
                    "doc": np.repeat([f"doc{d:03d}" for d in doc], 63),
                    "group": np.repeat([f"pkg{d // 6}" for d in doc], 63),
                    "position": np.tile(t, docs),
                    "n": np.repeat(1 + doc % 3, 63),
                    "loss": loss.ravel(),
                }
                rows.append(pd.DataFrame({**place, **cells}))
                for step in range(100, 1201, 100):
                    late = step / 1200
                    value = 3.4 + levels[arm] * min(1, 1.6 * late) + 2 * np.exp(-4 * late) + shared + own
                    curves.append(
                        (
                            corpus,
                            f"text-{corpus}-{arm}",
                            arm,
                            seed,
                            step,
                            step * 2048,
                            value + rng.normal(0, 0.01 * noise),
                        )
                    )
    names = [(corpus, f"doc{doc:03d}", f"part {doc % 3}") for corpus in corpora for doc in range(docs)]
    return {
        "text_loss.csv.gz": pd.concat(rows),
        "text_components.csv": pd.DataFrame(names, columns=["corpus", "doc", "component"]),
        "text_curve.csv": pd.DataFrame(
            curves, columns=["corpus", "run", "arm", "seed", "step", "tokens", "validation_loss"]
        ),
    }


SIZES = {"14m": 14e6, "31m": 31e6, "70m": 70e6, "160m": 160e6, "410m": 410e6, "1b": 1e9, "1.4b": 1.4e9, "2.8b": 2.8e9}


def cell(rng, task: str, model: str, size: float, seeds: int, accuracy: dict, chance: float, items: int, clusters: int):
    """Rows of one task and model: an item has a difficulty that all seeds and arms share."""
    difficulty = rng.random(items)
    rows = []
    for seed in range(seeds):
        for arm, level in accuracy.items():
            right = 0.85 * difficulty + 0.15 * rng.random(items) < 0.85 * level + 0.075
            rows.append(
                pd.DataFrame(
                    {
                        "task": task, "version": "1.0", "harness": "0.4.13",
                        "split": "validation" if task in ("piqa", "sciq") else "test", "model": model,
                        "run": f"text-{model}-{arm}", "arm": arm, "parameters": size, "seed": seed,
                        "item": np.arange(items), "cluster": [f"doc{k * clusters // items}" for k in range(items)],
                        "correct": right.astype(int), "chance": chance, "ll_answer": -3.0, "ll_rival": -4.0,
                        "truncated": 0, "left_out": 0,
                    }
                )
            )  # fmt: skip
    return pd.concat(rows)


def zero_shot(rng: np.random.Generator, seeds: int, gap: float, items: int = 240):
    """zero_shot.csv.gz: the cloze with several seeds, the paper's tasks with one pair for each of three sizes."""
    found = [cell(rng, "cloze-docstrings", "docstrings", 2e5, seeds, {"vanilla": 0.45, "myopic": 0.45 - 0.1 * gap},
                  0.25, items, items // 2)]  # fmt: skip
    for task, (low, high, chance) in {
        "lambada_openai": (0.10, 0.50, 0.01), "piqa": (0.65, 0.72, 0.5), "sciq": (0.6, 0.85, 0.25),
        "arc_easy": (0.4, 0.6, 0.25),
    }.items():  # fmt: skip
        for k, size in enumerate(("70m", "410m", "2.8b")):
            level = low + (high - low) * k / 2
            accuracy = {"vanilla": level, "myopic": level - gap * (0.04 + 0.03 * k)}
            found.append(cell(rng, task, size, SIZES[size], 1, accuracy, chance, items, items))
    return pd.concat(found)


def measure_folder(
    folder: Path,
    *,
    seeds: int = 3,
    text_seeds: int = 5,
    gap: float = 1.0,
    noise: float = 1.0,
    draw: int = 0,
) -> Path:
    """Write every measurement file."""
    rng = np.random.default_rng(draw)
    tables = {
        "synthetic_loss.csv": synthetic(rng, seeds, gap, noise),
        "probe_r2.csv": probes(rng, seeds, gap, noise),
        **others(rng, seeds, gap),
        **text(rng, text_seeds, gap, noise),
        **family(rng, text_seeds, gap, noise),
        **tokens(rng, text_seeds, gap, noise),
        "zero_shot.csv.gz": zero_shot(rng, text_seeds, gap),
        **toys(rng, gap, noise),
        **multiplication(rng, text_seeds, gap, noise),
        **anatomy(rng, text_seeds, gap, noise),
        **induction(rng, seeds, gap, noise),
    }
    add_doses(tables, rng)
    for name, frame in tables.items():
        write_csv(folder / name, frame)
    return folder
