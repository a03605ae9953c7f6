"""AdamW with groups, and the learning rate as a pure function of the step."""

from __future__ import annotations

import math
import re
from typing import Any

import torch
from torch import nn

from myopia.common.errors import MyopiaError


def build_optimizer(model: nn.Module, optim: dict[str, Any]) -> torch.optim.AdamW:
    """Fused AdamW over all parameters, with weight decay on biases and norms too, as in the authors' code (1.3).

    Args:
        model: its trainable parameters are optimized.
        optim: lr, betas, eps, weight_decay, and optionally `lr_scale`: regular expressions on parameter names to factors
            on the learning rate (muP, layer-wise rates). The first match in alphabetical order wins, since mappings in a
            spec have no order. Each parameter group keeps its factor under `scale`.
    """
    scales: dict[str, float] = optim.get("lr_scale", {})
    groups: dict[float, list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            factor = next((f for pattern, f in sorted(scales.items()) if re.search(pattern, name)), 1.0)
            groups.setdefault(factor, []).append(parameter)
    return torch.optim.AdamW(
        [{"params": params, "scale": factor} for factor, params in groups.items()],
        lr=optim["lr"],
        betas=tuple(optim["betas"]),
        eps=optim["eps"],
        weight_decay=optim["weight_decay"],
        fused=True,
    )


def learning_rate(optim: dict[str, Any], step: int, steps: int) -> float:
    """Learning rate of 0-based `step` of `steps`: linear warm-up over the fraction `warmup`, then cosine to 0 or constant.

    Raises MyopiaError for an unknown optim["schedule"].
    """
    if optim["schedule"] not in ("cosine", "constant"):
        raise MyopiaError(f"optim.schedule must be cosine or constant, not {optim['schedule']!r}")
    warmup = int(optim["warmup"] * steps)
    if step < warmup:
        return optim["lr"] * (step + 1) / warmup
    if optim["schedule"] == "constant":
        return optim["lr"]
    progress = (step - warmup) / max(1, steps - warmup)
    return optim["lr"] * 0.5 * (1 + math.cos(math.pi * progress))
