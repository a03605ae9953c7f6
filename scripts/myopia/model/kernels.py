"""torch's fused attention kernels with their log-sum-exp, forward and backward, one signature for all devices.

Shapes: B batch, H query heads, G key/value heads (H a multiple of G), T positions, D head width.
`q_BHTD`, `k_BGTD`, `v_BGTD`, `out_BHTD`, `lse_BHT`. `bias_B11T` is an additive key bias (0 or -inf).

The public `scaled_dot_product_attention` hides the log-sum-exp, which the myopic backward needs, so the kernels
it dispatches to are called by name. None of them stores anything of size T x T.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from myopia.common.errors import MyopiaError

_aten = torch.ops.aten


class Forward(NamedTuple):
    """What a kernel's forward leaves for its backward."""

    out: Tensor  # [B, H, T, D]
    lse: Tensor  # [B, H, T], log of the softmax denominator, fp32 (fp64 for fp64 input)
    philox_seed: Tensor | None  # unused by us (dropout is 0) but part of the CUDA kernels' signatures
    philox_offset: Tensor | None


def _kernel(q: Tensor, bias: Tensor | None) -> str:
    if q.device.type == "cpu":
        return "cpu"
    if q.device.type == "cuda":
        if q.dtype in (torch.float16, torch.bfloat16) and bias is None:
            return "flash"
        if q.dtype in (torch.float16, torch.bfloat16, torch.float32):
            return "efficient"
    raise MyopiaError(
        f"no fused attention kernel for {q.dtype} on {q.device.type}: use impl='dense', or fp32/bf16 on CPU or CUDA"
    )


def repeat_kv(x_BGTD: Tensor, H: int) -> Tensor:
    """[B, G, T, D] -> [B, H, T, D], each key/value head serving H // G query heads in a row."""
    B, G, T, D = x_BGTD.shape
    return x_BGTD if G == H else x_BGTD[:, :, None].expand(B, G, H // G, T, D).reshape(B, H, T, D)


def _sum_groups(x_BHTD: Tensor, G: int) -> Tensor:
    """The transpose of `repeat_kv`: [B, H, T, D] -> [B, G, T, D]."""
    B, H, T, D = x_BHTD.shape
    return x_BHTD if G == H else x_BHTD.view(B, G, H // G, T, D).sum(2)


def _padded(x: Tensor) -> Tensor:
    """CUDA's flash kernel wants head widths that are multiples of 8; zero columns change no score."""
    return torch.nn.functional.pad(x, (0, -x.shape[-1] % 8))


def _full_bias(bias: Tensor, q: Tensor, T_k: int) -> Tensor:
    """CUDA's memory-efficient kernel takes a [B, H, T, T_k] bias; expanding copies nothing."""
    # Its rows must be aligned to 8 elements, so the last dimension is padded and sliced back.
    aligned = torch.nn.functional.pad(bias.to(q.dtype), (0, -T_k % 8))[..., :T_k]
    return aligned.expand(q.shape[0], q.shape[1], q.shape[2], T_k)


def causal_forward(q: Tensor, k: Tensor, v: Tensor, scale: float, bias: Tensor | None = None) -> Forward:
    """Causal attention (query t sees keys 0..t) and its log-sum-exp. Number of keys = number of queries."""
    kernel = _kernel(q, bias)
    if kernel == "cpu":
        bias = None if bias is None else bias.to(q.dtype)
        out, lse = _aten._scaled_dot_product_flash_attention_for_cpu(q, k, v, 0.0, True, attn_mask=bias, scale=scale)
        return Forward(out, lse, None, None)
    H, D, T = q.shape[1], q.shape[3], q.shape[2]
    k, v = repeat_kv(k, H), repeat_kv(v, H)
    if kernel == "flash":
        out, lse, _, _, _, _, seed, offset, _ = _aten._scaled_dot_product_flash_attention(
            _padded(q), _padded(k), _padded(v), 0.0, True, False, scale=scale
        )
        return Forward(out[..., :D], lse, seed, offset)
    full = None if bias is None else _full_bias(bias, q, T)
    out, lse, seed, offset = _aten._scaled_dot_product_efficient_attention(q, k, v, full, True, 0.0, True, scale=scale)
    return Forward(out, lse[..., :T], seed, offset)  # this kernel pads lse to a multiple of 32


def causal_backward(
    grad_out: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    saved: Forward,
    scale: float,
    bias: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """(dq, dk, dv) for probabilities p_ts = exp(scale q_t.k_s - lse_t) and ds_ts = p_ts (dO_t.v_s - dO_t.O_t).

    `saved.out` and `saved.lse` need not come from `causal_forward` on the same keys: given the output and the
    log-sum-exp of a softmax over *more* keys, this is the exact gradient through the keys passed here.
    """
    kernel = _kernel(q, bias)
    if kernel == "cpu":
        bias = None if bias is None else bias.to(q.dtype)
        return _aten._scaled_dot_product_flash_attention_for_cpu_backward(
            grad_out, q, k, v, saved.out, saved.lse, 0.0, True, attn_mask=bias, scale=scale
        )
    H, G, D, T = q.shape[1], k.shape[1], q.shape[3], q.shape[2]
    k, v = repeat_kv(k, H), repeat_kv(v, H)
    if kernel == "flash":
        empty = torch.empty(0, dtype=torch.int32, device=q.device)
        dq, dk, dv = _aten._scaled_dot_product_flash_attention_backward(
            *(_padded(x) for x in (grad_out, q, k, v, saved.out)),
            saved.lse.contiguous(), empty, empty, T, T, 0.0, True, saved.philox_seed, saved.philox_offset,
            scale=scale,
        )  # fmt: skip
        return dq[..., :D], _sum_groups(dk[..., :D], G), _sum_groups(dv[..., :D], G)
    full = None if bias is None else _full_bias(bias, q, T)
    lse = torch.nn.functional.pad(saved.lse, (0, -T % 32), value=float("inf"))
    dq, dk, dv, _ = _aten._scaled_dot_product_efficient_attention_backward(
        grad_out, q, k, v, full, saved.out, lse, saved.philox_seed, saved.philox_offset,
        0.0, [True, True, True, False], True, scale=scale,
    )  # fmt: skip
    return dq, _sum_groups(dk, G), _sum_groups(dv, G)


def add_sinks(saved: Forward, sinks_H: Tensor) -> Forward:
    """The softmax with one more entry per head, `sinks_H`, that takes weight but has no value (attention sinks)."""
    lse = torch.logaddexp(saved.lse, sinks_H[:, None].to(saved.lse.dtype))
    out = saved.out * torch.exp(saved.lse - lse).to(saved.out.dtype)[..., None]
    return saved._replace(out=out, lse=lse)


def sinks_backward(grad_out: Tensor, out: Tensor, lse: Tensor, sinks_H: Tensor) -> Tensor:
    """Gradient of the sinks [H]: their value is 0, hence ds = -p_sink (dO_t.O_t), summed over batch and positions."""
    p_BHT = torch.exp(sinks_H[:, None].to(lse.dtype) - lse)
    return -(p_BHT * row_dot(grad_out, out)).sum((0, 2)).to(sinks_H.dtype)


def row_dot(x: Tensor, y: Tensor) -> Tensor:
    """x_t . y_t over the last dimension, accumulated in fp32 as the kernels do for half-precision input."""
    if x.dtype in (torch.float16, torch.bfloat16):
        x, y = x.float(), y.float()
    return (x * y).sum(-1)


def diagonal_backward(
    grad_out: Tensor, q: Tensor, k: Tensor, v: Tensor, out: Tensor, lse: Tensor, scale: float
) -> tuple[Tensor, Tensor, Tensor]:
    """What the diagonal s = t alone sends to (q_t, k_t, v_t): O(T) elementwise work.

    p_tt = exp(scale q_t.k_t - lse_t), ds_tt = p_tt (dO_t.v_t - dO_t.O_t); then dq_t = scale ds_tt k_t,
    dk_t = scale ds_tt q_t and dv_t = p_tt dO_t. q, out, grad_out [B,H,T,D]; k, v [B,G,T,D]; the last two
    results are summed over the query heads that share a key/value head. The first is [B,H,T,1]: ds_tt * scale,
    because only one caller needs dq and k_t times it.
    """
    H, G = q.shape[1], k.shape[1]
    k_BHTD, v_BHTD = repeat_kv(k, H), repeat_kv(v, H)
    p = torch.exp(row_dot(q, k_BHTD) * scale - lse)  # [B, H, T]
    ds = p * row_dot(grad_out, v_BHTD - out) * scale
    ds, p = ds.to(q.dtype)[..., None], p.to(q.dtype)[..., None]
    return ds, _sum_groups(ds * q, G), _sum_groups(p * grad_out, G)
