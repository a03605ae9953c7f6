"""Is the cut exact on this model? Measured on the path that trains, not argued from its architecture."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from myopia.model.attach import find_decoder, to_myopic, to_vanilla


@dataclass(frozen=True)
class Verification:
    """What `verify` measured.

    forward: largest difference of a logit, attached minus plain. leak: largest |d loss_t / d e_s| for s < t, which the
    cut must make exactly 0. diagonal: largest |d loss_t / d e_t|, to compare with. weights: largest difference of a
    weight's gradient between the operator that trains and the dense one, over the largest gradient. tokens: T.
    """

    model: str
    cut: str
    tokens: int
    forward: float
    leak: float
    diagonal: float
    weights: float

    @property
    def exact(self) -> bool:
        """Nothing leaks, something is learnt, and two ways to compute the gradient agree up to rounding."""
        return self.leak == 0.0 and self.diagonal > 0.0 and self.weights < 1e-4

    def record(self) -> dict[str, Any]:
        """As a plain mapping."""
        return asdict(self) | {"exact": self.exact}


def verify(model: nn.Module, input_ids: Tensor, *, cut: Literal["hidden", "kv"] = "hidden") -> Verification:
    """Attach the cut, measure forward and gradients, and leave the model as it was.

    Args:
        model: a causal language model, vanilla, on any device.
        input_ids: token ids [1, T], T >= 3; a backward pass for every position, so a dozen tokens are enough.

    Raises:
        MyopiaError: the model cannot be made myopic.
    """
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        with torch.no_grad():
            before = model(input_ids=input_ids, use_cache=False).logits
        to_myopic(model, cut=cut)
        try:
            with torch.no_grad():
                forward = (model(input_ids=input_ids, use_cache=False).logits - before).abs().max()
            grad_TS = _gradients(model, input_ids)
            fused, dense = _weight_gradients(model, input_ids), _weight_gradients(model, input_ids, "dense")
        finally:
            to_vanilla(model)
    finally:
        for module in training:
            module.training = True
    past = torch.tril(grad_TS, diagonal=-1).max()
    largest = max(float(g.abs().max()) for g in dense.values())
    apart = max(float((fused[name] - dense[name]).abs().max()) for name in dense)
    return Verification(
        model=type(model).__name__, cut=cut, tokens=input_ids.shape[1], forward=float(forward), leak=float(past),
        diagonal=float(grad_TS.diagonal().max()), weights=apart / max(largest, 1e-30),
    )  # fmt: skip


def _gradients(model: nn.Module, input_ids: Tensor) -> Tensor:
    """max |d loss_t / d e_s| over features, [T - 1, T - 1]: one ordinary backward pass a loss, as training does it."""
    kept: list[Tensor] = []

    def keep(module: nn.Module, args: object, output: Tensor) -> Tensor:
        kept.append(output.detach().requires_grad_())
        return kept[0].clone()  # some models scale it in place, which a leaf forbids

    handle = find_decoder(model).get_input_embeddings().register_forward_hook(keep)
    rows = []
    try:
        for t in range(input_ids.shape[1] - 1):
            kept.clear()
            logits_TV = model(input_ids=input_ids, use_cache=False).logits[0].float()
            loss = nn.functional.cross_entropy(logits_TV[t : t + 1], input_ids[0, t + 1 : t + 2])
            (grad_1SE,) = torch.autograd.grad(loss, kept)
            rows.append(grad_1SE[0, :-1].abs().amax(-1))
    finally:
        handle.remove()
    return torch.stack(rows)


def _weight_gradients(model: nn.Module, input_ids: Tensor, impl: str | None = None) -> dict[str, Tensor]:
    """Gradient of the mean loss by parameter name, by the operator that trains or by another."""
    attachment = model._myopia
    usual = attachment.arm.impl
    attachment.arm.impl = impl or usual
    try:
        logits_BTV = model(input_ids=input_ids, use_cache=False).logits.float()
        loss = nn.functional.cross_entropy(logits_BTV[:, :-1].flatten(0, 1), input_ids[:, 1:].flatten())
        named = {name: p for name, p in model.named_parameters() if p.requires_grad}
        grads = torch.autograd.grad(loss, list(named.values()), allow_unused=True)
    finally:
        attachment.arm.impl = usual
    return {name: g for name, g in zip(named, grads, strict=True) if g is not None}
