"""The forward-bias quantity of the paper's Theorem 13, H_yy + H_xy, at the weights of a network.

f(x, y) is the loss with parameters x in the past and y in the present (`model.two_sets`). Myopic descent follows
F(theta) = grad_y f(theta, theta), whose Jacobian is

    J = f_yy + f_yx,      J_ab = d F_a / d theta_b,

the paper's H_yy + H_xy. Theorem 13 asks it to be positive definite everywhere. J is not symmetric, so there are two
questions: whether its symmetric part is positive definite (what the theorem needs), and whether the real parts of its
eigenvalues are positive (whether a fixed point is locally stable under small steps).

*Tied* is the real network. *Untied*, every position i has a copy theta_i of its own and follows grad_{theta_i} l_i;
losses depend on earlier copies only, so the Jacobian is block triangular and its eigenvalues are those of the blocks
f_i = d^2 l_i / d theta_i^2, which are symmetric. All are taken at equal copies, the trained network.

Up to `DENSE_LIMIT` parameters the matrices are written out (torch.func) and all eigenvalues computed; up to
`PRODUCT_LIMIT` the ends of the symmetric part's spectrum come from products alone (Lanczos, scipy's eigsh).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, eigsh
from torch import Tensor, nn

from myopia.common.errors import MyopiaError
from myopia.data.tokens import TokenFile
from myopia.experiments.gradients import POINTS, SPECTRA
from myopia.experiments.gradients.settings import DENSE_LIMIT, PRODUCT_LIMIT
from myopia.experiments.synthetic.data import DpTask, sample
from myopia.measure.text import spread_windows
from myopia.model.attach import to_vanilla
from myopia.model.build import load_language_model
from myopia.model.regression import load_regression_model
from myopia.model.two_sets import TwoSets

CHUNK = 64  # rows of a matrix computed at once
TOLERANCE = 1e-3  # of an end of the spectrum, relative
ITERATIONS = 20  # restarts of Lanczos, each some ten products; what has not converged by then is left out


@dataclass(frozen=True)
class BiasRun:
    """A trained network and the task whose Hessians are taken."""

    task: str
    run: str
    arm: str
    seed: int
    folder: Path
    data: Mapping[str, Any] | None = None  # a synthetic task's parameters
    tokens: Path | None = None  # an encoded corpus, for a language model


# --- functions of one network ---


def regression_pair(model: nn.Module, task: DpTask, sequences: int) -> TwoSets:
    """f of a regression network in float64: Huber loss by position on held-out sequences of D_p."""
    x_BT, z_BT, y_BT = sample(task, 0, 0, sequences, stream="test")
    inputs = {"inputs_BTC": torch.from_numpy(np.stack([x_BT, z_BT], axis=-1)).double()}
    target_BT = torch.from_numpy(y_BT).double()

    def losses(prediction_BT: Tensor) -> Tensor:
        return nn.functional.huber_loss(prediction_BT, target_BT, reduction="none").mean(0)

    return TwoSets(model.double(), inputs, losses)


def language_pair(model: nn.Module, ids_BT: Tensor) -> TwoSets:
    """f of a language model: cross-entropy in nats of the prediction at every position but the last."""

    def losses(output: Any) -> Tensor:
        logits_BVP = output.logits[:, :-1].transpose(1, 2)
        return nn.functional.cross_entropy(logits_BVP, ids_BT[:, 1:], reduction="none").mean(0)

    return TwoSets(model, {"input_ids": ids_BT, "use_cache": False}, losses)


def gradients(pair: TwoSets) -> tuple[Tensor, Tensor]:
    """(future, myopic) parts of the gradient of the mean loss at the network's own weights, each [p]."""
    point = pair.point
    return torch.func.grad(pair.loss, argnums=(0, 1))(point, point)


def jacobian(pair: TwoSets) -> Tensor:
    """J = f_yy + f_yx, dense [p, p]; J[a, b] = d F_a / d theta_b."""
    _require(pair, DENSE_LIMIT, "written-out Hessians")

    def field(theta: Tensor) -> Tensor:
        return torch.func.grad(pair.loss, argnums=1)(theta, theta)

    return torch.func.jacrev(field, chunk_size=CHUNK)(pair.point)


def position_hessians(pair: TwoSets) -> Tensor:
    """d^2 l_i / d theta_i^2 of every predicted position, dense [P, p, p]; their mean is f_yy."""
    _require(pair, DENSE_LIMIT, "written-out Hessians")

    # Reverse over reverse: Huber's backward has no forward mode, and torch.func.hessian (torch 2.13), instead of saying
    # so, leaves its part out.
    def gradient(position: int) -> Callable[[Tensor], Tensor]:
        return torch.func.grad(lambda present: pair.losses(pair.point, present)[position])

    positions = len(pair.losses(pair.point, pair.point))
    return torch.stack([torch.func.jacrev(gradient(i), chunk_size=CHUNK)(pair.point) for i in range(positions)])


def products(pair: TwoSets, vector: Tensor) -> tuple[Tensor, Tensor]:
    """(J v, J^T v) without writing J: two passes back through a gradient.

    With s = v . grad_y f and r = v . grad_x f as functions of (x, y): J v = grad_y (s + r), since f_yy is
    symmetric and f_yx v = grad_y r; J^T v = grad_y s + grad_x s.
    """
    _require(pair, PRODUCT_LIMIT, "Hessian products")
    x, y = (pair.point.clone().requires_grad_() for _ in range(2))
    with torch.enable_grad():
        grad_x, grad_y = torch.autograd.grad(pair.loss(x, y), (x, y), create_graph=True)
        s, r = grad_y @ vector, grad_x @ vector
        s_x, s_y = torch.autograd.grad(s, (x, y), retain_graph=True)
        (r_y,) = torch.autograd.grad(r, (y,), allow_unused=True)
    return (s_y if r_y is None else s_y + r_y), s_y + s_x


def symmetric_ends(times: Callable[[Tensor], Tensor], size: int, like: Tensor) -> dict[str, float]:
    """The lowest and the highest eigenvalue of a symmetric matrix given by its products; an end may be missing.

    times: [p] -> [p]. Lanczos (ARPACK) from a fixed start, so that equal weights give equal digits.
    """
    kind = np.float64 if like.dtype == torch.float64 else np.float32

    def matvec(v: np.ndarray) -> np.ndarray:
        return times(torch.from_numpy(np.ascontiguousarray(v.ravel())).to(like)).cpu().numpy()

    operator = LinearOperator((size, size), matvec=matvec, dtype=kind)
    start = np.random.Generator(np.random.Philox(key=[0, 0])).standard_normal(size).astype(kind)
    ends = {}
    for name, which in (("highest", "LA"), ("lowest", "SA")):
        try:
            values = eigsh(operator, k=1, which=which, v0=start, tol=TOLERANCE, maxiter=ITERATIONS,
                           return_eigenvectors=False)  # fmt: skip
        except ArpackNoConvergence as error:
            values = error.eigenvalues
        if len(values):
            ends[name] = float(values[0])
    return ends


def _require(pair: TwoSets, limit: int, what: str) -> None:
    size = len(pair.point)
    if size > limit:
        raise MyopiaError(
            f"{what} are made for at most {limit:,} parameters and this network has {size:,}; take a smaller network "
            "(config keys gradients.bias.model, gradients.lanczos.seeds)"
        )


# --- tables ---


def forward_bias(
    runs: Sequence[BiasRun], sequences: int, windows: int, device: torch.device | str = "cpu"
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """`SPECTRA`, and the points they were taken at, `POINTS`.

    sequences: held-out sequences of the synthetic task; windows: test windows of a corpus.
    """
    spectra, points = [], []
    for run in runs:
        pair = _pair(run, sequences, windows, device)
        fields = {"task": run.task, "run": run.run, "arm": run.arm, "seed": run.seed}
        points.append(fields | _point(pair, sequences if run.data is not None else windows))
        rows = _dense(pair) if len(pair.point) <= DENSE_LIMIT else _ends(pair)
        spectra.append(pd.DataFrame(rows).assign(**fields))
        to_vanilla(pair.model)
    columns = [*SPECTRA.columns]
    spectrum = pd.concat(spectra)[columns] if spectra else pd.DataFrame(columns=columns)
    order = ["task", "run", "seed", "matrix", "position", "index"]
    return spectrum.sort_values(order, kind="stable"), pd.DataFrame(points, columns=[*POINTS.columns])


def _pair(run: BiasRun, sequences: int, windows: int, device: torch.device | str) -> TwoSets:
    if run.data is not None:
        return regression_pair(load_regression_model(run.folder), DpTask.from_spec(run.data), sequences)
    file = TokenFile.open(run.tokens, "test")
    chosen = spread_windows(file.docs, windows)
    ids_BT = torch.from_numpy(np.asarray(file.tokens[chosen]).astype(np.int64)).to(device)
    return language_pair(load_language_model(run.folder).to(device), ids_BT)


def _point(pair: TwoSets, sequences: int) -> dict[str, Any]:
    """What the network is at this point: a trained network is no fixed point, and its gradients say by how much."""
    _require(pair, PRODUCT_LIMIT, "Hessian products")
    future, myopic = gradients(pair)
    with torch.no_grad():
        loss = float(pair.loss(pair.point, pair.point))
    return {
        "parameters": len(pair.point),
        "sequences": sequences,
        "loss": loss,
        "weights": float(pair.point.norm()),
        "gradient_total": float((future + myopic).norm()),
        "gradient_myopic": float(myopic.norm()),
        "gradient_future": float(future.norm()),
    }


def _dense(pair: TwoSets) -> list[dict[str, Any]]:
    """All eigenvalues: of J, of its symmetric part, of f_yy, and of every position's block."""
    j = jacobian(pair).double().cpu().numpy()
    blocks_Ppp = position_hessians(pair).double().cpu().numpy()
    rows = _rows("jacobian", np.linalg.eigvals(j), "dense")
    rows += _rows("symmetric", np.linalg.eigvalsh((j + j.T) / 2), "dense")
    rows += _rows("present", np.linalg.eigvalsh(blocks_Ppp.mean(0)), "dense")
    for position, block in enumerate(blocks_Ppp):
        rows += _rows("untied", np.linalg.eigvalsh((block + block.T) / 2), "dense", position)
    return rows


def _ends(pair: TwoSets) -> list[dict[str, Any]]:
    """The ends of the symmetric part's spectrum."""
    ends = symmetric_ends(lambda v: sum(products(pair, v)) / 2, len(pair.point), pair.point)
    place = {"lowest": 0, "highest": len(pair.point) - 1}
    return [
        {"matrix": "symmetric", "position": -1, "index": place[name], "real": value, "imaginary": 0.0, "method": "lanczos"}
        for name, value in ends.items()
    ]  # fmt: skip


def _rows(matrix: str, values: np.ndarray, method: str, position: int = -1) -> list[dict[str, Any]]:
    """One row per eigenvalue, by rising real part (then imaginary part)."""
    values = np.sort_complex(values)
    return [
        {"matrix": matrix, "position": position, "index": k, "real": v.real, "imaginary": v.imag, "method": method}
        for k, v in enumerate(values)
    ]
