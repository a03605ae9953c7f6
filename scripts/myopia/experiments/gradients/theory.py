"""The paper's theory on convex toy problems (sections 1.2-1.3 of Appendix A, theorems of Appendix C), no training.

A planning problem has positions i = 1..n with parameters theta_i in R^d of their own and losses

    l_i(theta_1..theta_i) = sum_r phi((A_i [theta_1; ..; theta_i] - b_i)_r) + mu/2 |theta_i|^2,

phi(z) = z^2 / 2 or log cosh z: each l_i is convex in all its arguments and strongly convex in theta_i, so the myopic
solution (each theta_i minimises its own loss given those before it) and the optimum are unique. Earlier parameters
enter later losses, which is what makes planning pay.

With V_i = min over theta_i..theta_n of sum_{j >= i} l_j(theta~_1..theta~_{i-1}, theta_i..theta_j), reached at theta^{*i},

    bonus c_i = l_i(theta~_1..theta~_i) - l_i(theta~_1..theta~_{i-1}, theta^{*i}_i)                             <= 0
    malus d_i = sum_{j > i} [l_j(.., theta~_i, theta^{*i+1}_{i+1}..) - l_j(.., theta^{*i}_i, theta^{*i}_{i+1}..)] >= -c_i
    gap       = sum_i l_i(theta~) - V_1 = sum_i (c_i + d_i).

Every toy is drawn from its seed; one row per (toy, seed, quantity, x).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.linalg import eigvalsh
from scipy.optimize import minimize

from myopia.experiments.gradients import THEORY

Array = NDArray[np.float64]
STEPS = 60
"""Steps of descent that are followed."""

POSITIONS, WIDTH, TERMS, RIDGE = 4, 2, 3, 0.5
FLOOR = 1e-9  # squared distances below this share of the first one are rounding, and say nothing about a rate


@dataclass(frozen=True)
class Planning:
    """A planning problem; `a[i]` is A_i, [terms, (i + 1) d], and `b[i]` is b_i."""

    a: tuple[Array, ...]
    b: tuple[Array, ...]
    mu: float
    d: int
    curved: bool  # log cosh instead of half the square

    @classmethod
    def draw(cls, seed: int, curved: bool = False) -> Planning:
        """A random problem."""
        rng = np.random.default_rng([seed, int(curved)])
        sizes = [(TERMS, (i + 1) * WIDTH) for i in range(POSITIONS)]
        a = tuple(rng.standard_normal(size) / np.sqrt(size[1]) for size in sizes)
        return cls(a, tuple(2 * rng.standard_normal(TERMS) for _ in sizes), RIDGE, WIDTH, curved)

    @property
    def n(self) -> int:
        """Number of positions."""
        return len(self.a)

    def loss(self, i: int, theta: Array) -> float:
        """l_i at all parameters up to i (or more), [>= (i + 1) d]."""
        z = self.a[i] @ theta[: (i + 1) * self.d] - self.b[i]
        own = theta[i * self.d : (i + 1) * self.d]
        # log cosh z without overflow
        phi = np.logaddexp(z, -z) - np.log(2) if self.curved else z**2 / 2
        return float(phi.sum() + self.mu / 2 * own @ own)

    def gradient(self, i: int, theta: Array) -> Array:
        """Of l_i by theta_1..theta_i, padded with zeros to all parameters [n d]."""
        z = self.a[i] @ theta[: (i + 1) * self.d] - self.b[i]
        out = np.zeros(self.n * self.d)
        out[: (i + 1) * self.d] = self.a[i].T @ (np.tanh(z) if self.curved else z)
        out[i * self.d : (i + 1) * self.d] += self.mu * theta[i * self.d : (i + 1) * self.d]
        return out

    def hessian(self, i: int, theta: Array) -> Array:
        """Of l_i by all parameters, [n d, n d]."""
        z = self.a[i] @ theta[: (i + 1) * self.d] - self.b[i]
        curvature = 1 / np.cosh(z) ** 2 if self.curved else np.ones_like(z)
        size = (i + 1) * self.d
        out = np.zeros((self.n * self.d, self.n * self.d))
        out[:size, :size] = self.a[i].T @ (curvature[:, None] * self.a[i])
        own = np.arange(i * self.d, size)
        out[own, own] += self.mu
        return out

    def total(self, theta: Array) -> float:
        """Sum of all losses."""
        return sum(self.loss(i, theta) for i in range(self.n))

    def total_gradient(self, theta: Array) -> Array:
        """Its gradient."""
        return sum(self.gradient(i, theta) for i in range(self.n))

    def myopic_field(self, theta: Array) -> Array:
        """What untied myopic descent follows: grad_{theta_i} l_i in the place of theta_i."""
        out = np.zeros_like(theta)
        for i in range(self.n):
            own = slice(i * self.d, (i + 1) * self.d)
            out[own] = self.gradient(i, theta)[own]
        return out

    @cached_property
    def curvature(self) -> tuple[float, float]:
        """(sigma, L): the sum of losses is sigma-strongly convex and L-smooth (for log cosh: bounds)."""
        square = Planning(self.a, self.b, self.mu, self.d, curved=False)
        values = eigvalsh(sum(square.hessian(i, np.zeros(self.n * self.d)) for i in range(self.n)))
        return (self.mu if self.curved else float(values[0])), float(values[-1])

    @cached_property
    def own_curvature(self) -> tuple[float, float]:
        """The smallest sigma_i and the largest L_i of the losses in their own parameters."""
        square = Planning(self.a, self.b, self.mu, self.d, curved=False)
        own = [slice(i * self.d, (i + 1) * self.d) for i in range(self.n)]
        values = [eigvalsh(square.hessian(i, np.zeros(self.n * self.d))[s, s]) for i, s in enumerate(own)]
        return (self.mu if self.curved else min(float(v[0]) for v in values)), max(float(v[-1]) for v in values)

    def best_from(self, first: int, theta: Array, last: int | None = None) -> Array:
        """All parameters, with positions first..last-1 chosen to minimise the sum of those positions' losses."""
        last = self.n if last is None else last
        free = slice(first * self.d, last * self.d)

        def full(x: Array) -> Array:
            out = theta.copy()
            out[free] = x
            return out

        def by(f: Callable[[int, Array], Any]) -> Callable[[Array], Any]:
            return lambda x: sum(f(j, full(x)) for j in range(first, last))

        gradient, hessian = by(self.gradient), by(self.hessian)
        found = minimize(
            by(self.loss), theta[free], jac=lambda x: gradient(x)[free], hess=lambda x: hessian(x)[free, free],
            method="trust-exact", options={"gtol": 1e-12, "maxiter": 500},
        )  # fmt: skip
        return full(found.x)

    @cached_property
    def myopic(self) -> Array:
        """The sequential argmins theta~ (Definition 1)."""
        theta = np.zeros(self.n * self.d)
        for i in range(self.n):
            theta = self.best_from(i, theta, i + 1)
        return theta

    def bonus_and_malus(self) -> tuple[Array, Array, float]:
        """(c_i [n], d_i [n], untied gap)."""
        best = [self.best_from(i, self.myopic) for i in range(self.n)] + [self.myopic]
        bonus, malus = np.zeros(self.n), np.zeros(self.n)
        for i in range(self.n):
            bonus[i] = self.loss(i, self.myopic) - self.loss(i, best[i])
            malus[i] = sum(self.loss(j, best[i + 1]) - self.loss(j, best[i]) for j in range(i + 1, self.n))
        return bonus, malus, self.total(self.myopic) - self.total(best[0])


@dataclass(frozen=True)
class Coupled:
    """f(x, y) = 1/2 [x; y]^T H [x; y] - c . y + sum log cosh(B (y + x / 2)): x the past, y the present (Theorem 13).

    f is strongly convex in (x, y) together. Its J = H_yy + H_yx + B^T S B 3/2 (S diagonal, 0 < S <= 1), so the
    symmetric part of J is at least that of H_yy + H_yx: that is mu, and |J| <= bound, everywhere.
    """

    h: Array
    c: Array
    b: Array

    @classmethod
    def draw(cls, seed: int, coupling: float, d: int = 3) -> Coupled:
        """A random problem; `coupling` in units of H_yy's smallest eigenvalue: below 1 it is forward-biased."""
        rng = np.random.default_rng([seed, 13])
        root = rng.standard_normal((d, d))
        present = root @ root.T / d + np.eye(d)
        mixed = rng.standard_normal((d, d))
        # Unlike a symmetric one, a general H_yx also turns the iterates.
        mixed = np.linalg.qr(mixed)[0] * coupling * eigvalsh(present)[0]
        if coupling > 1:  # past and present pull against each other along the softest direction of the present
            softest = np.linalg.eigh(present)[1][:, :1]
            mixed = -coupling * eigvalsh(present)[0] * softest @ softest.T
        past = mixed.T @ np.linalg.solve(present, mixed) + np.eye(d)  # makes H positive definite
        h = np.block([[past, mixed.T], [mixed, present]])
        return cls(h, rng.standard_normal(d), 0.3 * rng.standard_normal((d, d)) * (coupling < 1))

    @property
    def d(self) -> int:
        """Number of parameters."""
        return len(self.c)

    def field(self, y: Array) -> Array:
        """grad_y f(x, y) at x = y."""
        h_yx, h_yy = self.h[self.d :, : self.d], self.h[self.d :, self.d :]
        return (h_yy + h_yx) @ y - self.c + self.b.T @ np.tanh(self.b @ (1.5 * y))

    def constants(self) -> tuple[float, float]:
        """(mu, bound): J's symmetric part is at least mu, |J| at most bound; mu < 0: not forward-biased."""
        j = self.h[self.d :, : self.d] + self.h[self.d :, self.d :]
        return float(eigvalsh((j + j.T) / 2)[0]), float(np.linalg.norm(j, 2) + 1.5 * np.linalg.norm(self.b, 2) ** 2)


def descend(field: Callable[[Array], Array], start: Array, eta: float, steps: int = STEPS) -> Array:
    """theta <- theta - eta field(theta), all iterates [steps + 1, p]."""
    path = [start]
    for _ in range(steps):
        path.append(path[-1] - eta * field(path[-1]))
    return np.array(path)


def contraction(path: Array, goal: Array) -> tuple[Array, float]:
    """(squared distances to `goal`, the largest ratio of one to the one before it)."""
    squared = ((path - goal) ** 2).sum(1)
    known = squared[:-1] > FLOOR * squared[0]
    return squared, float((squared[1:][known] / squared[:-1][known]).max())


def theory(seeds: Sequence[int]) -> pd.DataFrame:
    """`THEORY`: all toys of all seeds."""
    rows: list[tuple[Any, ...]] = []
    for seed in seeds:
        for curved in (False, True):
            name = "log cosh" if curved else "quadratic"
            rows += _planning(f"planning, {name}", seed, Planning.draw(seed, curved))
        rows += _coupled("forward-biased", seed, Coupled.draw(seed, 0.5))
        rows += _coupled("not forward-biased", seed, Coupled.draw(seed, 1.5))
    return pd.DataFrame(rows, columns=[*THEORY.columns])


def _planning(toy: str, seed: int, problem: Planning) -> list[tuple[Any, ...]]:
    bonus, malus, gap = problem.bonus_and_malus()
    rows: list[tuple[Any, ...]] = [(toy, seed, "gap", 0, gap)]
    rows += [(toy, seed, "bonus", i + 1, value) for i, value in enumerate(bonus)]
    rows += [(toy, seed, "malus", i + 1, value) for i, value in enumerate(malus)]
    rows.append((toy, seed, "identity error", 0, abs(gap - (bonus + malus).sum()) / gap))
    start = np.random.default_rng([seed, 7]).standard_normal(problem.n * problem.d) * 3
    sigma, smooth = problem.curvature
    eta = 2 / (sigma + smooth)
    rate = 1 - 2 * eta * sigma * smooth / (sigma + smooth)
    best = problem.best_from(0, problem.myopic)
    rows += _descent(toy, seed, "theorem 8", descend(problem.total_gradient, start, eta), best, rate)
    rows += _tied(toy, seed, problem, start[: problem.d], eta, rate)
    own_sigma, own_smooth = problem.own_curvature
    # The last position settles after those before it have: its distance may grow at first, so no rate is asked.
    path = descend(problem.myopic_field, start, 2 / (own_sigma + own_smooth), 10 * STEPS)
    squared, _ = contraction(path, problem.myopic)
    rows += [(toy, seed, "theorem 10, distance", k, squared[k]) for k in range(STEPS + 1)]
    return [*rows, (toy, seed, "theorem 10, remaining", len(path) - 1, squared[-1] / squared[0])]


def _tied(toy: str, seed: int, problem: Planning, start: Array, eta: float, rate: float) -> list[tuple[Any, ...]]:
    """Theorem 9: one theta for all positions. Its loss is n sigma-strongly convex and n L-smooth: the step is eta / n."""
    n = problem.n

    def field(theta: Array) -> Array:
        return problem.total_gradient(np.tile(theta, n)).reshape(n, -1).sum(0)

    found = minimize(lambda t: problem.total(np.tile(t, n)), start, jac=field, method="BFGS", options={"gtol": 1e-11})
    best = found.x
    rows = _descent(toy, seed, "theorem 9", descend(field, start, eta / n), best, rate)
    with np.errstate(over="ignore", invalid="ignore"):
        far = descend(field, start, np.sqrt(n) * eta, 20)
    left = np.nan_to_num(np.log10(np.sum((far[-1] - best) ** 2) / np.sum((start - best) ** 2)), posinf=300.0)
    return [*rows, (toy, seed, "theorem 9, step sqrt(n) eta", 20, left)]


def _descent(toy: str, seed: int, name: str, path: Array, goal: Array, rate: float) -> list[tuple[Any, ...]]:
    """Distances along a path, and by how much its worst step exceeds the promised rate (negative: it keeps it)."""
    squared, worst = contraction(path, goal)
    rows: list[tuple[Any, ...]] = [(toy, seed, f"{name}, distance", k, v) for k, v in enumerate(squared)]
    rows += [(toy, seed, f"{name}, bound", k, squared[0] * rate**k) for k in range(len(squared))]
    return [*rows, (toy, seed, f"{name}, excess", 0, worst - rate)]


def _coupled(toy: str, seed: int, problem: Coupled) -> list[tuple[Any, ...]]:
    mu, bound = problem.constants()
    rows: list[tuple[Any, ...]] = [
        (toy, seed, "lowest eigenvalue", 0, mu),
        (toy, seed, "condition", 0, bound / abs(mu)),
    ]
    start = np.full(problem.d, 3.0)
    if mu > 0:
        eta = mu / bound**2
        goal = descend(problem.field, start, eta, 200 * STEPS)[-1]
        return rows + _descent(toy, seed, "theorem 13", descend(problem.field, start, eta), goal, 1 - mu**2 / bound**2)
    # Without log cosh the field is linear: its zero is known, and the iterates run away from it.
    j = problem.h[problem.d :, : problem.d] + problem.h[problem.d :, problem.d :]
    squared, _ = contraction(descend(problem.field, start, 1 / bound), np.linalg.solve(j, problem.c))
    rows += [(toy, seed, "theorem 13, distance", k, v) for k, v in enumerate(squared)]
    return [*rows, (toy, seed, "theorem 13, growth", len(squared) - 1, float(np.log10(squared[-1] / squared[0])))]
