"""Text judged: estimators against sums of the simulated losses, and the tables of its figures."""

import numpy as np
import pandas as pd
import pytest

from experiments.text.simulate import LEVEL, influence, levels, text
from myopia.common.files import write_csv
from myopia.config.tables import TEXT_CURVE, TEXT_LOSS
from myopia.experiments.text import EXPERIMENT, INFLUENCE, judge, tables
from myopia.judge.measures import Measures, NotRun
from myopia.judge.registry import Context, run_estimator
from myopia.judge.tables import make_table
from myopia.judge.verdicts import NO, NOT_JUDGED, YES
from own_claims import judging, write_tables

PAIR = {"corpus": "docstrings", "arms": ["myopic", "vanilla"]}


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """Three seeds, both arms of the pair, two of the controls."""
    folder = tmp_path_factory.mktemp("measure")
    rng = np.random.default_rng(0)
    made = text(rng, 3, 1.0, 0.5, arms=["vanilla", "myopic", "beta1", "bigram-zeroed"]) | influence(rng, 3)
    return write_tables(folder, made)


@pytest.fixture(scope="module")
def context(measured, paper):
    return Context(Measures(measured), paper)


@pytest.fixture(scope="module")
def mean(measured):
    """Loss of an arm at some positions: the mean over seeds of the mean over tokens."""
    frame = pd.read_csv(measured / TEXT_LOSS.name)

    def of(arm, low=0, high=62):
        rows = frame[(frame["arm"] == arm) & frame["position"].between(low, high)]
        return rows.groupby("seed")[["loss", "n"]].apply(lambda r: np.average(r["loss"], weights=r["n"])).mean()

    return of


def test_estimators_against_sums(context, mean):
    gap = mean("myopic") - mean("vanilla")
    found = run_estimator("text_gap", context, PAIR)
    assert found.value == pytest.approx(gap) and found.value == pytest.approx(0.128, abs=0.02)
    assert (found.seeds, found.documents) == (3, 24)
    by_group = run_estimator("text_gap", context, {**PAIR, "cluster": "group"})
    assert by_group.value == pytest.approx(gap) and by_group.documents == 4
    late, early = ((mean("myopic", *at) - mean("vanilla", *at)) for at in ((32, 62), (1, 8)))
    contrast = run_estimator("text_gap_contrast", context, {**PAIR, "late": [32, 62], "early": [1, 8]})
    assert contrast.value == pytest.approx(late - early)
    share = {"corpus": "docstrings", "gap": ["myopic", "vanilla"], "whole": ["bigram-zeroed", "vanilla"]}
    assert run_estimator("text_share", context, share).value == pytest.approx(
        gap / (mean("bigram-zeroed") - mean("vanilla")), abs=1e-3
    )
    level = run_estimator("text_level", context, {"corpus": "docstrings", "arm": "beta1"})
    assert level.value == pytest.approx(mean("beta1"))
    with pytest.raises(NotRun, match=r"no token positions 70\.\.80"):
        run_estimator("text_gap", context, {**PAIR, "positions": [70, 80]})
    with pytest.raises(NotRun, match="text msmarco, arm myopic, was not measured"):
        run_estimator("text_gap", context, {**PAIR, "corpus": "msmarco"})


def test_the_distance_from_the_papers_curve(context, mean):
    asked = {**PAIR, "first": 10, "last": 62}
    found = run_estimator("text_curve_distance", context, asked)
    paper = np.array([context.paper.get(f"fig4-gap-pos{p}")[0] for p in range(10, 63)])
    ours = np.array([mean("myopic", p, p) - mean("vanilla", p, p) for p in range(10, 63)])
    assert found.value == pytest.approx(np.abs(ours - paper).mean(), abs=0.005)
    assert found.documents == 4 and found.se > 0


def test_influence_of_the_past(context):
    assert run_estimator("influence_past_share", context, {"arm": "myopic"}).value == 0
    assert run_estimator("influence_past_share", context, {"arm": "vanilla"}).value > 0.5
    frame = make_table(context, EXPERIMENT, "influence")
    assert tuple(frame.columns) == INFLUENCE.columns and set(frame["seed"]) == {0}  # one pair is drawn
    with pytest.raises(NotRun, match="influence of arm beta1"):
        judge.influence_past_share(context, arm="beta1")


def test_tables_of_loss(context, mean):
    fig4 = make_table(context, EXPERIMENT, "fig4_position")
    ours = fig4[(fig4["kind"] == "ours") & (fig4["series"] == "gap")].set_index("position")
    assert (
        len(ours) == 63 and (ours["band_low"] <= ours["ci_low"]).all() and (ours["ci_high"] <= ours["band_high"]).all()
    )
    assert ours.loc[40, "value"] == pytest.approx(mean("myopic", 40, 40) - mean("vanilla", 40, 40))
    assert set(fig4.loc[fig4["kind"] == "paper", "series"]) == {"vanilla", "myopic", "gap"}
    table2 = make_table(context, EXPERIMENT, "table2_text_loss").set_index(["kind", "arm"])
    for arm in ("myopic", "beta1", "bigram-zeroed"):
        assert table2.loc[("ours", arm), "value"] == pytest.approx(mean(arm))
        assert table2.loc[("ours", arm), "gap"] == pytest.approx(mean(arm) - mean("vanilla"))
    assert table2.loc[("paper", "myopic"), "gap"] == pytest.approx(0.12)
    assert table2.loc[("ours", "beta1"), "gap"] == pytest.approx(levels(LEVEL, 1.0)["beta1"], abs=0.03)


def test_the_beta_sweep_has_a_figure_of_its_own(measured, tmp_path, paper):
    for path in measured.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    frame = pd.read_csv(tmp_path / TEXT_LOSS.name)
    half = frame[frame["arm"] == "beta1"].assign(arm="beta0.5", run="text-docstrings-beta0.5")
    write_csv(tmp_path / TEXT_LOSS.name, pd.concat([frame, half]))
    found = tables.table2_text_loss(Context(Measures(tmp_path), paper))
    assert "beta1" in set(found["arm"]) and "beta0.5" not in set(found["arm"])


def test_the_last_quarter_decides_whether_a_gap_has_settled(measured, tmp_path, paper):
    curve = pd.read_csv(measured / TEXT_CURVE.name)
    late = curve["arm"].eq("myopic") * curve["step"] * 0.001
    for extra, expected in ((0.0, 1), (late, 0)):
        write_csv(tmp_path / TEXT_CURVE.name, curve.assign(validation_loss=curve["validation_loss"] + extra))
        table = tables.text_gap_by_step(Context(Measures(tmp_path), paper))
        assert set(table["series"]) == {"vanilla", "myopic", "gap"}
        assert table.loc[table["series"] == "gap", "settled"].eq(expected).all()


def test_nothing_measured_is_a_header(tmp_path, paper):
    for figure in EXPERIMENT.figures:
        frame = make_table(Context(Measures(tmp_path), paper), EXPERIMENT, figure.name)
        assert frame.empty and tuple(frame.columns) == figure.columns


# --- verdicts ---

PAPERS = ["table2-gap", "table2-local", "table2-share", "table2", "fig4-rise", "fig4-position0", "fig4"]
OWN = ["control-aa-text", "kv-cut-text", "table2-local-kv"]


@pytest.fixture(scope="module")
def at(paper, tmp_path_factory):
    """Verdicts at cpu scale where arms differ as in the paper (gap = 1), not at all (0), or the other way round (-1)."""
    run = judging(EXPERIMENT, paper)

    def judged(gap):
        rng = np.random.default_rng(2)
        found = run(write_tables(tmp_path_factory.mktemp("judged"), text(rng, 5, gap, 1.0) | influence(rng, 3)))
        return found.loc[[f"{name}-docstrings" for name in (*PAPERS, *OWN)] + ["influence-myopic"]]

    return judged


def test_arms_that_differ_as_in_the_paper_replicate_it(at):
    rows = at(1.0)
    assert (rows["answer"].iloc[: len(PAPERS)] == YES).all()
    assert rows["answer"].iloc[len(PAPERS) :].eq(YES).all()


@pytest.mark.parametrize("gap", [0.0, -1.0])
def test_arms_that_do_not_differ_so_replicate_nothing(at, gap):
    rows = at(gap)
    met = set(rows.index[rows["answer"].eq(YES)])
    assert met == {"control-aa-text-docstrings", "influence-myopic"}  # they ask for no difference
    if gap < 0:  # a control that fails leaves what leans on it open
        assert rows.loc["fig4-position0-docstrings", "answer"] == NO
        assert rows.loc["table2-gap-docstrings", "reason"].startswith("control failed: control-position0-docstrings")
    else:  # a gap that is not there cannot be shown to have settled
        assert rows.loc["table2-gap-docstrings", "answer"] == NOT_JUDGED
