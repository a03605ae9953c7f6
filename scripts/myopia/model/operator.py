r"""The myopic attention operator.

For query position t, with past keys and values (k~, v~) and live ones (k, v):

    score_ts = scale q_t . k~_s   (s < t),        score_tt = scale q_t . k_t
    a_t      = softmax over s <= t of score_t
    o_t      = sum_{s<t} a_ts v~_s + a_tt v_t                  (paper, Appendix B, token-wise form; the
                                                               matrix form there carries the same value)

When past and live values coincide, o is ordinary causal attention; only who receives gradient differs.
`beta` in [0, 1] mixes k~ <- (1 - beta) k~ + beta k (and v~ alike) before the scores: 0 is myopic, 1 vanilla.

Two implementations of one function:

- `dense` is written in plain differentiable torch, stores [B, H, T, T], is twice differentiable and works under
  `torch.func`; it is the reference of the tests and carries soft-capped scores;
- `fused` runs the strictly causal part over (k~, v~) through a fused kernel, merges the live diagonal by
  log-sum-exp, and in the backward hands the *joint* log-sum-exp and output to the fused backward, which is then
  exact for the past; the diagonal is elementwise. Subtracting the diagonal from a full causal pass would be
  simpler and is never done: it cancels catastrophically where one token takes all attention.

Shapes: B batch, H query heads, G key/value heads, T positions, D head width.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from myopia.common.errors import MyopiaError
from myopia.model import kernels
from myopia.model.eager import softmax_with_sinks

Impl = Literal["fused", "dense"]


def myopic_attention(
    q: Tensor,
    k_live: Tensor,
    v_live: Tensor,
    k_past: Tensor,
    v_past: Tensor,
    *,
    scale: float,
    beta: float = 0.0,
    attn_mask: Tensor | None = None,
    impl: Impl = "fused",
    softcap: float | None = None,
    sinks: Tensor | None = None,
) -> Tensor:
    """Causal attention whose diagonal reads live keys and values and whose past reads others.

    Args:
        q: queries [B, H, T, D].
        k_live, v_live: keys and values of the query's own position [B, G, T, D], G dividing H.
        k_past, v_past: keys and values that later positions see, same shape.
        scale: factor on the scores, usually D ** -0.5.
        beta: share of the live tensors mixed into the past ones, in [0, 1].
        attn_mask: key padding mask [B, T], True (or nonzero) = a real token. A padded position may still see
            itself, so no row is empty; its output means nothing.
        impl: `fused` (nothing of size T x T is stored) or `dense` (twice differentiable).
        softcap: scores become softcap * tanh(score / softcap) (Gemma 2); `dense` only.
        sinks: [H], one more score per head that takes its share of the softmax and has no value (GPT-OSS).

    Returns:
        Attention output [B, H, T, D].

    Raises:
        MyopiaError: shapes that do not fit, beta outside [0, 1], masks or sinks of another shape, softcap with
            `fused`.
    """
    _check(q, k_live, v_live, k_past, v_past, beta, attn_mask, sinks)
    if beta:
        k_past = torch.lerp(k_past, k_live, beta) if beta < 1 else k_live
        v_past = torch.lerp(v_past, v_live, beta) if beta < 1 else v_live
    if impl == "dense":
        return _dense(q, k_live, v_live, k_past, v_past, scale, attn_mask, softcap, sinks)
    if impl != "fused":
        raise MyopiaError(f"impl must be 'fused' or 'dense', not {impl!r}")
    if softcap is not None:
        raise MyopiaError("soft-capped scores have no fused kernel: use impl='dense'")
    bias = None if attn_mask is None else key_bias(attn_mask, q.dtype)
    return _Fused.apply(q, k_live, v_live, k_past, v_past, sinks, bias, scale)


def _check(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    k_past: Tensor,
    v_past: Tensor,
    beta: float,
    mask: Tensor | None,
    sinks: Tensor | None,
) -> None:
    if not 0 <= beta <= 1:
        raise MyopiaError(f"beta must lie in [0, 1], not {beta}")
    if q.dim() != 4 or k.dim() != 4 or not (k.shape == v.shape == k_past.shape == v_past.shape):
        raise MyopiaError(
            f"attention wants q [B, H, T, D] and four equal [B, G, T, D] tensors, got {tuple(q.shape)}, "
            f"{tuple(k.shape)}, {tuple(v.shape)}, {tuple(k_past.shape)}, {tuple(v_past.shape)}"
        )
    if q.shape[0] != k.shape[0] or q.shape[2:] != k.shape[2:] or q.shape[1] % k.shape[1]:
        raise MyopiaError(
            f"queries {tuple(q.shape)} and keys {tuple(k.shape)} do not fit: same B, T and D wanted, and a number "
            "of query heads divisible by the number of key heads"
        )
    if mask is not None and mask.shape != (q.shape[0], q.shape[2]):
        raise MyopiaError(
            f"attn_mask must be a key padding mask [B, T] = {(q.shape[0], q.shape[2])}, not {tuple(mask.shape)}"
        )
    if sinks is not None and sinks.shape != q.shape[1:2]:
        raise MyopiaError(f"sinks must be one score per query head [H] = {(q.shape[1],)}, not {tuple(sinks.shape)}")


def key_bias(mask_BT: Tensor, dtype: torch.dtype) -> Tensor:
    """0 where a key may be seen and -inf where it is padding, [B, 1, 1, T]."""
    bias = torch.zeros(mask_BT.shape, dtype=dtype, device=mask_BT.device)
    return bias.masked_fill(mask_BT == 0, float("-inf"))[:, None, None, :]


def _dense(
    q: Tensor,
    k_live: Tensor,
    v_live: Tensor,
    k_past: Tensor,
    v_past: Tensor,
    scale: float,
    mask_BT: Tensor | None,
    softcap: float | None,
    sinks_H: Tensor | None,
) -> Tensor:
    H, T = q.shape[1:3]
    k_live, v_live, k_past, v_past = (kernels.repeat_kv(x, H) for x in (k_live, v_live, k_past, v_past))
    past_TT = torch.ones(T, T, dtype=torch.bool, device=q.device).tril(-1)
    visible = past_TT if mask_BT is None else past_TT & (mask_BT != 0)[:, None, None, :]
    score_BHTT = torch.einsum("bhtd,bhsd->bhts", q, k_past) * scale
    score_BHT = torch.einsum("bhtd,bhtd->bht", q, k_live) * scale
    if softcap is not None:
        score_BHTT = softcap * torch.tanh(score_BHTT / softcap)
        score_BHT = softcap * torch.tanh(score_BHT / softcap)
    diagonal_TT = torch.eye(T, dtype=torch.bool, device=q.device)
    score_BHTT = torch.where(diagonal_TT, score_BHT[..., None], score_BHTT)
    score_BHTT = score_BHTT.masked_fill(~(visible | diagonal_TT), float("-inf"))
    a_BHTT = softmax_with_sinks(score_BHTT, sinks_H).to(q.dtype)
    a_past = a_BHTT.masked_fill(diagonal_TT, 0.0)
    a_live = a_BHTT.diagonal(dim1=-2, dim2=-1)
    return torch.einsum("bhts,bhsd->bhtd", a_past, v_past) + a_live[..., None] * v_live


class _Fused(torch.autograd.Function):
    """`myopic_attention` with past and live tensors that may differ in value."""

    @staticmethod
    def forward(ctx, q, k_live, v_live, k_past, v_past, sinks, bias, scale):
        H, T = q.shape[1], q.shape[2]
        live_BHT = kernels.row_dot(q, kernels.repeat_kv(k_live, H)) * scale
        lse, lse_past, out_past, seed, offset = live_BHT, None, None, None, None
        if T > 1:
            # Query t sees keys 0..t-1: drop query 0 and key T-1, then the mask is plain causal again.
            part = kernels.causal_forward(q[:, :, 1:], k_past[:, :, :-1], v_past[:, :, :-1], scale, _past(bias))
            out_past, lse_past, seed, offset = part
            if bias is not None:
                # A row with no visible key comes back as (0, 0) or NaN depending on the kernel.
                seen = (bias[:, 0, 0, :-1] == 0).cumsum(-1)[:, None, :] > 0
                lse_past = lse_past.masked_fill(~seen, float("-inf"))
                out_past = out_past.masked_fill(~seen[..., None], 0.0)
            lse = live_BHT.clone()
            lse[:, :, 1:] = torch.logaddexp(lse_past, live_BHT[:, :, 1:])
        if sinks is not None:
            lse = torch.logaddexp(lse, sinks[:, None].to(lse.dtype))
        w_live = torch.exp(live_BHT - lse)
        out = (w_live[..., None] * kernels.repeat_kv(v_live, H)).to(q.dtype)
        if T > 1:
            out[:, :, 1:] += torch.exp(lse_past - lse[:, :, 1:]).to(q.dtype)[..., None] * out_past
        ctx.save_for_backward(q, k_live, v_live, k_past, v_past, sinks, bias, out, lse, seed, offset)
        ctx.scale = scale
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx, grad_out):
        q, k_live, v_live, k_past, v_past, sinks, bias, out, lse, seed, offset = ctx.saved_tensors
        H, T = q.shape[1], q.shape[2]
        ds, dk_live, dv_live = kernels.diagonal_backward(grad_out, q, k_live, v_live, out, lse, ctx.scale)
        dsinks = None if sinks is None else kernels.sinks_backward(grad_out, out, lse, sinks)
        dq = ds * kernels.repeat_kv(k_live, H)
        dk_past, dv_past = torch.zeros_like(k_past), torch.zeros_like(v_past)
        if T > 1:
            # Joint output and log-sum-exp in, hence exact probabilities of the joint softmax inside the kernel.
            joint = kernels.Forward(out[:, :, 1:], lse[:, :, 1:].contiguous(), seed, offset)
            dq_past, dk, dv = kernels.causal_backward(
                grad_out[:, :, 1:],
                q[:, :, 1:],
                k_past[:, :, :-1],
                v_past[:, :, :-1],
                joint,
                ctx.scale,
                _past(bias),
            )
            dq[:, :, 1:] += dq_past
            dk_past[:, :, :-1], dv_past[:, :, :-1] = dk, dv
        return dq, dk_live, dv_live, dk_past, dv_past, dsinks, None, None


def _past(bias: Tensor | None) -> Tensor | None:
    return None if bias is None else bias[..., :-1].contiguous()
