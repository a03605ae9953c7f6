"""The model family: what each run is, its held-out loss by document and stretch of positions, its learning curve."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from myopia.common.errors import MyopiaError
from myopia.data.tokens import TokenFile
from myopia.measure.text import TextRun, text_curve, text_loss

STRETCHES = (0, 1, 9, 32)
"""First positions of the stretches losses are pooled over: alone at the start, early (1-8), middle, late (32 on).

A family has hundreds of runs; by single position its table would have 20 times the rows and serve nothing more.
"""
ROLE = ["recipe", "start", "size", "arm", "run", "lr", "warmup", "batch_size"]


@dataclass(frozen=True)
class FamilyRuns:
    """Where a family's runs lie, and which of their seeds are judged."""

    corpus: str
    roles: Sequence[dict[str, Any]]  # config.family.Member
    runs: Path
    tokens: Path
    seeds: Sequence[int]
    tuning_seeds: Sequence[int]

    def judged(self) -> list[TextRun]:
        """Every run once per judged seed, whatever roles it plays."""
        arms = {role["run"]: role["arm"] for role in self.roles}
        return [
            TextRun(run, arm, seed, self.corpus, self.runs / run / f"seed{seed}", self.tokens)
            for run, arm in sorted(arms.items())
            for seed in self.seeds
        ]


def family_runs(family: FamilyRuns) -> pd.DataFrame:
    """One row per role and seed: the recipe's settings, the network's size, the final validation loss.

    Tuning seeds are there where a grid has several rates to choose from (`tuned`): they do that and nothing else.
    `frozen`: the rate that was chosen before, on record in config.yaml.
    """
    rows = []
    for role in family.roles:
        tuning = family.tuning_seeds if role["tuned"] else []
        for seed in [*family.seeds, *tuning]:
            path = family.runs / role["run"] / f"seed{seed}" / "metrics.json"
            try:
                metrics = json.loads(path.read_text())
            except (OSError, ValueError) as error:
                raise MyopiaError(f"{path} cannot be read ({error}); train this run again") from None
            rows.append(
                {
                    "corpus": family.corpus, **{key: role[key] for key in ROLE}, "frozen": int(role["frozen"]), "seed": seed,
                    "steps": metrics["steps"], "tokens": metrics["tokens"], "parameters": metrics["parameters"],
                    "parameters_without_embeddings": metrics["parameters_without_embeddings"],
                    "validation_loss": metrics["final_validation_loss"],
                }
            )  # fmt: skip
    return pd.DataFrame(rows).sort_values(["parameters", "recipe", "start", "arm", "lr", "seed"], kind="stable")


def family_loss(family: FamilyRuns, max_windows: int, device: str = "cpu") -> pd.DataFrame:
    """`text_loss`, with positions pooled into STRETCHES; `n` counts tokens, `position` is a stretch's first.

    Every run is measured on the same windows: arms, recipes and sizes are paired by document.
    """
    pooled = [pool_positions(text_loss([run], max_windows, device)) for run in family.judged()]
    frame = pd.concat(pooled).sort_values(["run", "seed", "doc", "position"], kind="stable")
    frame.insert(6, "component", frame["doc"].map(components(family.tokens)))
    return frame


def components(tokens: Path) -> dict[str, str]:
    """The component of each held-out document; a corpus that names none is told by its groups."""
    file = TokenFile.open(tokens, "test")
    return dict(zip(file.docs, getattr(file, "components", None) or file.groups, strict=True))


def pool_positions(frame: pd.DataFrame) -> pd.DataFrame:
    """Rows of single positions -> one row per document and stretch: tokens n, their mean loss, the last position."""
    first = pd.cut(frame["position"], [*STRETCHES, float("inf")], right=False, labels=STRETCHES).astype(int)
    keys = ["corpus", "run", "arm", "seed", "doc", "group"]
    summed = frame.assign(last_position=frame["position"], position=first, total=frame["n"] * frame["loss"])
    grouped = summed.groupby([*keys, "position"], sort=False)
    pooled = grouped.agg(last_position=("last_position", "max"), n=("n", "sum"), total=("total", "sum")).reset_index()
    return pooled.assign(loss=pooled["total"] / pooled["n"]).drop(columns="total")


def family_curve(family: FamilyRuns) -> pd.DataFrame:
    """`text_curve` of every judged run."""
    return text_curve(family.judged())
