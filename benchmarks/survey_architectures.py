"""Every causal language model of the installed transformers, tiny and random: is its myopic twin exact, or refused?

For each architecture, in fp64 where it can: the forward with and without gradients against the vanilla
one; the gradient of every parameter against the definition taken literally (output t of each attention module computed
with all hidden states but the t-th detached, T times per layer, by the model's own code); and `influence`, which must
be diagonal. Run through `make survey`: a minute or two on one core.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
import torch
import transformers
from torch import Tensor, nn
from transformers import CONFIG_MAPPING, MODEL_FOR_CAUSAL_LM_MAPPING, AutoModelForCausalLM, PretrainedConfig
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scripts"))
from myopia import influence, to_myopic, to_vanilla
from myopia.common.errors import MyopiaError
from myopia.common.files import write_csv

VOCAB, T, WIDTH, HEADS = 64, 9, 32, 4
LAYERS = 6  # the least that holds every kind of layer of the mixed ones: five windows to one full attention
# Of the largest entry. Many models round to fp32 inside; those that compute in fp64 throughout come out at 1e-15.
TOLERANCE = {torch.float64: 1e-6, torch.float32: 1e-4}
LARGEST = 20_000_000  # parameters; what stays larger was not made tiny by the names below

# What the field calls its sizes. A config is given those that it has.
SIZES: dict[str, Any] = {
    **dict.fromkeys(("vocab_size", "vocab_size_per_layer_input"), VOCAB),
    **dict.fromkeys(("hidden_size", "n_embd", "d_model", "embed_dim", "dim_model", "embedding_size"), WIDTH),
    "word_embed_proj_dim": WIDTH,
    **dict.fromkeys(
        ("num_hidden_layers", "n_layer", "n_layers", "num_layers", "decoder_layers", "encoder_layers"), LAYERS
    ),
    **dict.fromkeys(("num_attention_heads", "n_head", "n_heads", "num_heads"), HEADS),
    **dict.fromkeys(("decoder_attention_heads", "encoder_attention_heads"), HEADS),
    "num_key_value_heads": 2,
    **dict.fromkeys(("head_dim", "dim_head", "kv_channels", "v_head_dim", "qk_rope_head_dim", "qk_nope_head_dim"), 8),
    "qk_head_dim": 16,
    "rotary_dim": 4,
    **dict.fromkeys(("q_lora_rank", "kv_lora_rank"), 16),
    **dict.fromkeys(("intermediate_size", "n_inner", "ffn_dim", "d_ff", "dim_ff"), 48),
    **dict.fromkeys(("decoder_ffn_dim", "encoder_ffn_dim"), 48),
    **dict.fromkeys(("moe_intermediate_size", "shared_expert_intermediate_size"), 16),
    **dict.fromkeys(("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts"), 4),
    **dict.fromkeys(("num_experts_per_tok", "num_experts_per_token", "moe_topk", "top_k_experts", "moe_k"), 2),
    **dict.fromkeys(("n_group", "topk_group", "first_k_dense_replace", "num_dense_layers"), 1),
    **dict.fromkeys(("max_position_embeddings", "n_positions", "n_ctx", "seq_length", "max_seq_len"), 64),
    **dict.fromkeys(("sliding_window", "attention_chunk_size"), 64),
    **dict.fromkeys(("hidden_size_per_layer_input", "laurel_rank"), 8),
    "num_kv_shared_layers": 1,
    "is_decoder": True,
    **dict.fromkeys(("attention_dropout", "attn_pdrop", "embd_pdrop", "resid_pdrop", "dropout", "hidden_dropout"), 0.0),
    **dict.fromkeys(("activation_dropout", "attention_probs_dropout_prob", "hidden_dropout_prob", "layerdrop"), 0.0),
    **dict.fromkeys(("resid_dropout", "embed_dropout", "embedding_dropout"), 0.0),
}
SPECIAL_TOKENS = ("pad_token_id", "bos_token_id", "eos_token_id")
# What an architecture's own checks want besides.
MORE: dict[str, dict[str, Any]] = {
    "falcon": {"new_decoder_architecture": False, "alibi": False},
    "gpt_neo": {"attention_types": [[["global"], LAYERS]]},
    "dots1": {"n_shared_experts": 1},
    "lfm2": {"layer_types": ["conv", "full_attention"] * (LAYERS // 2)},
    "lfm2_moe": {"layer_types": ["conv", "full_attention"] * (LAYERS // 2)},
    "zamba": {"layer_types": ["mamba", "hybrid"] * (LAYERS // 2)},
    "zamba2": {"layer_types": ["mamba", "hybrid"] * (LAYERS // 2)},
    "dots3_note_text": {"num_key_value_heads": HEADS},
    "zaya": {"num_experts_per_tok": 1},
    "xmod": {"languages": ["en_XX"], "default_language": "en_XX"},
    "bamba": {"mamba_n_heads": 8, "mamba_d_head": 8},
    "granitemoehybrid": {"mamba_n_heads": 8, "mamba_d_head": 8},
    "mamba2": {"num_heads": 8, "head_dim": 8},
}
COLUMNS = ["architecture", "outcome", "gradient", "forward", "evaluation", "influence", "why"]


def tiny_config(name: str) -> PretrainedConfig:
    """The smallest configuration of an architecture that the names above can make."""
    cls = CONFIG_MAPPING[name]
    usual = cls().to_dict()
    alias = getattr(cls, "attribute_map", {})
    # What it has none of, it is given none of: False is no number, and an `is_decoder` to be set.
    chosen = {key: SIZES[key] for key in SIZES if key in usual and (usual[key] is False or usual[key] != 0)}
    if usual.get("q_lora_rank", 0) is None:  # queries that are not compressed
        chosen["q_lora_rank"] = None
    for key, real in alias.items():
        if key in SIZES and real in usual and real not in chosen:
            chosen[real] = SIZES[key]
    if "kv_lora_rank" in chosen:  # multi-head latent attention has no grouped queries
        chosen["num_key_value_heads"] = HEADS
    chosen |= {key: 0 if isinstance(usual[key], int) else None for key in SPECIAL_TOKENS if key in usual}
    return cls(**chosen | MORE.get(name, {}))


def build(name: str, dtype: torch.dtype) -> nn.Module:
    """A tiny random model, in SDPA attention where it has it."""
    config = tiny_config(name)
    if config.get_text_config() is not config:
        raise NotImplementedError("its decoder is an architecture of its own, listed under that name")
    fast = getattr(MODEL_FOR_CAUSAL_LM_MAPPING[type(config)], "_supports_sdpa", False)
    options = {"attn_implementation": "sdpa" if fast else "eager", "experts_implementation": "eager"}
    with torch.device("meta"):
        parameters = sum(p.numel() for p in AutoModelForCausalLM.from_config(config, **options).parameters())
    if parameters > LARGEST:
        raise NotImplementedError(f"{parameters:,} parameters: its sizes have names of their own")
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config, **options).to(dtype)
    with torch.no_grad():  # default initialisation is nearly linear: make every score, bias and gain matter
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return model.eval()


@contextmanager
def definition(modules: Sequence[nn.Module]) -> Iterator[None]:
    """While active, output t of each attention module is computed with every h_s, s != t, detached."""
    for module in modules:
        module.forward = _row_by_row(module.forward)
    try:
        yield
    finally:
        for module in modules:
            del module.forward


def _row_by_row(original: Callable[..., Any]) -> Callable[..., Any]:
    def forward(*args: Any, **kwargs: Any) -> Any:
        h = args[0] if args else kwargs.pop("hidden_states")
        rows = []
        for t in range(h.shape[1]):
            mixed = torch.cat([h[:, :t].detach(), h[:, t : t + 1], h[:, t + 1 :].detach()], dim=1)
            output = original(mixed, *args[1:], **kwargs)
            rows.append((output[0] if isinstance(output, tuple) else output)[:, t])
        whole = torch.stack(rows, dim=1)
        return (whole, *output[1:]) if isinstance(output, tuple) else whole

    return forward


def gradients(model: nn.Module, ids: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    """Logits, and the gradient of the randomly weighted token losses for every parameter that has one."""
    model.zero_grad()
    logits = model(input_ids=ids, use_cache=False).logits
    nll = nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten(), reduction="none")
    weights = torch.rand(len(nll), generator=torch.Generator().manual_seed(2)).to(nll)
    (nll * weights).sum().backward()
    found = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    return logits.detach(), found


def largest(difference: Tensor, scale: float) -> float:
    return float(difference.abs().max()) / scale


def survey(name: str) -> dict[str, Any]:
    """One row. Outcomes: exact, refused (one sentence of ours), not tried (no tiny model of it), and failures."""
    row: dict[str, Any] = {"architecture": name}
    ids = torch.randint(0, VOCAB, (2, T), generator=torch.Generator().manual_seed(1))
    for dtype in TOLERANCE:  # some cannot compute in fp64
        try:
            model = build(name, dtype)
            vanilla, _ = gradients(model, ids)
            break
        except Exception as error:
            row["why"] = row.get("why", _first_line(error))
    else:
        return {**row, "outcome": "not tried"}
    row.pop("why", None)
    previous = model.config._attn_implementation
    try:
        to_myopic(model)
        modules = [module for module in model.modules() if "layer_idx" in vars(module) and _attached(module)]
        logits, ours = gradients(model, ids)
        with torch.no_grad():
            evaluated = model(input_ids=ids, use_cache=False).logits
        picture = influence(model, ids[:1])[:-1, :-1]
    except MyopiaError as error:
        return {**row, "outcome": "refused", "why": str(error)}
    except Exception as error:
        return {**row, "outcome": "FAILS", "why": _first_line(error)}
    to_vanilla(model).set_attn_implementation(previous)
    try:
        with definition(modules):
            _, theirs = gradients(model, ids)
    except Exception as error:
        return {**row, "outcome": "not tried", "why": f"the definition cannot be taken literally: {_first_line(error)}"}
    scale = float(vanilla.abs().max())
    row["forward"], row["evaluation"] = largest(logits - vanilla, scale), largest(evaluated - vanilla, scale)
    row["influence"] = float((picture - picture.diag().diag()).abs().max())
    same = ours.keys() == theirs.keys()
    steepest = max(float(g.abs().max()) for g in theirs.values())
    row["gradient"] = max(largest(ours[n] - theirs[n], steepest) for n in theirs) if same else float("inf")
    right = max(row["gradient"], row["forward"], row["evaluation"]) <= TOLERANCE[dtype] and row["influence"] == 0
    return {**row, "outcome": "exact" if right else "WRONG"}


def _attached(module: nn.Module) -> bool:
    return getattr(vars(module).get("_myopia_site"), "index", None) is not None


def _first_line(error: Exception) -> str:
    lines = str(error).splitlines() or [""]
    return f"{type(error).__name__}: {' '.join(lines[:2])}"[:300]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", required=True, metavar="CSV")
    parser.add_argument("--architectures", nargs="+", default=sorted(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES))
    args = parser.parse_args()
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    warnings.simplefilter("ignore")  # of architectures on their way out of transformers
    rows = []
    for name in args.architectures:
        rows.append(survey(name))
        sys.stderr.write(f"{name}: {rows[-1]['outcome']} {rows[-1].get('why', '')}\n")
    frame = pd.DataFrame(rows).reindex(columns=COLUMNS)
    frame["transformers"], frame["torch"] = transformers.__version__, torch.__version__
    write_csv(args.out, frame)


if __name__ == "__main__":
    main()
