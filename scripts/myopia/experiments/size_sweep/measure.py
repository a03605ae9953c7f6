"""The size sweep measured: what each run is, its held-out loss by document and stretch of positions, its learning curve."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from myopia.common.errors import MyopiaError
from myopia.data.tokens import TokenFile
from myopia.experiments.size_sweep import CURVE, LOSS, RUNS
from myopia.measure.text import TextRun, text_curve, text_loss

STRETCHES = (0, 1, 9, 32)
"""First positions of the stretches losses are pooled over: alone at the start, early (1-8), middle, late (32 on).

A sweep has hundreds of runs; by single position its table would have 20 times the rows and serve nothing more.
"""
CONDITION = ("recipe", "start", "size", "arm", "run", "lr", "warmup", "batch_size")


@dataclass(frozen=True)
class SweptRun:
    """A run on one seed, and the conditions it stands for (`runs.SweepRun` as mappings)."""

    run: str
    arm: str
    seed: int
    folder: Path
    corpus: str
    tokens: Path
    conditions: Sequence[dict[str, Any]]
    trained: bool = True  # False: on a tuning seed, which only chooses a rate

    @classmethod
    def of(cls, entry: dict[str, Any]) -> SweptRun:
        """From an entry of `runs.units`."""
        places = {key: Path(entry[key]) for key in ("folder", "tokens")}
        return cls(**{**{key: value for key, value in entry.items() if key != "also"}, **places})

    @property
    def text(self) -> TextRun:
        return TextRun(self.run, self.arm, self.seed, self.corpus, self.folder, self.tokens)


def measure(runs: list[dict[str, Any]], options: dict[str, Any], device: str) -> dict[str, pd.DataFrame]:
    """All tables of the runs of some sizes.

    runs, options: as `runs.units` and `settings.options` give them.
    """
    swept = sorted((SweptRun.of(entry) for entry in runs), key=lambda one: one.run)
    judged = [one.text for one in swept if one.trained]
    return {
        RUNS.name: run_table(swept),
        LOSS.name: loss_table(judged, options["max_windows"], device),
        CURVE.name: text_curve(judged)[[*CURVE.columns]],
    }


def run_table(swept: Sequence[SweptRun]) -> pd.DataFrame:
    """`RUNS`: one row per condition and seed, with the recipe's settings, the network's size, the final validation loss.

    Tuning seeds are there where a grid has several rates to choose from: they do that and nothing else.

    Raises:
        MyopiaError: a run's metrics cannot be read.
    """
    rows = []
    for one in swept:
        path = one.folder / "metrics.json"
        try:
            metrics = json.loads(path.read_text())
        except (OSError, ValueError) as error:
            raise MyopiaError(f"{path} cannot be read ({error}); train this run again") from None
        for condition in one.conditions:
            rows.append(
                {
                    "corpus": one.corpus, **{key: condition[key] for key in CONDITION}, "frozen": int(condition["frozen"]),
                    "seed": one.seed, "steps": metrics["steps"], "tokens": metrics["tokens"],
                    "parameters": metrics["parameters"],
                    "parameters_without_embeddings": metrics["parameters_without_embeddings"],
                    "validation_loss": metrics["final_validation_loss"],
                }
            )  # fmt: skip
    frame = pd.DataFrame(rows, columns=[*RUNS.columns])
    return frame.sort_values(["parameters", "recipe", "start", "arm", "lr", "seed"], kind="stable")


def loss_table(judged: Sequence[TextRun], max_windows: int, device: str = "cpu") -> pd.DataFrame:
    """`LOSS`: `text_loss` with positions pooled into STRETCHES.

    Every run is measured on the same windows: arms, recipes and sizes are paired by document.
    """
    pooled = [pool_positions(text_loss([run], max_windows, device)) for run in judged]
    frame = pd.concat(pooled).sort_values(["run", "seed", "doc", "position"], kind="stable")
    frame.insert(6, "component", frame["doc"].map(components(judged[0].tokens)))
    return frame[[*LOSS.columns]]


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
