"""Tables of the authors' released checkpoints: what each records of its training, and its loss on our text.

There is one run of each arm and size, so nothing is judged here: an interval covers held-out documents alone and
says nothing about training again with another seed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from myopia.common.errors import MyopiaError
from myopia.config.runs import PAIR
from myopia.config.tables import TEXT_LOSS
from myopia.experiments.released import EXPERIMENT
from myopia.experiments.released.settings import nominal
from myopia.experiments.zero_shot.tables import fig5_zero_shot
from myopia.judge.measures import Measures, Paper
from myopia.judge.registry import Context
from myopia.judge.stats import Array, Ratio, ratio_contrast, ratio_curve
from myopia.judge.text_loss import TextLoss, text_loss

ABSENT = "absent"


@dataclass(frozen=True)
class Released(Context):
    """What the tables are made of: losses and the paper's numbers, scores of tasks, and records of the checkpoints."""

    scores: Measures
    records: Sequence[Mapping[str, Any]]

    @classmethod
    def read(
        cls, runs: Sequence[str | Path], measured: Sequence[str | Path], scored: str | Path, paper: str | Path
    ) -> Released:
        """Read what was converted and measured.

        Args:
            runs: converted checkpoints, folders with `checkpoint.json`.
            measured: folders with the `text_loss.csv.gz` of one run each.
            scored: folder with the `zero_shot.csv.gz` of all runs.
            paper: paper_values.csv.

        Raises:
            MyopiaError: a record or a measurement is missing or malformed.
        """
        return cls(Measures.joined(measured, TEXT_LOSS.name), Paper.read(paper), Measures(scored), read_records(runs))


def read_records(runs: Sequence[str | Path]) -> list[dict[str, Any]]:
    """`checkpoint.json` of every converted checkpoint, small sizes first."""
    records = []
    for folder in runs:
        path = Path(folder) / "checkpoint.json"
        try:
            record = json.loads(path.read_text())
            records.append({**record, "origin": dict(record["origin"]), "in_name": dict(record["in_name"])})
        except (OSError, ValueError, KeyError, TypeError):
            raise MyopiaError(f"{path} is no record of a converted checkpoint; convert it again.") from None
    return sorted(records, key=lambda r: (r["parameters"], r["size"], r["arm"] != "vanilla"))


def released_audit(context: Released) -> pd.DataFrame:
    """One row per checkpoint: the learning rate its name says, and the one (if any) that it recorded itself.

    `lr_as_named`: yes, no, or unknown when the checkpoint holds no rate of its own.
    """
    rows = []
    for record in context.records:
        name, origin, recorded = record["in_name"], record["origin"], recorded_rates(record)
        hyper = record["hyper_parameters"] or {}
        own = next((rate for rate in recorded.values() if rate is not None), None)
        rows.append(
            {
                **{key: record[key] for key in ("size", "arm", "parameters")},
                "lr_in_name": _shown(name.get("lr")),
                **{f"lr_in_{place}": _shown(rate) for place, rate in recorded.items()},
                "lr_as_named": _agreement(name.get("lr"), own),
                "warmup_in_name": _shown(name.get("warmup")),
                "warmup_in_hyper_parameters": _shown(hyper.get("warmup")),
                "steps_in_name": _shown(name.get("global_step")),
                "global_step": _shown(record["global_step"]),
                "train_loss_in_name": _shown(name.get("train_loss")),
                "optimizer_state": " + ".join(" ".join(o["state"]) for o in record["optimizers"]) or ABSENT,
                "lightning_version": record["lightning_version"] or ABSENT,
                **{key: origin[key] for key in ("repo", "commit", "file", "sha256")},
            }
        )
    return pd.DataFrame(rows, columns=EXPERIMENT.figure("released_audit").columns)


def recorded_rates(record: Mapping[str, Any]) -> dict[str, float | None]:
    """The peak learning rate as three independent places of a checkpoint hold it, the most telling first."""
    hyper = record["hyper_parameters"] or {}
    schedule = [rate for s in record["lr_schedulers"] for rate in s.get("base_lrs", [])]
    groups = [g for o in record["optimizers"] for g in o["param_groups"]]
    return {
        "hyper_parameters": _one_number([hyper.get("lr")]),
        "schedule": _one_number(schedule),
        # The scheduler keeps the peak as `initial_lr`; `lr` itself has decayed to about 0 by the end.
        "optimizer": _one_number([g.get("initial_lr") for g in groups]),
    }


def fig7_released(context: Released) -> pd.DataFrame:
    """Held-out loss and gap against size, the paper's Fig 7 values, and the learning rates behind them.

    `kind`: `ours`; `paper` (last training losses); `authors` (their 32 test sequences); `rate in name` and
    `rate recorded` (`series` is the arm, `value` the learning rate).
    """
    parameters = {record["size"]: record["parameters"] for record in context.records}
    rows: list[dict[str, Any]] = []
    for corpus, size, text in _pairs(context):
        sums = {**text.sums, "gap": text.sums["myopic"] - text.sums["vanilla"]}
        for series, values in sums.items():
            level = ratio_contrast([_alone(values.sum(-1), text.n.sum(-1))])
            low, high = level.interval()
            rows.append(
                {
                    "kind": "ours", "corpus": corpus, "size": size, "parameters": parameters[size], "series": series,
                    "value": level.value, "ci_low": low, "ci_high": high, "seeds": 1, "documents": level.documents,
                }
            )  # fmt: skip
    rows += _paper_fig7(context.paper, parameters)
    for row in released_audit(context).to_dict("records"):
        own = next(
            (row[f"lr_in_{k}"] for k in ("hyper_parameters", "schedule", "optimizer") if row[f"lr_in_{k}"] != ABSENT),
            ABSENT,
        )
        for kind, rate in (("rate in name", row["lr_in_name"]), ("rate recorded", own)):
            if rate != ABSENT:
                rows.append(
                    {
                        "kind": kind,
                        "size": row["size"],
                        "parameters": row["parameters"],
                        "series": row["arm"],
                        "value": float(rate),
                    }
                )
    return _frame(rows, "fig7_released", ["kind", "corpus", "series", "parameters"])


def released_position(context: Released) -> pd.DataFrame:
    """The gap by position for every size, with the authors' own curve of 2.8b (PG-19, digitised)."""
    parameters = {record["size"]: record["parameters"] for record in context.records}
    rows: list[dict[str, Any]] = []
    for corpus, size, text in _pairs(context):
        alone = _alone(text.sums["myopic"] - text.sums["vanilla"], text.n)
        curve = ratio_curve(alone.numerator, alone.denominator)
        for k, position in enumerate(text.positions):
            rows.append(
                {
                    "kind": "ours", "corpus": corpus, "size": size, "parameters": parameters[size],
                    "position": position, "value": curve.value[k], "ci_low": curve.low[k], "ci_high": curve.high[k],
                    "band_low": curve.band_low[k], "band_high": curve.band_high[k], "seeds": 1,
                    "documents": curve.documents,
                }
            )  # fmt: skip
    paper = context.paper.frame
    theirs = paper[(paper["item"] == "Pythia position") & (paper["metric"] == "gap")]
    rows += [
        {"kind": "authors", "size": "2.8b", "parameters": parameters.get("2.8b", nominal("2.8b")),
         "position": int(point.x), "value": point.value}
        for point in theirs.itertuples()
    ]  # fmt: skip
    return _frame(rows, "released_position", ["kind", "corpus", "parameters", "position"])


def fig5_released(context: Released) -> pd.DataFrame:
    """Accuracies of the released checkpoints by task, as Fig 5 has them."""
    return fig5_zero_shot(Context(context.scores, context.paper))


def _pairs(context: Released) -> list[tuple[str, str, TextLoss]]:
    """(corpus, size, losses of both arms on the same tokens) of every size that has both arms."""
    runs: dict[str, dict[str, str]] = {}
    for record in context.records:
        runs.setdefault(record["size"], {})[record["arm"]] = record["run"]
    corpora = sorted(context.measures.table(TEXT_LOSS.name)["corpus"].unique())
    return [
        (corpus, size, text_loss(context, corpus, PAIR, runs=arms))
        for corpus in corpora
        for size, arms in runs.items()
        if set(PAIR) <= set(arms)
    ]


def _alone(numerator: Array, denominator: Array) -> Ratio:
    """One pair of runs, written twice: two seeds that agree exactly leave the documents as the only source of error."""
    return Ratio(np.repeat(numerator, 2, axis=0), np.repeat(denominator, 2, axis=0))


def _paper_fig7(paper: Paper, parameters: Mapping[str, int]) -> list[dict[str, Any]]:
    frame = paper.frame[paper.frame["item"] == "Fig 7"]
    kinds = {
        "paper": frame["series"].isin(["vanilla", "myopic", "last train losses"]),
        "authors": frame["series"] == "32 test sequences",
    }
    return [
        {"kind": kind, "size": cell.x, "parameters": parameters.get(cell.x, nominal(cell.x)),
         "series": cell.arm if isinstance(cell.arm, str) else "gap", "value": cell.value}
        for kind, chosen in kinds.items()
        for cell in frame[chosen].itertuples()
    ]  # fmt: skip


def _one_number(values: Sequence[Any]) -> float | None:
    """The number all values agree on, None without one."""
    numbers = {float(v) for v in values if isinstance(v, int | float) and not isinstance(v, bool)}
    return numbers.pop() if len(numbers) == 1 else None


def _shown(value: Any) -> str:
    return f"{value:.10g}" if isinstance(value, int | float) and not isinstance(value, bool) else ABSENT


def _agreement(named: float | None, recorded: float | None) -> str:
    if named is None or recorded is None:
        return "unknown"
    return "yes" if f"{named:.2e}" == f"{recorded:.2e}" else "no"  # names show three digits


def _frame(rows: list[dict[str, Any]], figure: str, keys: list[str]) -> pd.DataFrame:
    return (
        pd.DataFrame(rows, columns=EXPERIMENT.figure(figure).columns)
        .sort_values(keys, kind="stable")
        .reset_index(drop=True)
    )
