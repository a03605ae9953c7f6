"""Where planning pays: estimators against direct computation, tables, and simulated measurements with known answers."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from experiments.text.simulate import text
from experiments.tokens.simulate import COPY_GAP, tokens
from myopia.common.errors import MyopiaError
from myopia.common.files import write_csv
from myopia.config.runs import PAIR
from myopia.experiments.text import EXPERIMENT as TEXT
from myopia.experiments.tokens import EXPERIMENT, GAP, INFLUENCE, PROBES, tables
from myopia.judge.measures import Measures, NotRun
from myopia.judge.registry import Context, run_estimator
from myopia.judge.verdicts import NO, NO_PAPER, NOT_JUDGED, YES
from own_claims import judging, write_tables

ROWS = [
    "tokens-copied-docstrings",
    "tokens-copied-pair-docstrings",
    "tokens-copied-kl-docstrings",
    "tokens-easy-sent-docstrings",
    "tokens-easy-share-docstrings",
    "tokens-easy-trained-docstrings",
    "probe-future-table-docstrings",
    "probe-future-untrained-docstrings",
    "probe-future-docstrings",
]


def made(folder: Path, *, seeds: int = 5, gap: float = 1.0) -> Path:
    return write_tables(folder, tokens(np.random.default_rng(0), seeds, gap, 1.0))


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made(tmp_path_factory.mktemp("measure"))


@pytest.fixture
def copied(measured: Path, tmp_path: Path) -> Path:
    """The same, free to be broken."""
    return Path(shutil.copytree(measured, tmp_path / "copy"))


@pytest.fixture
def context(measured: Path, paper) -> Context:
    return Context(Measures(measured), paper)


@pytest.fixture(scope="module")
def verdicts_of(paper):
    """A claim is judged at its experiment's steps, which the curves of the text experiment tell."""
    run = judging(EXPERIMENT, paper, TEXT)

    def with_text(folder: Path, **more):
        write_tables(folder, text(np.random.default_rng(1), 5, 1.0, 1.0, docs=4, arms=PAIR))
        return run(folder, **more)

    return with_text


def ask(context: Context, name: str, **args):
    return run_estimator(name, context, {"corpus": "docstrings", **args})


def test_rows_where_planning_pays(measured: Path, verdicts_of) -> None:
    rows = verdicts_of(measured, only=ROWS).loc[ROWS]
    assert (rows["verdict"] == NO_PAPER).all()
    assert rows["answer"].eq(YES).all()
    assert rows.loc["tokens-copied-docstrings", "ours"] == pytest.approx(COPY_GAP, abs=0.01)
    assert (rows["seeds"] == 5).all() and set(rows["documents"]) == {20, 16}


@pytest.mark.parametrize("gap", [0.0, -1.0])
def test_rows_where_it_does_not(gap: float, verdicts_of, tmp_path: Path) -> None:
    rows = verdicts_of(made(tmp_path, gap=gap), only=ROWS).loc[ROWS]
    met = rows["answer"].eq(YES)
    may = ["tokens-copied-kl-docstrings", "probe-future-table-docstrings", "probe-future-untrained-docstrings"]
    assert set(rows.index[met]) <= set(may)  # vanilla still reads the future, only no better than myopic
    if gap < 0:
        assert rows.loc[["tokens-copied-docstrings", "probe-future-docstrings"], "answer"].eq(NO).all()


def test_few_seeds_are_shown_and_not_judged(verdicts_of, tmp_path: Path) -> None:
    rows = verdicts_of(made(tmp_path, seeds=3), only=ROWS).loc[ROWS]
    assert (rows["answer"] == NOT_JUDGED).all() and rows["reason"].str.contains("needs 5 seeds, has 3").all()
    assert rows["ours"].notna().all()


def test_a_failed_control_leaves_the_probes_open(copied: Path, verdicts_of) -> None:
    frame = pd.read_csv(copied / PROBES.name)
    # An untrained network that reads as much of the future as vanilla does, and a bit more.
    untrained = frame[frame["arm"] == "vanilla"].assign(arm="untrained", ce=lambda f: f["ce"] - 0.01 * f["n"])
    write_csv(copied / PROBES.name, pd.concat([frame[frame["arm"] != "untrained"], untrained]))
    row = verdicts_of(copied).loc["probe-future-docstrings"]
    assert row["reason"].startswith("control failed: probe-future-untrained-docstrings")


def test_token_gaps_against_sums(context: Context, measured: Path) -> None:
    frame = pd.read_csv(measured / GAP.name)
    cell = frame[(frame["by"] == "copied")].groupby(["bin", "arm", "seed"])[["loss", "kl", "weight"]].sum()

    def level(name: str, column: str = "loss") -> float:
        myopic, vanilla = cell.loc[name, "myopic"], cell.loc[name, "vanilla"]
        return ((myopic[column] - vanilla[column]) / vanilla["weight"]).mean()

    assert ask(context, "token_gap", by="copied", bin="new").value == pytest.approx(level("new"))
    assert ask(context, "token_gap", by="copied", bin="new", value="kl").value == pytest.approx(level("new", "kl"))
    contrast = ask(context, "token_gap", by="copied", bin="pair seen", minus="new")
    assert contrast.value == pytest.approx(level("pair seen") - level("new"))
    assert contrast.documents == 20 and contrast.se > 0
    with pytest.raises(NotRun, match="no group old"):
        ask(context, "token_gap", by="copied", bin="old")
    with pytest.raises(NotRun, match="by colour"):
        ask(context, "token_gap", by="colour", bin="red")


def test_arms_on_different_tokens_are_refused(copied: Path, paper) -> None:
    frame = pd.read_csv(copied / GAP.name)
    frame.loc[frame.index[-1], "weight"] += 1
    write_csv(copied / GAP.name, frame)
    with pytest.raises(MyopiaError, match="different tokens"):
        tables.token_gap(Context(Measures(copied), paper))


def test_rank_correlation_is_spearmans_within_positions(context: Context, measured: Path) -> None:
    frame = pd.read_csv(measured / INFLUENCE.name)
    expected = {
        arm: np.mean([stats.spearmanr(g["loss"], g["sent"])[0] for _, g in rows.groupby(["seed", "position"])])
        for arm, rows in frame.groupby("arm")
    }
    vanilla = ask(context, "influence_rank", arms=["vanilla"])
    assert vanilla.value == pytest.approx(expected["vanilla"], abs=1e-9)
    both = ask(context, "influence_rank", arms=["vanilla", "myopic"])
    assert both.value == pytest.approx(expected["vanilla"] - expected["myopic"], abs=1e-9)
    assert vanilla.value < -0.2
    pooled = stats.spearmanr(*frame.loc[frame["arm"] == "vanilla", ["loss", "sent"]].to_numpy().T)[0]
    assert abs(pooled) < abs(vanilla.value)  # positions differ in how much future they have


def test_probe_gain_against_sums(context: Context, measured: Path) -> None:
    frame = pd.read_csv(measured / PROBES.name)
    rows = frame[(frame["layer"] > 0) & frame["tau"].between(2, 8)]
    sums = rows.groupby(["arm", "seed"])[["ce", "ce_bigram", "n"]].sum()
    gain = ((sums["ce_bigram"] - sums["ce"]) / sums["n"]).groupby("arm").mean()
    assert ask(context, "probe_gain", arms=["vanilla"], taus=[2, 8]).value == pytest.approx(gain["vanilla"])
    both = ask(context, "probe_gain", arms=["vanilla", "myopic"], taus=[2, 8])
    assert both.value == pytest.approx(gain["vanilla"] - gain["myopic"])
    with pytest.raises(NotRun, match="6 to 8 ahead"):
        ask(context, "probe_gain", arms=["vanilla"], taus=[6, 8])


def test_probes_of_other_seeds_are_refused(copied: Path, paper) -> None:
    frame = pd.read_csv(copied / PROBES.name)
    write_csv(copied / PROBES.name, frame[(frame["arm"] != "myopic") | (frame["seed"] > 0)])
    with pytest.raises(MyopiaError, match="different tokens"):
        ask(Context(Measures(copied), paper), "probe_gain", arms=["vanilla", "myopic"], taus=[2, 8])


def test_tables(context: Context) -> None:
    gap = tables.token_gap(context)
    position = gap[(gap["by"] == "position") & (gap["metric"] == "gap")]
    assert position["bin"].tolist() == ["0", "1", "2-3", "4-7"] and position["share"].sum() == pytest.approx(1)
    assert position["value"].to_numpy() == pytest.approx([0.05, 0.1, 0.15, 0.2], abs=0.02)
    assert (position["band_low"] < position["ci_low"]).all() and (position["ci_high"] < position["band_high"]).all()
    assert gap.loc[gap["by"] == "copied-matched", "share"].isna().all()
    assert gap["ci_low"].notna().all()
    part = gap[(gap["by"] == "part") & (gap["metric"] == "gap")].set_index("bin")["documents"]
    assert part["short document"] == 5 and part["end"] == 15  # groups that few documents have rest on those
    probes = tables.future_probes(context).set_index(["arm", "metric", "layer", "tau"])["value"]
    difference = probes["vanilla", "gain", 2, 3] - probes["myopic", "gain", 2, 3]
    assert probes["difference", "gain", 2, 3] == pytest.approx(difference)
    assert probes["vanilla", "top1", 2, 1] - probes["bigram", "top1", -1, 1] == pytest.approx(
        probes["vanilla", "top1_gain", 2, 1]
    )
    assert probes["unigram", "gain", -1, 1] < 0


def test_extremes_are_ranked_by_their_mean_over_seeds(context: Context) -> None:
    top = tables.top_tokens(context)
    by = dict(iter(top.groupby("list")))
    assert {name: len(rows) for name, rows in by.items()} == {"kl": 20, "gap": 20, "myopic better": 20}
    assert by["gap"]["token"].iloc[0] == "tok29" and by["gap"]["gap"].iloc[0] == pytest.approx(3.8)
    assert by["myopic better"]["token"].iloc[0] == "tok0"
    assert by["kl"]["kl"].is_monotonic_decreasing and by["kl"]["rank"].tolist() == list(range(1, 21))
    assert (top["loss_myopic"] - top["loss_vanilla"]).to_numpy() == pytest.approx(top["gap"].to_numpy())
    assert (top["seeds"] == 5).all()


def test_the_map_is_the_mean_over_seeds_with_their_interval(context: Context) -> None:
    frame = tables.planning_map(context)
    assert len(frame) == 2 * 5 and frame["seeds"].eq(5).all()
    assert frame["position"].tolist() == [-1, 0, 1, 2, 3] * 2 and frame["token"].tolist()[3] == "null"
    assert frame.loc[frame["position"] < 0, ["gap", "ci_low", "loss_vanilla"]].isna().all().all()
    rest = frame[frame["position"] >= 0]
    assert rest["gap"].to_numpy() == pytest.approx([0, 0.1, 0.2, 0.3] * 2)
    assert (rest["loss_myopic"] - rest["loss_vanilla"]).to_numpy() == pytest.approx(rest["gap"].to_numpy())
    half = stats.t.ppf(0.975, 4) * np.std([-0.02, -0.01, 0, 0.01, 0.02], ddof=1) / np.sqrt(5)
    assert (rest["ci_high"] - rest["gap"]).to_numpy() == pytest.approx(half)
