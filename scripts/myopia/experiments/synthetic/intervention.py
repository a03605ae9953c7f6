"""Causal intervention along the probe's direction: does layer 2 read what layer 1 pre-cached?

Protocol section 4: at one position m, hidden state `layer` gets c w / |w|^2 added, where w is the linear
probe of sin(b x_n) at lookback 0, so that the probe's read-out rises by exactly c. If the network computes
y_n from the pre-cached values it reads along w, y_{m+lag} rises by c for every lag inside the task's window
(where z = 1) and not at all beyond. The authors' version sets x = 0 and draws c with standard deviation 100
against a natural range of about 1; here sequences are natural and |c| <= 2 standard deviations.

A probe with next to no ridge leans on directions of tiny variance, so that w is long and c w / |w|^2 a change
far too small for block 2 to notice (on trained networks of width 64: .01 to .02 long, slopes below .002, as
the authors' stored .00). The direction `pattern` is therefore measured as well: c S w / (w'S w), with S the
covariance of the hidden state. It raises the read-out by the same c, by the change that is likeliest under
natural variation (Haufe et al. 2014, doi 10.1016/j.neuroimage.2013.10.067: how h moves with what w reads).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy.special import ndtri
from torch import Tensor

from myopia.data.random import uniforms
from myopia.experiments.synthetic.data import DpTask
from myopia.experiments.synthetic.network import Regressor

LAGS_BEYOND = 4
"""How many lags past the window are measured (protocol section 4, Fig 2's reference band)."""

LIMIT_SD = 2.0
"""Largest |c| in standard deviations of the read-out."""


@dataclass(frozen=True)
class Slope:
    """Slope of the change of y_{m+lag} on c, from the n sequences with z = 1 there (NaN if none)."""

    direction: str
    lag: int
    slope: float
    n: int


def measured_lags(task: DpTask) -> range:
    """Lags 0..a+4, cut where the sequence is too short to hold them."""
    return range(min(task.a + LAGS_BEYOND, task.T - 1) + 1)


@torch.inference_mode()
def intervention_slopes(
    model: Regressor,
    task: DpTask,
    z_BT: np.ndarray,
    h_BTD: Tensor,
    layer: int,
    weight_D: np.ndarray,
    pattern_D: np.ndarray,
    readout_sd: float,
    *,
    seed: int,
    batch: int = 256,
) -> list[Slope]:
    """Slopes per direction and lag, from natural hidden states h_BTD of `layer`, on the model's device, and their
    inputs' z_BT.

    `weight_D` is the probe w, `pattern_D` = S w / (w'S w), `readout_sd` the standard deviation of its
    read-out on natural sequences. Directions: `probe`, `pattern`, and for each a control, `random` and
    `random-pattern`.
    Sequence j is changed at position m = j mod (number of positions from which every lag fits), by its own
    c, uniform within 2 sd. Controls: one random direction per `seed`, orthogonal to the probe (which is what
    makes 0 its expected slope), with changes of equal norm. Expected slopes in a network that pre-caches: 1
    at lags shift..shift+a-1, 0 at the others. The fit is through the origin: c = 0 changes nothing.
    """
    (count, length, _), device = h_BTD.shape, h_BTD.device
    lags = measured_lags(task)
    every = torch.arange(count, device=device)
    position = every % (length - lags[-1])
    c_B = torch.from_numpy(LIMIT_SD * readout_sd * (2 * uniforms(seed, "intervention", 0, count) - 1)).to(device)
    targets_BL = position[:, None] + torch.tensor(list(lags), device=device)
    asked_BL = torch.from_numpy(z_BT).to(device).gather(1, targets_BL) == 1
    batches = every.split(batch)
    # Through `run_from` as well, so that the same kernels round both outputs: c = 0 changes exactly nothing.
    before_BT = torch.cat([model.run_from(h_BTD[rows], layer) for rows in batches]).double()
    slopes = []
    for name, step_D in _steps(weight_D, pattern_D, seed):
        moved_BTD = h_BTD.clone()
        moved_BTD[every, position] += (c_B[:, None] * step_D.to(device)).to(h_BTD.dtype)
        after_BT = torch.cat([model.run_from(moved_BTD[rows], layer) for rows in batches]).double()
        change_BL = (after_BT - before_BT).gather(1, targets_BL)
        weight_BL = c_B[:, None] * asked_BL
        with np.errstate(divide="ignore", invalid="ignore"):
            slope_L = (weight_BL * change_BL).sum(0).cpu().numpy() / (weight_BL * c_B[:, None]).sum(0).cpu().numpy()
        seen_L = asked_BL.sum(0).tolist()
        slopes += [Slope(name, lag, float(slope_L[lag]), seen_L[lag]) for lag in lags]
    return slopes


def _steps(weight_D: np.ndarray, pattern_D: np.ndarray, seed: int) -> list[tuple[str, Tensor]]:
    """Displacements for c = 1: two that raise the read-out by 1, each with one as long that leaves it."""
    squared = weight_D @ weight_D
    random_D = ndtri(uniforms(seed, "intervention direction", 0, len(weight_D)))
    random_D -= weight_D * (weight_D @ random_D) / squared
    random_D /= np.linalg.norm(random_D)
    steps = {
        "probe": weight_D / squared,
        "random": random_D / np.sqrt(squared),
        "pattern": pattern_D,
        "random-pattern": random_D * np.linalg.norm(pattern_D),
    }
    return [(name, torch.from_numpy(step_D)) for name, step_D in steps.items()]
