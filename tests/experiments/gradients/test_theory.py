"""The theory on convex toys: every quantity against its definition, the theorems, and the corrected formulas."""

import numpy as np
import pytest
from scipy import integrate, stats
from scipy.optimize import minimize

from myopia.experiments.gradients import theory as measure

SEEDS = range(12)


@pytest.fixture(scope="module")
def frame():
    return measure.theory(SEEDS)


def of(frame, quantity, toys=("planning, quadratic", "planning, log cosh")):
    rows = frame[(frame["quantity"] == quantity) & frame["toy"].isin(toys)]
    assert len(rows)
    return rows["value"].to_numpy()


def test_derivatives_are_those_of_the_losses():
    for curved in (False, True):
        problem = measure.Planning.draw(0, curved)
        theta = np.random.default_rng(1).standard_normal(problem.n * problem.d)
        for i in range(problem.n):
            for k in range(len(theta)):
                step = np.eye(len(theta))[k] * 1e-5
                change = (problem.loss(i, theta + step) - problem.loss(i, theta - step)) / 2e-5
                assert problem.gradient(i, theta)[k] == pytest.approx(change, abs=1e-7), (curved, i, k)
                change = (problem.gradient(i, theta + step) - problem.gradient(i, theta - step)) / 2e-5
                assert np.allclose(problem.hessian(i, theta)[k], change, atol=1e-7), (curved, i, k)


def check_gap(curved):
    problem = measure.Planning.draw(3, curved)
    theta = np.ones(problem.n * problem.d)
    for i in range(problem.n):
        own = slice(i * problem.d, (i + 1) * problem.d)

        def loss(x, i=i, own=own):
            return problem.loss(i, np.concatenate([theta[: own.start], x, theta[own.stop :]]))

        theta[own] = minimize(loss, theta[own], method="BFGS", options={"gtol": 1e-9}).x
    joint = minimize(problem.total, np.ones_like(theta), jac=problem.total_gradient, method="BFGS").fun
    _, _, gap = problem.bonus_and_malus()
    assert gap == pytest.approx(problem.total(theta) - joint, abs=1e-6) and gap > 0.01


def test_the_gap_by_another_optimiser():
    """Sequential argmins one by one and the joint minimum, both by BFGS from other starts."""
    for curved in (False, True):
        check_gap(curved)


def test_identity_gap_is_the_sum_of_bonus_and_malus(frame):
    assert of(frame, "identity error").max() < 1e-8
    assert of(frame, "bonus").max() <= 1e-12 and of(frame, "malus").min() >= -1e-12
    assert of(frame, "bonus").min() < -0.01  # planning has a price
    # The last position has nobody to plan for.
    last = frame[(frame["x"] == measure.POSITIONS) & frame["quantity"].isin(["bonus", "malus"])]
    assert last["value"].abs().max() < 1e-12


def test_theorems_8_and_9_rates_hold(frame):
    assert of(frame, "theorem 8, excess").max() < 1e-9
    assert of(frame, "theorem 9, excess").max() < 1e-9


def test_theorem_9_needs_the_step_eta_over_n(frame):
    assert of(frame, "theorem 9, step sqrt(n) eta", ["planning, quadratic"]).min() > 0


def test_theorem_10_ends_at_the_sequential_argmins(frame):
    assert of(frame, "theorem 10, remaining").max() < 1e-9
    problem = measure.Planning.draw(0)
    best = problem.best_from(0, problem.myopic)
    assert np.linalg.norm(problem.myopic - best) > 0.1  # and not at the optimum


def test_theorem_13_rate_holds_under_forward_bias_and_fails_without(frame):
    assert of(frame, "theorem 13, excess", ["forward-biased"]).max() < 1e-9
    assert of(frame, "lowest eigenvalue", ["forward-biased"]).min() > 0
    assert of(frame, "lowest eigenvalue", ["not forward-biased"]).max() < 0
    assert of(frame, "theorem 13, growth", ["not forward-biased"]).min() > 1


def test_the_toys_of_theorem_13_are_strongly_convex_in_past_and_present():
    for coupling in (0.5, 1.5):
        for seed in SEEDS:
            assert np.linalg.eigvalsh(measure.Coupled.draw(seed, coupling).h)[0] > 0


def test_lemma_12_fails_for_matrices_that_are_not_symmetric():
    """Positive definite, all singular values equal, yet I - A / |A| expands; the step mu / |A|^2 contracts."""
    a = np.array([[1.0, 3.0], [-3.0, 1.0]])
    assert np.linalg.eigvalsh((a + a.T) / 2)[0] > 0 and np.linalg.cond(a) == pytest.approx(1)
    norm, mu = np.linalg.norm(a, 2), 1.0
    assert np.abs(np.linalg.eigvals(np.eye(2) - a / norm)).max() > 1
    assert np.linalg.norm(np.eye(2) - mu / norm**2 * a, 2) ** 2 <= 1 - (mu / norm) ** 2 + 1e-12


def moments(b):
    """Var sin(b x) and cov(x, sin(b x)) of a standard normal x, by quadrature."""
    density = stats.norm.pdf
    square = integrate.quad(lambda x: np.sin(b * x) ** 2 * density(x), -12, 12, limit=400)[0]
    product = integrate.quad(lambda x: x * np.sin(b * x) * density(x), -12, 12, limit=400)[0]
    return square, product


def correlation_with_sine(b):
    """Lemma 15 as docs/theory.md corrects it: corr(x, sin(b x)) for x ~ N(0, 1)."""
    return np.sqrt(2) * b * np.exp(-(b**2) / 2) / np.sqrt(1 - np.exp(-2 * b**2))


def test_lemmas_14_and_15_as_corrected():
    for b in (0.3, 1.0, 2.5):
        variance, covariance = moments(b)
        assert (1 - np.exp(-2 * b**2)) / 2 == pytest.approx(variance, rel=1e-8), b
        assert correlation_with_sine(b) == pytest.approx(covariance / np.sqrt(variance), rel=1e-7), b
        # As printed they cannot be right: a negative variance, a correlation above 1.
        assert 0.5 - np.exp(2 * b**2) / 2 < 0, b
    assert 2 * 1.0 * np.exp(1.5) / (np.exp(2) - 1) > 1


def test_lemma_15_at_the_papers_frequency():
    assert 2.7e-21 < correlation_with_sine(10.0) < 2.8e-21


def test_myopic_attention_in_matrix_form_has_a_plus():
    """App. B's token-wise equation: + a_ii (v_i - v~_i), as its matrix form says; against the operator itself."""
    import torch

    from myopia.model.operator import myopic_attention

    g = torch.Generator().manual_seed(0)
    q, k, v, kp, vp = (torch.randn(1, 1, 5, 3, generator=g, dtype=torch.float64) for _ in range(5))
    ours = myopic_attention(q, k, v, kp, vp, scale=1.0, impl="dense")[0, 0]
    scores = q[0, 0] @ kp[0, 0].T + torch.diag((q * (k - kp))[0, 0].sum(-1))
    a = scores.masked_fill(torch.ones(5, 5).triu(1) > 0, float("-inf")).softmax(-1)
    plus = a @ vp[0, 0] + a.diagonal()[:, None] * (v - vp)[0, 0]
    minus = a @ vp[0, 0] - a.diagonal()[:, None] * (v - vp)[0, 0]
    assert (ours - plus).abs().max() < 1e-12 and (ours - minus).abs().max() > 0.1


def test_equal_seeds_give_equal_tables():
    assert measure.theory(SEEDS[:2]).equals(measure.theory(SEEDS[:2]))
