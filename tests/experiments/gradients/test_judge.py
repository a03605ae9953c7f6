"""Gradient anatomy, forward bias and toys: estimators against direct computation, verdicts on simulated measurements with known answers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from experiments.gradients.simulate import COSINE, FUTURE, MYOPIC, STEPS, anatomy, gradients
from myopia.common.files import write_csv
from myopia.experiments.gradients import ANATOMY, EXPERIMENT, tables
from myopia.experiments.gradients.judge import PAPER_BATCHES, jackknifed, paper_value, series
from myopia.judge.measures import Measures, NotRun
from myopia.judge.registry import Context, run_estimator
from myopia.judge.verdicts import NO, NO_PAPER, NOT_JUDGED, YES
from own_claims import judging, write_tables

OWN = {"arms": ["public", "vanilla"], "corpus": "docstrings"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return simulated(tmp_path_factory.mktemp("gradients"))


@pytest.fixture
def context(folder: Path, paper) -> Context:
    return Context(Measures(folder), paper)


@pytest.fixture(scope="module")
def verdicts_of(paper):
    return judging(EXPERIMENT, paper)


def simulated(folder: Path, gap: float = 1.0) -> Path:
    return write_tables(folder, anatomy(np.random.default_rng(0), 5, gap, 1.0))


def public(folder: Path, rng_seed: int = 5, **changes) -> Path:
    """Public checkpoints beside what is in a measure folder."""
    frame = gradients(np.random.default_rng(rng_seed), 1, arms=("public",), **changes)
    write_csv(folder / ANATOMY.name, pd.concat([pd.read_csv(folder / ANATOMY.name), frame]))
    return folder


def test_norms_and_cosine_come_back(context: Context) -> None:
    found = series(context, "docstrings", "text-docstrings-vanilla", "gradient", "no-embeddings")
    for form in ("raw", "unbiased"):
        numbers = {name: found.quantity(name, form)[0].mean(0) for name in ("myopic", "future", "total", "cosine")}
        for k, (step, cosine) in enumerate(zip(STEPS, COSINE, strict=True)):
            size = 1 / (1 + step / 100)
            assert numbers["myopic"][k] == pytest.approx(MYOPIC * size, rel=0.02)
            assert numbers["future"][k] == pytest.approx(FUTURE * size, rel=0.03)
            total = np.sqrt(MYOPIC**2 + FUTURE**2 + 2 * MYOPIC * FUTURE * cosine) * size
            assert numbers["total"][k] == pytest.approx(total, rel=0.03)
            assert numbers["cosine"][k] == pytest.approx(cosine, abs=0.03)
    both = series(context, "docstrings", "text-docstrings-vanilla", "gradient", "all")
    assert np.allclose(both.mm.raw, 1.5 * found.mm.raw)


def test_the_jackknife_is_that_of_a_mean() -> None:
    """For a plain mean over blocks it is the textbook standard error."""
    x = np.random.default_rng(0).standard_normal(8)
    without = (x.sum() - x) / 7
    assert jackknifed(np.array([x.mean()]), without[None]).se == pytest.approx(x.std(ddof=1) / np.sqrt(8))


def test_verdicts_on_own_runs(folder: Path, verdicts_of) -> None:
    verdicts = verdicts_of(folder)
    assert verdicts.loc["fig11-norms", "answer"] == "yes" and verdicts.loc["fig11-norms", "ours"] == 1
    row = verdicts.loc["fig11-cosine"]
    assert row["answer"] == "yes" and row["ours"] == pytest.approx(-0.45, abs=0.03) and row["documents"] == 6
    own = verdicts.loc[["fig11-norms-adamw", "fig11-norms-all", "fig11-cosine-adamw", "fig11-norms-myopic"]]
    assert (own["verdict"] == NO_PAPER).all() and own["answer"].eq(YES).all()
    assert (
        verdicts.loc[["fig11-value-norms", "fig11-value-cosine", "fig11-value-step256"], "answer"] == NOT_JUDGED
    ).all()
    assert verdicts.loc["bias-forward-vanilla", "answer"] == NO
    assert verdicts.loc["bias-stable-myopic", "answer"] == YES
    assert verdicts.loc["bias-forward-vanilla", "ours"] == pytest.approx(-0.02, rel=0.2)
    theory = verdicts[verdicts["group"] == "theorem"]
    assert (
        len(theory) == 5
        and (theory["verdict"] == "holds").all()
        and theory["answer"].eq(YES).all()
        and (theory["seeds"] == 12).all()
    )


def test_verdicts_where_the_future_is_longer(tmp_path: Path, verdicts_of) -> None:
    rows = verdicts_of(simulated(tmp_path, gap=-1.0))
    assert rows.loc["fig11-norms", "answer"] == "no" and rows.loc["fig11-norms", "ours"] == 0


def test_public_checkpoints_are_judged_where_they_are(tmp_path: Path, paper, verdicts_of) -> None:
    folder = public(simulated(tmp_path))
    rows = verdicts_of(folder, "paper")
    assert rows.loc["fig11-norms", "seeds"] == 1 and rows.loc["fig11-norms", "answer"] == "yes"
    assert rows.loc["fig11-value-step256", "answer"] == "yes"
    assert rows.loc["fig11-value-norms", "answer"] == "no"
    table = tables.fig11_gradient_anatomy(Context(Measures(folder), paper))
    points = table[(table["kind"] == "paper") & (table["quantity"] == "myopic")].set_index("step")["value"]
    assert points[1] == pytest.approx(257.0574 / 15) and 0 not in points.index
    norms = table[(table["kind"] == "paper") & (table["quantity"] == "myopic")]
    assert set(norms["run"]) == {"pythia"}  # the paper's cosine stands beside our runs as well


def test_the_distance_from_the_paper_is_nothing_for_its_own_numbers(tmp_path: Path, paper) -> None:
    """Gradients built from the digitised norms and cosines themselves."""
    rows = []
    for step in (1, 64, 256):
        m, f, c = (paper_value(paper, name, step) for name in ("myopic", "future", "cosine"))
        own = {"m_m": m * m, "f_f": f * f, "m_f": m * f * c}
        sums = {"m_M": 3 * m * m, "f_F": 3 * f * f, "m_F": 3 * m * f * c, "f_M": 3 * m * f * c}
        told = {
            "corpus": "pile-hub",
            "run": "pythia",
            "arm": "public",
            "seed": 0,
            "step": step,
            "windows": 64,
            "loss": 5.0,
        }
        rows += [told | {"of": "gradient", "group": "no-embeddings", "block": k} | own | sums for k in range(3)]
    write_csv(tmp_path / ANATOMY.name, pd.DataFrame(rows))
    context = Context(Measures(tmp_path), paper)
    assert (
        run_estimator("anatomy_distance", context, {"what": "norms"}).value < 0.005
    )  # the digitised total norms agree
    assert run_estimator("anatomy_distance", context, {"what": "cosine"}).value < 1e-9
    assert PAPER_BATCHES == 15


def test_the_lowest_cosine_is_not_a_selected_one(tmp_path: Path, paper) -> None:
    """Without any true opposition the lowest of noisy cosines is negative; chosen by other seeds it is not."""
    frame = gradients(np.random.default_rng(3), 5, noise=1.0, arms=("vanilla",))
    rng = np.random.default_rng(4)
    for name in ("m_f", "m_F", "f_M"):
        frame[name] = 0.0
    shift = frame.groupby(["seed", "step", "of", "group"])["m_f"].transform(lambda x: rng.normal(0, 0.05))
    frame["m_F"], frame["f_M"], frame["m_f"] = 6 * shift, 6 * shift, shift
    write_csv(tmp_path / ANATOMY.name, frame)
    context = Context(Measures(tmp_path), paper)
    found = series(context, "docstrings", "text-docstrings-vanilla", "gradient", "no-embeddings")
    selected = found.quantity("cosine", "unbiased")[0].min(1).mean()
    estimate = run_estimator("anatomy_lowest_cosine", context, OWN)
    assert selected < -0.1 and estimate.value > selected / 2


def test_what_was_not_measured_is_not_run(tmp_path: Path, paper) -> None:
    context = Context(Measures(tmp_path), paper)
    for name, args in (
        ("anatomy_share", OWN),
        ("anatomy_distance", {"what": "norms"}),
        ("bias_lowest", {"arm": "vanilla", "matrix": "symmetric"}),
        ("theory_value", {"toys": ["forward-biased"], "quantity": "gap"}),
    ):
        with pytest.raises(NotRun):
            run_estimator(name, context, args)


def test_tables(context: Context) -> None:
    bias = tables.forward_bias(context)
    assert set(bias["kind"]) == {"spectrum", "plane", "untied", "lowest", "ends", "point"}
    assert bias.loc[bias["kind"] == "spectrum", "value"].abs().max() <= 1 + 1e-12
    toys = tables.theory(context)
    planning = toys[toys["toy"] == "planning, quadratic"]
    assert (planning.loc[planning["x"] == 0].set_index("quantity").loc["theorem 8, distance", "value"]) == 1
    shares = planning[planning["quantity"].isin(["bonus", "malus"])]
    assert shares["value"].abs().max() < 1
