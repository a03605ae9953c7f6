"""The size sweep on simulated measurements with known answers: rates chosen, gaps, slopes, what is left out, what is refused."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from experiments.size_sweep.simulate import BEST, GRID, SIZES, as_run_rate, family, penalty, true_gap
from myopia.common.errors import MyopiaError
from myopia.experiments.size_sweep import EXPERIMENT, GAP, LOSS, RUNS
from myopia.experiments.size_sweep import pairs as reading
from myopia.experiments.size_sweep.judge import slope_weights
from myopia.experiments.size_sweep.tables import audit_gap_by_lr, fig7_gap_by_size, gap_of_networks
from myopia.judge.measures import Measures, NotRun
from myopia.judge.registry import Context, run_estimator
from myopia.judge.verdicts import NO, NOT_JUDGED, UNDECIDED, YES
from own_claims import judging, write_tables

PYTHIA = {"14m": 1.19e6, "31m": 4.74e6, "70m": 1.89e7, "160m": 8.51e7, "410m": 3.02e8, "1b": 8.06e8, "1.4b": 1.21e9,
          "2.8b": 2.52e9}  # fmt: skip


@pytest.fixture(scope="module")
def verdicts_of(paper):
    return judging(EXPERIMENT, paper)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory):
    """A simulated sweep of these properties, written once and not to be touched."""
    made: dict[str, Path] = {}

    def of(properties: dict) -> Path:
        key = repr(properties)
        if key not in made:
            made[key] = write_tables(tmp_path_factory.mktemp("sweep"), family(np.random.default_rng(1), **properties))
        return made[key]

    return of


@pytest.fixture
def make(tmp_path: Path, written, paper):
    """make(noise=.., slope=..): a context on a simulated sweep of 5 seeds."""

    def build(seeds: int = 5, gap: float = 1.0, noise: float = 1.0, change=None, **more) -> Context:
        properties = {"seeds": seeds, "gap": gap, "noise": noise, **more}
        if change is None:
            shutil.copytree(written(properties), tmp_path, dirs_exist_ok=True)
        else:
            tables = family(np.random.default_rng(1), **properties)
            change(tables)
            write_tables(tmp_path, tables)
        return Context(Measures(tmp_path, (100, 101, 102)), paper)

    return build


def ask(context: Context, name: str, **args):
    return run_estimator(name, context, args)


# --- rates ---


def test_each_arms_best_rate_is_found_and_the_pairs_follow(make) -> None:
    context = make()
    for (_, arm), best in reading.best_rates(context, "checkpoint").items():
        assert (best.lr, best.edge, best.selected_on) == (BEST[arm], "", "tuning seeds")
    best, matched = (reading.pair(context, "d64", choice, "checkpoint") for choice in ("best", "matched"))
    assert best.lr == BEST and matched.lr == {"vanilla": BEST["vanilla"], "myopic": BEST["vanilla"]}
    as_run = reading.pair(context, "d64", "as_run", "checkpoint")
    assert as_run.runs == {"vanilla": "family-d64-vanilla-lr0.0008", "myopic": "family-d64-myopic-as-run"}


def test_tuning_seeds_choose_and_are_not_judged(make) -> None:
    def elsewhere(tables):  # on the judged seeds the highest rate looks best by far
        runs = tables[RUNS.name]
        there = (runs["seed"] < 100) & (runs["lr"] == GRID[-1])
        tables[RUNS.name] = runs.assign(validation_loss=runs["validation_loss"] - 5 * there)

    context = make(change=elsewhere)
    assert reading.pair(context, "d32", "best", "checkpoint").lr == BEST
    assert ask(context, "family_gap", choice="best").seeds == 5


def test_without_tuning_seeds_the_seeds_choose_and_the_table_says_so(make) -> None:
    context = make(seeds=1, tuning=(), noise=0.1)
    assert {best.selected_on for best in reading.best_rates(context, "checkpoint").values()} == {"same seeds"}
    table = fig7_gap_by_size(context)
    best = table[(table["panel"] == "gap") & (table["choice"] == "best")].set_index("start")
    assert set(best.loc["checkpoint", "selected_on"]) == {"same seeds"} and best["ci_low"].isna().all()
    assert set(best.loc["random", "selected_on"]) == {"config.yaml"}  # frozen there after tuning


def test_frozen_rates_are_taken_whatever_the_seeds_would_choose(make) -> None:
    """They were chosen before, on tuning seeds; an edge of the grid is one all the same."""
    frozen = {"vanilla": GRID[2], "myopic": GRID[-1]}
    for tuning in ((), (100, 101, 102)):
        context = make(frozen=frozen, tuning=tuning, noise=0.1)
        for (_, arm), best in reading.best_rates(context, "checkpoint").items():
            edge = {"vanilla": "", "myopic": "high"}[arm]
            assert (best.lr, best.edge, best.selected_on) == (frozen[arm], edge, "config.yaml")
        best, matched = (reading.pair(context, "d64", choice, "checkpoint") for choice in ("best", "matched"))
        assert best.lr == frozen and matched.lr == {"vanilla": GRID[2], "myopic": GRID[2]}
        assert ask(context, "family_edges").value == len(SIZES)
        extra = penalty(GRID[-1], "myopic") - penalty(GRID[2], "vanilla")
        gap = ask(context, "family_gap", choice="best", size="d64").value
        assert gap == pytest.approx(true_gap(SIZES["d64"]) + extra, abs=3e-3)


def test_a_best_rate_at_the_edge_is_counted_and_fails_its_control(make, tmp_path: Path, verdicts_of) -> None:
    assert ask(make(), "family_edges").value == 0

    def cut(tables):  # vanilla's best is now the lowest rate left
        runs = tables[RUNS.name]
        tables[RUNS.name] = runs[(runs["recipe"] != "matched") | (runs["lr"] >= BEST["vanilla"])]

    context = make(change=cut)
    assert ask(context, "family_edges").value == len(SIZES)
    assert reading.best_rates(context, "checkpoint")["d24", "vanilla"].edge == "low"
    found = verdicts_of(tmp_path, only=["fig7-slope"]).loc["fig7-slope"]
    assert found["answer"] == UNDECIDED and found["reason"].startswith("control failed: control-family-grid")


# --- gaps and slopes ---


def test_gaps_are_those_that_were_simulated(make) -> None:
    context = make(noise=0.1)
    for size, n_params in SIZES.items():
        wanted = true_gap(n_params)
        assert ask(context, "family_gap", choice="best", size=size).value == pytest.approx(wanted, abs=2e-3)
        at_equal = wanted + penalty(BEST["vanilla"], "myopic")
        assert ask(context, "family_gap", choice="matched", size=size).value == pytest.approx(at_equal, abs=2e-3)
    first = ask(context, "family_gap", choice="best", positions=[0])
    assert first.value == pytest.approx(-0.4 * true_gap(SIZES["d96"]), abs=3e-3)
    audit = ask(context, "family_contrast", choices=["as_run", "matched"])
    wanted = penalty(as_run_rate(4, 5), "myopic") - penalty(BEST["vanilla"], "myopic")
    assert audit.value == pytest.approx(wanted, abs=2e-3)
    assert audit.documents == 20 and audit.seeds == 5


@pytest.mark.parametrize(("start", "slope"), [("checkpoint", 0.1), ("checkpoint", 0.0), ("random", -0.07)])
def test_a_known_slope_is_found(make, start: str, slope: float) -> None:
    estimate = ask(make(slope=slope, noise=0.1), "family_slope", choice="best", start=start)
    low, high = estimate.interval()
    assert estimate.value == pytest.approx(slope, abs=2e-3) and high - low < 0.01
    assert (estimate.seeds, estimate.documents) == (5, 20)


def test_the_slope_at_equal_loss_is_that_of_the_curves_where_they_pass_it(make) -> None:
    decades = np.log10(np.array(list(SIZES.values())) / min(SIZES.values()))
    # Vanilla falls from 3 nats above its end as exp(-6 t), and ends .4 nats lower per decade.
    when = -np.log(np.exp(-6) + 0.4 * decades / 3) / 6
    gaps = np.array([true_gap(n) for n in SIZES.values()]) * np.minimum(1, 1.5 * when)
    expected = np.polyfit(decades, gaps, 1)[0]
    estimate = ask(make(noise=0.01), "family_slope", choice="best", start="random", at="loss")
    assert estimate.value == pytest.approx(expected, abs=5e-3) and expected < 0.09
    assert (estimate.seeds, estimate.documents) == (5, 0)


def test_the_slope_of_each_seed_is_least_squares() -> None:
    rng = np.random.default_rng(0)
    n_params, gaps = 10 ** rng.uniform(4, 6, 6), rng.normal(0, 1, (6, 3))
    direct = np.polyfit(np.log10(n_params), gaps, 1)[0]
    assert slope_weights(n_params) @ gaps == pytest.approx(direct)


def test_a_rising_size_is_hollow_and_out_of_the_slope(make) -> None:
    def bend(tables):  # at d64 the gap is off the line by far
        loss = tables[LOSS.name]
        off = loss["run"].str.match("family-d64-myopic")
        tables[LOSS.name] = loss.assign(loss=loss["loss"] + 0.5 * off)

    context = make(noise=0.1, rising=("d64",), change=bend)
    table = fig7_gap_by_size(context)
    gaps = table[(table["panel"] == "gap") & (table["choice"] == "best") & (table["start"] == "checkpoint")]
    assert dict(zip(gaps["size"], gaps["hollow"], strict=True)) == {size: int(size == "d64") for size in SIZES}
    assert ask(context, "family_slope", choice="best").value == pytest.approx(0.1, abs=5e-3)


def test_too_few_settled_sizes_or_too_short_a_span_give_no_slope(make, tmp_path: Path, verdicts_of) -> None:
    with pytest.raises(NotRun, match="settled at 3 of 5 sizes"):
        ask(make(rising=("d24", "d64")), "family_slope", choice="best")
    row = verdicts_of(tmp_path, only=["fig7-slope"]).loc["fig7-slope"]
    assert row["answer"] == NOT_JUDGED and "settled at 3 of 5 sizes" in row["reason"]
    near = {size: 1000 * (k + 1) for k, size in enumerate(SIZES)}
    with pytest.raises(NotRun, match="span a factor of 5"):
        ask(make(sizes=near), "family_slope", choice="best")


def test_gaps_at_equal_loss_are_interpolated() -> None:
    vanilla = np.array([[6.0, 5.0, 4.0, 3.0], [6.0, 4.0, 4.5, 3.0], [4.0, 3.9, 3.8, 3.7]])
    gap = np.array([[0.0, 0.1, 0.3, 0.4], [0.0, 0.2, 0.3, 0.4], [0.0, 0.1, 0.1, 0.1]])
    found = reading.gap_at_loss(vanilla, gap, 4.25)
    assert found[0] == pytest.approx(0.1 + 0.75 * 0.2)  # three quarters of the way from 5 to 4
    assert found[1] == pytest.approx(0.875 * 0.2)  # the first passage counts
    assert np.isnan(found[2])  # it starts below: fine-tuning a better network
    assert np.isnan(reading.gap_at_loss(vanilla[:1], gap[:1], 2.0)).all()  # never reached


def test_equal_loss_needs_curves_that_meet(make) -> None:
    with pytest.raises(NotRun, match="runs from random initialisation"):
        ask(make(), "family_slope", choice="best", start="checkpoint", at="loss")


# --- the paper's sizes ---


def pythia(make, gaps: dict[str, float], **more) -> Context:
    sizes = {f"pythia-{name}": n for name, n in PYTHIA.items()}
    # as_run adds a penalty; take it off, so that as_run gaps are the given ones.
    less = {size: penalty(as_run_rate(k, len(sizes)), "myopic") for k, size in enumerate(sizes)}
    return make(sizes=sizes, gaps={size: gaps[size.removeprefix("pythia-")] - less[size] for size in sizes}, **more)


def test_beside_the_papers_own_numbers(make, paper, tmp_path: Path, verdicts_of) -> None:
    reported = {name: paper.get(f"code-pythia-gap-{name}")[0] for name in PYTHIA}
    context = pythia(make, reported, noise=0.1)
    assert ask(context, "family_distance", choice="as_run").value == pytest.approx(0, abs=3e-3)
    assert ask(context, "family_order", choice="as_run").value > 0.95
    assert ask(context, "family_dip", choice="as_run", size="pythia-70m").value == pytest.approx(0.06, abs=3e-3)
    rise = ask(context, "family_contrast", choices=["as_run"], sizes=["pythia-2.8b", "pythia-70m"])
    assert rise.value == pytest.approx(0.19, abs=3e-3)
    found = verdicts_of(tmp_path, "paper")
    for claim in ("fig7-rise", "fig7-u-shape", "fig7-value", "fig7-order"):
        assert found.loc[claim, "answer"] == YES, claim
    table = fig7_gap_by_size(context)
    beside = table[(table["kind"] == "paper") & (table["panel"] == "gap") & (table["size"] == "pythia-70m")]
    assert beside["n_params"].eq(PYTHIA["70m"]).all() and set(beside["x"]) == {7e7}


def test_a_flat_curve_is_not_the_papers(make, tmp_path: Path, verdicts_of) -> None:
    pythia(make, dict.fromkeys(PYTHIA, 0.13), noise=0.1)
    found = verdicts_of(tmp_path, "paper")
    assert found.loc["fig7-rise", "answer"] in (NO, UNDECIDED)
    assert found.loc["fig7-u-shape", "answer"] in (NO, UNDECIDED)
    assert found.loc["fig7-value", "answer"] == NO


# --- sabotage, and bad tables ---


def test_swapped_arms_and_no_slope(make, tmp_path: Path, verdicts_of) -> None:
    def swap(tables):
        for name, frame in tables.items():
            tables[name] = frame.assign(arm=frame["arm"].replace({"vanilla": "myopic", "myopic": "vanilla"}))

    make()
    assert verdicts_of(tmp_path, only=["fig7-slope"]).loc["fig7-slope", "answer"] == YES
    make(change=swap)
    assert verdicts_of(tmp_path, only=["fig7-slope"]).loc["fig7-slope", "answer"] in (NO, UNDECIDED)
    make(slope=0.0)
    assert verdicts_of(tmp_path, only=["fig7-slope"]).loc["fig7-slope", "answer"] != YES
    make(slope=-0.03)
    assert verdicts_of(tmp_path, only=["fig7-slope"]).loc["fig7-slope", "answer"] == NO
    make(noise=200.0)
    assert verdicts_of(tmp_path, only=["fig7-slope"]).loc["fig7-slope", "answer"] in (UNDECIDED, NOT_JUDGED)


def test_other_tokens_in_one_run_are_refused(make) -> None:
    def drop(tables):
        loss = tables[LOSS.name]
        odd = (loss["run"] == "family-d32-myopic-lr0.0016") & (loss["doc"] == "doc03")
        tables[LOSS.name] = loss[~odd]

    with pytest.raises(MyopiaError, match="measured on other tokens"):
        ask(make(change=drop), "family_gap", choice="best", size="d32")


def test_what_was_not_trained_is_not_run(make) -> None:
    context = make()
    with pytest.raises(NotRun, match="paper_table5 from a checkpoint was not trained"):
        ask(context, "family_gap", choice="paper_table5")
    with pytest.raises(NotRun, match="pythia-70m was not trained"):
        ask(context, "family_dip", choice="best", size="pythia-70m")
    with pytest.raises(MyopiaError, match="choice luck"):
        ask(context, "family_gap", choice="luck")


def test_tables_hold_every_panel(make) -> None:
    context = make()
    fig7, audit = fig7_gap_by_size(context), audit_gap_by_lr(context)
    for name, table in (("fig7_gap_by_size", fig7), ("audit_gap_by_lr", audit)):
        assert tuple(table.columns) == EXPERIMENT.figure(name).columns
    panels = {"loss", "gap", "slope", "equal_loss", "curve", "position", "component"}
    assert set(fig7.loc[fig7["kind"] == "ours", "panel"]) == panels
    assert set(fig7.loc[fig7["kind"] == "paper", "panel"]) == {"loss", "gap"}
    slopes = fig7[(fig7["panel"] == "slope") & (fig7["choice"] == "best")]
    assert set(zip(slopes["start"], slopes["group"], strict=True)) == {
        ("checkpoint", "tokens"), ("random", "tokens"), ("random", "loss")
    }  # fmt: skip
    gaps = audit[(audit["panel"] == "gap") & (audit["start"] == "checkpoint")]
    assert sorted(set(gaps["lr"])) == list(GRID) and len(gaps) == len(GRID) * len(SIZES)
    moved = audit[audit["panel"] == "change"]
    assert len(moved) == 2 * len(SIZES) and moved["value"].gt(-0.1).all()
    best = audit[(audit["best"] == 1) & (audit["start"] == "checkpoint")]
    assert set(zip(best["arm"], best["lr"], strict=True)) == set(BEST.items())


# --- the gap of networks of one's own ---


def test_gaps_of_networks_are_those_of_the_figure(make) -> None:
    context = make()
    found, figure = gap_of_networks(context), fig7_gap_by_size(context)
    assert tuple(found.columns) == GAP.columns and set(found["choice"]) == {"best", "matched", "as_run"}
    ours = figure[(figure["panel"] == "gap") & (figure["kind"] == "ours")]
    keys = ["size", "start", "choice"]
    both = found.merge(ours, on=keys, suffixes=("", "_drawn"))
    assert len(both) == len(found) == len(ours)
    for column, drawn in (("gap", "value"), ("ci_low", "ci_low_drawn"), ("hollow", "hollow_drawn")):
        np.testing.assert_allclose(both[column], both[drawn])
    np.testing.assert_allclose(found["gap"], found["myopic"] - found["vanilla"], atol=1e-12)
    best = found[found["choice"] == "best"].iloc[0]
    assert (best["lr_vanilla"], best["lr_myopic"]) == (BEST["vanilla"], BEST["myopic"])
