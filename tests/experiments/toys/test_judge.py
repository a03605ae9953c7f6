"""The toys' rows on made-up worlds, their tables, and the power of the equivalence test."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from experiments.toys.simulate import CHAINS, SEEDS
from myopia.common.files import write_csv
from myopia.experiments.toys import tables as tables_toys
from myopia.experiments.toys.judge import just_enough
from myopia.judge.claims import Claim, ClaimSet
from myopia.judge.estimands import Context, run_estimator
from myopia.judge.measures import Measures, NotRun
from myopia.judge.stats import seed_mean
from myopia.judge.verdicts import MET, NO_PAPER, NOT_RUN, outcome


@pytest.fixture
def context(world: Path, paper) -> Context:
    return Context(Measures(world), paper)


@pytest.fixture(scope="session")
def rows(claims: ClaimSet) -> list[str]:
    """Every row of the toys, controls included."""
    names = [claim.id for claim in claims.claims if claim.estimand and claim.estimand["name"].startswith("toy_")]
    assert len(names) >= 25 and "theory-blindness" in names
    return names


def test_rows_in_a_world_as_predicted(verdicts: pd.DataFrame, rows: list[str]) -> None:
    found = verdicts.loc[rows]
    assert (found["verdict"] == NO_PAPER).all()
    met = found["reason"].str.startswith("criterion met")
    assert met.all(), found.loc[~met, ["ours", "ci_low", "ci_high", "criterion"]].to_string()
    assert verdicts.loc["toy-hidden-only", "seeds"] == SEEDS
    assert verdicts.loc["theory-blindness", "seeds"] == CHAINS - 3  # tuning seeds are never judged


@pytest.mark.parametrize("gap", [0.0, -1.0])
def test_rows_in_worlds_without_an_effect(gap: float, verdicts_of, rows: list[str], world_with) -> None:
    found = verdicts_of(world_with(gap=gap), rows=rows).loc[rows]
    met = set(found.index[found["reason"].str.startswith("criterion met")])
    effects = {"toy-shared-future", "toy-shared-sacrifice", "toy-shared-spare", "toy-hidden-full", "toy-hidden-only"}
    effects |= {f"toy-{loop}-{arm}" for loop in ("reward", "mixed") for arm in ("vanilla", "myopic")}
    assert not met & effects
    assert "toy-hidden-true" in met and "theory-blindness" in met


def test_an_arm_that_misses_its_optimum_leaves_the_claims_open(copy: Path, verdict_of) -> None:
    frame = pd.read_csv(copy / "toy_shared.csv")
    frame.loc[frame["arm"] == "vanilla", "loss2"] += 0.2
    write_csv(copy / "toy_shared.csv", frame)
    row = verdict_of(copy, "toy-shared-future")
    assert row["reason"].startswith("control failed: control-toy-optimum-vanilla")


def test_a_probe_that_finds_bits_in_nothing_leaves_hidden_bits_open(copy: Path, verdict_of) -> None:
    frame = pd.read_csv(copy / "toy_hidden.csv")
    frame["bits_permuted"] += 0.1
    write_csv(copy / "toy_hidden.csv", frame)
    assert verdict_of(copy, "toy-hidden-only")["reason"].startswith("control failed: control-toy-permuted")


def test_blindness_needs_ten_seeds(copy: Path, verdict_of) -> None:
    frame = pd.read_csv(copy / "toy_consequence.csv.gz")
    write_csv(copy / "toy_consequence.csv.gz", frame[frame["seed"] < 9])
    row = verdict_of(copy, "theory-blindness")
    assert row["verdict"] == NOT_RUN and "needs 10 seeds, has 9" in row["reason"]


def test_estimates_against_direct_computation(context: Context, world: Path) -> None:
    assert just_enough(context) == 3
    frame = pd.read_csv(world / "toy_shared.csv").query("capacity == 3 and overlap == 0 and balance == 0.7")
    loss2 = frame.groupby("arm")["loss2"].mean()
    found = run_estimator("toy_shared", context, {"value": "loss2", "arms": ["myopic", "vanilla"], "balance": [0.5, 1]})
    assert found.value == pytest.approx(loss2["myopic"] - loss2["vanilla"]) and found.seeds == SEEDS
    frame = (
        pd.read_csv(world / "toy_hidden.csv")
        .query("step == 100")
        .pivot(index="seed", columns="training", values="bits")
    )
    found = run_estimator("toy_hidden", context, {"training": "full", "minus": ["true", "stopped"]})
    assert found.value == pytest.approx((frame["full"] - frame[["true", "stopped"]].max(axis=1)).mean())
    frame = pd.read_csv(world / "toy_consequence.csv.gz").query("training == 'own' and arm == 'myopic'")
    wide = frame.pivot(index="seed", columns="step", values="p_easy")
    found = run_estimator("toy_spread", context, {"arm": "myopic"})
    assert found.value == pytest.approx((((wide[100] - wide[0]) / 0.05) ** 2).mean() - 1)
    with pytest.raises(NotRun, match="training half"):
        run_estimator("toy_tilt", context, {"training": "half", "arm": "myopic"})


def test_tables(context: Context) -> None:
    capacity = tables_toys.toy_capacity(context)
    lead = capacity[(capacity["panel"] == "lead") & (capacity["overlap"] == 0)].set_index(
        ["series", "balance", "capacity"]
    )
    assert lead.loc[("vanilla optimum", 0.7, 3), "value"] == pytest.approx(
        1
    )  # the future gets all, the present nothing
    assert lead.loc[("myopic optimum", 0.7, 3), "value"] == pytest.approx(-1)
    assert lead.loc[("vanilla optimum", 0.7, 9), "value"] == pytest.approx(0)
    assert lead.loc[("vanilla", 0.7, 3), "value"] == pytest.approx(1, abs=0.05)
    trade = capacity[capacity["panel"] == "tradeoff"]
    assert set(trade["series"]) == {"vanilla", "myopic", "frontier"} and set(trade["balance"]) == {0.7}
    hidden = tables_toys.toy_hidden_bits(context)
    last = hidden[(hidden["step"] == 100) & (hidden["panel"] == "bits") & (hidden["kind"] == "found")]
    assert last.set_index("training")["value"]["full"] == pytest.approx(0.85, abs=0.02)
    size = hidden[(hidden["panel"] == "amplitude") & (hidden["kind"] == "found") & (hidden["training"] == "full")]
    assert size["value"].max() == pytest.approx(0.85 / 4)  # signs differ among seeds, sizes do not
    kinds = tables_toys.three_myopias(context)
    assert set(kinds["panel"]) == {"cognitive", "value", "consequence"}
    acting = kinds[(kinds["panel"] == "consequence") & (kinds["kind"] == "found")]
    assert acting.loc[acting["training"] == "offline", "x"].max() == 0
    assert acting.loc[(acting["training"] == "own") & (acting["x"] == 100), "sd"].to_numpy() == pytest.approx(
        0.05, rel=0.2
    )


@pytest.mark.parametrize("truth, at_least, at_most", [(0.0, 0.9, 1.0), (0.01, 0.02, 0.08), (0.02, 0.0, 0.001)])
def test_power_and_size_of_the_equivalence_test(truth: float, at_least: float, at_most: float) -> None:
    """Ten seeds whose P(z1 = 0) has a standard deviation of .008: shown if true, at the margin shown once in twenty."""
    claim = Claim("x", "x", "x", "x", test="equivalence", side="within", delta=0.01)
    rng = np.random.default_rng(0)
    met = [outcome(claim, seed_mean(rng.normal(truth, 0.008, 10)), float("nan"), 0.0)[0] == MET for _ in range(2000)]
    assert at_least <= np.mean(met) <= at_most
    sd = 0.008 / 10**0.5
    assert stats.norm.cdf((0.01 - truth) / sd - 1.9) == pytest.approx(np.mean(met), abs=0.06)  # normal approximation
