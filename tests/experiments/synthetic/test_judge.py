"""Judging the synthetic task: estimators against direct computation, and the tables of its figures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from experiments.synthetic.simulate import LEVEL, WINDOW, losses, synthetic
from myopia.common.errors import MyopiaError
from myopia.common.files import write_csv
from myopia.experiments.synthetic import EXPERIMENT, LOSS, PROBE_R2
from myopia.judge.measures import Measures, NotRun
from myopia.judge.registry import Context, run_estimator

SEEDS = 3


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("simulated")
    for name, frame in synthetic(np.random.default_rng(0), SEEDS, 1.0, 1.0).items():
        write_csv(made / name, frame)
    return made


@pytest.fixture
def context(folder: Path, paper) -> Context:
    return Context(Measures(folder), paper)


def test_losses_against_direct_computation(context: Context, folder: Path) -> None:
    table = pd.read_csv(folder / LOSS.name)
    mean = table[(table["p"] == 0.3) & (table["shift"] == 1)].groupby(["arm", "seed"])[
        ["loss", "loss_z1", "loss_trivial"]
    ].mean()  # fmt: skip
    gap = (mean.loc["myopic", "loss"] - mean.loc["vanilla", "loss"]) / mean.loc["myopic", "loss_trivial"]
    found = run_estimator("dp_gap", context, {"p": 0.3, "arms": ["myopic", "vanilla"]})
    assert found.value == pytest.approx(gap.mean()) and (found.seeds, found.documents) == (SEEDS, 16)
    skill = 1 - mean.loc["vanilla", "loss"] / mean.loc["vanilla", "loss_trivial"]
    assert run_estimator("dp_skill", context, {"p": 0.3, "arm": "vanilla"}).value == pytest.approx(skill.mean())
    over_p = run_estimator("dp_loss_over_p", context, {"p": 0.3, "arm": "myopic"}).value
    assert over_p == pytest.approx(mean.loc["myopic", "loss"].mean() / 0.3)


def test_auto_is_the_largest_p_that_has_the_arms(context: Context) -> None:
    args = {"arms": ["myopic-kv", "myopic"]}
    at = {p: run_estimator("dp_gap", context, {"p": p, **args}).value for p in ("auto", 0.3, 1.0)}
    assert at["auto"] == at[1.0] != at[0.3]
    # The control with the present inside the window ran at p = 1 alone.
    assert run_estimator("dp_beats_present", context, {"p": "auto", "arm": "myopic"}).value == pytest.approx(
        0.66 - 0.25, abs=0.02
    )
    with pytest.raises(NotRun, match="beta0.5 at shift 1"):
        run_estimator("dp_gap", context, {"p": "auto", "arms": ["beta0.5", "vanilla"]})


def test_probes_against_direct_computation(context: Context, folder: Path) -> None:
    table = pd.read_csv(folder / PROBE_R2.name)
    table = table[(table["p"] == 0.3) & (table["feature"] == "sin") & (table["weights"] == "trained")]
    second = table[(table["layer"] == 2) & (table["arm"] == "vanilla")]
    inside = second[second["lookback"].between(1, WINDOW)].groupby("seed")["r2_noisy"].mean()
    beyond = second[second["lookback"].between(WINDOW + 1, WINDOW + 4)].groupby("seed")["r2_noisy"].mean()
    found = run_estimator("probe_lag_contrast", context, {"p": 0.3, "arm": "vanilla", "layer": 2})
    assert found.value == pytest.approx((inside - beyond).mean())
    first = table[(table["layer"] == 1) & (table["lookback"] == 0)].pivot(
        index="seed", columns="arm", values="r2_noisy"
    )
    found = run_estimator("probe_share", context, {"p": 0.3, "arms": ["myopic", "vanilla"], "layer": 1})
    assert found.value == pytest.approx((first["myopic"] / first["vanilla"]).mean())
    excess = run_estimator("probe_excess", context, {"p": 0.3, "arm": "vanilla", "layer": 1})
    assert excess.value == pytest.approx(0.93 - 0.05, abs=0.01)  # what training adds to an untrained network's probe
    slope = {"p": "auto", "arm": "vanilla", "direction": "pattern"}
    assert run_estimator("intervention_slope", context, {**slope, "lags": "inside"}).value == pytest.approx(
        0.9, abs=0.03
    )
    assert abs(run_estimator("intervention_slope", context, {**slope, "lags": "outside"}).value) < 0.03


def test_tables_hold_what_the_figures_draw(context: Context) -> None:
    drawn = {figure.name: EXPERIMENT.load(figure.table)(context) for figure in EXPERIMENT.figures}
    assert {name: tuple(frame) for name, frame in drawn.items()} == {f.name: f.columns for f in EXPERIMENT.figures}
    first = drawn["table1_loss_by_p"]
    ours = first[(first["kind"] == "ours") & (first["on"] == "all") & (first["shift"] == 1)].set_index(["series", "p"])
    assert ours.loc[("vanilla", 0.3), "value"] == pytest.approx(LEVEL["vanilla"] * 1.6, abs=0.05)  # loss / p
    assert {"trivial", "zero", "present only"} <= set(first.loc[first["kind"] == "predictor", "series"])
    assert set(first.loc[first["kind"] == "paper", "series"]) == {"vanilla", "myopic", "zero"}
    probes = drawn["fig2_probe_r2"]
    assert set(probes["weights"]) == {"trained", "untrained", "shuffled"} and (probes["a"].dropna() >= WINDOW).all()
    assert drawn["fig3_neuron_correlation"]["seed"].unique().tolist() == [0]  # neurons have no common order
    edits = drawn["intervention"].set_index(["arm", "direction", "lag"])["expected"]
    assert edits["vanilla", "pattern", WINDOW] == 1 and edits["vanilla", "pattern", WINDOW + 1] == 0


def test_an_undefined_loss_is_refused(folder: Path, tmp_path: Path, paper) -> None:
    table = losses(np.random.default_rng(1), 2, 1.0, 1.0)
    table.loc[0, "loss"] = np.nan
    write_csv(tmp_path / LOSS.name, table)
    with pytest.raises(MyopiaError, match="undefined loss"):
        run_estimator("dp_skill", Context(Measures(tmp_path), paper), {"p": 0.3, "arm": "vanilla"})
