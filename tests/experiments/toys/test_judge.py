"""Claims of the toys on simulated measurements, their tables, and the power of the equivalence test."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from experiments.toys.simulate import CHAINS, SEEDS, toys
from myopia.common.files import write_csv
from myopia.config.load import ROOT
from myopia.experiments.toys import CONSEQUENCE, EXPERIMENT, HIDDEN, SHARED, tables
from myopia.experiments.toys.judge import just_enough
from myopia.judge.claims import Claim, read_claims
from myopia.judge.measures import Measures, NotRun
from myopia.judge.registry import Context, run_estimator
from myopia.judge.stats import seed_mean
from myopia.judge.verdicts import MET, NO_PAPER, NOT_JUDGED, YES, judge, outcome


def simulated(folder: Path, gap: float = 1.0) -> Path:
    for name, frame in toys(np.random.default_rng(0), gap, 1.0).items():
        write_csv(folder / name, frame)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return simulated(tmp_path_factory.mktemp("toys"))


@pytest.fixture
def context(folder: Path, paper) -> Context:
    return Context(Measures(folder), paper)


@pytest.fixture
def verdicts(paper) -> Callable[[Path], pd.DataFrame]:
    """The claims of the toys, judged on a folder."""
    claims = read_claims([EXPERIMENT.folder / "claims.yaml"], ROOT / "workflow/reference/claims.yaml")
    EXPERIMENT.register_estimators()
    return lambda folder: judge(Measures(folder, claims.tuning_seeds), claims, paper, "cpu").set_index("id")


def broken(folder: Path, name: str, change: Callable[[pd.DataFrame], pd.DataFrame]) -> Path:
    """Overwrite one table of a folder."""
    write_csv(folder / name, change(pd.read_csv(folder / name)))
    return folder


def test_claims_where_all_is_as_predicted(folder: Path, verdicts) -> None:
    found = verdicts(folder)
    assert len(found) >= 25 and (found["verdict"] == NO_PAPER).all()
    met = found["answer"].eq(YES)
    assert met.all(), found.loc[~met, ["ours", "ci_low", "ci_high", "criterion"]].to_string()
    assert found.loc["toy-hidden-only", "seeds"] == SEEDS
    assert found.loc["theory-blindness", "seeds"] == CHAINS - 3  # tuning seeds are never judged


@pytest.mark.parametrize("gap", [0.0, -1.0])
def test_claims_where_there_is_no_effect_or_the_reverse(gap: float, tmp_path: Path, verdicts) -> None:
    found = verdicts(simulated(tmp_path, gap))
    met = set(found.index[found["answer"].eq(YES)])
    effects = {"toy-shared-future", "toy-shared-sacrifice", "toy-shared-spare", "toy-hidden-full", "toy-hidden-only"}
    effects |= {f"toy-{loop}-{arm}" for loop in ("reward", "mixed") for arm in ("vanilla", "myopic")}
    assert not met & effects
    assert "toy-hidden-true" in met and "theory-blindness" in met


def test_a_failed_control_leaves_its_claims_open(tmp_path: Path, verdicts) -> None:
    simulated(tmp_path)
    missed = lambda frame: frame.assign(loss2=frame["loss2"] + 0.2 * (frame["arm"] == "vanilla"))  # noqa: E731
    broken(tmp_path, SHARED.name, missed)
    broken(tmp_path, HIDDEN.name, lambda frame: frame.assign(bits_permuted=frame["bits_permuted"] + 0.1))
    found = verdicts(tmp_path)["reason"]
    assert found["toy-shared-future"].startswith("control failed: control-toy-optimum-vanilla")
    assert found["toy-hidden-only"].startswith("control failed: control-toy-permuted")


def test_blindness_needs_ten_seeds(tmp_path: Path, verdicts) -> None:
    broken(simulated(tmp_path), CONSEQUENCE.name, lambda frame: frame[frame["seed"] < 9])
    row = verdicts(tmp_path).loc["theory-blindness"]
    assert row["answer"] == NOT_JUDGED and "needs 10 seeds, has 9" in row["reason"]


def test_estimates_against_direct_computation(context: Context, folder: Path) -> None:
    assert just_enough(context) == 3
    frame = pd.read_csv(folder / SHARED.name).query("capacity == 3 and overlap == 0 and balance == 0.7")
    loss2 = frame.groupby("arm")["loss2"].mean()
    found = run_estimator("toy_shared", context, {"value": "loss2", "arms": ["myopic", "vanilla"], "balance": [0.5, 1]})
    assert found.value == pytest.approx(loss2["myopic"] - loss2["vanilla"]) and found.seeds == SEEDS
    frame = pd.read_csv(folder / HIDDEN.name).query("step == 100")
    frame = frame.pivot(index="seed", columns="training", values="bits")
    found = run_estimator("toy_hidden", context, {"training": "full", "minus": ["true", "stopped"]})
    assert found.value == pytest.approx((frame["full"] - frame[["true", "stopped"]].max(axis=1)).mean())
    frame = pd.read_csv(folder / CONSEQUENCE.name).query("training == 'own' and arm == 'myopic'")
    wide = frame.pivot(index="seed", columns="step", values="p_easy")
    found = run_estimator("toy_spread", context, {"arm": "myopic"})
    assert found.value == pytest.approx((((wide[100] - wide[0]) / 0.05) ** 2).mean() - 1)
    with pytest.raises(NotRun, match="training half"):
        run_estimator("toy_tilt", context, {"training": "half", "arm": "myopic"})


def test_tables(context: Context) -> None:
    for figure in EXPERIMENT.figures:
        assert tuple(EXPERIMENT.load(figure.table)(context).columns) == figure.columns
    capacity = tables.toy_capacity(context)
    lead = capacity[(capacity["panel"] == "lead") & (capacity["overlap"] == 0)]
    lead = lead.set_index(["series", "balance", "capacity"])["value"]
    assert lead["vanilla optimum", 0.7, 3] == pytest.approx(1)  # the future gets all, the present nothing
    assert lead["myopic optimum", 0.7, 3] == pytest.approx(-1)
    assert lead["vanilla optimum", 0.7, 9] == pytest.approx(0)
    assert lead["vanilla", 0.7, 3] == pytest.approx(1, abs=0.05)
    trade = capacity[capacity["panel"] == "tradeoff"]
    assert set(trade["series"]) == {"vanilla", "myopic", "frontier"} and set(trade["balance"]) == {0.7}
    hidden = tables.toy_hidden_bits(context)
    found = hidden[(hidden["kind"] == "found") & (hidden["training"] == "full")]
    last = found[(found["step"] == 100) & (found["panel"] == "bits")]
    assert last["value"].item() == pytest.approx(0.85, abs=0.02)
    size = found[found["panel"] == "amplitude"]
    assert size["value"].max() == pytest.approx(0.85 / 4)  # signs differ among seeds, sizes do not
    kinds = tables.three_myopias(context)
    assert set(kinds["panel"]) == {"cognitive", "value", "consequence"}
    acting = kinds[(kinds["panel"] == "consequence") & (kinds["kind"] == "found")]
    assert acting.loc[acting["training"] == "offline", "x"].max() == 0
    spread = acting.loc[(acting["training"] == "own") & (acting["x"] == 100), "sd"]
    assert spread.to_numpy() == pytest.approx(0.05, rel=0.2)


def test_power_and_size_of_the_equivalence_test() -> None:
    """Ten seeds whose P(z1 = 0) has a standard deviation of .008: shown if true, at the margin shown once in twenty."""
    claim = Claim("x", "x", "x", "x", test="equivalence", side="within", delta=0.01)
    sd = 0.008 / 10**0.5
    for truth, at_least, at_most in ((0.0, 0.9, 1.0), (0.01, 0.02, 0.08), (0.02, 0.0, 0.001)):
        draws = np.random.default_rng(0).normal(truth, 0.008, (1000, 10))
        shown = np.mean([outcome(claim, seed_mean(draw), float("nan"), 0.0)[0] == MET for draw in draws])
        assert at_least <= shown <= at_most, truth
        assert stats.norm.cdf((0.01 - truth) / sd - 1.9) == pytest.approx(shown, abs=0.06), (
            truth
        )  # normal approximation
