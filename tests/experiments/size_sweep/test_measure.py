"""Measures of the size sweep: pooled losses add up, conditions are told apart, tuning seeds stay apart."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from myopia.common.errors import MyopiaError
from myopia.data.tokens import TokenFile
from myopia.experiments.size_sweep import CURVE, LOSS, RUNS
from myopia.experiments.size_sweep.measure import measure, pool_positions
from myopia.measure.text import choose_windows, position_losses, text_loss
from myopia.model.build import load_language_model
from tiny_runs import T, make_tokens, place, text_spec

WINDOWS = 12
CONDITION = {"recipe": "matched", "start": "checkpoint", "warmup": 0.05, "batch_size": 8, "tuned": True, "frozen": False,
             "lr": 1e-3}  # fmt: skip


def condition(size, arm, **more):
    return {**CONDITION, "size": size, "arm": arm, "run": f"family-{size}-{arm}", **more}


@pytest.fixture(scope="module")
def entries(tmp_path_factory):
    """Two runs at d16, the vanilla one under two conditions, with two judged seeds and a tuning seed; one run at d8."""
    from myopia.train.trainer import train

    corpus = make_tokens(tmp_path_factory.mktemp("corpus"))
    found = []
    for size, width, arm in (("d16", 16, "vanilla"), ("d16", 16, "myopic"), ("d8", 8, "vanilla")):
        conditions = [condition(size, arm, frozen=arm == "myopic")]
        if (size, arm) == ("d16", "vanilla"):
            conditions.append(condition(size, arm, recipe="as_run", tuned=False))
        spec = text_spec(arm, name=f"family-{size}-{arm}", steps=4, eval={"every": 2, "sequences": 8})
        spec["model"]["config"]["n_embd"] = width
        for seed in (0, 1, 100):
            where = place(tmp_path_factory.mktemp("run"), corpus)
            train(spec, seed, where)
            tuning = seed == 100
            found.append(
                {
                    "run": spec["name"], "arm": arm, "seed": seed, "folder": str(where.folder), "corpus": "tiny",
                    "tokens": corpus[0], "conditions": [c for c in conditions if c["tuned"] or not tuning],
                    "trained": not tuning, "also": [f"{where.folder}/metrics.json"] if tuning else [],
                }
            )  # fmt: skip
    return found


@pytest.fixture(scope="module")
def tables(entries):
    return measure(entries, {"max_windows": WINDOWS}, "cpu")


def folder(entries, run, seed):
    return next(Path(entry["folder"]) for entry in entries if (entry["run"], entry["seed"]) == (run, seed))


def test_tables_hold_their_columns_and_sizes_apart_are_the_whole(entries, tables):
    for table in (RUNS, LOSS, CURVE):
        assert tuple(tables[table.name].columns) == table.columns
    apart = [
        measure([e for e in entries if size in e["run"]], {"max_windows": WINDOWS}, "cpu") for size in ("d8", "d16")
    ]
    for name, frame in tables.items():
        joined = pd.concat([part[name] for part in apart])
        order = list(frame.columns)
        pd.testing.assert_frame_equal(
            joined.sort_values(order).reset_index(drop=True), frame.sort_values(order).reset_index(drop=True)
        )


def test_each_condition_has_its_rows_and_only_grids_have_tuning_seeds(entries, tables):
    frame = tables[RUNS.name]
    frame = frame[frame["size"] == "d16"]
    seeds = frame.groupby(["recipe", "arm"])["seed"].agg(list).to_dict()
    assert seeds == {
        ("matched", "vanilla"): [0, 1, 100], ("matched", "myopic"): [0, 1, 100], ("as_run", "vanilla"): [0, 1]
    }  # fmt: skip
    assert set(frame.loc[frame["frozen"] == 1, "arm"]) == {"myopic"}
    metrics = json.loads((folder(entries, "family-d16-myopic", 1) / "metrics.json").read_text())
    mine = frame[(frame["arm"] == "myopic") & (frame["seed"] == 1)].iloc[0]
    assert mine["validation_loss"] == metrics["final_validation_loss"]
    assert mine["parameters_without_embeddings"] == metrics["parameters_without_embeddings"] > 0
    assert set(tables[CURVE.name]["seed"]) == {0, 1} and set(tables[CURVE.name]["step"]) == {0, 2, 4}


def test_pooled_losses_are_means_over_tokens(entries, tables):
    frame = tables[LOSS.name]
    assert sorted(set(frame["position"])) == [0, 1, 9] and T == 16
    assert dict(zip(frame["position"], frame["last_position"], strict=True)) == {0: 0, 1: 8, 9: 14}
    one = frame[(frame["run"] == "family-d16-myopic") & (frame["seed"] == 1)]
    file = TokenFile.open(entries[0]["tokens"], "test")
    chosen = choose_windows(file.docs, WINDOWS)
    model = load_language_model(folder(entries, "family-d16-myopic", 1))
    direct = position_losses(model, np.asarray(file.tokens[chosen]))
    for first, last in ((0, 0), (1, 8), (9, 14)):
        part = one[one["position"] == first]
        assert part["n"].sum() == WINDOWS * (last - first + 1)
        assert np.average(part["loss"], weights=part["n"]) == pytest.approx(direct[:, first : last + 1].mean())
    # A run under two conditions is measured once, and on no tuning seed.
    assert not frame.duplicated(["run", "seed", "doc", "position"]).any()
    assert set(frame["seed"]) == {0, 1}
    assert (frame["component"] == frame["group"]).all()  # the corpus names none


def test_pooling_weighs_by_tokens(runs):
    frame = pd.DataFrame(
        {"corpus": "c", "run": "r", "arm": "vanilla", "seed": 0, "doc": "d", "group": "g",
         "position": [0, 1, 8, 9, 40], "n": [1, 1, 3, 2, 2], "loss": [5.0, 1.0, 2.0, 3.0, 4.0]}
    )  # fmt: skip
    pooled = pool_positions(frame).set_index("position")
    assert pooled["loss"].to_dict() == {0: 5.0, 1: 1.75, 9: 3.0, 32: 4.0}
    assert pooled["n"].to_dict() == {0: 1, 1: 4, 9: 2, 32: 2}
    assert pooled["last_position"].to_dict() == {0: 0, 1: 8, 9: 9, 32: 40}
    whole = text_loss([runs[0]], WINDOWS)
    totals = [(f["n"] * f["loss"]).sum() for f in (whole, pool_positions(whole))]
    assert totals[0] == pytest.approx(totals[1])


def test_a_missing_run_is_one_sentence(entries, tmp_path):
    lost = {**entries[0], "folder": str(tmp_path / "family-none")}
    with pytest.raises(MyopiaError, match=r"family-none/metrics\.json cannot be read .* train this run again"):
        measure([lost], {"max_windows": WINDOWS}, "cpu")
