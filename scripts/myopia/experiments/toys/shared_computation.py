"""Trained arms of the toy of shared computation: does f, whose output has K values, serve z1 or z2?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.func import vmap

from myopia.experiments.toys.data import shared_joint
from myopia.experiments.toys.training import Tables, descend, initial_tables, log_codes, teacher_forced

THROUGH = {"vanilla": 1.0, "myopic": 0.0}
"""Share of the later loss's gradient that reaches f."""


class SharedRun(NamedTuple):
    """One run: its task (overlap, balance), its capacity, its arm, its seed."""

    overlap: float
    balance: float
    capacity: int
    arm: str
    seed: int


class SharedResult(NamedTuple):
    """Numbers of all runs, [R] each, in bits: losses as trained, and I(y; z2), what y tells of the future."""

    loss1: np.ndarray
    loss2: np.ndarray
    bits_future: np.ndarray


def train_shared(runs: Sequence[SharedRun], alphabet: int, optim: dict[str, Any], steps: int) -> SharedResult:
    """Train every run on its exact distribution; runs of one seed start from the same tables in every condition."""
    tasks = {key: shared_joint(alphabet, key[1], key[0]) for key in {(run.overlap, run.balance) for run in runs}}
    joint_RXZW = torch.from_numpy(np.stack([tasks[run.overlap, run.balance] for run in runs])).float()
    through_R = torch.tensor([THROUGH[run.arm] for run in runs])
    values = max(run.capacity for run in runs)
    open_RK = torch.arange(values) < torch.tensor([run.capacity for run in runs])[:, None]
    start = initial_tables([run.seed for run in runs], alphabet**2, values, alphabet, alphabet, optim["start"])
    data = (joint_RXZW, through_R, open_RK)
    tables = descend(start, total_loss, lambda step, params: data, steps=steps, optim=optim)
    loss1_R, loss2_R = vmap(teacher_forced)(tables, *data)
    bits = [(value / math.log(2)).double().numpy() for value in (loss1_R, loss2_R, future_nats(tables, *data))]
    return SharedResult(*bits)


def total_loss(tables: Tables, joint_XZW: Tensor, through: Tensor, open_K: Tensor) -> Tensor:
    """loss1 + loss2 of one run; what of it reaches f is up to `through`."""
    return sum(teacher_forced(tables, joint_XZW, through, open_K))


def future_nats(tables: Tables, joint_RXZW: Tensor, through_R: Tensor, open_RK: Tensor) -> Tensor:
    """Mutual information of y and z2 in each run, [R]."""
    q_RXK = log_codes(tables, open_RK).exp()
    joint_RKW = torch.einsum("rxk,rxzw->rkw", q_RXK, joint_RXZW)
    parts = joint_RKW.flatten(1), joint_RKW.sum(1), joint_RKW.sum(2)
    h_yw, h_w, h_y = (torch.special.entr(part).sum(1) for part in parts)
    return h_y + h_w - h_yw
