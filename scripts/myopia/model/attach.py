"""Attaching myopic gradients to a Hugging Face decoder, and taking them off again.

`to_myopic` registers nothing per architecture. It points the model's config at an attention function registered
in transformers' `AttentionInterface`, finds the attention modules by letting the model run once on two tokens, and
hangs three kinds of hooks on it: on each attention module (to prepare the past), on the projections that make keys
and values (the bridge, see `bridge.py`), and, for the local arm only, on the model (to run the teacher).
All state hangs on the model's own modules, so any number of models can be attached in one process.
"""

from __future__ import annotations

import copy
from typing import Literal

from torch import nn
from transformers import PreTrainedModel

from myopia.common.errors import MyopiaError
from myopia.model import interface, probe
from myopia.model.bridge import is_bridgeable
from myopia.model.interface import Arm, Attachment, Site

# Names under which the field's decoders keep the projections that make keys and values: separate, then fused.
_SEPARATE = (("k_proj", "v_proj"),)
_FUSED = ("c_attn", "query_key_value", "qkv_proj", "Wqkv", "W_pack")


def to_myopic(
    model: nn.Module, *, cut: Literal["hidden", "kv"] = "hidden", beta: float = 0.0, impl: str = "fused"
) -> nn.Module:
    """Turn any Hugging Face decoder-only model into its myopic twin, in place; the forward pass is unchanged.

    Args:
        model: a `PreTrainedModel` (or a module that holds one) whose attention goes through `AttentionInterface`.
        cut: `hidden` (the paper's: past hidden states are detached, W_K and W_V still learn from past positions)
            or `kv` (past keys and values are detached, projections included).
        beta: share of the off-diagonal gradient let through at each attention hop; 0 myopic, 1 vanilla.
        impl: `fused`, or `dense` (stores [T, T] scores; twice differentiable). Soft-capped models (Gemma 2) always
            use `dense`, because no fused kernel soft-caps.

    Returns:
        The same object. `to_vanilla` restores it.

    Raises:
        MyopiaError: an encoder-decoder, cross-attention, attention outside the interface or of another kind than
            ours (found by comparing outputs), layers that share keys or values, or a model in which anything but
            causal self-attention moves information between positions (found by a gradient check).
    """
    if cut not in ("hidden", "kv"):
        raise MyopiaError(f"cut must be 'hidden' or 'kv', not {cut!r}")
    if not 0 <= beta <= 1:
        raise MyopiaError(f"beta must lie in [0, 1], not {beta}")
    return _attach(model, Arm(kind="cut", cut=cut, beta=float(beta), impl=impl))


def to_local(
    model: nn.Module, teacher: nn.Module, *, form: Literal["hidden", "kv"] = "hidden", impl: str = "fused"
) -> nn.Module:
    """The locally myopic arm (paper Def. 4, App. B): the past is read from a frozen `teacher`.

    Args:
        model: the student, changed in place.
        teacher: a model of the same shape; it is frozen, put into eval mode and run without gradient before every
            forward pass of the student, on the same inputs.
        form: `hidden` (the teacher's attention inputs, on the same side of the layer norm as the live ones, through
            the student's own W_K and W_V) or `kv` (the teacher's keys and values).

    Raises:
        MyopiaError: as `to_myopic`, or student and teacher of different shapes.
    """
    if form not in ("hidden", "kv"):
        raise MyopiaError(f"form must be 'hidden' or 'kv', not {form!r}")
    teacher.requires_grad_(False).eval()
    recorder = _attach(teacher, Arm(kind="record", impl=impl))._myopia
    return _attach(model, Arm(kind="local", form=form, impl=impl, teacher=recorder))


def to_bigram(model: nn.Module, *, form: Literal["zeroed", "true"] = "zeroed", impl: str = "fused") -> nn.Module:
    """The transformer bigram: the past is removed.

    Args:
        form: `zeroed` (the paper's: past keys and values are zero but stay in the softmax, which leaks position)
            or `true` (the past is masked: a token sees itself only).
    """
    if form not in ("zeroed", "true"):
        raise MyopiaError(f"form must be 'zeroed' or 'true', not {form!r}")
    return _attach(model, Arm(kind="bigram", form=form, impl=impl))


def to_pair(model: nn.Module) -> nn.Module:
    """Prepare `model` for `two_sets.TwoSets`: two passes, the second of which reads the first one's hidden states.

    Dense operator, nothing detached; the model is first checked as `to_myopic` checks it.
    """
    to_myopic(model)
    return _attach(model, Arm(kind="pair", form="past", impl="dense"))


def to_vanilla(model: nn.Module) -> nn.Module:
    """Undo `to_myopic`, `to_local` or `to_bigram` in place. A model that is not attached is returned as it is."""
    attachment: Attachment | None = getattr(model, "_myopia", None)
    if attachment is None:
        return model
    for handle in attachment.handles:
        handle.remove()
    for module in model.modules():
        module.__dict__.pop("_myopia_site", None)
    find_decoder(model).set_attn_implementation(attachment.previous)
    if attachment.arm.teacher is not None:
        to_vanilla(attachment.arm.teacher.model)
    del model._myopia
    return model


def find_decoder(model: nn.Module) -> PreTrainedModel:
    """The outermost `PreTrainedModel` in `model` (a wrapper such as a regression head may hold it)."""
    for module in model.modules():
        if isinstance(module, PreTrainedModel):
            return module
    raise MyopiaError(f"{type(model).__name__} holds no transformers PreTrainedModel, so it cannot be made myopic")


def _attach(model: nn.Module, arm: Arm) -> nn.Module:
    if arm.impl not in ("fused", "dense"):
        raise MyopiaError(f"impl must be 'fused' or 'dense', not {arm.impl!r}")
    to_vanilla(model)
    decoder = find_decoder(model)
    _refuse_unfit(decoder)
    _own_config(decoder)
    previous = decoder.config._attn_implementation
    attachment = Attachment(arm=arm, previous=previous, model=model)
    model._myopia = attachment
    name = interface.NAME if arm.kind == "cut" else interface.STRICT_NAME
    abstract = next(decoder.parameters()).device.type == "meta"  # nothing to compare
    try:
        decoder.set_attn_implementation(name)
        with probe.refusing(decoder, "when its attention modules are looked for"):
            found = probe.attention_modules(decoder)
        modules = [module for module, _ in found]
        decoder.set_attn_implementation(previous)
        with probe.refusing(decoder, "on four tokens"):
            calls = [] if abstract else probe.vanilla_calls(decoder, modules)
        decoder.set_attn_implementation(name)
        for index, (module, softcapped) in enumerate(found):
            site = Site(attachment=attachment, index=index, softcapped=softcapped)
            _hang(module, site)
            attachment.sites.append(site)
        with probe.refusing(decoder, "under our attention"):
            if not abstract:
                probe.check_mechanism(decoder, attachment, modules, calls)
        if arm.teacher is not None:
            _match_teacher(attachment, arm.teacher)
            attachment.handles.append(decoder.register_forward_pre_hook(interface.run_teacher, with_kwargs=True))
            decoder.__dict__["_myopia_site"] = attachment.sites[0]
        attachment.handles.append(decoder.register_forward_pre_hook(interface.without_cache, with_kwargs=True))
        if arm.kind not in ("record", "pair") and not abstract:
            with probe.refusing(decoder, "under our attention"):
                probe.check_gradients(decoder, attachment)
    except BaseException:
        to_vanilla(model)
        raise
    return model


def _refuse_unfit(decoder: PreTrainedModel) -> None:
    name = type(decoder).__name__
    if decoder.config.is_encoder_decoder:
        raise MyopiaError(f"{name} is an encoder-decoder: only decoder-only models can be made myopic")
    if getattr(decoder.config, "add_cross_attention", False):
        raise MyopiaError(f"{name} has cross-attention (config.add_cross_attention): only self-attention can be cut")


def _own_config(decoder: PreTrainedModel) -> None:
    """Give the model a config of its own: two models built from one config object must not switch together."""
    shared = decoder.config
    own = copy.deepcopy(shared)
    for module in decoder.modules():
        for key, value in list(vars(module).items()):
            if value is shared:
                setattr(module, key, own)


def _hang(module: nn.Module, site: Site) -> None:
    """Put the hooks of one attention module in place."""
    handles = site.attachment.handles
    module.__dict__["_myopia_site"] = site
    handles.append(module.register_forward_pre_hook(interface.prepare_past, with_kwargs=True))
    arm = site.attachment.arm
    if arm.kind != "cut" or arm.cut != "hidden":
        return
    projections: list[nn.Module] = []
    for names in _SEPARATE:
        if all(hasattr(module, name) for name in names):
            projections = [getattr(module, name) for name in names]
    for name in _FUSED:
        if not projections and hasattr(module, name):
            projections, site.fused_projection = [getattr(module, name)], True
    if not projections or not all(is_bridgeable(p) for p in projections):
        return  # unknown layout or wrapped layers (LoRA, quantised): two projections instead of the bridge
    site.bridged = True
    for projection in projections:
        projection.__dict__["_myopia_site"] = site
        handles.append(projection.register_forward_pre_hook(interface.detach_input))
        handles.append(projection.register_forward_hook(interface.cross_bridge))


def _match_teacher(student: Attachment, teacher: Attachment) -> None:
    if teacher.model is student.model:
        raise MyopiaError("the teacher of the local arm must be another model than the student")
    a, b = (find_decoder(x.model).config.get_text_config() for x in (student, teacher))
    for key in ("model_type", "num_hidden_layers", "hidden_size", "num_attention_heads", "vocab_size"):
        if getattr(a, key, None) != getattr(b, key, None):
            raise MyopiaError(
                f"student and teacher differ in {key}: {getattr(a, key, None)} against {getattr(b, key, None)}"
            )
