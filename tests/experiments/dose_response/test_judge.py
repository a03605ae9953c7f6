"""The beta sweep: estimators against direct computation, claims with known answers, the figure's table."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from experiments.dose_response.simulate import CLOSED, add_doses, text_loss
from experiments.synthetic.simulate import losses
from myopia.common.files import write_csv
from myopia.config.experiment import experiment
from myopia.config.load import ROOT
from myopia.config.tables import TEXT_LOSS
from myopia.experiments.dose_response import EXPERIMENT
from myopia.experiments.dose_response.judge import half_closing
from myopia.experiments.dose_response.settings import SWEPT
from myopia.experiments.dose_response.tables import dose_response
from myopia.experiments.synthetic import LOSS
from myopia.experiments.synthetic.tables import table1_loss_by_p
from myopia.judge.claims import read_claims
from myopia.judge.measures import Measures, NotRun
from myopia.judge.registry import Context, run_estimator
from myopia.judge.verdicts import NO_PAPER, NOT_JUDGED, YES, judge

TASKS = [{"p": 1.0}, {"corpus": "docstrings"}]
ROWS = ["dose-dp-beta0.25", "dose-dp-beta0.5", "dose-dp-beta0.75", "dose-dp-trend", "dose-dp-steps", "dose-dp-half"]


def simulated(folder: Path, closed: dict[str, float] | None = None, gap: float = 1.0) -> Path:
    rng = np.random.default_rng(7)
    tables = {LOSS.name: losses(rng, 3, gap, 1.0, ps=(1.0,)), TEXT_LOSS.name: text_loss(rng, 5)}
    add_doses(tables, rng, closed)
    for name, frame in tables.items():
        write_csv(folder / name, frame)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return simulated(tmp_path_factory.mktemp("sweep"))


@pytest.fixture
def context(folder: Path, paper) -> Context:
    return Context(Measures(folder), paper)


@pytest.fixture
def verdicts(paper):
    """The claims on D_p, judged on a folder."""
    sources = [EXPERIMENT, *map(experiment, EXPERIMENT.reads)]
    claims = read_claims([s.folder / "claims.yaml" for s in sources], ROOT / "workflow/reference/claims.yaml")
    for source in sources:
        source.register_estimators()
    return lambda folder: judge(Measures(folder), claims, paper, "cpu", ROWS).set_index("id")


def test_claims_where_little_gradient_is_enough(folder: Path, verdicts) -> None:
    rows = verdicts(folder)
    assert set(rows.index) == set(ROWS) and (rows["verdict"] == NO_PAPER).all()
    assert rows["answer"].eq(YES).all(), rows["reason"].to_string()
    assert rows.loc["dose-dp-beta0.25", "ours"] == pytest.approx(0.6, abs=0.01)
    assert rows.loc["dose-dp-half", "ours"] == pytest.approx(0.25 * 0.5 / 0.6, abs=0.01)
    assert rows.loc["dose-dp-steps", "ours"] == pytest.approx(0.08, abs=0.01)  # from .92 to 1
    assert rows.loc["dose-dp-half", "seeds"] == 3 and rows.loc["dose-dp-half", "documents"] == 16


def test_without_a_gap_there_is_nothing_to_close(tmp_path: Path, verdicts) -> None:
    rows = verdicts(simulated(tmp_path, gap=0.0))
    assert (rows["answer"] == NOT_JUDGED).all() and rows["reason"].str.contains("judged only where").all()


@pytest.mark.parametrize("where", TASKS)
def test_shares_against_sums(context: Context, folder: Path, where: dict) -> None:
    if "p" in where:
        table = pd.read_csv(folder / LOSS.name)
        mean = table[(table["p"] == 1) & (table["shift"] == 1)].groupby(["arm", "seed"])["loss"].mean()
    else:
        table = pd.read_csv(folder / TEXT_LOSS.name)
        table = table.assign(total=table["n"] * table["loss"]).groupby(["arm", "seed"])[["total", "n"]].sum()
        mean = table["total"] / table["n"]
    mean = mean.groupby("arm").mean()  # a ratio of means, not a mean of ratios
    share = {arm: (mean["myopic"] - mean[arm]) / (mean["myopic"] - mean["vanilla"]) for arm in SWEPT}
    for arm in CLOSED:
        found = run_estimator("dose_share", context, {"arm": arm, **where})
        assert found.value == pytest.approx(share[arm]) and found.se > 0
    beta = list(SWEPT.values())
    slope = np.polyfit(beta, [share[arm] for arm in SWEPT], 1)[0]
    assert run_estimator("dose_slope", context, where).value == pytest.approx(slope)
    crossing = np.interp(0.5, [share[arm] for arm in SWEPT], beta)
    assert run_estimator("dose_half", context, where).value == pytest.approx(crossing)


def test_a_step_back_is_the_weakest_step(tmp_path: Path, paper) -> None:
    folder = simulated(tmp_path, {"beta0.25": 0.3, "beta0.5": 0.2, "beta0.75": 0.9})
    context = Context(Measures(folder), paper)
    step = run_estimator("dose_weakest_step", context, {"p": 1})
    assert step.value == pytest.approx(-0.1, abs=0.01) and step.interval()[1] < 0
    assert run_estimator("dose_slope", context, {"p": 1}).interval()[0] > 0  # a trend all the same
    assert run_estimator("dose_half", context, {"p": 1}).value == pytest.approx(0.5 + 0.25 * 3 / 7, abs=0.01)


def test_first_crossing() -> None:
    shares = np.array([[0, 0, 0], [0.5, 0.1, 0.1], [0.4, 0.6, 0.2], [0.9, 0.4, 0.3], [1, 1, 0.4]])
    assert half_closing(shares) == pytest.approx([0.25, 0.25 + 0.25 * 0.8, 1.0])
    assert np.isnan(half_closing(np.full((5, 1), np.nan))).all()
    assert half_closing(np.stack([shares, shares], 1)).shape == (2, 3)


def test_a_missing_arm_is_named(tmp_path: Path, paper) -> None:
    folder = simulated(tmp_path)
    table = pd.read_csv(folder / LOSS.name, keep_default_na=False)
    write_csv(folder / LOSS.name, table[table["arm"] != "beta0.5"])
    context = Context(Measures(folder), paper)
    with pytest.raises(NotRun, match=r"arm beta0\.5"):
        run_estimator("dose_slope", context, {"p": 1})
    assert run_estimator("dose_share", context, {"p": 1, "arm": "beta0.75"}).value > 0.8
    rows = dose_response(context)
    assert "half" not in set(rows.loc[rows["task"] == "D_p, p = 1", "metric"])


def test_the_table_and_one_that_leaves_the_sweep_out(context: Context) -> None:
    rows = dose_response(context)
    assert tuple(rows.columns) == EXPERIMENT.figure("dose_response").columns
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
