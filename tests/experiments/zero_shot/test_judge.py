"""Fig 5 judged: exact McNemar for one pair, seeds for several, and nothing where vanilla is at chance."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from statsmodels.stats.contingency_tables import mcnemar

from experiments.text.simulate import text
from experiments.zero_shot.simulate import SIZES, cell, zero_shot
from myopia.common.errors import MyopiaError
from myopia.common.files import write_csv
from myopia.config.runs import PAIR
from myopia.experiments.text import EXPERIMENT as TEXT
from myopia.experiments.zero_shot import EXPERIMENT, SCORES
from myopia.experiments.zero_shot.judge import PAPER_TASKS, paper_cells
from myopia.experiments.zero_shot.paired import pair
from myopia.experiments.zero_shot.tables import fig5_zero_shot
from myopia.judge.measures import Measures
from myopia.judge.registry import Context, run_estimator
from myopia.judge.stats import Estimate
from myopia.judge.verdicts import NO, NO_PAPER, NOT_JUDGED, PARTLY, UNDECIDED, YES
from own_claims import judging, write_tables

CHANCE = {"lambada_openai": 0.01, "piqa": 0.5, "sciq": 0.25, "arc_easy": 0.25}
ITEMS = {"lambada_openai": 900, "piqa": 800, "sciq": 700, "arc_easy": 850}


def fig5(paper, shift: float = 0.0, arms=PAIR, draw: int = 0) -> pd.DataFrame:
    """Exactly the paper's accuracies (`shift` added to all) in all cells, one pair of each size."""
    rng = np.random.default_rng(draw)
    found = []
    for row in paper_cells(Context(None, paper)).itertuples():
        rows = cell(rng, row.task, row.model, SIZES[row.model], 1, dict.fromkeys(PAIR, 0.0),
                    CHANCE[row.task], ITEMS[row.task], ITEMS[row.task])  # fmt: skip
        for arm, source in zip(PAIR, arms, strict=True):
            right = round((getattr(row, source) + shift) * ITEMS[row.task])
            rows.loc[rows["arm"] == arm, "correct"] = (np.arange(ITEMS[row.task]) < right).astype(int)
        found.append(rows)
    return pd.concat(found)


@pytest.fixture(scope="module")
def verdicts_of(paper):
    """The cloze leans on a claim of the text experiment."""
    run = judging(EXPERIMENT, paper, TEXT)
    return lambda folder, scale="cpu", only=None: run(folder, scale, only)


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five seeds of the cloze, three sizes of the paper's tasks, and the losses that the cloze's control reads."""
    rng = np.random.default_rng(0)
    return write_tables(tmp_path_factory.mktemp("measure"), text(rng, 5, 1.0, 1.0, arms=PAIR) | zero_shot(rng, 5, 1.0))


@pytest.fixture
def copied(measured: Path, tmp_path: Path) -> Path:
    """The same, free to be broken."""
    return Path(shutil.copytree(measured, tmp_path / "copy"))


def judged(table: pd.DataFrame, folder: Path, verdicts_of, scale: str = "paper") -> pd.DataFrame:
    return verdicts_of(write_tables(folder, {SCORES.name: table}), scale)


def estimate(table: pd.DataFrame, folder: Path, paper, name: str, **args) -> Estimate:
    write_csv(folder / SCORES.name, table)
    return run_estimator(name, Context(Measures(folder), paper), args)


# --- one pair ---


def check_pair(better, worse, items):
    found = pair(better, worse, items)
    agree = items - better - worse
    assert found.p_value(0) == pytest.approx(mcnemar([[agree, better], [worse, 0]], exact=True).pvalue)
    assert found.value == pytest.approx((better - worse) / items)
    low, high = found.interval()
    assert low <= found.value <= high and low >= -1 and high <= 1
    # The interval holds what the test does not reject.
    assert (low > 0 or high < 0) == (found.p_value(0) < 0.05)
    for edge in (low, high):
        if abs(edge) < (better + worse) / items - 1e-9:
            assert found.p_value(edge) == pytest.approx(0.05, abs=1e-6)


def test_one_pair_is_mcnemars_exact_test():
    for counts in ((9, 2, 50), (30, 31, 900), (0, 8, 20), (1, 0, 5), (200, 150, 5000)):
        check_pair(*counts)


def test_the_interval_of_a_pair_covers():
    rng = np.random.default_rng(1)
    items, only_first, only_second = 400, 0.10, 0.06
    hits = 0
    for _ in range(2000):
        better, worse, _ = rng.multinomial(items, [only_first, only_second, 1 - only_first - only_second])
        low, high = pair(int(better), int(worse), items).interval()
        hits += low <= only_first - only_second <= high
    assert 0.94 <= hits / 2000 <= 0.995


def test_two_models_that_never_differ_decide_nothing():
    same = pair(0, 0, 100)
    assert (same.value, same.p_value(0), same.interval()) == (0.0, 1.0, (0.0, 0.0))


# --- estimates ---


def test_estimates_against_direct_computation(measured: Path, verdicts_of):
    table = pd.read_csv(measured / SCORES.name)
    found = verdicts_of(measured)
    for name, task in PAPER_TASKS.items():
        part = table[table["task"] == task].groupby(["model", "arm"])["correct"].mean().unstack()
        assert found.loc[f"fig5-{name}", "ours"] == pytest.approx((part["vanilla"] - part["myopic"]).mean())
        over = part["vanilla"].mean() - table.loc[table["task"] == task, "chance"].iloc[0]
        assert found.loc[f"control-above-chance-{name}", "ours"] == pytest.approx(over)
    cloze = table[table["task"] == "cloze-docstrings"].groupby(["seed", "arm"])["correct"].mean().unstack()
    row = found.loc["zero-shot-cloze-docstrings"]
    assert row["ours"] == pytest.approx((cloze["vanilla"] - cloze["myopic"]).mean())
    assert (row["seeds"], row["documents"]) == (5, 120)
    assert row["verdict"] == NO_PAPER and row["answer"] == YES
    assert found.loc["zero-shot-cloze-msmarco", "answer"] == NOT_JUDGED


def test_passages_of_a_document_are_one_unit(tmp_path: Path, paper):
    """The same items, each copied four times: a larger sample only to who forgets that copies are not independent."""
    rng = np.random.default_rng(3)
    one = cell(rng, "cloze-docstrings", "docstrings", 2e5, 3, {"vanilla": 0.5, "myopic": 0.4}, 0.25, 200, 200)
    four = pd.concat([one.assign(item=one["item"] + 200 * k) for k in range(4)])
    args = {"corpus": "docstrings", "arms": ["vanilla", "myopic"]}
    first, second = (estimate(table, tmp_path, paper, "cloze_gap", **args) for table in (one, four))
    assert (first.value, first.se, first.documents) == pytest.approx((second.value, second.se, second.documents))


def test_several_sizes_with_one_seed_have_an_interval_over_items(measured: Path, tmp_path: Path, paper):
    table = pd.read_csv(measured / SCORES.name)
    found = estimate(table, tmp_path, paper, "zero_shot_gap", task="SciQ", arms=["vanilla", "myopic"])
    part = table[table["task"] == "sciq"].pivot_table(index="item", columns=["arm", "model"], values="correct")
    difference = (part["vanilla"] - part["myopic"]).mean(axis=1)
    assert found.value == pytest.approx(difference.mean())
    assert found.se == pytest.approx(difference.std() / np.sqrt(len(difference)), rel=0.1)
    assert (found.seeds, found.documents, found.df) == (1, 240, 239)


def test_a_size_that_is_asked_for_and_missing_is_not_run(measured: Path, verdicts_of):
    row = verdicts_of(measured, "paper").loc["fig5-value-cells"]
    assert row["answer"] == NOT_JUDGED and "zero-shot arc_easy of 1.4b was not measured" in row["reason"]


# --- verdicts ---


@pytest.fixture(scope="module")
def as_paper(tmp_path_factory: pytest.TempPathFactory, paper) -> Path:
    """Measurements that are the paper's own accuracies."""
    return write_tables(tmp_path_factory.mktemp("paper"), {SCORES.name: fig5(paper)})


def test_the_papers_own_accuracies_replicate_fig5(as_paper: Path, verdicts_of):
    found = verdicts_of(as_paper, "paper")
    assert (found.loc[["fig5-LAMBADA", "fig5-PIQA", "fig5-SciQ", "fig5-ARC-Easy"], "answer"] == YES).all()
    assert found.loc["fig5-LAMBADA", "ours"] == pytest.approx(found.loc["fig5-LAMBADA", "paper_value"], abs=0.001)
    assert (found.loc[["fig5-value", "fig5-value-signs", "fig5-value-cells"], "answer"] == YES).all()
    assert (found.loc[[f"fig5-{task}" for task in PAPER_TASKS], "seeds"] == 1).all()


def test_only_the_scales_named_may_judge(as_paper: Path, verdicts_of):
    rows = [f"fig5-{task}" for task in PAPER_TASKS]
    found = verdicts_of(as_paper, "laptop", rows)
    assert (found.loc[rows, "answer"] == NOT_JUDGED).all()
    assert found.loc["fig5-LAMBADA", "reason"] == "judged at gpu, paper only; the estimate is shown"


def test_swapped_and_equal_arms_are_not_replicated(tmp_path: Path, verdicts_of, paper):
    write_tables(tmp_path, {SCORES.name: fig5(paper, arms=("myopic", "vanilla"))})
    rows = [*(f"fig5-{task}" for task in PAPER_TASKS), "fig5-value-signs"]
    assert (verdicts_of(tmp_path, "paper", rows).loc[rows, "answer"] == NO).all()
    equal = judged(fig5(paper, arms=("vanilla", "vanilla")), tmp_path, verdicts_of)
    assert (equal.loc[[f"fig5-{task}" for task in PAPER_TASKS], "answer"] == UNDECIDED).all()
    papers = equal["group"].isin(["paper", "summary"])
    assert not equal.loc[papers, "answer"].isin([YES, PARTLY]).any()


def test_accuracies_far_from_the_papers_are_not_its_cells(tmp_path: Path, verdicts_of, paper):
    found = judged(fig5(paper, shift=0.1), tmp_path, verdicts_of)
    assert found.loc["fig5-value-cells", "ours"] == pytest.approx(0.1, abs=0.002)
    assert found.loc["fig5-value-cells", "answer"] == NO
    assert (found.loc["fig5-value-signs", "answer"], found.loc["fig5-value", "answer"]) == (YES, PARTLY)


@pytest.mark.parametrize(("level", "state"), [(0.25, "undecided"), (0.17, "violated")])
def test_a_task_is_judged_only_where_vanilla_is_above_chance(level, state, tmp_path: Path, verdicts_of):
    """The arms differ beyond doubt, but vanilla guesses: its lead over myopic says nothing about foresight."""
    rng = np.random.default_rng(2)
    rows = [
        cell(rng, "sciq", "70m", 7e7, 5, {"vanilla": level, "myopic": level - 0.12}, 0.25, 1000, 1000),
        cell(rng, "arc_easy", "70m", 7e7, 5, {"vanilla": 0.5, "myopic": 0.38}, 0.25, 1000, 1000),
    ]
    found = judged(pd.concat(rows), tmp_path, verdicts_of)
    blocked, control = found.loc["fig5-SciQ"], found.loc["control-above-chance-SciQ"]
    assert blocked["ci_low"] > 0.08  # as clear a gap as any
    assert blocked["answer"] == NOT_JUDGED
    told = (
        f"judged only where vanilla is above chance on SciQ (control-above-chance-SciQ: {state}); the estimate is shown"
    )
    assert blocked["reason"] == told
    assert control["verdict"] == NO_PAPER and control["ci_low"] < 0
    assert np.isnan(blocked["p_holm"])  # a row that is not judged takes no part in Holm's correction
    assert found.loc["fig5-ARC-Easy", "answer"] == YES


def test_a_cloze_at_chance_is_not_judged(copied: Path, verdicts_of):
    table = pd.read_csv(copied / SCORES.name)
    cloze = table["task"] == "cloze-docstrings"
    # 1 of 4 right and the interval around it; the criterion asks for .05 more.
    table.loc[cloze & (table["arm"] == "vanilla"), "correct"] = (table["item"] % 4 == 0).astype(int)
    table.loc[cloze & (table["arm"] == "myopic"), "correct"] = 0
    write_csv(copied / SCORES.name, table)
    row = verdicts_of(copied).loc["zero-shot-cloze-docstrings"]
    assert row["ours"] == 0.25 and row["answer"] == NOT_JUDGED and "violated" in row["reason"]


def test_malformed_measurements_are_one_sentence(tmp_path: Path, verdicts_of):
    rng = np.random.default_rng(0)
    table = cell(rng, "piqa", "70m", 7e7, 2, {"vanilla": 0.6, "myopic": 0.5}, 0.5, 40, 40)
    for told, broken in {
        "saw different items": table[(table["arm"] == "vanilla") | (table["item"] != 3)],
        "appears twice": pd.concat([table, table]),
        "several runs": pd.concat([table, table.assign(run="other")]),
        "lacks the column": table.drop(columns="cluster"),
    }.items():
        with pytest.raises(MyopiaError, match=told):
            judged(broken, tmp_path, verdicts_of)


# --- the table ---


def test_the_table_has_ours_the_papers_and_the_released_models(measured: Path, paper):
    table = fig5_zero_shot(Context(Measures(measured), paper))
    assert table.groupby("kind").size().to_dict() == {"ours": 26, "paper": 64 + 64, "published": 24}
    ours = table[table["kind"] == "ours"]
    raw = pd.read_csv(measured / SCORES.name)
    one = raw[(raw["task"] == "piqa") & (raw["model"] == "410m")].pivot(index="item", columns="arm", values="correct")
    row = ours[(ours["task"] == "piqa") & (ours["model"] == "410m")].set_index("arm")
    share = one["vanilla"].mean()
    assert row.loc["vanilla", "value"] == pytest.approx(share)
    assert row.loc["vanilla", "se"] == pytest.approx(np.sqrt(share * (1 - share) / len(one)), rel=0.1)
    discordant = pd.crosstab(one["vanilla"], one["myopic"]).to_numpy()
    assert row.loc["myopic", "p"] == pytest.approx(mcnemar(discordant, exact=True).pvalue)
    assert row.loc["myopic", "gap"] == pytest.approx(one["vanilla"].mean() - one["myopic"].mean())
    assert (row.loc["myopic", "test"], row.loc["myopic", "split"], row.loc["myopic", "items"]) == (
        "mcnemar",
        "validation",
        240,
    )
    cloze = ours[(ours["task"] == "cloze-docstrings") & (ours["arm"] == "myopic")].iloc[0]
    assert (cloze["test"], cloze["seeds"], cloze["documents"], cloze["items"]) == ("seeds", 5, 120, 240)
    reference = table[(table["kind"] == "published") & (table["task"] == "sciq") & (table["model"] == "70m")]
    assert reference["value"].item() == 0.601 and reference["parameters"].item() == 7e7


def test_vanilla_at_chance_is_marked(tmp_path: Path, paper):
    rng = np.random.default_rng(0)
    tables = [cell(rng, "sciq", size, SIZES[size], 3, {"vanilla": level, "myopic": 0.2}, 0.25, 400, 400)
              for size, level in (("70m", 0.26), ("410m", 0.5))]  # fmt: skip
    write_csv(tmp_path / SCORES.name, pd.concat(tables))
    table = fig5_zero_shot(Context(Measures(tmp_path), paper))
    ours = table[(table["kind"] == "ours") & (table["arm"] == "vanilla")].set_index("model")
    assert ours["above_chance"].to_dict() == {"70m": 0, "410m": 1}
