"""Verdicts on simulated measurements with known answers, and the sabotage tests of protocol section 4 (e)."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from experiments.synthetic.simulate import losses, probes
from myopia.common.errors import MyopiaError
from myopia.common.files import write_csv
from myopia.config.experiment import experiment, known
from myopia.config.tables import TEXT_CURVE, TEXT_LOSS
from myopia.experiments.synthetic import LOSS, PROBE_R2
from myopia.judge.claims import Claim, ClaimSet
from myopia.judge.measures import Measures
from myopia.judge.stats import Estimate
from myopia.judge.verdicts import (
    COLUMNS,
    INCONCLUSIVE,
    MET,
    NO,
    NO_PAPER,
    NOT_JUDGED,
    NOT_REPLICATED,
    NOT_RUN,
    OTHER,
    PARTLY,
    REPLICATED,
    SAME,
    UNDECIDED,
    VERDICTS,
    VIOLATED,
    YES,
    judge,
    outcome,
)
from own_claims import all_claims, own_ids, sources

CLAIMS = [
    "table1-gap-p0.3",
    "table1-gap-p1",
    "fig2-layer1-lag0-p0.3",
    "fig2-layer2-window-p0.3",
    "fig2-myopic-share-p1",
    "table2-gap-docstrings",
    "table2-local-docstrings",
    "table2-share-docstrings",
    "fig4-rise-docstrings",
    "fig4-position0-docstrings",
    "fig7-slope",
    "fig9-gap",
    "fig10-interaction",
    "fig10-vanilla",
    "fig10-myopic",
]


def test_measurements_that_agree_with_the_paper(verdicts: pd.DataFrame, claims: ClaimSet) -> None:
    assert list(verdicts.reset_index().columns) == list(COLUMNS)
    assert set(verdicts["verdict"]) <= set(VERDICTS)
    assert (verdicts.loc[CLAIMS, "answer"] == YES).all()
    assert (verdicts.loc[CLAIMS, "verdict"] == SAME).all()  # small networks: nothing is replicated
    assert not verdicts["verdict"].isin([REPLICATED, NOT_REPLICATED]).any()
    assert verdicts.loc["fig2-p0.3", "verdict"] == SAME
    assert verdicts.loc["table1-gap-every-p", "answer"] == PARTLY  # two p were run, two were not
    assert tuple(verdicts.loc["control-aa-dp", ["verdict", "answer", "group"]]) == (NO_PAPER, YES, "control")
    assert tuple(verdicts.loc["theory-theorem8", ["verdict", "group"]]) == ("holds", "theorem")
    assert verdicts.loc["fig9-value", "verdict"] == NOT_RUN
    assert verdicts.loc["fig9-value", "reason"]
    gap = verdicts.loc["table1-gap-p1"]
    assert gap["ours"] == pytest.approx(0.52, abs=0.03)
    assert gap["ci_low"] < gap["ours"] < gap["ci_high"]
    assert (gap["seeds"], gap["documents"]) == (3, 16)
    assert gap["paper_value"] == pytest.approx((1.26 - 0.0074) / 1.26)
    assert gap["control"].count("passed") == 4
    assert (verdicts["claims_sha256"] == claims.sha256).all()


def test_an_experiment_judged_alone_gets_the_rows_of_all_judged_together(world: Path, verdicts, paper) -> None:
    left = set(verdicts.index)
    for one in (one for one in map(experiment, known()) if one.has_claims):
        claims, own = all_claims(sources(one)), own_ids(one)
        alone = judge(Measures(world, claims.tuning_seeds), claims, paper, "cpu", own).set_index("id")
        together = verdicts.loc[alone.index]
        assert set(alone.index) == own <= left
        pd.testing.assert_frame_equal(
            alone.drop(columns="claims_sha256"), together.drop(columns="claims_sha256"), obj=one.name
        )
        left -= own
    assert not left


def test_estimates_against_direct_computation(world: Path, verdicts: pd.DataFrame) -> None:
    table = pd.read_csv(world / TEXT_LOSS.name)
    table["total"] = table["n"] * table["loss"]
    late = table[table["position"].between(32, 62)].groupby(["arm", "seed"])[["total", "n"]].sum()
    early = table[table["position"].between(1, 8)].groupby(["arm", "seed"])[["total", "n"]].sum()
    late, early = late["total"] / late["n"], early["total"] / early["n"]
    expected = ((late["myopic"] - late["vanilla"]) - (early["myopic"] - early["vanilla"])).mean()
    assert verdicts.loc["fig4-rise-docstrings", "ours"] == pytest.approx(expected)
    probe = pd.read_csv(world / PROBE_R2.name)
    probe = probe[(probe["p"] == 0.3) & (probe["arm"] == "vanilla") & (probe["weights"] == "trained")]
    probe = probe[(probe["layer"] == 2) & (probe["feature"] == "sin")].groupby("lookback")["r2_noisy"].mean()
    expected = probe.loc[1:3].mean() - probe.loc[4:7].mean()
    assert verdicts.loc["fig2-layer2-window-p0.3", "ours"] == pytest.approx(expected)


def test_scales_decide_what_may_be_judged(world: Path, copy: Path, verdicts_of) -> None:
    rows = ["table1-gap-p1", "table1-value-myopic-p1", "table2-gap-docstrings"]
    smoke = verdicts_of(world, "smoke", rows)
    assert (smoke["verdict"] == NOT_RUN).all()
    assert smoke.loc["table1-gap-p1", "ours"] == pytest.approx(0.52, abs=0.03)  # shown all the same
    for name in (TEXT_LOSS.name, TEXT_CURVE.name):
        frame = pd.read_csv(copy / name)
        write_csv(copy / name, frame[frame["seed"] < 2])
    laptop = verdicts_of(copy, "laptop", rows)
    assert laptop.loc["table1-gap-p1", "verdict"] == SAME
    text = laptop.loc["table2-gap-docstrings"]
    assert text["verdict"] == NOT_RUN
    assert "needs 3 seeds, has 2" in text["reason"]
    assert not math.isnan(text["ci_low"])
    assert laptop.loc["table1-value-myopic-p1", "verdict"] == NOT_RUN


def test_values_are_judged_at_the_papers_sizes(world: Path, verdicts_of) -> None:
    paper = verdicts_of(world, "paper", ["table1-value-.*", "fig2-value-.*"])
    assert paper.loc["table1-value-myopic-p1", "verdict"] == NOT_REPLICATED  # 0.91 against 1.26
    assert paper.loc["table1-value-myopic-p1", "judged_by"] == "value"
    assert paper.loc["table1-value-vanilla-p1", "verdict"] == NOT_REPLICATED  # 0.44 against 0.0074
    assert paper.loc["fig2-value-lag0-p1", "verdict"] in (REPLICATED, INCONCLUSIVE)


def test_sabotage_beta1_in_place_of_myopic(copy: Path, verdicts_of) -> None:
    for path in copy.iterdir():
        table = pd.read_csv(path, keep_default_na=False)
        if "arm" not in table:  # what documents are made of
            continue
        # A network trained with beta = 1 is vanilla in everything: its measurements under myopic's name.
        fake = table[table["arm"] == "vanilla"].assign(arm="myopic")
        fake["run"] = fake["run"].str.replace("vanilla", "myopic") if "run" in fake else "myopic"
        if "run" not in table:
            fake = fake.drop(columns="run")
        write_csv(path, pd.concat([table[table["arm"] != "myopic"], fake]))
    found = verdicts_of(copy)
    precaching = found[
        found.index.str.match(
            "table1-|table2-(gap|docs)|fig4-|fig2-myopic-share|fig2-p|fig3|fig7-|fig9-|fig10-(inter|myopic)"
        )
        & found["group"].isin(["paper", "summary"])
    ]
    assert not precaching["answer"].eq(YES).any()
    assert found.loc["table1-gap-p1", "answer"] == UNDECIDED  # the arms do not differ at all: no variance either
    assert found.loc["fig2-myopic-share-p1", "answer"] in (NO, UNDECIDED)


def test_sabotage_swapped_labels_kill_every_replicated(copy: Path, verdicts_of) -> None:
    for path in copy.iterdir():
        table = pd.read_csv(path, keep_default_na=False)
        if "arm" not in table:
            continue
        swapped = table["arm"].replace({"vanilla": "myopic", "myopic": "vanilla"})
        write_csv(path, table.assign(arm=swapped))
    found = verdicts_of(copy)
    # Theorems are about convex problems, which have no arms; Fig 11 is about the parts of one network's gradient.
    armless = found["where"].str.contains("Fig 11") | (found.index.str.startswith("theory-"))
    papers = found["group"].isin(["paper", "summary"])
    assert not found.loc[papers & ~armless, "answer"].isin([YES, PARTLY]).any()
    assert set(found.index[papers & armless & found["answer"].eq(YES)]) <= {"fig11-norms", "fig11-cosine"}
    assert found.loc["table2-gap-docstrings", "answer"] in (NO, UNDECIDED)
    share = found.loc["table2-share-docstrings"]
    assert share["verdict"] == INCONCLUSIVE
    assert share["reason"].startswith("control failed: table2-gap-docstrings")


def small(claim: dict, table: pd.DataFrame, tmp_path: Path, paper) -> pd.Series:
    """One D_p claim on a hand-made table."""
    write_csv(tmp_path / LOSS.name, table)
    base = {
        "id": "one",
        "claim": "c",
        "where": "w",
        "family": "f",
        "scales": ("cpu",),
        "delta": 0.2,
        "estimand": {"name": "dp_gap", "args": {"p": 1, "arms": ["myopic", "vanilla"]}},
    }
    return judge(Measures(tmp_path), ClaimSet((Claim(**base | claim),), "0"), paper, "cpu").iloc[0]


@pytest.mark.parametrize(
    ("gap", "noise", "expected"),
    [
        (1.0, 1.0, SAME),
        (0.0, 1.0, OTHER),
        (-1.0, 1.0, OTHER),
        (0.5, 40.0, INCONCLUSIVE),
    ],
)
def test_sabotage_null_reversed_and_wide_tables(gap, noise, expected, tmp_path: Path, paper) -> None:
    table = losses(np.random.default_rng(5), 3, gap, noise, ps=(1.0,))
    assert small({}, table, tmp_path, paper)["verdict"] == expected


def test_a_failed_control_leaves_its_claims_open(copy: Path, verdicts_of) -> None:
    # An untrained network whose probe reads nearly everything: the trained one's R^2 proves nothing.
    rng = np.random.default_rng(0)
    write_csv(copy / PROBE_R2.name, probes(rng, 3, 1.0, 1.0, untrained=0.8))
    found = verdicts_of(copy)
    row = found.loc["fig2-layer1-lag0-p0.3"]
    assert row["verdict"] == INCONCLUSIVE
    assert row["reason"].startswith("control failed: control-probe-untrained-p0.3")
    assert found.loc["fig2-p0.3", "answer"] == PARTLY


def test_a_missing_control_is_not_a_passed_one(copy: Path, verdict_of) -> None:
    folder = copy
    table = pd.read_csv(folder / LOSS.name, keep_default_na=False)
    write_csv(folder / LOSS.name, table[table["arm"] != "beta1"])
    row = verdict_of(folder, "table1-gap-p1")
    assert row["verdict"] == INCONCLUSIVE
    assert row["reason"].startswith("control not run: control-aa-dp")


def test_an_undecided_control_is_not_a_passed_one(copy: Path, verdict_of) -> None:
    table = pd.read_csv(copy / LOSS.name, keep_default_na=False)
    aa = table["arm"] == "beta1"
    noise = table["seed"].map({0: -0.3, 1: 0.3, 2: 0.02}).fillna(0)
    write_csv(copy / LOSS.name, table.assign(loss=table["loss"].where(~aa, table["loss"] + noise)))
    row = verdict_of(copy, "table1-gap-p1")
    assert row["answer"] == UNDECIDED and row["reason"].startswith("control undecided: control-aa-dp")


def test_one_seed_copied_is_refused(copy: Path, verdict_of) -> None:
    """Copies would give an interval of no width, which decides everything."""
    table = pd.read_csv(copy / LOSS.name, keep_default_na=False)
    first = table[table["seed"] == 0]
    write_csv(copy / LOSS.name, pd.concat([first.assign(seed=seed) for seed in range(3)]))
    with pytest.raises(MyopiaError, match="seeds 0 and 1 of run"):
        verdict_of(copy, "table1-gap-p1")


def test_too_few_steps_are_not_judged(copy: Path, verdict_of) -> None:
    folder = copy
    curve = pd.read_csv(folder / TEXT_CURVE.name)
    write_csv(folder / TEXT_CURVE.name, curve[curve["step"] <= 400])
    row = verdict_of(folder, "tokens-copied-docstrings")
    assert row["verdict"] == NOT_RUN
    assert "trained 400" in row["reason"]


def test_a_gap_that_has_not_settled_is_not_judged(copy: Path, verdict_of) -> None:
    curve = pd.read_csv(copy / TEXT_CURVE.name)
    late = curve["arm"].eq("myopic") * curve["step"] * 4e-4
    write_csv(copy / TEXT_CURVE.name, curve.assign(validation_loss=curve["validation_loss"] + late))
    row = verdict_of(copy, "table2-gap-docstrings")
    assert row["answer"] == NOT_JUDGED and "text-settled-docstrings: violated" in row["reason"]


def test_nothing_measured_is_said_claim_by_claim(tmp_path: Path, verdicts_of) -> None:
    found = verdicts_of(tmp_path)
    assert (found["verdict"] == NOT_RUN).all()
    assert (found["reason"] != "").all()
    assert "synthetic_loss.csv" in found.loc["table1-gap-p1", "reason"]


def test_tuning_seeds_are_never_judged(copy: Path, verdicts: pd.DataFrame, verdict_of) -> None:
    folder = copy
    table = pd.read_csv(folder / LOSS.name, keep_default_na=False)
    before = verdicts.loc["table1-gap-p1", "ours"]
    write_csv(folder / LOSS.name, pd.concat([table, table[table["seed"] == 0].assign(seed=100, run="t")]))
    after = verdict_of(folder, "table1-gap-p1")
    assert (after["seeds"], after["ours"]) == (3, before)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda t: t.drop(columns="loss_trivial"), "lacks the column"),
        (lambda t: t.assign(loss="many"), "text where numbers belong"),
        (lambda t: pd.concat([t, t]), "twice"),
        (lambda t: pd.concat([t, t.assign(run="other")]), "several runs"),
        (lambda t: t.assign(loss=np.nan), "undefined loss"),
    ],
)
def test_malformed_measurements_are_one_sentence(change, sentence, tmp_path: Path, verdicts_of) -> None:
    table = losses(np.random.default_rng(5), 2, 1.0, 1.0, ps=(1.0,))
    write_csv(tmp_path / LOSS.name, change(table))
    with pytest.raises(MyopiaError, match=sentence):
        verdicts_of(tmp_path)


def ask(estimate: Estimate, paper: float = math.nan, **claim: object) -> str | None:
    base = {"id": "a", "claim": "c", "where": "w", "family": "f", "reason": "r"}
    return outcome(Claim(**base | claim), estimate, paper, 0.01)[0]


def test_outcomes_of_every_test() -> None:
    clear = Estimate(1.0, 0.05, 10.0, 0.1, 5, 50)
    assert ask(clear, delta=0.5) == MET
    assert ask(clear, delta=0.95) == UNDECIDED
    assert ask(clear, delta=2) == VIOLATED
    assert ask(clear, delta=2, side="below") == MET
    assert ask(clear, test="equivalence", delta=0.2) == VIOLATED
    assert ask(clear, test="equivalence", delta=1.5) == MET
    assert ask(clear, 1.1, test="value", tolerance=0.2) == MET
    assert ask(clear, 1.25, test="value", tolerance=0.2) == UNDECIDED  # the interval still touches
    assert ask(clear, 1.5, test="value", tolerance=0.2) == VIOLATED
    assert ask(clear, 1.9, test="value", tolerance=0.95) == UNDECIDED  # outside the prediction interval
    assert ask(clear, 1.1, test="value", factor=2.0) == MET
    assert ask(clear, 1.1, test="value", range=(0.5, 1.5), max_half_width=0.03) == UNDECIDED
    assert ask(Estimate(1.0, math.nan, math.nan, math.nan, 1, 5), delta=0.0) is None
    same = Estimate(0.0, 0.0, 2.0, 0.0, 3, 5)  # three seeds, one number
    assert ask(same, delta=-1) == UNDECIDED  # says nothing of its own certainty
    assert ask(same, delta=-1, kind="theorem") == MET
    assert ask(same, test="equivalence", delta=0.1) == MET
    each = Estimate(0.2, 0.1, 2.0, 0.1, 3, 5, (0.01, 0.02, 0.6))
    assert ask(each, test="every", side="below", delta=0.7) == MET
    assert ask(each, test="every", side="below", delta=0.1) == VIOLATED


def test_findings_of_our_own_are_corrected_for_their_number_but_controls_are_not(tmp_path: Path, paper) -> None:
    table = losses(np.random.default_rng(5), 3, 1.0, 1.0, ps=(1.0,))
    write_csv(tmp_path / LOSS.name, table)
    asked = {"name": "dp_gap", "args": {"p": 1, "arms": ["myopic", "vanilla"]}}
    edge = small({"delta": 0.0}, table, tmp_path, paper)
    delta = edge["ci_low"] - 0.02 * (edge["ours"] - edge["ci_low"])  # beyond it, but barely
    common = {"claim": "c", "family": "f", "scales": ("cpu",), "estimand": asked, "delta": delta, "own": True}
    one = [Claim(id=f"own{k}", where="not in the paper", **common) for k in range(4)]
    control = [Claim(id=f"control{k}", where="control", **common) for k in range(4)]

    def answers(claims):
        return set(judge(Measures(tmp_path), ClaimSet(tuple(claims), "0"), paper, "cpu")["answer"])

    assert answers(one[:1]) == answers(control) == {YES} and answers(one) == {UNDECIDED}
