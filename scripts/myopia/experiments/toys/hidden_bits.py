"""Does g1 hide bits about z2 in its output? Three trainings of one network, and a fourth that changes its mind.

x is four fair signs. z1 = (x_1 + .. + x_4) / 2 + noise; z2 = 1 if x_1 x_2 = 1, else 0. y = f(x) and g2 are linear,
g1 is not: g1 could compute z2, g2 cannot, unless g1 tells it, in the last digits of its prediction of z1. What g2 reads
of a prediction is exact up to `precision`, or a code could be infinitely small and cost nothing.

trainings: `true` g2 reads the true z1; `stopped` it reads g1's prediction behind a stop-gradient; `full` it reads the
prediction, and g1 is trained on z2's loss as well; `released` is `full` for the first half and `stopped` from then on.

Shapes: R runs, B samples, N = 16 inputs, H hidden units. loss1 = (prediction - z1)^2 / (2 noise^2), loss2 in nats.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.func import vmap

from myopia.experiments.toys.training import Draws, Tables, descend, seed_normals

TRAININGS = ("true", "stopped", "full", "released")
SIGNS = 4
INPUTS_NS = torch.tensor(list(itertools.product([-1.0, 1.0], repeat=SIGNS)))
"""Every x, [16, 4]."""

MEAN_N = INPUTS_NS.sum(1) / SIGNS**0.5
"""E[z1 | x]: variance 1 over x."""

PARITY_N = INPUTS_NS[:, 0] * INPUTS_NS[:, 1]
"""z2 as a sign."""


def train_hidden(
    runs: Sequence[tuple[str, int]], section: dict[str, Any], watch: Callable[[int, Tables], None]
) -> Tables:
    """Train runs (training, seed); all trainings of a seed start alike and read the same samples.

    section: the settings `toys.hidden`. `watch(step, stacked parameters)` is called before every step and at the end.
    """
    seeds = [seed for _, seed in runs]
    starts = [initial(seed, section["width"]) for seed in seeds]
    params = {name: torch.stack([start[name] for start in starts]) for name in starts[0]}
    reads_true_R = torch.tensor([float(training == "true") for training, _ in runs])
    draws = Draws(seeds, "hidden", section["batch_size"], 3)

    def data(step: int, _: Tables) -> tuple[Tensor, ...]:
        u_RB3 = draws(step)
        x_RB = (u_RB3[..., 0] * len(INPUTS_NS)).long()
        noise_RB, digits_RB = torch.special.ndtri(u_RB3[..., 1:]).float().unbind(-1)
        z1_RB = MEAN_N[x_RB] + section["noise"] * noise_RB
        half = step < section["steps"] // 2
        through_R = torch.tensor([float(t == "full" or (t == "released" and half)) for t, _ in runs])
        spread_R = torch.full((len(runs),), section["noise"])
        return x_RB, z1_RB, section["precision"] * digits_RB, through_R, reads_true_R, spread_R

    return descend(params, total_loss, data, steps=section["steps"], optim=section["optim"], watch=watch)


def initial(seed: int, width: int) -> Tables:
    """Parameters of one run, normal with variance 1 / fan-in; biases 0."""
    shapes = {"f": (SIGNS, SIGNS), "in": (SIGNS, width), "out": (width,), "g2": (SIGNS + 1,)}
    weights = {name: seed_normals(seed, f"hidden {name}", s) / s[0] ** 0.5 for name, s in shapes.items()}
    zeros = {"in_bias": (width,), "out_bias": (), "g2_bias": ()}
    return weights | {name: torch.zeros(shape) for name, shape in zeros.items()}


def predict(params: Tables, x_BS: Tensor) -> tuple[Tensor, Tensor]:
    """y [B, 4] and g1's prediction of z1 [B], one run."""
    y_BS = x_BS @ params["f"]
    hidden_BH = torch.nn.functional.gelu(y_BS @ params["in"] + params["in_bias"])
    return y_BS, hidden_BH @ params["out"] + params["out_bias"]


def total_loss(
    params: Tables, x_B: Tensor, z1_B: Tensor, blur_B: Tensor, through: Tensor, reads_true: Tensor, spread: Tensor
) -> Tensor:
    """loss1 + loss2 of one run, means over samples; `through`: share of loss2's gradient that reaches g1."""
    y_BS, predicted_B = predict(params, INPUTS_NS[x_B])
    loss1 = ((predicted_B - z1_B) ** 2).mean() / (2 * spread**2)
    told_B = through * predicted_B + (1 - through) * predicted_B.detach() + blur_B
    read_B = reads_true * z1_B + (1 - reads_true) * told_B
    logit_B = y_BS @ params["g2"][:-1] + params["g2"][-1] * read_B + params["g2_bias"]
    loss2 = torch.nn.functional.softplus(-PARITY_N[x_B] * logit_B).mean()
    return loss1 + loss2


def residuals(params: Tables) -> Tensor:
    """Prediction minus E[z1 | x] at every input, [R, 16]."""
    return vmap(lambda run: predict(run, INPUTS_NS)[1] - MEAN_N)(params)
