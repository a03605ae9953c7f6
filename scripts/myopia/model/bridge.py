r"""Ordinary causal attention with a myopic backward, at the price of the vanilla one.

Under `cut="hidden"` the past hidden states are detached but W_K, W_V still learn from them. Written as autograd
that needs every key and value twice, once from h and once from sg(h): 5-10 % more matrix products. But values
coincide, and a projection's backward is two *independent* products, dW = dy^T h and dh = dy W. So:

- the projection is fed sg(h): autograd computes dW (and the gradient of everything between the projection and the
  attention: biases, key norms) from the full dy, exactly as in vanilla training, and no dh;
- a `Bridge`, the identity placed on the projection's output, owns dh = dy_live W, where dy_live is what the
  attention sends through the *diagonal* alone;
- the attention node obtains dy_live in its backward by pulling (dq, dk_live, dv_live) back through the stretch of
  graph between the projections and itself (views, rotary embedding, key norm; all act on each position alone).

The products are those of vanilla training, one for one; what is added is elementwise and O(T).

Nothing here is twice differentiable, and `torch.compile` cannot trace the nested pull-back: `attach` then uses two
projections and `operator.myopic_attention` instead.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.autograd.graph import GradientEdge, get_gradient_edge
from transformers.pytorch_utils import Conv1D

from myopia.common.errors import MyopiaError
from myopia.model import kernels


@dataclass
class Link:
    """Joins the bridges of one attention call to its attention node.

    The attention node holds all of it, a bridge only `grads`: were a bridge to hold `edges`, which name the bridges
    themselves, every step's graph would be a reference cycle and wait for the garbage collector.
    """

    edges: list[GradientEdge] = field(default_factory=list)  # outputs of the bridges, in call order
    grads: list[Tensor | None] = field(default_factory=list)  # dy_live for each bridge, set by the attention node
    through_query: bool = False  # the query comes from a bridged projection too (fused qkv)


def is_bridgeable(module: nn.Module) -> bool:
    """Whether dh = dy W can be computed from the module's own weight: a plain linear layer, not a wrapper of one."""
    return type(module) in (nn.Linear, Conv1D)


def bridge(y: Tensor, h: Tensor, projection: nn.Module, link: Link) -> Tensor:
    """Identity on `y` = projection(sg(h)) whose backward sends to h what `link` brings from the attention."""
    # A Linear keeps its weight as [out, in], a Conv1D as [in, out].
    weight = projection.weight if isinstance(projection, nn.Linear) else projection.weight.t()
    y = _Bridge.apply(y, h, weight.detach(), link.grads, len(link.edges))
    link.edges.append(get_gradient_edge(y))
    return y


class _Bridge(torch.autograd.Function):
    @staticmethod
    def forward(ctx, y, h, weight, grads, index):
        ctx.save_for_backward(weight)
        ctx.grads, ctx.index, ctx.dtype = grads, index, h.dtype
        return y.view_as(y)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad_y):
        (weight,) = ctx.saved_tensors
        if not ctx.grads:
            # The projection's output was used by something that is not our attention.
            raise MyopiaError(
                "myopic gradients reached a key or value projection without passing the myopic attention: this "
                "model uses its keys or values elsewhere and cannot be made myopic"
            )
        live, ctx.grads[ctx.index] = ctx.grads[ctx.index], None
        grad_h = (live @ weight.to(live.dtype)).to(ctx.dtype)
        return grad_y, grad_h, None, None, None


def coincident_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    bias: Tensor | None,
    scale: float,
    beta: float,
    link: Link | None,
    sinks_H: Tensor | None = None,
) -> Tensor:
    """Causal attention, q [B,H,T,D], k and v [B,G,T,D] -> [B,H,T,D], with a myopic backward.

    With a `link` (cut="hidden") k and v receive their full gradient, for the weights, and the link carries the
    diagonal part (plus beta times the rest) to the hidden states. Without one (cut="kv") k and v receive the
    diagonal part (plus beta times the rest) only. `sinks_H`: attention sinks, see `operator.myopic_attention`.
    """
    edges = None
    if link is not None:
        edges = [get_gradient_edge(x) for x in ((q, k, v) if link.through_query else (k, v))]
    return _Coincident.apply(q, k, v, sinks_H, bias, scale, beta, link, edges)


class _Coincident(torch.autograd.Function):
    @staticmethod
    def forward(ctx, q, k, v, sinks, bias, scale, beta, link, edges):
        saved = kernels.causal_forward(q, k, v, scale, bias)
        if sinks is not None:
            saved = kernels.add_sinks(saved, sinks)
        ctx.save_for_backward(q, k, v, sinks, bias, *saved)
        ctx.scale, ctx.beta, ctx.link, ctx.edges = scale, beta, link, edges
        return saved.out

    @staticmethod
    @once_differentiable
    def backward(ctx, grad_out):
        q, k, v, sinks, bias, *saved = ctx.saved_tensors
        saved = kernels.Forward(*saved)
        dq, dk, dv = kernels.causal_backward(grad_out, q, k, v, saved, ctx.scale, bias)
        _, dk_live, dv_live = kernels.diagonal_backward(grad_out, q, k, v, saved.out, saved.lse, ctx.scale)
        dsinks = None if sinks is None else kernels.sinks_backward(grad_out, saved.out, saved.lse, sinks)
        if ctx.beta:
            dk_live, dv_live = torch.lerp(dk_live, dk, ctx.beta), torch.lerp(dv_live, dv, ctx.beta)
        if ctx.link is None:
            return dq, dk_live, dv_live, dsinks, None, None, None, None, None
        live = (dq, dk_live, dv_live) if ctx.link.through_query else (dk_live, dv_live)
        ctx.link.grads[:] = torch.autograd.grad(ctx.edges, ctx.link.edges, grad_outputs=live, retain_graph=True)
        return dq, dk, dv, dsinks, None, None, None, None, None
