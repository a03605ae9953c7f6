"""Both measurements of the synthetic task, on networks small enough to check by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from myopia.common.errors import MyopiaError
from myopia.common.files import write_csv
from myopia.experiments.synthetic import CORRELATION, ESTIMATE, EXPERIMENT, INTERVENTION, LOSS, PROBE_R2, data
from myopia.experiments.synthetic.data import DpTask, sample
from myopia.experiments.synthetic.measure import evaluate_runs
from myopia.experiments.synthetic.network import SyntheticRun, inputs
from myopia.experiments.synthetic.probing import Probing, probe_runs
from myopia.model.regression import RegressionModel, load_regression_model

MODEL = {"kind": "regression", "d_model": 16, "n_layers": 2, "n_heads": 2, "activation": "relu", "n_positions": 12}
DATA = {"p": 0.3, "a": 3, "b": 4.0, "T": 12, "shift": 1}
TASK = DpTask.from_spec(DATA)
LOOKBACK = 6
HOW = Probing(64, LOOKBACK, batch=32, bins=10, interventions=48)
PROBED = (PROBE_R2, CORRELATION, ESTIMATE, INTERVENTION)


@pytest.fixture(scope="module")
def units(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """Two arms of seed 0, whose "trained" networks are seed 0's initial one and another."""
    folder = tmp_path_factory.mktemp("runs")
    found = []
    for arm, init in [("vanilla", 0), ("myopic", 7)]:
        RegressionModel.from_spec(dict(MODEL), init).save_pretrained(folder / arm)
        where = str(folder / arm)
        found.append({"run": f"dp-{arm}", "arm": arm, "seed": 0, "folder": where, "data": DATA, "model": MODEL})
    return found


def opened(*units: dict[str, Any]) -> list[SyntheticRun]:
    return [SyntheticRun.of(unit) for unit in units]


@pytest.fixture(scope="module")
def probed(units: list[dict[str, Any]]) -> dict[str, pd.DataFrame]:
    return probe_runs(opened(*units), HOW).frames()


def test_loss_table_is_the_mean_huber_loss_of_each_block(units: list[dict[str, Any]]) -> None:
    table = evaluate_runs(opened(*units), 24, block=8)
    assert tuple(table.columns) == LOSS.columns and len(table) == 2 * 3
    row = table[(table["arm"] == "myopic") & (table["block"] == 1)].iloc[0]
    x, z, y = sample(TASK, 0, 8, 8, "test")
    with torch.inference_mode():
        prediction = load_regression_model(units[1]["folder"])(inputs(x, z))
    loss = torch.nn.functional.huber_loss(prediction.double(), torch.from_numpy(y).double(), reduction="none").numpy()
    assert row["loss"] == pytest.approx(loss.mean(), rel=1e-9)
    assert row["loss_z1"] == pytest.approx(loss[z == 1].mean(), rel=1e-9)
    assert row["loss_zero"] == pytest.approx(data.huber(np.zeros_like(y), y).mean(), rel=1e-9)
    assert (row["n_sequences"], row["n_tokens"], row["n_z1"]) == (8, 96, z.sum())
    assert (row["loss_trivial_z1"], row["loss_present"]) == (row["loss_zero_z1"], row["loss_trivial"])


def test_arms_and_seeds_meet_the_same_blocks(units: list[dict[str, Any]]) -> None:
    table = evaluate_runs(opened(*units, {**units[1], "seed": 1}), 24, block=8)
    for _, block in table.groupby("block"):
        for column in ("n_z1", "loss_zero", "loss_trivial", "loss_zero_z1"):
            assert block[column].nunique() == 1
    vanilla, myopic = (table[(table["arm"] == arm) & (table["seed"] == 0)] for arm in ("vanilla", "myopic"))
    assert not np.isclose(vanilla["loss"].to_numpy(), myopic["loss"].to_numpy()).any()


def test_tables_are_byte_equal_in_any_order_and_company(
    tmp_path: Path, units: list[dict[str, Any]], probed: dict[str, pd.DataFrame]
) -> None:
    def written(frame: pd.DataFrame) -> bytes:
        write_csv(tmp_path / "table.csv", frame)
        return (tmp_path / "table.csv").read_bytes()

    first = evaluate_runs(opened(*units), 16, block=8)
    assert written(evaluate_runs(opened(*units[::-1]), 16, block=8)) == written(first)
    alone = evaluate_runs(opened(units[0]), 8, block=8).reset_index(drop=True)
    kept = first[(first["arm"] == "vanilla") & (first["block"] == 0)].reset_index(drop=True)
    pd.testing.assert_frame_equal(alone, kept, check_exact=True)
    again = probe_runs(opened(*units[::-1]), HOW).frames()
    assert all(written(probed[table.name]) == written(again[table.name]) for table in PROBED)


def test_blocks_without_a_question_leave_its_loss_empty(units: list[dict[str, Any]]) -> None:
    table = evaluate_runs(opened({**units[0], "data": {**DATA, "p": 0.0}}), 8, block=8)
    assert table["n_z1"].tolist() == [0] and table["loss_trivial"].tolist() == [0]
    assert table[["loss_z1", "loss_zero_z1", "loss_trivial_z1"]].isna().all().all()


def test_probe_tables_have_all_rows(probed: dict[str, pd.DataFrame]) -> None:
    for table in PROBED:
        assert tuple(probed[table.name].columns) == table.columns and not probed[table.name].isna().any().any()
    r2, correlation, estimate, intervention = (probed[table.name] for table in PROBED)
    lookbacks = LOOKBACK + 1
    assert len(r2) == 2 * 3 * 3 * 2 * lookbacks and not r2.duplicated([*PROBE_R2.columns[:8]]).any()
    assert set(r2["weights"]) == {"trained", "untrained", "shuffled"} and set(r2["lookback"]) == set(range(lookbacks))
    assert len(correlation) == 2 * 3 * 16 * 2 * lookbacks and correlation["abs_corr"].between(0, 1).all()
    assert len(estimate) == 2 * 10
    assert len(intervention) == 2 * 4 * (3 + 4 + 1)


def test_untrained_control_is_the_run_at_step_zero(probed: dict[str, pd.DataFrame]) -> None:
    """The vanilla fixture *is* its initial network: trained and untrained must agree up to rounding."""
    scores = {
        key: rows[["r2_heldout", "r2_insample", "r2_noisy"]].to_numpy()
        for key, rows in probed[PROBE_R2.name].groupby(["arm", "weights"])
    }
    same = {"rtol": 1e-7, "atol": 1e-8}  # a BLAS may take another path where an array lies elsewhere in memory
    assert np.allclose(scores["vanilla", "trained"], scores["vanilla", "untrained"], **same)
    assert np.allclose(scores["vanilla", "untrained"], scores["myopic", "untrained"], **same)
    assert not np.allclose(scores["myopic", "trained"], scores["myopic", "untrained"], rtol=1e-3, atol=1e-4)


def test_continuing_from_a_hidden_state_is_the_forward_pass(units: list[dict[str, Any]]) -> None:
    """What the intervention rests on, asked of the network."""
    model = load_regression_model(units[1]["folder"])
    x, z, _ = sample(TASK, 0, 0, 8)
    with torch.inference_mode():
        y, states = model(inputs(x, z), hidden_states=True)
        for layer, state in enumerate(states):
            torch.testing.assert_close(model.run_from(state, layer), y, atol=1e-6, rtol=1e-5)


OPTIONS = ({"test_sequences": 128}, {"probe_sequences": 128, "lookback": 4})


def test_declared_measurements_write_their_tables(units: list[dict[str, Any]]) -> None:
    for measurement, options in zip(EXPERIMENT.measurements, OPTIONS):
        found = EXPERIMENT.load(measurement.run)(units, options, "cpu")
        assert {name: tuple(frame.columns) for name, frame in found.items()} == {
            table.name: table.columns for table in measurement.tables
        }
        assert all(len(frame) for frame in found.values())


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
def test_a_gpu_measures_what_the_cpu_does_but_for_rounding(units: list[dict[str, Any]]) -> None:
    for measurement, options in zip(EXPERIMENT.measurements, OPTIONS):
        torch.cuda.reset_peak_memory_stats()
        here, there = (EXPERIMENT.load(measurement.run)(units, options, device) for device in ("cpu", "cuda"))
        assert torch.cuda.max_memory_allocated() > 0
        for table in measurement.tables:
            pd.testing.assert_frame_equal(here[table.name], there[table.name], rtol=1e-3, atol=1e-4)


def test_lookbacks_and_sequences_that_do_not_fit_are_refused(units: list[dict[str, Any]]) -> None:
    for how in (Probing(64, 12), Probing(100, 4, batch=48), Probing(1, 4)):
        with pytest.raises(MyopiaError):
            probe_runs(opened(units[0]), how)


def test_a_network_that_is_not_finite_is_refused(tmp_path: Path, units: list[dict[str, Any]]) -> None:
    broken = RegressionModel.from_spec(dict(MODEL), 0)
    with torch.no_grad():
        broken.unembed.bias.fill_(float("nan"))
    broken.save_pretrained(tmp_path / "broken")
    with pytest.raises(MyopiaError, match="dp-vanilla seed 0"):
        evaluate_runs(opened({**units[0], "folder": str(tmp_path / "broken")}), 8, block=8)
