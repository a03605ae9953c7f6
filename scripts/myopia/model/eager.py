"""Attention in plain torch for what transformers' SDPA lacks: soft-capped scores and attention sinks.

Shapes: B batch, H query heads, G key/value heads, T queries, S keys, D head width.
"""

from __future__ import annotations

import torch
from torch import Tensor

from myopia.model.kernels import repeat_kv, row_dot


def eager_attention(
    q_BHTD: Tensor,
    k_BGSD: Tensor,
    v_BGSD: Tensor,
    mask: Tensor | None,
    scale: float,
    softcap: float | None,
    sinks_H: Tensor | None,
) -> Tensor:
    """Evaluation, with or without a key/value cache -> [B, H, T, D]. Stores [B, H, T, S] scores.

    mask: [B, 1, T, S], True = visible or what to add to a score, or None = causal, the last query seeing every key.
    """
    H, T, S = q_BHTD.shape[1], q_BHTD.shape[2], k_BGSD.shape[2]
    score_BHTS = q_BHTD @ repeat_kv(k_BGSD, H).transpose(2, 3) * scale
    if softcap is not None:
        score_BHTS = softcap * torch.tanh(score_BHTS / softcap)
    if mask is None:
        mask = torch.ones(T, S, dtype=torch.bool, device=q_BHTD.device).tril(S - T)
    if mask.dtype == torch.bool:
        score_BHTS = score_BHTS.masked_fill(~mask, torch.finfo(score_BHTS.dtype).min)
    else:
        score_BHTS = score_BHTS + mask
    return softmax_with_sinks(score_BHTS, sinks_H).to(v_BGSD.dtype) @ repeat_kv(v_BGSD, H)


def softmax_with_sinks(score_BHTS: Tensor, sinks_H: Tensor | None) -> Tensor:
    """Softmax over keys [B, H, T, S] in at least fp32, a sink taking its share of every row."""
    S = score_BHTS.shape[-1]
    if sinks_H is not None:
        sink_BHT1 = sinks_H[:, None, None].to(score_BHTS.dtype).expand(*score_BHTS.shape[:-1], 1)
        score_BHTS = torch.cat([score_BHTS, sink_BHT1], dim=-1)
    high = torch.promote_types(score_BHTS.dtype, torch.float32)  # as every model of the field does
    return torch.softmax(score_BHTS, dim=-1, dtype=high)[..., :S]


def only_self(q_BHTD: Tensor, k_BGTD: Tensor, v_BGTD: Tensor, scale: float, sinks_H: Tensor | None) -> Tensor:
    """Attention of a token to itself alone -> [B, H, T, D]: its own value, less what a sink takes."""
    H = q_BHTD.shape[1]
    v_BHTD = repeat_kv(v_BGTD, H)
    if sinks_H is None:
        return v_BHTD
    score_BHT = row_dot(q_BHTD, repeat_kv(k_BGTD, H)) * scale
    return v_BHTD * torch.sigmoid(score_BHT - sinks_H[:, None]).to(v_BHTD.dtype)[..., None]
