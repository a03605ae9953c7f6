"""Simulated gradients, spectra and toys with known answers."""

from __future__ import annotations

import numpy as np
import pandas as pd

from myopia.experiments.gradients import ANATOMY, POINTS, SPECTRA, THEORY

STEPS = [0, 1, 4, 16, 64, 256, 1000]
MYOPIC, FUTURE = 1.0, 0.6
COSINE = [0.1, 0.1, -0.1, 0.2, -0.2, -0.45, 0.1]
"""What every seed's gradients are made from, by step."""


def anatomy(rng: np.random.Generator, seeds: int, gap: float, noise: float) -> dict[str, pd.DataFrame]:
    """All four tables; `gap` scales the myopic lead."""
    return {
        ANATOMY.name: gradients(rng, seeds, gap, noise),
        SPECTRA.name: spectra(rng, seeds),
        POINTS.name: points(rng, seeds),
        THEORY.name: toys(rng),
    }


def gradients(
    rng: np.random.Generator,
    seeds: int,
    gap: float = 1.0,
    noise: float = 1.0,
    blocks: int = 6,
    arms=("vanilla", "myopic"),
):
    """Block gradients in 30 dimensions around two known vectors, and their products."""
    rows, p = [], 30
    for arm in arms:
        run, corpus = (f"text-docstrings-{arm}", "docstrings") if arm != "public" else ("pythia", "pile-hub")
        for seed in range(seeds):
            for step, cosine in zip(STEPS, COSINE, strict=True):
                size = 1 / (1 + step / 100)
                future = FUTURE * size
                myopic = (FUTURE + gap * (MYOPIC - FUTURE)) * size
                e, o = np.eye(p)[0], np.eye(p)[1]
                truth = myopic * e, future * (cosine * e + np.sqrt(1 - cosine**2) * o)
                for of, scale in (("gradient", 1.0), ("adamw", 30.0)):
                    m, f = (scale * (v + 0.02 * noise * size * rng.standard_normal((blocks, p))) for v in truth)
                    for group, share in (("embeddings", 0.5), ("no-embeddings", 1.0)):
                        products = {
                            "m_m": (m * m).sum(1), "f_f": (f * f).sum(1), "m_f": (m * f).sum(1), "m_M": m @ m.sum(0),
                            "f_F": f @ f.sum(0), "m_F": m @ f.sum(0), "f_M": f @ m.sum(0),
                        }  # fmt: skip
                        told = {
                            "corpus": corpus,
                            "run": run,
                            "arm": arm,
                            "seed": seed,
                            "step": step,
                            "of": of,
                            "group": group,
                        }
                        rows += [
                            told | {"block": k, "windows": 8, "loss": 5.0} | {n: share * v[k] for n, v in products.items()}
                            for k in range(blocks)
                        ]  # fmt: skip
    return pd.DataFrame(rows)[[*ANATOMY.columns]]


def spectra(rng: np.random.Generator, seeds: int, p: int = 40, positions: int = 4) -> pd.DataFrame:
    """A long tail near 0, one large eigenvalue, and in the symmetric part a slightly negative one."""
    rows = []
    for arm in ("vanilla", "myopic"):
        for seed in range(seeds):
            for matrix in ("jacobian", "symmetric", "present", "untied"):
                for position in range(positions) if matrix == "untied" else [-1]:
                    values = np.sort(np.concatenate([10.0 ** rng.uniform(-6, -1, p - 1), [2.0]]))
                    values[0] = -0.04 * (1 + 0.1 * rng.standard_normal()) if matrix == "symmetric" else values[0]
                    turn = np.where(np.arange(p) % 2, 1, -1) * 1e-3 * (matrix == "jacobian")
                    for k, value in enumerate(values):
                        row = ("bias-dp", f"bias-{arm}", arm, seed, matrix, position, k, value, turn[k], "dense")
                        rows.append(row)
        for k, value in ((0, -0.8), (9999, 21.0)):
            rows.append(("docstrings", f"text-docstrings-{arm}", arm, 0, "symmetric", -1, k, value, 0.0, "lanczos"))
    return pd.DataFrame(rows, columns=SPECTRA.columns)


def points(rng: np.random.Generator, seeds: int) -> pd.DataFrame:
    """Gradient norms at the points spectra were taken at."""
    rows = [
        ("bias-dp", f"bias-{arm}", arm, seed, 40, 48, 0.2, 9.0, 2e-3, 1e-3, 1.5e-3 * rng.uniform(0.9, 1.1))
        for arm in ("vanilla", "myopic")
        for seed in range(seeds)
    ]
    return pd.DataFrame(rows, columns=POINTS.columns)


def toys(rng: np.random.Generator, problems: int = 12) -> pd.DataFrame:
    """Descents that keep their rates, planning problems whose bonus and malus add up to the gap."""
    rows = []
    for seed in range(problems):
        for toy in ("planning, quadratic", "planning, log cosh"):
            bonus = -rng.uniform(0.1, 0.4, 4)
            malus = -bonus + rng.uniform(0.1, 0.4, 4)
            rows += [(toy, seed, "bonus", i + 1, v) for i, v in enumerate(bonus)]
            rows += [(toy, seed, "malus", i + 1, v) for i, v in enumerate(malus)]
            rows += [(toy, seed, "gap", 0, (bonus + malus).sum()), (toy, seed, "identity error", 0, 1e-12)]
            for name, rate in (("theorem 8", 0.7), ("theorem 9", 0.6), ("theorem 10", 0.5)):
                rows += [(toy, seed, f"{name}, distance", k, 9 * rate**k) for k in range(20)]
                rows += [(toy, seed, f"{name}, bound", k, 9 * 0.8**k) for k in range(20)] * (name != "theorem 10")
                rows += [(toy, seed, f"{name}, excess", 0, rate - 0.8)]
            rows += [(toy, seed, "theorem 10, remaining", 600, 1e-20)]
            rows += [(toy, seed, "theorem 9, step sqrt(n) eta", 20, 5.0)]
        for toy, rate in (("forward-biased", 0.9), ("not forward-biased", 1.1)):
            rows += [(toy, seed, "theorem 13, distance", k, 4 * rate**k) for k in range(20)]
        rows += [("forward-biased", seed, "theorem 13, bound", k, 4 * 0.95**k) for k in range(20)]
        rows += [("forward-biased", seed, "theorem 13, excess", 0, -0.05)]
        rows += [("not forward-biased", seed, "theorem 13, growth", 19, 1.0)]
    return pd.DataFrame(rows, columns=THEORY.columns)
