"""Figs 9 and 10 judged on simulated grids with known answers, controls included."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from experiments.multiplication.simulate import multiplication
from myopia.common.errors import MyopiaError
from myopia.experiments.multiplication import CELLS, EXPERIMENT
from myopia.experiments.multiplication.tables import fig9_multiplication, fig10_filler
from myopia.judge.measures import Measures
from myopia.judge.registry import Context, run_estimator
from myopia.judge.verdicts import NO, NO_PAPER, NOT_JUDGED, UNDECIDED, YES
from own_claims import judging, write_tables


@pytest.fixture(scope="module")
def verdicts_of(paper):
    return judging(EXPERIMENT, paper)


@functools.cache
def simulated(seeds: int, gap: float, **more) -> dict[str, pd.DataFrame]:
    """Made once for all tests that want the same; they write it, changed or not, to folders of their own."""
    return multiplication(np.random.default_rng(3), seeds, gap, 1.0, **more)


def made(folder: Path, change=lambda table: table, *, seeds: int = 5, gap: float = 1.0, **more) -> Path:
    tables = {name: frame.copy() for name, frame in simulated(seeds, gap, **more).items()}
    return write_tables(folder, tables | {CELLS.name: change(tables[CELLS.name])})


def level(table: pd.DataFrame, role: str, arm: str, cell=(3, 3)) -> float:
    rows = table[(table["role"] == role) & (table["arm"] == arm)]
    rows = rows[(rows["x_digits"] == cell[0]) & (rows["y_digits"] == cell[1])]
    return rows["correct"].sum() / rows["n"].sum()


def test_estimates_against_direct_computation(tmp_path: Path, verdicts_of) -> None:
    table = pd.read_csv(made(tmp_path) / CELLS.name)
    found = verdicts_of(tmp_path)
    cells = [(a, b) for a in (1, 2, 3) for b in (1, 2, 3) if 0.05 <= level(table, "grid", "vanilla", (a, b)) <= 0.95]
    assert (3, 3) in cells and (1, 1) not in cells
    wanted = sum(level(table, "grid", "vanilla", c) - level(table, "grid", "myopic", c) for c in cells)
    assert found.loc["fig9-gap", "ours"] == pytest.approx(wanted)
    mean = {
        (role, arm): np.mean([level(table, role, arm, c) for c in cells])
        for role in ("short", "long", "lead")
        for arm in ("vanilla", "myopic")
    }
    effect = {arm: mean["long", arm] - mean["short", arm] for arm in ("vanilla", "myopic")}
    assert found.loc["fig10-vanilla", "ours"] == pytest.approx(effect["vanilla"])
    assert found.loc["fig10-myopic", "ours"] == pytest.approx(effect["myopic"])
    assert found.loc["fig10-interaction", "ours"] == pytest.approx(effect["vanilla"] - effect["myopic"])
    assert found.loc["control-fig10-distance-vanilla", "ours"] == pytest.approx(
        mean["long", "vanilla"] - mean["lead", "vanilla"]
    )
    assert found.loc["fig9-gap", "paper_value"] == pytest.approx(1.56)
    assert found.loc["fig10-interaction", "paper_value"] == pytest.approx(0.93)
    assert (found.loc["fig9-gap", "seeds"], found.loc["fig9-gap", "documents"]) == (5, 8)


def test_intervals_are_the_seeds(tmp_path: Path) -> None:
    """Five times as many problems barely narrow an interval that comes from seeds."""
    table = pd.read_csv(made(tmp_path) / CELLS.name)
    long = table[(table["role"] == "long") & (table["arm"] == "vanilla") & (table["x_digits"] == 3)]
    per_seed = long[long["y_digits"] == 3].groupby("seed")[["correct", "n"]].sum()
    spread = (per_seed["correct"] / per_seed["n"]).std() / np.sqrt(5)
    estimate = run_estimator(
        "multiplication_exact", Context(Measures(tmp_path), None), {"role": "long", "arm": "vanilla", "cell": [3, 3]}
    )
    assert estimate.se >= spread and estimate.seed_sd == pytest.approx(spread * np.sqrt(5))


def test_too_few_seeds_and_other_scales_are_not_judged(tmp_path: Path, verdicts_of) -> None:
    made(tmp_path, seeds=2)
    assert verdicts_of(tmp_path).loc["fig9-gap", "answer"] == NOT_JUDGED
    assert "needs 3 seeds" in verdicts_of(tmp_path).loc["fig10-interaction", "reason"]
    laptop = verdicts_of(made(tmp_path / "five"), "smoke")
    assert (
        laptop.loc[["fig9-gap", "fig10-interaction", "fig10-vanilla", "fig10-myopic"], "answer"] == NOT_JUDGED
    ).all()


@pytest.mark.parametrize("gap", [0.0, -1.0])
def test_no_effect_and_a_reversed_one_replicate_nothing(gap: float, tmp_path: Path, verdicts_of) -> None:
    found = verdicts_of(made(tmp_path, gap=gap))
    assert found.loc["fig10-interaction", "answer"] in (NO, UNDECIDED)
    assert found.loc["fig10-myopic", "answer"] == NO
    assert found.loc["fig9-gap", "answer"] in (NO, UNDECIDED)


def copy_role(table: pd.DataFrame, source: str, target: str, arm: str) -> pd.DataFrame:
    """Measurements in which one format gives exactly what another gives."""
    rows = table[(table["role"] == source) & (table["arm"] == arm)].assign(role=target)
    return pd.concat([table[~((table["role"] == target) & (table["arm"] == arm))], rows])


def test_an_effect_of_distance_alone_leaves_the_claims_open(tmp_path: Path, verdicts_of) -> None:
    """If symbols that see nothing did what padding does, padding would be no proof of computing on filler."""
    found = verdicts_of(made(tmp_path, lambda table: copy_role(table, "long", "lead", "vanilla")))
    row = found.loc["fig10-interaction"]
    assert row["answer"] == UNDECIDED and row["reason"].startswith("control failed: control-fig10-distance")
    better = lambda table: copy_role(copy_role(table, "short", "x", "vanilla"), "long", "lead", "vanilla").assign(  # noqa: E731
        correct=lambda t: np.where(t["role"] == "lead", t["n"], t["correct"])
    )
    row = verdicts_of(made(tmp_path / "better", better)).loc["fig10-vanilla"]
    assert row["reason"].startswith("control failed: control-fig10-distance-vanilla")


def test_a_myopic_arm_that_learned_nothing_leaves_the_claims_open(tmp_path: Path, verdicts_of) -> None:
    nothing = lambda table: table.assign(correct=table["correct"].where(table["arm"] != "myopic", 0))  # noqa: E731
    found = verdicts_of(made(tmp_path, nothing))
    for name in ("fig9-gap", "fig10-interaction", "fig10-myopic"):
        assert found.loc[name, "reason"].startswith("control failed: control-multiplication-myopic")


def test_a_missing_control_is_not_a_passed_one(tmp_path: Path, verdicts_of) -> None:
    found = verdicts_of(made(tmp_path, lambda table: table[table["role"] != "lead"]))
    assert found.loc["fig10-vanilla", "reason"].startswith("control not run: control-fig10-distance-vanilla")
    assert found.loc["fig10-content-free-vanilla", "verdict"] == NO_PAPER


def test_a_grid_without_cells_off_ceiling_says_so(tmp_path: Path, verdicts_of) -> None:
    found = verdicts_of(made(tmp_path, lambda table: table.assign(correct=table["n"])))
    assert found.loc["fig9-gap", "answer"] == NOT_JUDGED
    assert "no cell has a vanilla exact match within 0.05-0.95" in found.loc["fig9-gap", "reason"]


def test_different_problems_are_refused(tmp_path: Path, verdicts_of) -> None:
    made(tmp_path, lambda table: table[~((table["role"] == "long") & (table["block"] > 5))])
    with pytest.raises(MyopiaError, match="asked different problems"):
        verdicts_of(tmp_path)


def paper_grid(table: pd.DataFrame, paper, shift: float = 0.0) -> pd.DataFrame:
    """The grid with exactly the paper's cells, `shift` added to both arms."""
    printed = [paper.get(f"fig9-{r.arm}-{r.x_digits}x{r.y_digits}")[0] for r in table.itertuples()]
    exact = np.round((np.array(printed) + shift).clip(0, 1) * 10_000).astype(int)
    return table.assign(n=10_000, correct=(exact + table["seed"] - 1).clip(0, 10_000))


def test_cells_are_judged_by_value_at_the_papers_size(tmp_path: Path, verdicts_of, paper) -> None:
    for shift, wanted in ((0.0, YES), (0.04, YES), (0.3, NO)):
        folder = tmp_path / f"{shift}"
        made(
            folder,
            lambda table, by=shift: paper_grid(table, paper, by),
            digits=8,
            pads=(8, 16),
            roles=("short",),
            seeds=3,
        )
        found = verdicts_of(folder, "paper")  # three seeds are enough for a value
        assert found.loc["fig9-value", "answer"] == wanted, shift
        assert found.loc["fig9-value", "ours"] == pytest.approx(shift, abs=0.03 if shift else 2e-4)
    table = fig9_multiplication(Context(Measures(tmp_path / "0.0"), paper))
    ours, printed = (table[table["kind"] == kind] for kind in ("ours", "paper"))
    keys = ["series", "x_digits", "y_digits"]
    both = ours.merge(printed, on=keys, suffixes=("", "_paper"))
    assert len(both) == len(ours) == len(printed) == 3 * 64
    assert np.allclose(both["value"], both["value_paper"], atol=2e-4)
    judged = ours[(ours["judged"] == 1) & (ours["series"] == "vanilla")]
    assert {(r.x_digits, r.y_digits) for r in judged.itertuples()} == {
        (5, 6), (5, 7), (5, 8), (6, 5), (6, 6), (7, 5), (8, 4), (8, 5)
    }  # fmt: skip


def test_the_papers_padding_stands_beside_ours_at_its_size(tmp_path: Path, paper) -> None:
    table = fig10_filler(Context(Measures(made(tmp_path, digits=5, pads=(5, 10), roles=("short", "long"))), paper))
    printed = table[table["kind"] == "paper"].set_index(["role", "arm", "x_digits", "y_digits"])["value"]
    assert printed["long", "vanilla", 5, 5] == 0.99 and printed["short", "myopic", 5, 5] == 0.39
    assert len(printed.dropna()) == 104 + 2  # cells, and of the one off ceiling the means and changes
    rows = table[(table["kind"] == "paper") & (table["measure"] == "effect")].set_index("arm")["value"]
    assert rows.to_dict() == pytest.approx({"vanilla": 0.59, "myopic": -0.34})
    small = fig10_filler(Context(Measures(made(tmp_path / "small")), paper))
    assert set(small["kind"]) == {"ours"}
    effect = small[(small["measure"] == "effect") & (small["arm"] == "vanilla")].set_index("role")["value"]
    assert set(effect.index) == {"long", "after", "lead"}
