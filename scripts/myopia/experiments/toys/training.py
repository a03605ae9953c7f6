"""Networks whose every map is a table of logits, thousands of them trained side by side.

    y ~ softmax(f[x]),   z1 ~ softmax(g1[y]),   z2 ~ softmax(g2[y, z1])

f is stochastic with K values, so that its losses are exact expectations over y: no relaxation, no straight-through bias.
Runs are stacked on the first axis R; their losses are written for one run and mapped by `torch.func.vmap`.

Shapes: R runs, X inputs, K values of y, Z of z1, W of z2, B samples. Losses in nats.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from scipy.special import ndtri
from torch import Tensor
from torch.func import grad, vmap

from myopia.data.random import WORDS_PER_COUNTER, uniforms
from myopia.train.optim import learning_rate

Tables = dict[str, Tensor]
CLOSED = -1e9
"""Logit of a value of y beyond a run's capacity."""


def seed_normals(seed: int, name: str, shape: Sequence[int]) -> Tensor:
    """Standard normals that depend on (seed, name) alone, float32."""
    words = uniforms(seed, f"toy {name}", 0, int(np.prod(shape)))
    return torch.from_numpy(ndtri(words).astype(np.float32)).reshape(*shape)


def initial_tables(seeds: Sequence[int], X: int, K: int, Z: int, W: int, scale: float) -> Tables:
    """Stacked tables of small random logits (standard deviation `scale`), one run per entry of `seeds`."""
    shapes = {"f": (X, K), "g1": (K, Z), "g2": (K, Z, W)}
    once = {s: {n: scale * seed_normals(s, f"tables {n}", shape) for n, shape in shapes.items()} for s in set(seeds)}
    return {name: torch.stack([once[seed][name] for seed in seeds]) for name in shapes}


def log_codes(tables: Tables, open_K: Tensor | None = None) -> Tensor:
    """log q(y | x), [..., X, K]; values of y that are not open get none of it."""
    logits = tables["f"]
    if open_K is not None:
        logits = logits.masked_fill(~open_K.unsqueeze(-2), CLOSED)
    return logits.log_softmax(-1)


def partly_cut(q: Tensor, through: Tensor) -> Tensor:
    """q with `through` times its gradient: 1 leaves it whole (vanilla), 0 cuts it (myopic)."""
    return through * q + (1 - through) * q.detach()


def teacher_forced(
    tables: Tables, joint_XZW: Tensor, through: Tensor, open_K: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Losses (loss1, loss2) of one run on the distribution `joint_XZW`, true z1 given to g2.

    The gradient of loss2 reaches g2 whole and f times `through`; g1 has no part in it.
    """
    q_XK = log_codes(tables, open_K).exp()
    present_KZ = torch.einsum("xk,xzw->kz", q_XK, joint_XZW)
    future_KZW = torch.einsum("xk,xzw->kzw", partly_cut(q_XK, through), joint_XZW)
    loss1 = -(present_KZ * tables["g1"].log_softmax(-1)).sum()
    loss2 = -(future_KZW * tables["g2"].log_softmax(-1)).sum()
    return loss1, loss2


def descend(
    params: Tables,
    loss: Callable[..., Tensor],
    data: Callable[[int, Tables], tuple[Tensor, ...]],
    *,
    steps: int,
    optim: dict[str, Any],
    watch: Callable[[int, Tables], None] = lambda step, params: None,
) -> Tables:
    """Train all runs at once; no run touches another.

    loss: (params of one run, *its data) -> scalar. data: (step, stacked params) -> stacked arguments of `loss`.
    optim: {"kind": "adam" or "sgd", "lr", "schedule", "warmup"}. `watch` sees the parameters before every step and at
    the end (then `step` is `steps`).
    """
    leaves = {name: value.detach().clone() for name, value in params.items()}
    # Adam is elementwise: on stacked parameters it is one Adam per run.
    make = {"adam": torch.optim.Adam, "sgd": torch.optim.SGD}[optim["kind"]]
    optimizer = make(list(leaves.values()), lr=optim["lr"])
    gradient = vmap(grad(loss))
    for step in range(steps):
        watch(step, leaves)
        found = gradient(leaves, *data(step, leaves))
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(optim, step, steps)
        for name, leaf in leaves.items():
            leaf.grad = found[name]
        optimizer.step()
    watch(steps, leaves)
    return leaves


class Draws:
    """Uniforms of each run at each step, float64 [R, batch, words]: a function of (seed, stream, step) alone."""

    AHEAD = 32

    def __init__(self, seeds: Sequence[int], stream: str, batch: int, words: int) -> None:
        self.seeds, self.stream, self.shape = list(seeds), stream, (batch, words)
        self.counters = -(-batch * words // WORDS_PER_COUNTER)
        self._first = -self.AHEAD
        self._held: Tensor = torch.empty(0)

    def __call__(self, step: int) -> Tensor:
        """The uniforms of one step."""
        if not self._first <= step < self._first + self.AHEAD:
            self._first = step - step % self.AHEAD
            first, width = self._first * self.counters, self.counters * WORDS_PER_COUNTER
            rows = {s: uniforms(s, f"toy {self.stream}", first, self.AHEAD * width) for s in set(self.seeds)}
            held = np.stack([rows[s].reshape(self.AHEAD, width) for s in self.seeds], axis=1)
            self._held = torch.from_numpy(held[..., : self.shape[0] * self.shape[1]])
        return self._held[step - self._first].reshape(len(self.seeds), *self.shape)


def pick(p: Tensor, u: Tensor) -> Tensor:
    """Categories drawn by inversion: p [..., C] probabilities, u [...] uniforms -> int64 [...]."""
    return (u.unsqueeze(-1) >= p.cumsum(-1)[..., :-1]).sum(-1)


def empirical(index_RB: Tensor, shape: Sequence[int]) -> Tensor:
    """Relative frequencies of flat indices, [R, *shape]."""
    share = torch.full(index_RB.shape, 1 / index_RB.shape[1])
    return torch.zeros(len(index_RB), int(np.prod(shape))).scatter_add_(1, index_RB, share).reshape(-1, *shape)


def sampled_joint(joint_XZW: Tensor, u_RB: Tensor) -> Tensor:
    """Empirical distributions of B triplets of one task, [R, X, Z, W]."""
    edges = joint_XZW.double().flatten().cumsum(0)[:-1].contiguous()
    return empirical(torch.bucketize(u_RB.contiguous(), edges, right=True), joint_XZW.shape)
