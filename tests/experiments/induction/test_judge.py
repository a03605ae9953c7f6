"""Induction: estimators against direct computation, claims on measurements with known answers, the figure's table."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from myopia.common.files import write_csv
from myopia.experiments.induction import HEADS, LOSS
from myopia.experiments.induction.tables import PLACES, induction
from myopia.judge.measures import Measures, NotRun
from myopia.judge.registry import Context, run_estimator
from myopia.judge.verdicts import NO, NO_PAPER, UNDECIDED, YES

CONTROLS = ["control-induction-learned", "control-induction-head"]
ROWS = ["induction-gap", "induction-myopic-fails", "induction-previous-head", "induction-match-head",
        "induction-other-means", "induction-damage-head", "induction-damage"]  # fmt: skip


@pytest.fixture
def context(world: Path, paper) -> Context:
    return Context(Measures(world), paper)


def test_rows_where_the_head_needs_the_future(verdicts: pd.DataFrame) -> None:
    rows = verdicts.loc[[*CONTROLS, *ROWS]]
    assert (rows["verdict"] == NO_PAPER).all() and rows["answer"].eq(YES).all()
    assert rows.loc["induction-gap", "ours"] == pytest.approx(1.5, abs=0.05)
    assert rows.loc["induction-previous-head", "ours"] == pytest.approx(0.72, abs=0.05)
    assert rows.loc["induction-damage-head", "ours"] == pytest.approx(2, abs=0.05)
    assert rows.loc["induction-gap", ["seeds", "documents"]].tolist() == [3, 8]


@pytest.mark.parametrize("gap", [0.0, -0.5])
def test_rows_where_it_does_not(gap: float, verdicts_of, world_with) -> None:
    rows = verdicts_of(world_with(gap=gap), rows=ROWS).loc[ROWS]
    met = set(rows.index[rows["answer"].eq(YES)])
    chance = set() if gap else {"induction-gap"}  # of arms that do not differ one draw in forty lies beyond 0
    assert met <= {"induction-damage-head"} | chance
    assert rows.loc["induction-myopic-fails", "answer"] == NO


def test_vanilla_that_learns_nothing_leaves_all_open(copy: Path, verdicts_of) -> None:
    table = pd.read_csv(copy / LOSS.name)
    write_csv(copy / LOSS.name, table.assign(loss=3.0))
    rows = verdicts_of(copy, rows=ROWS).loc[ROWS]
    assert (rows["answer"] == UNDECIDED).all()
    assert rows["reason"].str.startswith("control failed: control-induction-learned").all()


def test_losses_against_sums(context: Context, world: Path) -> None:
    table = pd.read_csv(world / LOSS.name, dtype={"since": str})
    table = table[~table["since"].isin(["first", "0"])]
    total = (table["n"] * table["loss"]).groupby([table["arm"], table["seed"]]).sum()
    bag = (table["n"] * table["loss_bag"]).groupby([table["arm"], table["seed"]]).sum()
    n = table.groupby(["arm", "seed"])["n"].sum()
    gap = run_estimator("induction_gap", context, {"arms": ["myopic", "vanilla"]})
    assert gap.value == pytest.approx((total["myopic"] / n["myopic"] - total["vanilla"] / n["vanilla"]).mean())
    skill = run_estimator("induction_skill", context, {"arm": "vanilla"})
    assert skill.value == pytest.approx((1 - total["vanilla"] / bag["vanilla"]).mean())


def test_each_seeds_best_head_counts(context: Context, world: Path) -> None:
    table = pd.read_csv(world / HEADS.name)
    last = table[(table["step"] == 400) & (table["layer"] == 1)]
    best = last.groupby(["arm", "seed"])["previous"].max()
    asked = {"arms": ["vanilla", "myopic"], "score": "previous", "layers": "first"}
    assert run_estimator("induction_head", context, asked).value == pytest.approx(
        (best["vanilla"] - best["myopic"]).mean()
    )
    before = table[(table["step"] == 0) & (table["layer"] == 1) & (table["arm"] == "vanilla")]
    asked["arms"] = ["vanilla", "untrained"]
    untrained = before.groupby("seed")["previous"].max()
    assert run_estimator("induction_head", context, asked).value == pytest.approx((best["vanilla"] - untrained).mean())
    vanilla = last[last["arm"] == "vanilla"].set_index(["seed", "head"])["damage"]
    expected = np.mean([vanilla[seed, seed % 2] - vanilla[seed, 1 - seed % 2] for seed in range(3)])
    assert run_estimator("induction_damage", context, {"arms": ["vanilla", "others"]}).value == pytest.approx(expected)


def test_heads_that_were_not_kept_before_training_are_named(copy: Path, paper) -> None:
    table = pd.read_csv(copy / HEADS.name)
    write_csv(copy / HEADS.name, table[table["step"] > 0])
    asked = {"arms": ["vanilla", "untrained"], "score": "previous", "layers": "first"}
    with pytest.raises(NotRun, match="not kept at step 0"):
        run_estimator("induction_head", Context(Measures(copy), paper), asked)


def test_the_table(context: Context) -> None:
    rows = induction(context)
    assert set(rows["panel"]) == {"curve", "previous", "duplicate", "match", "since", "period", "damage"}
    since = rows[(rows["panel"] == "since") & (rows["arm"] == "myopic")].sort_values("x")
    assert since["label"].tolist() == PLACES
    assert since["value"].to_numpy() == pytest.approx([3.2, 3.2] + [1.6] * 4, abs=0.05)
    bag = rows[(rows["panel"] == "period") & (rows["arm"] == "bag")].set_index("x")["value"]
    assert bag.to_dict() == pytest.approx({5: np.log(4), 8: np.log(7), 12: np.log(11)})
    grown = rows[(rows["panel"] == "previous") & (rows["arm"] == "vanilla")].set_index("x")["value"]
    assert grown.index.tolist() == [0, 100, 400] and grown[0] < grown[100] < grown[400]
    damage = rows[(rows["panel"] == "damage") & (rows["arm"] == "vanilla")].set_index("label")["value"]
    assert damage["previous token"] == pytest.approx(2.05, abs=0.05)
    assert damage["prefix matching"] == pytest.approx(0.05, abs=0.05)
