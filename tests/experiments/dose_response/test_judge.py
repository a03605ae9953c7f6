"""Dose-response: estimators against direct computation, rows in worlds with known answers, the figure's table."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from experiments.dose_response.simulate import CLOSED, add_doses
from experiments.simulate import synthetic
from myopia.common.files import write_csv
from myopia.experiments.dose_response.judge import BETA, half_closing
from myopia.experiments.dose_response.tables import dose_response
from myopia.experiments.synthetic.tables import table1_loss_by_p
from myopia.experiments.text.tables import table2_text_loss
from myopia.judge.estimands import Context, run_estimator
from myopia.judge.measures import Measures, NotRun
from myopia.judge.verdicts import NO_PAPER, NOT_RUN

TASKS = [{"p": 1.0}, {"corpus": "docstrings"}]
ROWS = ["dose-dp-beta0.25", "dose-dp-trend", "dose-dp-steps", "dose-dp-half", "dose-beta0.25-docstrings",
        "dose-trend-docstrings", "dose-steps-docstrings", "dose-half-docstrings"]  # fmt: skip


@pytest.fixture
def context(world: Path, paper) -> Context:
    return Context(Measures(world), paper)


def world_of(folder: Path, paper, closed: dict[str, float]) -> Context:
    """D_p alone, with other shares closed."""
    rng = np.random.default_rng(7)
    tables = {"synthetic_loss.csv": synthetic(rng, 3, 1.0, 1.0, ps=(1.0,))}
    add_doses(tables, rng, closed)
    write_csv(folder / "synthetic_loss.csv", tables["synthetic_loss.csv"])
    return Context(Measures(folder), paper)


def test_rows_in_a_world_where_little_gradient_is_enough(verdicts: pd.DataFrame) -> None:
    rows = verdicts.loc[ROWS]
    assert (rows["verdict"] == NO_PAPER).all()
    met = rows["reason"].str.startswith("criterion met")
    assert set(rows.index[~met]) <= {"dose-steps-docstrings"}  # the A/A runs have noise of their own
    assert rows.loc["dose-dp-beta0.25", "ours"] == pytest.approx(0.6, abs=0.01)
    assert rows.loc["dose-half-docstrings", "ours"] == pytest.approx(0.25 * 0.5 / 0.6, abs=0.01)
    assert rows.loc["dose-dp-steps", "ours"] == pytest.approx(0.08, abs=0.01)  # from .92 to 1
    assert rows.loc["dose-dp-half", "seeds"] == 3 and rows.loc["dose-dp-half", "documents"] == 16


def test_without_a_gap_there_is_nothing_to_close(verdicts_of, world_with) -> None:
    rows = verdicts_of(world_with(gap=0.0), rows=ROWS).loc[ROWS]
    assert (rows["verdict"] == NOT_RUN).all() and rows["reason"].str.contains("judged only where").all()


@pytest.mark.parametrize("where", TASKS)
def test_shares_against_sums(context: Context, world: Path, where: dict) -> None:
    if "p" in where:
        table = pd.read_csv(world / "synthetic_loss.csv")
        table = table[(table["p"] == 1) & (table["shift"] == 1)]
        mean = table.groupby(["arm", "seed"])["loss"].mean()
    else:
        table = pd.read_csv(world / "text_loss.csv.gz")
        table = table.assign(total=table["n"] * table["loss"]).groupby(["arm", "seed"])[["total", "n"]].sum()
        mean = table["total"] / table["n"]
    whole = mean["myopic"] - mean["vanilla"]
    share = {arm: (mean["myopic"] - mean[arm]) / whole for arm in BETA}
    for arm in CLOSED:
        found = run_estimator("dose_share", context, {"arm": arm, **where})
        assert found.value == pytest.approx(share[arm].mean()) and found.se > 0
    slopes = [np.polyfit(list(BETA.values()), [share[arm][seed] for arm in BETA], 1)[0] for seed in whole.index]
    assert run_estimator("dose_slope", context, where).value == pytest.approx(np.mean(slopes))
    crossing = [np.interp(0.5, [share[arm][seed] for arm in BETA], list(BETA.values())) for seed in whole.index]
    assert run_estimator("dose_half", context, where).value == pytest.approx(np.mean(crossing))


def test_a_step_back_is_the_weakest_step(tmp_path: Path, paper) -> None:
    closed = {"beta0.25": 0.3, "beta0.5": 0.2, "beta0.75": 0.9}
    context = world_of(tmp_path, paper, closed)
    step = run_estimator("dose_weakest_step", context, {"p": 1})
    assert step.value == pytest.approx(-0.1, abs=0.01) and step.interval()[1] < 0
    assert run_estimator("dose_slope", context, {"p": 1}).interval()[0] > 0  # a trend all the same
    assert run_estimator("dose_half", context, {"p": 1}).value == pytest.approx(0.5 + 0.25 * 3 / 7, abs=0.01)


def test_first_crossing() -> None:
    shares = np.array([[0, 0, 0], [0.5, 0.1, 0.1], [0.4, 0.6, 0.2], [0.9, 0.4, 0.3], [1, 1, 0.4]])
    assert half_closing(shares) == pytest.approx([0.25, 0.25 + 0.25 * 0.8, 1.0])
    assert np.isnan(half_closing(np.full((5, 1), np.nan))).all()
    assert half_closing(np.stack([shares, shares], 1)).shape == (2, 3)


def test_a_missing_dose_is_named(copy: Path, paper) -> None:
    table = pd.read_csv(copy / "synthetic_loss.csv", keep_default_na=False)
    write_csv(copy / "synthetic_loss.csv", table[table["arm"] != "beta0.5"])
    context = Context(Measures(copy), paper)
    with pytest.raises(NotRun, match="arm beta0.5"):
        run_estimator("dose_slope", context, {"p": 1})
    assert run_estimator("dose_share", context, {"p": 1, "arm": "beta0.75"}).value > 0.8
    rows = dose_response(context)
    assert "half" not in set(rows.loc[rows["task"] == "D_p, p = 1", "metric"])


def test_the_table_and_those_that_leave_doses_out(context: Context) -> None:
    rows = dose_response(context)
    assert set(rows["task"]) == {"D_p, p = 1", "docstrings"}
    share = rows[rows["metric"] == "share"].pivot(index="beta", columns="task", values="value")
    assert share.index.tolist() == [0, 0.25, 0.5, 0.75, 1]
    assert share.loc[:0.75, "docstrings"].to_numpy() == pytest.approx([0, 0.6, 0.8, 0.92], abs=0.01)
    assert share.loc[1.0].to_numpy() == pytest.approx([1, 1], abs=0.1)  # the A/A runs have noise of their own
    seeds = rows[(rows["metric"] == "seed") & (rows["arm"] == "beta0.5")].groupby("task")["value"].agg(["mean", "size"])
    assert seeds["size"].to_dict() == {"D_p, p = 1": 3, "docstrings": 5}
    assert seeds["mean"].to_numpy() == pytest.approx(share.loc[0.5, seeds.index].to_numpy())
    gap = rows[(rows["metric"] == "gap") & (rows["task"] == "D_p, p = 1")].set_index("beta")["value"]
    assert gap[0.0] == pytest.approx(0.52, abs=0.03) and gap[1.0] == pytest.approx(0, abs=0.02)
    assert not set(CLOSED) & set(table1_loss_by_p(context)["series"])
    assert not set(CLOSED) & set(table2_text_loss(context)["arm"])
