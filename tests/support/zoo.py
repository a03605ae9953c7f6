"""Tiny models of every architecture the mechanism is proven on, and the independent reference for their gradients."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AutoConfig, AutoModelForCausalLM

VOCAB, T = 32, 7

_COMMON = dict(
    vocab_size=VOCAB, hidden_size=16, num_hidden_layers=3, num_attention_heads=4, intermediate_size=24,
    max_position_embeddings=32, pad_token_id=None, bos_token_id=None, eos_token_id=None,
    attention_dropout=0.0,
)  # fmt: skip

# Overrides that make each architecture tiny; the interesting part of each is in the comment.
ARCHITECTURES: dict[str, dict] = {
    "gpt2": dict(  # one projection for q, k, v; learned positions
        vocab_size=VOCAB, n_embd=16, n_layer=3, n_head=4, n_positions=32, attn_pdrop=0.0, embd_pdrop=0.0,
        resid_pdrop=0.0, bos_token_id=None, eos_token_id=None,
    ),
    "gpt_neox": _COMMON,  # one interleaved projection; partial rotary; parallel residual
    "llama": {**_COMMON, "num_key_value_heads": 2},  # grouped queries
    "mistral": {**_COMMON, "num_key_value_heads": 2, "head_dim": 4, "sliding_window": None},
    "qwen2": {**_COMMON, "num_key_value_heads": 2},  # biased projections
    "qwen3": {**_COMMON, "num_key_value_heads": 2, "head_dim": 8},  # norm on each key head
    "olmo2": {**_COMMON, "num_key_value_heads": 2},  # norm over all key heads; norm after attention
    "gemma2": {**_COMMON, "num_key_value_heads": 2, "head_dim": 4, "sliding_window": 32},  # soft-capped scores
    "phi": {**_COMMON, "qk_layernorm": True},  # biased norm on keys
    "gpt_oss": {  # attention sinks; every second layer a window; experts
        **_COMMON, "num_key_value_heads": 2, "head_dim": 4, "sliding_window": 32, "num_local_experts": 4,
        "num_experts_per_tok": 2,
    },
    "deepseek_v3": {  # latent attention: values narrower than keys, which all heads share in part
        **_COMMON, "num_key_value_heads": 4, "q_lora_rank": 8, "kv_lora_rank": 8, "qk_rope_head_dim": 4,
        "qk_nope_head_dim": 4, "v_head_dim": 4, "first_k_dense_replace": 3,
    },
    "opt": dict(
        vocab_size=VOCAB, hidden_size=16, num_hidden_layers=3, num_attention_heads=4, ffn_dim=24,
        max_position_embeddings=32, dropout=0.0, attention_dropout=0.0, word_embed_proj_dim=16, pad_token_id=None,
        bos_token_id=None, eos_token_id=None,
    ),
}  # fmt: skip

NO_SDPA = ("gemma2", "gpt_oss")  # only eager soft-caps or has sinks


def build(name: str, dtype: torch.dtype = torch.float64, seed: int = 0, **overrides: object) -> nn.Module:
    """A tiny causal language model of architecture `name`, random weights and biases.

    In SDPA attention where there is one: it computes in the input's precision, eager attention rounds its softmax
    to fp32.
    """
    config = AutoConfig.for_model(name, **{**ARCHITECTURES[name], **overrides})
    torch.manual_seed(seed)
    attention = "eager" if name in NO_SDPA else "sdpa"
    # The default way to run experts knows no fp64.
    model = AutoModelForCausalLM.from_config(config, attn_implementation=attention, experts_implementation="eager")
    model = model.to(dtype)
    if dtype == torch.float64:
        for module in model.modules():  # these round to fp32 inside, which would hide our own errors
            if type(module).__name__.endswith("RMSNorm"):
                module.forward = partial(_rms_norm, module)
    with torch.no_grad():  # default initialisation is nearly linear: make every score, bias and gain matter
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    return model.eval()


def _rms_norm(module: nn.Module, x: Tensor) -> Tensor:
    gain = 1 + module.weight if "Gemma" in type(module).__name__ else module.weight
    eps = getattr(module, "variance_epsilon", None) or module.eps
    return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + eps) * gain


def tokens(batch: int = 2, length: int = T, seed: int = 1) -> Tensor:
    """Random token ids [batch, length]."""
    return torch.randint(0, VOCAB, (batch, length), generator=torch.Generator().manual_seed(seed))


def attention_modules(model: nn.Module) -> list[nn.Module]:
    """Attention modules by what they have, not by what our code finds."""
    return [m for m in model.modules() if hasattr(m, "layer_idx") and type(m).__name__.endswith("Attention")]


class reference_hidden:
    """The paper's definition, literally: output t of each attention module is computed with h_s detached, s != t.

    Uses the model's own eager attention T times per layer and none of our code. beta mixes as the protocol says.
    """

    def __init__(self, model: nn.Module, beta: float = 0.0) -> None:
        self.model, self.beta = model, beta

    def __enter__(self) -> nn.Module:
        for module in attention_modules(self.model):
            module.forward = self._wrap(module.forward)
        return self.model

    def __exit__(self, *exc: object) -> None:
        for module in attention_modules(self.model):
            del module.forward

    def _wrap(self, original):
        def forward(hidden_states, *args, **kwargs):
            rows = []
            past = (1 - self.beta) * hidden_states.detach() + self.beta * hidden_states
            for t in range(hidden_states.shape[1]):
                mixed = torch.cat([past[:, :t], hidden_states[:, t : t + 1], past[:, t + 1 :]], dim=1)
                rows.append(original(mixed, *args, **kwargs)[0][:, t])
            return torch.stack(rows, dim=1), None

        return forward


class reference_kv:
    """Cut at keys and values, literally: row t of eager attention runs on k, v detached everywhere but at t."""

    def __init__(self, model: nn.Module, beta: float = 0.0) -> None:
        self.model, self.beta = model, beta

    def __enter__(self) -> nn.Module:
        beta = self.beta

        def attention(module, query, key, value, attention_mask, scaling, softcap=None, s_aux=None, **kwargs):
            groups = query.shape[1] // key.shape[1]
            rows = []
            for t in range(query.shape[2]):
                live = torch.arange(query.shape[2])[:, None] == t
                k = torch.where(live, key, (1 - beta) * key.detach() + beta * key).repeat_interleave(groups, 1)
                v = torch.where(live, value, (1 - beta) * value.detach() + beta * value).repeat_interleave(groups, 1)
                score = (query[:, :, t, None] * k[:, :, : t + 1]).sum(-1) * scaling
                if softcap is not None:
                    score = softcap * torch.tanh(score / softcap)
                if attention_mask is not None:
                    score = score + attention_mask[:, :, t, : t + 1]
                if s_aux is not None:
                    score = torch.cat([score, s_aux[None, :, None].expand(len(score), -1, 1)], dim=-1)
                rows.append((score.softmax(-1)[..., : t + 1, None] * v[:, :, : t + 1]).sum(2))
            return torch.stack(rows, dim=1), None

        AttentionInterface.register("reference_kv", attention)
        from transformers import AttentionMaskInterface
        from transformers.masking_utils import eager_mask

        AttentionMaskInterface.register("reference_kv", eager_mask)
        self.previous = self.model.config._attn_implementation
        self.model.set_attn_implementation("reference_kv")
        return self.model

    def __exit__(self, *exc: object) -> None:
        self.model.set_attn_implementation(self.previous)


def gradients(model: nn.Module, ids: Tensor, loss_scale: Tensor | None = None, **kwargs: object) -> dict[str, Tensor]:
    """Gradients of the token-weighted loss for every parameter, and the logits under the key `logits`.

    loss_scale [B, T-1] weights the per-token losses (random by default, so that no cancellation hides an error).
    """
    model.zero_grad()
    logits = model(input_ids=ids, use_cache=False, **kwargs).logits
    nll = nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten(), reduction="none")
    if loss_scale is None:
        loss_scale = torch.rand(ids.shape[0], ids.shape[1] - 1, generator=torch.Generator().manual_seed(2))
    (nll * loss_scale.flatten().to(nll)).sum().backward()
    result = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    return {**result, "logits": logits.detach()}


def worst(a: dict[str, Tensor], b: dict[str, Tensor]) -> float:
    """Largest absolute difference over all entries of two gradient dictionaries with equal keys."""
    assert a.keys() == b.keys(), sorted(a.keys() ^ b.keys())
    return max(float((a[name] - b[name]).abs().max()) for name in a)
