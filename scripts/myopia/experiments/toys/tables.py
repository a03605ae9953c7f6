"""The tables behind the toys' figures: who gets the bits, hidden bits, and the three kinds of myopia."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from myopia.config.runs import PAIR
from myopia.experiments.toys import CONSEQUENCE, EXPERIMENT, HIDDEN, OPTIMUM, SHARED
from myopia.experiments.toys.judge import CELL, best, course, just_enough
from myopia.judge.registry import Context
from myopia.judge.stats import Array, seed_curve, seed_mean


def _numbers(per_seed: Array) -> dict[str, Any]:
    estimate = seed_mean(np.asarray(per_seed, dtype=float))
    low, high = estimate.interval()
    return {"value": estimate.value, "ci_low": low, "ci_high": high, "seeds": estimate.seeds}


def shown_balance(context: Context) -> float:
    """The balance the trade-off is drawn at: the least at which z2 has more to tell than z1, if there is one."""
    known = np.sort(context.measures.table(OPTIMUM.name)["balance"].unique())
    return float(known[known > 0.5][0] if (known > 0.5).any() else known[-1])


def toy_capacity(context: Context) -> pd.DataFrame:
    """Panels: `lead`, share of z2's bits that f tells minus share of z1's, by cell; `tradeoff`, loss1 (x) against loss2
    of every seed and of the exact frontier; `cost`, loss2 of myopic minus vanilla.

    The optima's ties are split evenly (their mean) in `lead`.
    """
    trained, columns = context.measures.table(SHARED.name), list(EXPERIMENT.figure("toy_capacity").columns)
    there = best(context, "vanilla")
    rows: list[dict[str, Any]] = []
    tasks = there.groupby(["overlap", "balance"])[["entropy1", "entropy2", "floor1", "floor2"]].first()

    def lead(frame: pd.DataFrame) -> pd.Series:
        task = tasks.loc[pd.MultiIndex.from_frame(frame[["overlap", "balance"]])].set_index(frame.index)
        fields = [
            (task[f"entropy{k}"] - frame[f"loss{k}"]) / (task[f"entropy{k}"] - task[f"floor{k}"]).clip(lower=1e-12)
            for k in (1, 2)
        ]
        return fields[1] - fields[0]

    for (arm, *cell), part in trained.assign(lead=lead(trained)).groupby(["arm", *CELL]):
        rows.append(dict(zip(CELL, cell, strict=True)) | {"panel": "lead", "series": arm} | _numbers(part["lead"]))
    for arm in PAIR:
        exact = best(context, arm, "mean").reset_index()
        rows += exact.assign(panel="lead", series=f"{arm} optimum", value=lead(exact), seeds=0).to_dict("records")
    balance = shown_balance(context)
    drawn = trained[trained["balance"] == balance]
    rows += (
        drawn.assign(panel="tradeoff", series=drawn["arm"], x=drawn["loss1"], value=drawn["loss2"], seeds=1)
        .reindex(columns=columns)
        .to_dict("records")
    )
    exact = context.measures.table(OPTIMUM.name)
    exact = exact[(exact["aim"] == "frontier") & (exact["balance"] == balance)]
    rows += exact.assign(panel="tradeoff", series="frontier", x=exact["loss1"], value=exact["loss2"], seeds=0).to_dict("records")  # fmt: skip
    for (overlap, capacity), part in trained.groupby(["overlap", "capacity"]):
        wide = part.groupby(["seed", "arm"])["loss2"].mean().unstack()
        if set(PAIR) <= set(wide.columns):
            cost = (wide["myopic"] - wide["vanilla"]).dropna()
            rows.append({"panel": "cost", "overlap": overlap, "capacity": capacity, "series": "gap"} | _numbers(cost))
    keys = ["panel", "series", *CELL, "x", "seed"]
    return pd.DataFrame(rows).reindex(columns=columns).sort_values(keys, kind="stable")


def toy_hidden_bits(context: Context) -> pd.DataFrame:
    """Panels `bits` and `amplitude` along training; kinds `found`, `permuted` (the probe's control), `expected`."""
    table = context.measures.table(HIDDEN.name)
    table = table.assign(amplitude=table["amplitude"].abs())  # which sign means 1 is the network's choice
    columns = {
        ("bits", "found"): "bits",
        ("bits", "permuted"): "bits_permuted",
        ("bits", "expected"): "bits_expected",
        ("amplitude", "found"): "amplitude",
        ("amplitude", "expected"): "amplitude_expected",
    }
    rows = []
    for training, part in table.groupby("training"):
        for (panel, kind), column in columns.items():
            if kind == "expected" and training != "full":
                continue
            wide = part.pivot(index="seed", columns="step", values=column)
            curve = seed_curve(wide.to_numpy())
            exact = kind == "expected"
            for k, step in enumerate(wide.columns):
                rows.append({"panel": panel, "training": training, "kind": kind, "step": step,
                             "value": curve.value[k], "ci_low": np.nan if exact else curve.low[k],
                             "ci_high": np.nan if exact else curve.high[k], "seeds": curve.seeds})  # fmt: skip
    return pd.DataFrame(rows, columns=EXPERIMENT.figure("toy_hidden_bits").columns)


def three_myopias(context: Context) -> pd.DataFrame:
    """One panel for each kind of the essay: `cognitive`, `value` (f has just enough capacity for z1), `consequence`.

    cognitive: what y tells of z2 against the overlap of z1's computation with z2's. value: bits of z1 given up against
    `balance`, where they compete. consequence: P(z1 = 0) against the step, offline training before step 0.
    """
    rows = [*_thinking(context), *_giving(context), *_acting(context)]
    return pd.DataFrame(rows).reindex(columns=list(EXPERIMENT.figure("three_myopias").columns))


def _thinking(context: Context) -> list[dict[str, Any]]:
    table = context.measures.table(SHARED.name)
    table = table[table["capacity"] == just_enough(context)]
    return [
        {"panel": "cognitive", "training": "offline", "arm": arm, "kind": "found", "x": overlap}
        | _numbers(part.groupby("seed")["bits_future"].mean())
        for (arm, overlap), part in table.groupby(["arm", "overlap"])
    ]


def _giving(context: Context) -> list[dict[str, Any]]:
    table, capacity = context.measures.table(SHARED.name), just_enough(context)
    overlap = table["overlap"].min()
    table = table[(table["capacity"] == capacity) & (table["overlap"] == overlap)]
    least = best(context, "myopic").loc[overlap].xs(capacity, level="capacity")["loss1"]
    rows = [
        {"panel": "value", "training": "offline", "arm": arm, "kind": "found", "x": balance}
        | _numbers(part["loss1"] - least[balance])
        for (arm, balance), part in table.groupby(["arm", "balance"])
    ]
    exact = best(context, "vanilla", "mean").loc[overlap].xs(capacity, level="capacity")["loss1"]
    rows += [
        {"panel": "value", "training": "offline", "arm": run.arm, "kind": "seed", "x": run.balance,
         "value": run.loss1 - least[run.balance], "seeds": 1}
        for run in table.itertuples()
    ]  # fmt: skip
    return rows + [
        {"panel": "value", "training": "offline", "arm": "vanilla", "kind": "optimum", "x": balance,
         "value": exact[balance] - least[balance], "seeds": 0}
        for balance in least.index
    ]  # fmt: skip


def _acting(context: Context) -> list[dict[str, Any]]:
    rows = []
    known = context.measures.table(CONSEQUENCE.name)[["training", "arm"]].drop_duplicates()
    for training, arm in sorted(known.itertuples(index=False, name=None)):
        steps, p_SK = course(context, training, arm, "p_easy")
        curve, seeds = seed_curve(p_SK), len(p_SK)
        expected = course(context, training, arm, "p_expected")[1].mean(0)
        spread = course(context, training, arm, "spread_expected")[1].mean(0)
        before = steps[-1] if training == "offline" else 0.0
        fields = {"panel": "consequence", "training": training, "arm": arm, "seeds": seeds}
        for k, step in enumerate(steps):
            rows.append(fields | {"kind": "found", "x": step - before, "value": curve.value[k], "ci_low": curve.low[k],
                                "ci_high": curve.high[k], "sd_expected": spread[k],
                                "sd": np.std(p_SK[:, k], ddof=1) if seeds > 1 else np.nan})  # fmt: skip
            rows.append(fields | {"kind": "expected", "x": step - before, "value": expected[k]})
    return rows
