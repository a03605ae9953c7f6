"""Simulated zero-shot accuracies with known answers: a last-word cloze of several seeds, the paper's tasks of one pair."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from myopia.experiments.zero_shot import SCORES

SIZES = {"14m": 14e6, "31m": 31e6, "70m": 70e6, "160m": 160e6, "410m": 410e6, "1b": 1e9, "1.4b": 1.4e9, "2.8b": 2.8e9}


def cell(
    rng: np.random.Generator,
    task: str,
    model: str,
    size: float,
    seeds: int,
    accuracy: Mapping[str, float],
    chance: float,
    items: int,
    clusters: int,
) -> pd.DataFrame:
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
                    },
                    columns=SCORES.columns,
                )
            )  # fmt: skip
    return pd.concat(rows)


def zero_shot(rng: np.random.Generator, seeds: int, gap: float, items: int = 240) -> dict[str, pd.DataFrame]:
    """The cloze with several seeds, the paper's tasks with one pair for each of three sizes."""
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
    return {SCORES.name: pd.concat(found)}
