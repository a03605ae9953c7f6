"""Whether a model can be made myopic: found out by running it on a few tokens, not by a list of names."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from myopia.common.errors import MyopiaError
from myopia.model import interface
from myopia.model.interface import Arm, Attachment

TF32 = 2.0**-10  # rounding of the products that a GPU may use for fp32


class Call(NamedTuple):
    """What one attention module was given and what it returned."""

    hidden: Tensor  # [1, T, D]
    output: Tensor  # [1, T, D]


@contextmanager
def refusing(decoder: PreTrainedModel, when: str) -> Iterator[None]:
    """Whatever a model's own code raises becomes one sentence."""
    try:
        yield
    except MyopiaError:
        raise
    except Exception as error:  # foreign code: no common class
        first = (str(error).splitlines() or [""])[0]
        raise MyopiaError(
            f"{type(decoder).__name__} cannot be made myopic: {when} it fails ({type(error).__name__}: {first})"
        ) from error


def attention_modules(decoder: PreTrainedModel) -> list[tuple[nn.Module, bool]]:
    """(module, soft-caps its scores) for every caller of the attention interface, in call order."""
    found: list[tuple[nn.Module, bool]] = []
    with interface.recording_modules(found):
        _run(decoder, T=2, grad=False)
    if not found:
        raise MyopiaError(
            f"{type(decoder).__name__} does not call transformers' attention interface: it mixes tokens in code of its "
            "own, where nothing can be cut, so it cannot be made myopic"
        )
    expected = decoder.config.get_text_config().num_hidden_layers
    if len({id(module) for module, _ in found}) != len(found) or len(found) != expected:
        raise MyopiaError(
            f"{type(decoder).__name__} calls transformers' attention interface {len(found)} times for "
            f"{expected} layers: a model with other or shared token mixers cannot be made myopic"
        )
    for module, _ in found:
        if getattr(module, "is_cross_attention", False) or getattr(module, "is_causal", True) is False:
            raise MyopiaError(f"{type(module).__name__} is not causal self-attention, so it cannot be made myopic")
    return found


def vanilla_calls(decoder: PreTrainedModel, modules: Sequence[nn.Module]) -> list[Call]:
    """What each attention module makes of a few tokens in the model's own attention implementation."""
    calls: dict[nn.Module, Call] = {}

    def note(module: nn.Module, args: tuple, kwargs: dict, output: Any) -> None:
        calls[module] = Call(interface.hidden_of(args, kwargs).detach().clone(), _tensor(output).detach().clone())

    with ExitStack() as stack:
        for module in modules:
            stack.callback(module.register_forward_hook(note, with_kwargs=True).remove)
        _run(decoder, T=4, grad=False)
    return [calls[module] for module in modules]


def check_mechanism(
    decoder: PreTrainedModel, attachment: Attachment, modules: Sequence[nn.Module], calls: Sequence[Call]
) -> None:
    """Refuse a model whose attention computes something that ours does not, or from something else.

    Every module is given the input it had in the vanilla pass: a difference is seen where it arises, and rounding
    cannot grow on its way through the layers or tip a router. Keys and values must then depend on that input and on
    no other module's (layers that share keys would need their gradient cut where they are made).
    """
    arm, attachment.arm = attachment.arm, Arm(kind="cut", cut="kv", impl=attachment.arm.impl)
    given = {module: call.hidden.requires_grad_() for module, call in zip(modules, calls, strict=True)}
    outputs: dict[nn.Module, Tensor] = {}
    keys: dict[nn.Module, tuple[Tensor, Tensor]] = {}

    def give(module: nn.Module, args: tuple, kwargs: dict) -> tuple[tuple, dict]:
        return interface.with_hidden(args, kwargs, given[module])

    def note(module: nn.Module, args: tuple, kwargs: dict, output: Any) -> None:
        outputs[module] = _tensor(output).detach()

    try:
        with ExitStack() as stack:
            for module in modules:
                stack.callback(module.register_forward_pre_hook(give, with_kwargs=True, prepend=True).remove)
                stack.callback(module.register_forward_hook(note, with_kwargs=True).remove)
            stack.enter_context(interface.noting_keys(keys))
            _run(decoder, T=4, grad=True)
    finally:
        attachment.arm = arm
    worst = max(_difference(outputs[module], call.output) for module, call in zip(modules, calls, strict=True))
    if worst > 4 * max(torch.finfo(calls[0].output.dtype).eps, TF32):
        raise MyopiaError(
            f"{type(decoder).__name__}'s attention is not a softmax over keys alone (its output differs from that by "
            f"{worst:.2g} of the largest): the forward pass would change, so it cannot be made myopic"
        )
    for index, module in enumerate(modules):
        for made in keys[module]:
            reached = _reached(made, list(given.values()))
            if reached != [index]:
                raise MyopiaError(
                    f"{type(decoder).__name__}'s layer {index} attends to keys or values made from the hidden states of "
                    f"layers {reached}: only keys and values of a layer's own can be cut, so it cannot be made myopic"
                )


def _difference(output: Tensor, expected: Tensor) -> float:
    """Largest difference as a share of the largest entry; 0 where there is nothing to compare with."""
    largest = expected.abs().max()
    if not largest or not largest.isfinite():  # a projection of zeros, or weights that overflow
        return 0.0
    return float(((output - expected).abs().max() / largest).nan_to_num(torch.inf))


def _reached(made: Tensor, leaves: Sequence[Tensor]) -> list[int]:
    """Numbers of the leaves that `made` was computed from."""
    if not made.requires_grad:
        return []
    with torch.enable_grad():
        found = torch.autograd.grad(made.float().sum(), leaves, retain_graph=True, allow_unused=True)
    return [index for index, gradient in enumerate(found) if gradient is not None]


def check_gradients(decoder: PreTrainedModel, attachment: Attachment) -> None:
    """Refuse a model in which the past still receives gradient: something besides attention mixes positions."""
    beta, attachment.arm.beta = attachment.arm.beta, 0.0
    try:
        embeddings, output = _run(decoder, T=4, grad=True)
        with torch.enable_grad():
            (gradient,) = torch.autograd.grad(output[:, -1].float().square().sum(), embeddings)
    finally:
        attachment.arm.beta = beta
    if gradient[:, :-1].count_nonzero():
        raise MyopiaError(
            f"{type(decoder).__name__} moves information between positions outside its attention, so cutting the "
            "attention does not make it myopic"
        )


def _tensor(output: Any) -> Tensor:
    return output[0] if isinstance(output, tuple) else output


def _run(decoder: PreTrainedModel, T: int, grad: bool) -> tuple[Tensor, Tensor]:
    """Run the decoder on T different tokens in eval mode (no dropout, no random state consumed).

    Returns (input embeddings [1, T, E], output [1, T, ...]).
    """
    embedding = decoder.get_input_embeddings()
    device = next(decoder.parameters()).device
    captured: list[Tensor] = []

    def capture(module: nn.Module, args: Any, output: Tensor) -> Tensor:
        captured.append(output.detach().requires_grad_(grad))
        return captured[-1].clone()  # some models scale it in place, which a leaf forbids

    training = [m for m in decoder.modules() if m.training]
    decoder.eval()
    handle = embedding.register_forward_hook(capture)
    try:
        with torch.set_grad_enabled(grad):
            ids = torch.arange(T, device=device)[None] % decoder.config.get_text_config().vocab_size
            if isinstance(embedding, nn.Embedding):
                output = decoder(input_ids=ids, use_cache=False)[0]
            else:  # a decoder whose embedding was replaced (regression on vectors) is fed embeddings
                generator = torch.Generator().manual_seed(0)
                width = decoder.config.get_text_config().hidden_size
                weight = next(decoder.parameters())
                vectors = torch.randn(1, T, width, generator=generator).to(weight)
                captured.append(vectors.requires_grad_(grad))
                output = decoder(inputs_embeds=captured[-1], use_cache=False)[0]
    finally:
        handle.remove()
        for module in training:
            module.training = True
    return captured[0], output
