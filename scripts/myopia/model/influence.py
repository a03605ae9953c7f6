"""Who may plan for whom: the influence of position s's input on the loss at position t."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from myopia.common.errors import MyopiaError
from myopia.model.attach import find_decoder
from myopia.model.interface import Attachment


def influence(model: nn.Module, input_ids: Tensor) -> Tensor:
    """The [T, T] matrix whose entry (t, s) is ||d loss_t / d e_s||_2, in nats per unit of embedding.

    loss_t = -log p(x_{t+1} | x_<=t); e is the output of the input-embedding module (before position embeddings are
    added). Lower triangular for a vanilla model, diagonal for a myopic one. The last row is NaN: x_{T+1} is unknown.
    One forward pass, then one batched backward pass; the model's mode, gradients and attention are left as found.

    Args:
        model: a causal language model, vanilla or attached.
        input_ids: token ids [T] or [1, T], T >= 2.

    Raises:
        MyopiaError: input_ids of another shape.
    """
    if input_ids.dim() == 1:
        input_ids = input_ids[None]
    if input_ids.dim() != 2 or input_ids.shape[0] != 1 or input_ids.shape[1] < 2:
        raise MyopiaError(f"input_ids must be [T] or [1, T] with T >= 2, not {tuple(input_ids.shape)}")
    embeddings: list[Tensor] = []

    def capture(module: nn.Module, args: object, output: Tensor) -> Tensor:
        embeddings.append(output.detach().requires_grad_())
        return embeddings[0].clone()  # some models scale it in place, which a leaf forbids

    training = [module for module in model.modules() if module.training]
    model.eval()
    handle = find_decoder(model).get_input_embeddings().register_forward_hook(capture)
    try:
        with torch.enable_grad(), _batchable_attention(model):
            logits_TV = model(input_ids=input_ids, use_cache=False).logits[0, :-1].float()
            loss_T = nn.functional.cross_entropy(logits_TV, input_ids[0, 1:], reduction="none")
            # Fused kernels and custom backwards have no batching rule; the dense operator is plain torch.
            (grad_T1SE,) = torch.autograd.grad(
                loss_T, embeddings, grad_outputs=torch.eye(len(loss_T)).to(loss_T), is_grads_batched=True
            )
    finally:
        handle.remove()
        for module in training:
            module.training = True
    T = input_ids.shape[1]
    result = torch.full((T, T), float("nan"), dtype=grad_T1SE.dtype, device=grad_T1SE.device)
    result[:-1] = grad_T1SE[:, 0].norm(dim=-1)
    return result


@contextmanager
def _batchable_attention(model: nn.Module) -> Iterator[None]:
    """Dense operators while active: an attached model changes its implementation, a plain one runs eager."""
    attachment: Attachment | None = getattr(model, "_myopia", None)
    if attachment is not None:
        impl, attachment.arm.impl = attachment.arm.impl, "dense"
        try:
            yield
        finally:
            attachment.arm.impl = impl
        return
    decoder = find_decoder(model)
    previous = decoder.config._attn_implementation
    decoder.set_attn_implementation("eager")
    try:
        yield
    finally:
        decoder.set_attn_implementation(previous)
