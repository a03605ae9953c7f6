"""The two commands from spec to csv, on networks small enough to check by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import evaluate_synthetic
import probe_synthetic
from myopia.common.errors import MyopiaError
from myopia.experiments.synthetic import data as synthetic
from myopia.experiments.synthetic import measure as synthetic_loss
from myopia.experiments.synthetic import probing as synthetic_probing
from myopia.experiments.synthetic.data import DpTask, sample
from myopia.experiments.synthetic.runs import inputs, read_spec
from myopia.model.regression import RegressionModel, load_regression_model

MODEL = {
    "d_model": 16,
    "n_layers": 2,
    "n_heads": 2,
    "d_mlp": None,
    "activation": "relu",
    "n_positions": 12,
}
DATA = {"p": 0.3, "a": 3, "b": 4.0, "T": 12, "shift": 1}
TASK = DpTask.from_spec(DATA)
PROBING = {"n_fit": 64, "n_heldout": 64, "batch": 32, "estimate_bins": 10, "n_intervention": 48}
TABLES = ("r2", "correlation", "estimate", "intervention")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """Two arms of seed 0, whose "trained" networks are seed 0's initial one and another."""
    folder = tmp_path_factory.mktemp("runs")
    result = []
    for arm, init in [("vanilla", 0), ("myopic", 7)]:
        RegressionModel.from_spec(dict(MODEL), init).save_pretrained(folder / arm)
        where = str(folder / arm)
        result.append({"run": f"dp-{arm}", "arm": arm, "seed": 0, "folder": where, "data": DATA, "model": MODEL})
    return result


def write_spec(path: Path, runs: list[dict[str, Any]], **options: Any) -> str:
    path.write_text(json.dumps({"runs": runs, **options}))
    return str(path)


def evaluate(tmp_path: Path, runs: list[dict[str, Any]], name: str = "loss.csv", **options: Any) -> Path:
    spec = write_spec(tmp_path / "spec.json", runs, **options)
    evaluate_synthetic.main(["--spec", spec, "--out", str(tmp_path / name)])
    return tmp_path / name


def probe(tmp_path: Path, runs: list[dict[str, Any]], name: str = "", **options: Any) -> dict[str, Path]:
    spec = write_spec(tmp_path / "spec.json", runs, **{**PROBING, **options})
    out = {table: tmp_path / f"{name}{table}.csv" for table in TABLES}
    arguments = ["--spec", spec]
    for table, path in out.items():
        arguments += [f"--out-{table}", str(path)]
    probe_synthetic.main(arguments)
    return out


def test_loss_table_is_the_mean_huber_loss_of_each_block(tmp_path: Path, runs: list[dict[str, Any]]) -> None:
    table = pd.read_csv(evaluate(tmp_path, runs, n_sequences=24, block=8))
    assert ",".join(table.columns) == (
        "run,arm,p,a,b,shift,seed,block,n_sequences,n_tokens,n_z1,loss,loss_z1,loss_zero,loss_zero_z1,"
        "loss_trivial,loss_trivial_z1,loss_present"
    )
    assert len(table) == 2 * 3
    row = table[(table["arm"] == "myopic") & (table["block"] == 1)].iloc[0]
    x, z, y = sample(TASK, 0, 8, 8, "test")
    with torch.inference_mode():
        prediction = load_regression_model(runs[1]["folder"])(inputs(x, z)).numpy()
    loss = torch.nn.functional.huber_loss(
        torch.from_numpy(prediction).double(), torch.from_numpy(y).double(), reduction="none"
    ).numpy()
    assert row["loss"] == pytest.approx(loss.mean(), rel=1e-9)
    assert row["loss_z1"] == pytest.approx(loss[z == 1].mean(), rel=1e-9)
    assert row["loss_zero"] == pytest.approx(synthetic.huber(np.zeros_like(y), y).mean(), rel=1e-9)
    assert (row["n_sequences"], row["n_tokens"], row["n_z1"]) == (8, 96, z.sum())
    assert (row["loss_trivial_z1"], row["loss_present"]) == (row["loss_zero_z1"], row["loss_trivial"])


def test_arms_and_seeds_meet_the_same_blocks(tmp_path: Path, runs: list[dict[str, Any]]) -> None:
    table = pd.read_csv(evaluate(tmp_path, [*runs, {**runs[1], "seed": 1}], n_sequences=24, block=8))
    for _, block in table.groupby("block"):
        for column in ("n_z1", "loss_zero", "loss_trivial", "loss_zero_z1"):
            assert block[column].nunique() == 1
    vanilla, myopic = (table[(table["arm"] == arm) & (table["seed"] == 0)] for arm in ("vanilla", "myopic"))
    assert not np.isclose(vanilla["loss"].to_numpy(), myopic["loss"].to_numpy()).any()


def test_tables_are_byte_equal_in_any_order_and_company(tmp_path: Path, runs: list[dict[str, Any]]) -> None:
    first = evaluate(tmp_path, runs, "a.csv", n_sequences=16, block=8).read_bytes()
    assert evaluate(tmp_path, runs[::-1], "b.csv", n_sequences=16, block=8).read_bytes() == first
    alone = pd.read_csv(evaluate(tmp_path, runs[:1], "c.csv", n_sequences=8, block=8))
    together = pd.read_csv(tmp_path / "a.csv")
    kept = together[(together["arm"] == "vanilla") & (together["block"] == 0)].reset_index(drop=True)
    pd.testing.assert_frame_equal(alone, kept, check_exact=True)
    one, two = probe(tmp_path, runs, "one-"), probe(tmp_path, runs[::-1], "two-")
    for table in TABLES:
        assert one[table].read_bytes() == two[table].read_bytes()


def test_blocks_without_a_question_leave_its_loss_empty(tmp_path: Path, runs: list[dict[str, Any]]) -> None:
    rare = [{**runs[0], "data": {**DATA, "p": 0.0}}]
    table = pd.read_csv(evaluate(tmp_path, rare, n_sequences=8, block=8))
    assert table["n_z1"].tolist() == [0] and table["loss_trivial"].tolist() == [0]
    assert table[["loss_z1", "loss_zero_z1", "loss_trivial_z1"]].isna().all().all()


def test_probe_tables_have_the_designs_columns_and_all_rows(tmp_path: Path, runs: list[dict[str, Any]]) -> None:
    tables = {name: pd.read_csv(path) for name, path in probe(tmp_path, runs).items()}
    expected = {
        "r2": "run,arm,p,seed,weights,layer,feature,lookback,r2_heldout,r2_insample,r2_noisy",
        "correlation": "run,arm,p,seed,layer,neuron,feature,lookback,abs_corr",
        "estimate": "run,arm,p,seed,layer,x,n,estimate_mean,estimate_sd,truth",
        "intervention": "run,arm,p,seed,direction,lag,slope,n",
    }
    for name, columns in expected.items():
        assert ",".join(tables[name].columns) == columns
        assert not tables[name].isna().any().any()
    lookbacks = 12  # min(a + 10, T - 1) + 1
    assert len(tables["r2"]) == 2 * 3 * 3 * 2 * lookbacks
    assert len(tables["correlation"]) == 2 * 3 * 16 * 2 * lookbacks
    assert tables["correlation"]["abs_corr"].between(0, 1).all()
    assert len(tables["estimate"]) == 2 * 10
    assert len(tables["intervention"]) == 2 * 4 * (3 + 4 + 1)
    assert set(tables["r2"]["weights"]) == {"trained", "untrained", "shuffled"}
    assert not tables["r2"].duplicated(expected["r2"].split(",")[:8]).any()


def test_untrained_control_is_the_run_at_step_zero(tmp_path: Path, runs: list[dict[str, Any]]) -> None:
    """The vanilla fixture *is* its initial network: trained and untrained must agree up to rounding."""
    table = pd.read_csv(probe(tmp_path, runs)["r2"])
    scores = {
        key: part[["r2_heldout", "r2_insample", "r2_noisy"]].to_numpy()
        for key, part in table.groupby(["arm", "weights"])
    }
    same = {"rtol": 1e-7, "atol": 1e-8}  # a BLAS may take another path where an array lies elsewhere in memory
    assert np.allclose(scores["vanilla", "trained"], scores["vanilla", "untrained"], **same)
    assert np.allclose(scores["vanilla", "untrained"], scores["myopic", "untrained"], **same)
    assert not np.allclose(scores["myopic", "trained"], scores["myopic", "untrained"], rtol=1e-3, atol=1e-4)


def test_max_lookback_is_the_specs(tmp_path: Path, runs: list[dict[str, Any]]) -> None:
    table = pd.read_csv(probe(tmp_path, runs, max_lookback=4)["r2"])
    assert sorted(set(table["lookback"])) == [0, 1, 2, 3, 4]


def test_continuing_from_a_hidden_state_is_the_forward_pass(runs: list[dict[str, Any]]) -> None:
    """What the intervention rests on, asked of the model room."""
    model = load_regression_model(runs[1]["folder"])
    x, z, _ = sample(TASK, 0, 0, 8)
    with torch.inference_mode():
        y, states = model(inputs(x, z), hidden_states=True)
        for layer, state in enumerate(states):
            torch.testing.assert_close(model.run_from(state, layer), y, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"n_sequence": 3}, "n_sequence"),
        ({"n_sequences": "8"}, "n_sequences"),
        ({"n_sequences": 0}, "n_sequences"),
        ({"block": True}, "block"),
        ({"n_sequences": 10, "block": 4}, "multiple"),
        ({"runs": []}, "runs"),
        ({"runs": [{"run": "a"}]}, "keys"),
    ],
)
def test_bad_loss_spec_is_one_sentence(
    tmp_path: Path, runs: list[dict[str, Any]], change: dict[str, Any], word: str
) -> None:
    with pytest.raises(MyopiaError, match=word) as caught:
        evaluate(tmp_path, change.pop("runs", runs), **change)
    assert "\n" not in str(caught.value) and not (tmp_path / "loss.csv").exists()


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"max_lookback": 12}, "max_lookback"),
        ({"ridge": 0}, "ridge"),
        ({"batch": 48}, "multiples of batch"),
        ({"n_fit": 1}, "n_fit"),
        ({"bins": 3}, "bins"),
    ],
)
def test_bad_probe_spec_is_one_sentence(
    tmp_path: Path, runs: list[dict[str, Any]], change: dict[str, Any], word: str
) -> None:
    with pytest.raises(MyopiaError, match=word) as caught:
        probe(tmp_path, runs, **change)
    assert "\n" not in str(caught.value) and not list(tmp_path.glob("*.csv"))


def test_unreadable_spec_and_foreign_task_are_named(tmp_path: Path, runs: list[dict[str, Any]]) -> None:
    with pytest.raises(MyopiaError, match=r"absent\.json"):
        read_spec(tmp_path / "absent.json", synthetic_loss.OPTIONS)
    (tmp_path / "broken.json").write_text("{")
    with pytest.raises(MyopiaError, match=r"broken\.json"):
        read_spec(tmp_path / "broken.json", synthetic_probing.OPTIONS)
    (tmp_path / "list.json").write_text("[]")
    with pytest.raises(MyopiaError, match="object"):
        read_spec(tmp_path / "list.json", synthetic_loss.OPTIONS)
    with pytest.raises(MyopiaError, match="twice"):
        evaluate(tmp_path, [runs[0], runs[0]])
    with pytest.raises(MyopiaError, match=r"data\.p\b"):
        evaluate(tmp_path, [{**runs[0], "data": {**DATA, "p": 2}}])


def test_a_network_that_is_not_finite_is_refused(tmp_path: Path, runs: list[dict[str, Any]]) -> None:
    broken = RegressionModel.from_spec(dict(MODEL), 0)
    with torch.no_grad():
        broken.unembed.bias.fill_(float("nan"))
    broken.save_pretrained(tmp_path / "broken")
    with pytest.raises(MyopiaError, match="dp-vanilla seed 0"):
        evaluate(tmp_path, [{**runs[0], "folder": str(tmp_path / "broken")}], n_sequences=8, block=8)
