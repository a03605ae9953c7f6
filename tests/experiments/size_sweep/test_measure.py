"""Measures of the model family: pooled losses add up, roles are told apart, tuning seeds stay apart."""

import json
from pathlib import Path

import evaluate_family
import numpy as np
import pandas as pd
import pytest

from myopia.common.errors import MyopiaError
from myopia.data.tokens import TokenFile
from myopia.experiments.size_sweep import measure as family
from myopia.measure.text import choose_windows, position_losses, text_loss
from myopia.model.build import load_language_model
from myopia.train.trainer import RunContext, train
from tiny_runs import T, make_tokens, text_spec

ROLE = {"recipe": "matched", "start": "checkpoint", "size": "d16", "warmup": 0.05, "batch_size": 8, "tuned": True,
        "frozen": False}  # fmt: skip


def role(arm, run, lr, **more):
    return {**ROLE, "arm": arm, "run": run, "lr": lr, **more}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Two runs of two judged seeds, the vanilla one in two roles, and a tuning seed."""
    corpus = make_tokens(tmp_path_factory.mktemp("corpus"))
    runs = tmp_path_factory.mktemp("runs")
    for arm in ("vanilla", "myopic"):
        spec = text_spec(arm, name=f"family-d16-{arm}", steps=4, eval={"every": 2, "sequences": 8})
        for seed in (0, 1, 100):
            where = RunContext(runs / spec["name"] / f"seed{seed}", runs / "state" / f"{arm}{seed}", *corpus)
            train(spec, seed, where)
    roles = [
        role("vanilla", "family-d16-vanilla", 1e-3),
        role("myopic", "family-d16-myopic", 1e-3, frozen=True),
        role("vanilla", "family-d16-vanilla", 1e-3, recipe="as_run", tuned=False),
    ]
    return family.FamilyRuns("tiny", roles, runs, Path(corpus[0]), (0, 1), (100,))


def test_each_role_has_its_rows_and_only_grids_have_tuning_seeds(made):
    frame = family.family_runs(made)
    seeds = frame.groupby(["recipe", "arm"])["seed"].agg(list).to_dict()
    assert seeds == {
        ("matched", "vanilla"): [0, 1, 100], ("matched", "myopic"): [0, 1, 100], ("as_run", "vanilla"): [0, 1]
    }  # fmt: skip
    assert set(frame.loc[frame["frozen"] == 1, "arm"]) == {"myopic"}
    metrics = json.loads((made.runs / "family-d16-myopic/seed1/metrics.json").read_text())
    mine = frame[(frame["arm"] == "myopic") & (frame["seed"] == 1)].iloc[0]
    assert mine["validation_loss"] == metrics["final_validation_loss"]
    assert mine["parameters_without_embeddings"] == metrics["parameters_without_embeddings"] > 0


def test_pooled_losses_are_means_over_tokens(made):
    frame = family.family_loss(made, 12)
    assert sorted(set(frame["position"])) == [0, 1, 9] and T == 16
    assert dict(zip(frame["position"], frame["last_position"], strict=True)) == {0: 0, 1: 8, 9: 14}
    one = frame[(frame["run"] == "family-d16-myopic") & (frame["seed"] == 1)]
    file = TokenFile.open(made.tokens, "test")
    chosen = choose_windows(file.docs, 12)
    direct = position_losses(
        load_language_model(made.runs / "family-d16-myopic/seed1"), np.asarray(file.tokens[chosen])
    )
    for first, last in ((0, 0), (1, 8), (9, 14)):
        part = one[one["position"] == first]
        assert part["n"].sum() == 12 * (last - first + 1)
        assert np.average(part["loss"], weights=part["n"]) == pytest.approx(direct[:, first : last + 1].mean())
    # A run in two roles is measured once.
    assert not frame.duplicated(["run", "seed", "doc", "position"]).any()
    assert set(frame["seed"]) == {0, 1}


def test_pooling_weighs_by_tokens():
    frame = pd.DataFrame(
        {"corpus": "c", "run": "r", "arm": "vanilla", "seed": 0, "doc": "d", "group": "g",
         "position": [0, 1, 8, 9, 40], "n": [1, 1, 3, 2, 2], "loss": [5.0, 1.0, 2.0, 3.0, 4.0]}
    )  # fmt: skip
    pooled = family.pool_positions(frame).set_index("position")
    assert pooled["loss"].to_dict() == {0: 5.0, 1: 1.75, 9: 3.0, 32: 4.0}
    assert pooled["n"].to_dict() == {0: 1, 1: 4, 9: 2, 32: 2}
    assert pooled["last_position"].to_dict() == {0: 0, 1: 8, 9: 9, 32: 40}


def test_without_components_groups_stand_for_them(made):
    frame = family.family_loss(made, 12)
    assert (frame["component"] == frame["group"]).all()


def test_the_loss_is_that_of_the_text_measure(made):
    run = made.judged()[0]
    whole = text_loss([run], 12)
    pooled = family.pool_positions(whole)
    totals = [(f["n"] * f["loss"]).sum() for f in (whole, pooled)]
    assert totals[0] == pytest.approx(totals[1])


def test_a_missing_run_is_one_sentence(made):
    lost = family.FamilyRuns("tiny", [role("vanilla", "family-none", 1e-3)], made.runs, made.tokens, (0,), ())
    with pytest.raises(MyopiaError, match=r"family-none/seed0/metrics\.json cannot be read .* train this run again"):
        family.family_runs(lost)


def test_the_script(made, tmp_path):
    spec = {"corpus": "tiny", "tokens": str(made.tokens), "runs": str(made.runs), "roles": made.roles,
            "max_windows": 12}  # fmt: skip
    out = {name: str(tmp_path / name) for name in ("family_runs.csv", "family_loss.csv.gz", "family_curve.csv")}
    evaluate_family.main(
        ["--spec", json.dumps(spec), "--seeds", "0", "1", "--tuning-seeds", "100", "--out-runs", out["family_runs.csv"],
         "--out-loss", out["family_loss.csv.gz"], "--out-curve", out["family_curve.csv"]]
    )  # fmt: skip
    from myopia.judge.measures import COLUMNS

    for name, path in out.items():
        assert list(pd.read_csv(path)) == COLUMNS[name].split(",")
    curve = pd.read_csv(out["family_curve.csv"])
    assert set(curve["seed"]) == {0, 1} and set(curve["step"]) == {0, 2, 4}
