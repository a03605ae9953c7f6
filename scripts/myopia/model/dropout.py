"""Dropout whose mask is a function of (seed, step, global sample index, layer): both arms drop the same units.

torch's own dropout draws from one stream in call order, so it changes with micro-batches, process counts and
resumption. Here every unit's fate is a hash of where it stands; any step can be recomputed.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass
class Keys:
    """What the current batch is; shared by all dropout layers of a model, set by the trainer before each pass."""

    seed: int = 0
    step: int = 0
    samples: Tensor | None = None  # [B] global sample indices of the rows in this micro-batch


class KeyedDropout(nn.Module):
    """Drop-in for `nn.Dropout` on [B, ...] activations."""

    def __init__(self, p: float, layer: int, keys: Keys) -> None:
        super().__init__()
        self.p, self.layer, self.keys = p, layer, keys

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.p == 0:
            return x
        samples = self.keys.samples
        if samples is None or len(samples) != len(x):
            raise RuntimeError("keyed dropout has no sample indices for this batch: set Keys before the forward pass")
        # A seed moves the samples far apart; were it mixed in by xor, seeds would share masks in another order.
        far = _mix(torch.tensor(self.keys.seed, device=x.device))
        row = _mix(_mix(_mix(samples.to(x.device) + far) + self.keys.step) + self.layer)
        unit = torch.arange(x[0].numel(), device=x.device)
        bits = _mix(row[:, None] + unit) & 0xFFFFFF  # 24 uniform bits
        keep = (bits >= round(self.p * 2**24)).view(x.shape)
        return torch.where(keep, x / (1 - self.p), 0)


def _mix(x: Tensor) -> Tensor:
    """A 64-bit finaliser (splitmix64's constants, in wrapping int64): neighbouring inputs give unrelated outputs."""
    x = x * -7046029254386353131  # 0x9E3779B97F4A7C15
    x = (x ^ _shift(x, 30)) * -4658895280553007687  # 0xBF58476D1CE4E5B9
    x = (x ^ _shift(x, 27)) * -7723592293110705685  # 0x94D049BB133111EB
    return x ^ _shift(x, 31)


def _shift(x: Tensor, bits: int) -> Tensor:
    """Logical right shift; `>>` on int64 drags the sign along."""
    return (x >> bits) & ((1 << (64 - bits)) - 1)


def install(model: nn.Module, keys: Keys) -> int:
    """Replace every active `nn.Dropout` in `model`, in module order; returns how many."""
    count = 0
    for parent in list(model.modules()):
        for name, child in parent.named_children():
            if type(child) is nn.Dropout and child.p > 0:
                setattr(parent, name, KeyedDropout(child.p, count, keys))
                count += 1
    return count
