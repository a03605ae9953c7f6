"""The toys' measurements: a probe that finds exactly what is there, and tables that repeat."""

import math

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import norm

from myopia.common.files import write_csv
from myopia.experiments.toys import EXPERIMENT, TUNING
from myopia.experiments.toys import measure as toys

PARITY = np.tile([1.0, -1.0], 8)


def sign_bits(rho):
    """Capacity of a fair sign read through Gaussian noise, by numerical integration of the mixture's entropy."""

    def left(r):
        mixture = (norm.pdf(r - rho) + norm.pdf(r + rho)) / 2
        return -mixture * math.log2(mixture) if mixture > 1e-300 else 0

    return quad(left, -rho - 9, rho + 9, limit=200)[0] - math.log2(math.e * 2 * math.pi) / 2


def test_the_probe_finds_the_bits_of_a_known_code():
    for rho in (0.0, 0.5, 1.0, 2.0):
        found, permuted = toys.probe_residual(0.1 * rho * PARITY, PARITY, 0.1, 40000, seed=3)
        assert found == pytest.approx(sign_bits(rho), abs=0.02), rho
        assert abs(permuted) < 0.01, rho


def test_the_probe_finds_codes_a_line_cannot_read():
    """Amplitude, not sign, tells: the correlation of residual and sign is zero."""
    residual = np.where(PARITY > 0, 0.5, 0.05) * np.repeat([1.0, -1.0], 8)
    assert abs(residual @ PARITY) < 1e-12
    assert toys.probe_residual(residual, PARITY, 0.1, 20000, seed=0)[0] > 0.8


def test_a_residual_that_tells_of_something_else_holds_nothing():
    other = np.repeat([1.0, -1.0], 8)
    assert abs(toys.probe_residual(0.5 * other, PARITY, 0.1, 20000, seed=0)[0]) < 0.01


def test_what_is_learnt_by_heart_is_not_found():
    """With eight samples a bin the counts fit noise: in sample .1 bits, held out less than none."""
    found = [toys.probe_residual(np.zeros(16), PARITY, 0.1, 256, seed) for seed in range(100)]
    assert np.mean(found) < -0.02


def check_best_code(noise, precision):
    amplitude, bits = toys.best_code(noise, precision)
    assert bits == pytest.approx(sign_bits(amplitude / precision), abs=1e-6)

    def cost(a):
        return a**2 / (2 * noise**2) + math.log(2) * (1 - sign_bits(a / precision))

    assert all(cost(amplitude) <= cost(amplitude * factor) + 1e-9 for factor in (0.8, 0.95, 1.05, 1.2))
    assert toys.best_code(noise, 100.0)[1] < 1e-4  # what cannot be read is not said


def test_the_best_code_beats_all_others():
    for noise, precision in ((0.5, 0.1), (1.0, 0.3)):
        check_best_code(noise, precision)


SMALL = {
    "shared": {"alphabet": 2, "balance": [0.3, 0.7], "overlap": [0.0, 1.0], "capacity": [2, 4], "steps": 300,
               "optim": {"kind": "adam", "lr": 0.1, "schedule": "cosine", "warmup": 0.0, "start": 0.1}},
    "hidden": {"noise": 0.5, "precision": 0.1, "width": 8, "batch_size": 16, "steps": 12, "probe_samples": 64,
               "optim": {"kind": "adam", "lr": 0.01, "schedule": "cosine", "warmup": 0.0}},
    "consequence": {"letters": 4, "reveal": 0.5, "capacity": 2,
                    "offline": {"batch_size": 16, "steps": 12,
                                "optim": {"kind": "adam", "lr": 0.03, "schedule": "cosine", "warmup": 0.0, "start": 0.1}},
                    "closed": {"batch_size": 16, "steps": 12,
                               "optim": {"kind": "sgd", "lr": 0.1, "schedule": "constant", "warmup": 0.0}}},
}  # fmt: skip

TINY = SMALL["shared"] | {"steps": 3, "balance": [0.3]}


@pytest.fixture(scope="module")
def shared():
    return toys.measure_shared(SMALL["shared"], [100, 101, 102, 103])


def test_no_trained_run_beats_the_exact_optimum(shared):
    trained, exact = shared
    cell = ["overlap", "balance", "capacity"]
    best = {aim: rows.set_index(cell) for aim, rows in exact[exact["ties"] == "best"].groupby("aim")}
    for arm, aim in (("vanilla", ["loss1", "loss2"]), ("myopic", ["loss1"])):
        runs = trained[trained["arm"] == arm].set_index(cell)
        regret = runs[aim].sum(axis=1) - best[arm].loc[runs.index, aim].sum(axis=1)
        assert regret.min() > -1e-5
        assert regret.groupby(cell).min().max() < 0.02  # and the best of four seeds finds it
    assert (exact["entropy1"] >= exact["loss1"] - 1e-9).all() and (exact["floor2"] <= exact["loss2"] + 1e-9).all()


def test_the_grid_tells_a_good_rate_from_one_that_hardly_moves():
    grid = {"lr": [1e-4, 0.1], "start": [0.1], "seeds": 2}
    table = toys.tune_shared(SMALL["shared"] | {"grid": grid}, [100, 101])
    assert tuple(table) == TUNING.columns and len(table) == 2 * 2 * 2
    regret = table.groupby(["arm", "lr"])["regret"].mean().unstack()
    assert (regret > -1e-5).all(axis=None) and (regret[0.1] < 0.02).all() and (regret[1e-4] > 0.1).all()


def test_arms_serve_whom_they_should(shared):
    trained = shared[0].query("overlap == 0 and balance == 0.7 and capacity == 2")
    loss = trained.groupby("arm")[["loss1", "loss2"]].median()
    assert loss.loc["vanilla", "loss2"] < loss.loc["myopic", "loss2"] - 0.1
    assert loss.loc["vanilla", "loss1"] > loss.loc["myopic", "loss1"] + 0.02


def test_tables_repeat_and_seeds_do_not_depend_on_each_other(tmp_path):
    def written(name, frame):
        write_csv(tmp_path / f"{name}.csv", frame)
        return (tmp_path / f"{name}.csv").read_bytes()

    for measure, part in ((toys.measure_hidden, "hidden"), (toys.measure_consequence, "consequence")):
        first = measure(SMALL[part], [100, 101], 2)
        assert written("a", first) == written("b", measure(SMALL[part], [100, 101], 2))
        alone = measure(SMALL[part], [101], 2).reset_index(drop=True)
        among = first[first["seed"] == 101].reset_index(drop=True)
        numbers = [c for c in alone.columns if c not in ("training", "arm", "seed", "step")]
        assert np.allclose(alone[numbers], among[numbers], atol=1e-4, equal_nan=True)
        assert set(first["step"]) == {0, 6, 12}


def test_the_declared_measurement_leaves_tuning_seeds_out():
    (measurement,) = EXPERIMENT.measurements
    settings = {"tuning_seeds": [1], "toys": {"seeds": 2, "chains": 3, "points": 2, **SMALL, "shared": TINY}}
    found = EXPERIMENT.load(measurement.run)([], measurement.options(settings), "cpu")
    assert {name: tuple(frame) for name, frame in found.items()} == {t.name: t.columns for t in measurement.tables}
    seeds = {name: set(frame["seed"]) for name, frame in found.items() if "seed" in frame}
    assert seeds == {"toy_shared.csv": {0, 2}, "toy_hidden.csv": {0, 2}, "toy_consequence.csv.gz": {0, 2, 3}}


def test_loops_start_where_offline_training_ended():
    frame = toys.measure_consequence(SMALL["consequence"], [100, 101], 2)
    end = frame[(frame["training"] == "offline") & (frame["step"] == 12)].set_index(["arm", "seed"])["p_easy"]
    for loop in ("own", "reward", "mixed"):
        start = frame[(frame["training"] == loop) & (frame["step"] == 0)].set_index(["arm", "seed"])
        assert start["p_easy"].equals(end) or np.allclose(start["p_easy"], end[start.index])
        assert np.allclose(start["p_expected"], start["p_easy"])
