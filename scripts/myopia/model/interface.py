"""What runs inside a model's forward pass: the attention and mask functions we register, and the hooks.

Two names are registered. Under `NAME` (cut arms, whose forward is the vanilla one) evaluation without gradients is
handed to transformers' own SDPA, so generation, caches and sliding windows work as ever. Under `STRICT_NAME` (arms
whose forward differs) our attention always runs.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.cache_utils import Cache
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import causal_mask_function, sdpa_mask

from myopia.common.errors import MyopiaError
from myopia.model.bridge import Link, bridge, coincident_attention
from myopia.model.eager import eager_attention, only_self
from myopia.model.operator import key_bias, myopic_attention

NAME = "myopia"
STRICT_NAME = "myopia_strict"


@dataclass
class Arm:
    """Which attention a model runs."""

    kind: str  # cut | local | bigram | record (a teacher) | pair (two_sets.py)
    cut: str = "hidden"
    form: str = ""
    beta: float = 0.0
    impl: str = "fused"
    teacher: Attachment | None = None


@dataclass
class Attachment:
    """Everything `to_vanilla` has to undo on one model."""

    arm: Arm
    previous: str  # the attention implementation to restore
    model: nn.Module
    sites: list[Site] = field(default_factory=list)
    handles: list[Any] = field(default_factory=list)


@dataclass
class Site:
    """One attention module's share of the state; lives on the module as `_myopia_site`."""

    attachment: Attachment
    index: int
    bridged: bool = False  # its projections carry bridges
    fused_projection: bool = False  # q, k and v come from one projection
    softcapped: bool = False  # scores are soft-capped, which only the dense operator can do
    link: Link | None = None  # of the call in progress
    inputs: dict[int, Tensor] = field(default_factory=dict)  # projection id -> h of the call in progress
    capturing: bool = False
    past: tuple[Tensor, Tensor] | None = None  # keys and values that later positions see
    recorded: tuple[Tensor, Tensor, Tensor] | None = None  # teacher: (h, k, v) of its last forward

    @property
    def impl(self) -> str:
        return "dense" if self.softcapped else self.attachment.arm.impl


class _Captured(Exception):
    """Ends the extra pass over an attention module as soon as its keys and values exist."""


_probe_list: ContextVar[list[tuple[nn.Module, bool]] | None] = ContextVar("myopia_probe", default=None)
_noted: ContextVar[dict[nn.Module, tuple[Tensor, Tensor]] | None] = ContextVar("myopia_noted", default=None)


@contextmanager
def recording_modules(found: list[tuple[nn.Module, bool]]) -> Iterator[None]:
    """While active, (module, soft-caps its scores) is appended for every call of the attention interface."""
    token = _probe_list.set(found)
    try:
        yield
    finally:
        _probe_list.reset(token)


@contextmanager
def noting_keys(found: dict[nn.Module, tuple[Tensor, Tensor]]) -> Iterator[None]:
    """While active, the keys and values that each attention module hands over are kept in `found`."""
    token = _noted.set(found)
    try:
        yield
    finally:
        _noted.reset(token)


# --- hooks -----------------------------------------------------------------------------------------------------


def prepare_past(module: nn.Module, args: tuple, kwargs: dict) -> None:
    """Before an attention module runs: open a bridge, or compute the keys and values the future will see."""
    site: Site | None = module.__dict__.get("_myopia_site")
    if site is None or _probe_list.get() is not None:
        return
    arm = site.attachment.arm
    site.link, site.past = None, None
    h = hidden_of(args, kwargs)
    if arm.kind == "record":
        site.recorded = (h.detach(), h, h)  # k and v follow when the attention runs
    elif arm.kind == "local":
        h_teacher, k, v = arm.teacher.sites[site.index].recorded
        site.past = _capture(module, h_teacher, args, kwargs) if arm.form == "hidden" else (k, v)
    elif arm.kind == "pair":  # two passes, nothing detached: the second reads the past that the first left here
        if arm.form == "past":
            site.recorded = (h, h, h)
        else:
            site.past = _capture(module, site.recorded[0], args, kwargs)
    elif arm.kind == "cut" and arm.cut == "hidden" and h.requires_grad and torch.is_grad_enabled():
        if site.bridged and site.impl == "fused" and _can_bridge():
            site.link = Link(through_query=site.fused_projection)
        else:
            mixed = h.detach() if arm.beta == 0 else torch.lerp(h.detach(), h, arm.beta)
            site.past = _capture(module, mixed, args, kwargs)


def _can_bridge() -> bool:
    # Saved-tensor hooks mean checkpointing or offloading: the nested pull-back would recompute the block twice.
    return not torch.compiler.is_compiling() and not _saved_tensor_hooks_active()


def _saved_tensor_hooks_active() -> bool:
    return torch._C._autograd._top_saved_tensors_default_hooks(True) is not None


def hidden_of(args: tuple, kwargs: dict) -> Tensor:
    """The hidden states among the arguments of an attention module."""
    return args[0] if args else kwargs["hidden_states"]


def with_hidden(args: tuple, kwargs: dict, h: Tensor) -> tuple[tuple, dict]:
    """The same arguments with other hidden states."""
    return ((h, *args[1:]), kwargs) if args else (args, {**kwargs, "hidden_states": h})


def _capture(module: nn.Module, h: Tensor, args: tuple, kwargs: dict) -> tuple[Tensor, Tensor]:
    """Keys and values the module makes from other hidden states `h`, by running its own forward up to attention."""
    site: Site = module.__dict__["_myopia_site"]
    kwargs = {name: None if isinstance(value, Cache) else value for name, value in kwargs.items()}
    args, kwargs = with_hidden(tuple(None if isinstance(x, Cache) else x for x in args), kwargs, h)
    site.capturing = True
    try:
        module.forward(*args, **kwargs)
    except _Captured:
        pass
    finally:
        site.capturing = False
    past, site.past = site.past, None
    return past


def detach_input(projection: nn.Module, args: tuple) -> tuple | None:
    """Feed a bridged projection sg(h), keeping h for the bridge."""
    site: Site = projection.__dict__["_myopia_site"]
    if site.link is None:
        return None
    site.inputs[id(projection)] = args[0]
    return (args[0].detach(), *args[1:])


def cross_bridge(projection: nn.Module, args: tuple, output: Tensor) -> Tensor | None:
    """Lay the bridge from a projection's output to the h it was made from."""
    site: Site = projection.__dict__["_myopia_site"]
    if site.link is None:
        return None
    return bridge(output, site.inputs.pop(id(projection)), projection, site.link)


def without_cache(model: nn.Module, args: tuple, kwargs: dict) -> tuple[tuple, dict] | None:
    """Training needs no key/value cache; building one copies every key and value."""
    if torch.is_grad_enabled() and kwargs.get("use_cache") is None and kwargs.get("past_key_values") is None:
        return args, {**kwargs, "use_cache": False}
    return None


def run_teacher(model: nn.Module, args: tuple, kwargs: dict) -> None:
    """Run the local arm's teacher on the student's inputs so that its sites hold the past."""
    teacher = model.__dict__["_myopia_site"].attachment.arm.teacher
    if kwargs.get("inputs_embeds") is not None:
        raise MyopiaError("the local arm needs input_ids: the teacher has its own embeddings, not inputs_embeds")
    passed = {k: v for k, v in kwargs.items() if k in ("input_ids", "attention_mask", "position_ids")}
    with torch.no_grad():
        teacher.model(*args[:1], **passed, use_cache=False)


# --- the registered functions ----------------------------------------------------------------------------------


def _attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    softcap: float | None = None,
    s_aux: Tensor | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """transformers' attention signature: query [B,H,T,D], key and value [B,G,T,D] -> ([B,T,H,D], None).

    `s_aux` is its name for attention sinks [H].
    """
    probe = _probe_list.get()
    if probe is not None:
        probe.append((module, softcap is not None))
        return value.new_zeros(query.shape[0], query.shape[2], query.shape[1], value.shape[3]), None
    site: Site | None = module.__dict__.get("_myopia_site")
    if site is None:
        raise MyopiaError(f"{type(module).__name__} names our attention but is not attached: call to_myopic(model)")
    arm = site.attachment.arm
    query, key, value = _autocast(query, key, value)
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    width = value.shape[-1]
    query, key, value = _equally_wide(query, key, value)
    if (noted := _noted.get()) is not None:
        noted[module] = (key, value)
    if site.capturing:
        site.past = (key, value)
        if torch.compiler.is_compiling():  # what follows is dead code to the compiler
            return torch.zeros_like(query)[..., :width].transpose(1, 2).contiguous(), None
        raise _Captured
    plain = arm.kind == "cut" and not torch.is_grad_enabled()
    if plain and (attention_mask is None or attention_mask.dim() == 4):
        if softcap is None and s_aux is None:
            kwargs.update(scaling=scale, dropout=dropout)
            out, _ = sdpa_attention_forward(module, query, key, value, attention_mask, **kwargs)
            return out[..., :width], None
        out = eager_attention(query, key, value, attention_mask, scale, softcap, s_aux)
    else:
        _refuse_unfit_call(query, key, attention_mask, dropout, kwargs.get("position_bias"))
        out = _run(site, query, key, value, attention_mask, scale, softcap, s_aux)
    return out[..., :width].transpose(1, 2).contiguous(), None  # contiguous: some models take a view of it


def _autocast(*tensors: Tensor) -> list[Tensor]:
    """What autocast does to the arguments of SDPA: rotary embeddings leave q and k in fp32 beside a bf16 v."""
    device = tensors[0].device.type
    if not torch.is_autocast_enabled(device):
        return list(tensors)
    dtype = torch.get_autocast_dtype(device)
    return [x.to(dtype) if x.dtype == torch.float32 else x for x in tensors]


def _equally_wide(*tensors: Tensor) -> list[Tensor]:
    """Zero columns for the narrower of keys and values (multi-head latent attention): no score, no sum changes."""
    width = max(x.shape[-1] for x in tensors)
    return [x if x.shape[-1] == width else nn.functional.pad(x, (0, width - x.shape[-1])) for x in tensors]


def _run(
    site: Site,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: Tensor | None,
    scale: float,
    softcap: float | None,
    sinks: Tensor | None,
) -> Tensor:
    """The attention of the site's arm, [B,H,T,D]."""
    arm = site.attachment.arm
    link, site.link = site.link, None
    past, site.past = site.past, None
    if arm.kind == "bigram" and arm.form == "true":
        return only_self(q, k, v, scale, sinks)
    impl = site.impl
    rest: dict[str, Any] = dict(scale=scale, attn_mask=mask, impl=impl, softcap=softcap, sinks=sinks)
    if arm.kind == "record":
        site.recorded = (site.recorded[0], k.detach(), v.detach())
        past = (k, v)
    elif arm.kind == "bigram":
        past = (torch.zeros_like(k), torch.zeros_like(v))
    elif past is None and impl == "fused":
        # Values coincide: one ordinary causal pass. Without a link the cut is at keys and values, or h needs no
        # gradient and then the full gradient of k and v reaches weights only (beta = 1 means: do not cut here).
        beta = arm.beta if link is not None or arm.cut == "kv" else 1.0
        bias = None if mask is None else key_bias(mask, q.dtype)
        return coincident_attention(q, k, v, bias, scale, beta, link, sinks)
    elif past is None:
        past = (k.detach(), v.detach()) if arm.cut == "kv" else (k, v)
        rest["beta"] = arm.beta if arm.cut == "kv" else 0.0
    return myopic_attention(q, k, v, *past, **rest)


def _refuse_unfit_call(
    query: Tensor, key: Tensor, mask: Tensor | None, dropout: float, position_bias: Tensor | None
) -> None:
    if dropout > 0:
        raise MyopiaError(
            f"attention dropout is {dropout}: the fused kernel cannot reproduce it in both arms, so set the config's "
            "attention dropout (attn_pdrop or attention_dropout) to 0"
        )
    if query.shape[2] != key.shape[2]:
        raise MyopiaError(
            f"{query.shape[2]} queries against {key.shape[2]} keys: a key/value cache cannot be used while gradients "
            "are myopic; pass use_cache=False, or generate under torch.no_grad() or after to_vanilla(model)"
        )
    if position_bias is not None:
        raise MyopiaError("this model adds a position bias to its scores (ALiBi, T5), which the fused kernels lack")
    if mask is not None and not len(mask):
        raise MyopiaError(
            f"this model's attention mask is not plain causal over {mask.shape[-1]} tokens (a sliding window or chunk "
            "shorter than that, packed sequences, or a custom mask): shorten the sequences to the window or use one "
            "per row"
        )
    if mask is not None and mask.dim() != 2:
        raise MyopiaError(
            f"myopic attention takes a padding mask [B, T], not a ready-made mask of shape {tuple(mask.shape)}"
        )


def _mask(
    batch_size: int,
    q_length: int,
    kv_length: int,
    q_offset: int = 0,
    kv_offset: int = 0,
    mask_function: Any = causal_mask_function,
    attention_mask: Tensor | None = None,
    use_vmap: bool = False,
    device: Any = None,
    **kwargs: Any,
) -> Tensor | None:
    """transformers' mask signature -> a key padding mask [B, T], or None where nothing is padded.

    A mask that is not causal in effect comes back with no rows, and the attention that is given it refuses it: some
    models make masks that none of their layers uses.
    """
    if mask_function is not causal_mask_function and (
        use_vmap or not _causal_in_effect(mask_function, batch_size, kv_length, device)
    ):
        return torch.empty(0, 1, q_length, kv_length, device=device)
    if attention_mask is None:
        return None
    attention_mask = attention_mask[:, -kv_length:]
    if not torch.compiler.is_compiling() and attention_mask.all():
        return None
    return attention_mask


def _causal_in_effect(mask_function: Any, batch_size: int, T: int, device: Any) -> bool:
    """Whether a mask is causal over T tokens (a sliding window of at least T): O(T) probes."""
    batch = torch.arange(batch_size, device=device)[:, None]
    zero, index = torch.zeros((), dtype=torch.long, device=device), torch.arange(T, device=device)
    last = mask_function(batch, zero, zero + T - 1, index)
    next_key = mask_function(batch, zero, index[:-1], index[1:])
    return bool(torch.as_tensor(last).all()) and not torch.as_tensor(next_key).any()


def _mask_while_training(*args: Any, **kwargs: Any) -> Tensor | None:
    return _mask(*args, **kwargs) if torch.is_grad_enabled() else sdpa_mask(*args, **kwargs)


AttentionInterface.register(NAME, _attention)
AttentionInterface.register(STRICT_NAME, _attention)
AttentionMaskInterface.register(NAME, _mask_while_training)
AttentionMaskInterface.register(STRICT_NAME, _mask)
