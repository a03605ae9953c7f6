"""`to_myopic` on every architecture, in fp64, against the definition run literally on the model's own attention."""

import copy
import gc

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint
from transformers import (
    AttentionInterface,
    AttentionMaskInterface,
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    GPT2Config,
    GPT2LMHeadModel,
)
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

import zoo
from myopia import MyopiaError, influence, to_local, to_myopic, to_vanilla

ALL = list(zoo.ARCHITECTURES)
# Eager attention, the only one that soft-caps, rounds its softmax to fp32 whatever the input.
TOLERANCE = {"gemma2": 2e-6}
REFERENCES = {"hidden": zoo.reference_hidden, "kv": zoo.reference_kv}
# Crossed with every option; the others meet each option once. Plain grouped queries, and all that is odd at once.
CROSSED = ("llama", "gpt_oss")


def tolerance(name: str) -> float:
    return TOLERANCE.get(name, 1e-10)


@pytest.mark.parametrize("name", ALL)
def test_forward_is_the_vanilla_forward(name):
    model, ids = zoo.build(name), zoo.tokens()
    vanilla = model(ids, use_cache=False).logits
    for cut in REFERENCES:
        to_myopic(model, cut=cut)
        assert (model(ids, use_cache=False).logits - vanilla).abs().max() <= tolerance(name)
        with torch.no_grad():
            assert (model(ids).logits - vanilla).abs().max() <= tolerance(name)


# What a beta between 0 and 1 mixes does not depend on the architecture; the bridge test below has one for each.
DEFINED = [(n, c, b) for n in ALL for c in REFERENCES for b in (0.0, 0.3, 1.0) if b == 0 or n in CROSSED]


@pytest.mark.parametrize(("name", "cut", "beta"), DEFINED)
def test_every_parameter_gradient_equals_the_definition(name, cut, beta):
    model, ids = zoo.build(name), zoo.tokens()
    with REFERENCES[cut](model, beta):
        expected = zoo.gradients(model, ids)
    vanilla = zoo.gradients(model, ids)
    actual = zoo.gradients(to_myopic(model, cut=cut, beta=beta), ids)
    assert zoo.worst(actual, expected) <= tolerance(name)
    # The test can fail: the myopic gradient is nothing like the vanilla one, and beta = 1 is the vanilla one.
    apart = zoo.worst(actual, vanilla)
    assert apart <= tolerance(name) if beta == 1 else apart > 0.1


@pytest.mark.parametrize(("name", "cut"), [*((n, "hidden") for n in ALL), *((n, "kv") for n in CROSSED)])
def test_no_gradient_at_all_reaches_the_past(name, cut):
    model, ids = zoo.build(name), zoo.tokens(batch=1)
    to_myopic(model, cut=cut)
    embeddings, hidden = [], []

    def keep(store):
        def hook(module, args, output):
            output = output[0] if isinstance(output, tuple) else output
            output.requires_grad_()
            store.append(output)

        return hook

    model.get_input_embeddings().register_forward_hook(keep(embeddings))
    for module in zoo.attention_modules(model):
        module.register_forward_hook(keep(hidden))
    logits = model(ids, use_cache=False).logits
    for t in (2, zoo.T - 2):
        loss = nn.functional.cross_entropy(logits[0, t : t + 1], ids[0, t + 1 : t + 2])
        for grad in torch.autograd.grad(loss, embeddings + hidden, retain_graph=True):
            assert grad[0, :t].count_nonzero() == 0  # exactly zero, not small
            assert grad[0, t].count_nonzero() > 0


@pytest.mark.parametrize("name", ALL)
def test_dense_path_and_two_pass_path_equal_the_bridge(name):
    model, ids = zoo.build(name), zoo.tokens()
    bridge = zoo.gradients(to_myopic(model, beta=0.4), ids)
    dense = zoo.gradients(to_myopic(model, beta=0.4, impl="dense"), ids)
    assert zoo.worst(bridge, dense) <= 1e-10
    to_myopic(model, beta=0.4)
    for site in model._myopia.sites:
        site.bridged = False
    assert zoo.worst(bridge, zoo.gradients(model, ids)) <= 1e-10


# Eager attention rounds its fp64 mask to -inf in fp32: a row without any key is NaN and the reference with it. The
# kv reference has its own softmax and covers gemma2 on the left.
SIDES = [(c, s) for c in REFERENCES for s in ("right", "left")]
PADDING = [(n, *SIDES[i % 4]) for i, n in enumerate(ALL) if n not in CROSSED] + [
    (n, *s) for n in CROSSED for s in SIDES
]
assert ("gemma2", "kv", "left") in PADDING


@pytest.mark.parametrize(("name", "cut", "side"), PADDING)
def test_padding(name, cut, side):
    """Gradients with a padded row equal the definition's; the loss ignores padded positions, as users' losses do."""
    model, ids = zoo.build(name), zoo.tokens()
    mask = torch.ones_like(ids)
    position_ids = torch.arange(zoo.T).expand(2, -1)
    weights = torch.rand(2, zoo.T - 1, generator=torch.Generator().manual_seed(3))
    if side == "right":
        mask[0, -3:] = 0
        weights[0, -3:] = 0
    else:
        mask[0, :3] = 0
        weights[0, :3] = 0
        position_ids = (mask.cumsum(-1) - 1).clamp(min=0)
    kwargs = dict(attention_mask=mask, position_ids=position_ids, loss_scale=weights)
    with REFERENCES[cut](model):
        expected = zoo.gradients(model, ids, **kwargs)
    actual = zoo.gradients(to_myopic(model, cut=cut), ids, **kwargs)
    real = mask.bool()
    assert (expected.pop("logits") - actual.pop("logits"))[real].abs().max() <= tolerance(name)
    assert zoo.worst(actual, expected) <= tolerance(name)


@pytest.mark.parametrize(
    ("name", "use_reentrant"),
    [("gpt2", False), ("gpt_neox", False), ("gpt_oss", False), ("llama", True), ("gpt_oss", True)],
)
def test_gradient_checkpointing(name, use_reentrant):
    model, ids = zoo.build(name), zoo.tokens()
    to_myopic(model, beta=0.2)
    expected = zoo.gradients(model, ids)
    model.train()
    model.gradient_checkpointing_enable({"use_reentrant": use_reentrant})
    if use_reentrant:
        model.enable_input_require_grads()
    assert zoo.worst(zoo.gradients(model, ids), expected) <= 1e-10


def test_checkpoint_around_the_whole_model():
    model, ids = to_myopic(zoo.build("llama")), zoo.tokens()
    expected = zoo.gradients(model, ids)
    original = model.forward
    model.forward = lambda **kwargs: checkpoint(lambda: original(**kwargs), use_reentrant=False)
    assert zoo.worst(zoo.gradients(model, ids), expected) <= 1e-10


@pytest.mark.parametrize("name", ["gpt2", "gpt_oss", "deepseek_v3"])
def test_autocast_bf16(name):
    model, ids = zoo.build(name, torch.float32), zoo.tokens(batch=4)
    exact = zoo.gradients(to_myopic(model), ids)
    with torch.autocast("cpu", torch.bfloat16):
        rough = zoo.gradients(model, ids)
        vanilla = zoo.gradients(to_vanilla(model), ids)
    full = zoo.gradients(model, ids)

    def error(a, b):
        total = sum(float((a[n].float() - b[n].float()).square().sum()) for n in b if n != "logits")
        return (total / sum(float(b[n].float().square().sum()) for n in b if n != "logits")) ** 0.5

    assert rough[next(iter(rough))].dtype == torch.float32
    # As far from its exact gradient as vanilla bf16 training is from its own, give or take a factor.
    assert error(rough, exact) < 2 * error(vanilla, full) + 1e-3


def test_torch_compile():
    model, ids = zoo.build("gpt2", torch.float32, n_layer=2), zoo.tokens()
    to_myopic(model)
    expected = zoo.gradients(model, ids)
    torch._dynamo.reset()
    compiled = torch.compile(model, backend="aot_eager", fullgraph=False)
    actual = {n.removeprefix("_orig_mod."): g for n, g in zoo.gradients(compiled, ids).items()}
    assert zoo.worst(actual, expected) <= 1e-4


@pytest.mark.parametrize("name", ["gpt2", "gpt_neox", "gpt_oss", "deepseek_v3"])  # each way to find keys and values
def test_saved_folder_is_plain_and_restoring_is_complete(name, tmp_path):
    model, ids = zoo.build(name), zoo.tokens()
    before, hooks = zoo.gradients(model, ids), sum(len(m._forward_pre_hooks) for m in model.modules())
    to_myopic(model)
    model.save_pretrained(tmp_path)
    assert "myopia" not in (tmp_path / "config.json").read_text()
    again = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float64, attn_implementation="eager")
    to_vanilla(model)
    assert sum(len(m._forward_pre_hooks) for m in model.modules()) == hooks
    assert not any("_myopia" in key for m in model.modules() for key in vars(m))
    assert zoo.worst(zoo.gradients(model, ids), before) == 0
    assert {k for k, _ in again.named_parameters()} == {k for k, _ in model.named_parameters()}


def test_two_models_and_copies_do_not_disturb_each_other():
    config = GPT2Config(**{**zoo.ARCHITECTURES["gpt2"]})
    torch.manual_seed(0)
    one, two = GPT2LMHeadModel(config).double().eval(), GPT2LMHeadModel(config).double().eval()
    ids = zoo.tokens()
    vanilla = zoo.gradients(two, ids)
    to_myopic(one)
    assert zoo.worst(zoo.gradients(two, ids), vanilla) == 0  # shared config object, other model untouched
    myopic = zoo.gradients(one, ids)
    twin = copy.deepcopy(one)
    to_vanilla(one)
    assert zoo.worst(zoo.gradients(twin, ids), myopic) <= 1e-12
    to_myopic(two, cut="kv")
    assert zoo.worst(zoo.gradients(twin, ids), myopic) <= 1e-12


def test_wrapped_projection_falls_back_to_two_passes():
    class Wrapped(nn.Module):  # what an adapter looks like from outside
        def __init__(self, inner):
            super().__init__()
            self.inner = inner

        def forward(self, x):
            return self.inner(x)

    model, ids = zoo.build("llama"), zoo.tokens()
    expected = zoo.gradients(to_myopic(model), ids)
    to_vanilla(model)
    for module in zoo.attention_modules(model):
        module.k_proj = Wrapped(module.k_proj)
    actual = zoo.gradients(to_myopic(model), ids)
    assert not any(site.bridged for site in model._myopia.sites)
    assert zoo.worst({k.replace("inner.", ""): v for k, v in actual.items()}, expected) <= 1e-10


def test_frozen_embeddings_and_frozen_projections():
    model, ids = zoo.build("gpt2"), zoo.tokens()
    full = zoo.gradients(to_myopic(model), ids)
    model.transformer.wte.requires_grad_(False)
    model.transformer.wpe.requires_grad_(False)
    model.transformer.h[1].attn.c_attn.weight.requires_grad_(False)
    some = zoo.gradients(model, ids)
    assert "transformer.h.1.attn.c_attn.weight" not in some
    assert zoo.worst(some, {k: full[k] for k in some}) <= 1e-12


# --- influence ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["gpt2", "gemma2", "gpt_oss", "deepseek_v3"])
def test_influence_is_lower_triangular_for_vanilla_and_diagonal_for_myopic(name):
    model, ids = zoo.build(name), zoo.tokens(batch=1)
    vanilla = influence(model, ids)
    myopic = influence(to_myopic(model), ids[0])
    assert vanilla.shape == (zoo.T, zoo.T) and vanilla[-1].isnan().all() and myopic[-1].isnan().all()
    lower = torch.ones(zoo.T - 1, zoo.T).tril().bool()
    assert (vanilla[:-1][lower] > 0).all() and (vanilla[:-1][~lower] == 0).all()
    diagonal = torch.eye(zoo.T - 1, zoo.T).bool()
    assert (myopic[:-1][diagonal] > 0).all() and (myopic[:-1][~diagonal] == 0).all()


def test_influence_equals_one_backward_per_position_and_leaves_no_trace():
    model, ids = zoo.build("gpt2").train(), zoo.tokens(batch=1)
    matrix = influence(model, ids)
    assert model.training and model.config._attn_implementation == "sdpa"
    assert all(p.grad is None for p in model.parameters())
    embeddings = model.transformer.wte(ids).detach().requires_grad_()
    logits = model(inputs_embeds=embeddings, use_cache=False).logits
    for t in range(zoo.T - 1):
        loss = nn.functional.cross_entropy(logits[0, t : t + 1], ids[0, t + 1 : t + 2])
        (grad,) = torch.autograd.grad(loss, embeddings, retain_graph=True)
        # influence() runs on eager attention, whose softmax is fp32, and reports fp32 losses.
        torch.testing.assert_close(matrix[t].double(), grad[0].norm(dim=-1), atol=1e-5, rtol=1e-4)


# --- generation and refusals ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["gpt2", "gpt_oss", "deepseek_v3"])
def test_generation_with_cache_works_as_if_unattached(name):
    model, ids = zoo.build(name), zoo.tokens(batch=1)
    expected = model.generate(ids, max_new_tokens=6, do_sample=False)
    assert torch.equal(to_myopic(model).generate(ids, max_new_tokens=6, do_sample=False), expected)


def test_sliding_window_shorter_than_the_text_is_refused_and_longer_is_right():
    model = zoo.build("mistral", sliding_window=5)
    to_myopic(model)
    with pytest.raises(MyopiaError, match="sliding window"):
        model(zoo.tokens(length=7), use_cache=False)
    ids = zoo.tokens(length=5)
    expected = zoo.gradients(to_myopic(zoo.build("mistral")), ids)
    assert zoo.worst(zoo.gradients(model, ids), expected) == 0


def test_refusals_are_one_clear_sentence():
    ids = zoo.tokens()
    with pytest.raises(MyopiaError, match="attention dropout is 0.1"):
        to_myopic(zoo.build("gpt2", attn_pdrop=0.1)).train()(ids)
    with pytest.raises(MyopiaError, match="cross-attention"):
        to_myopic(zoo.build("gpt2", add_cross_attention=True))
    t5 = AutoConfig.for_model("t5", d_model=16, d_kv=4, d_ff=16, num_layers=1, num_heads=2, vocab_size=32)
    with pytest.raises(MyopiaError, match="encoder-decoder"):
        to_myopic(AutoModelForSeq2SeqLM.from_config(t5))
    with pytest.raises(MyopiaError, match="PreTrainedModel"):
        to_myopic(nn.Linear(2, 2))
    with pytest.raises(MyopiaError, match="cut must be"):
        to_myopic(zoo.build("gpt2"), cut="values")
    with pytest.raises(MyopiaError, match="beta must lie"):
        to_myopic(zoo.build("gpt2"), beta=-0.1)
    model = to_myopic(zoo.build("gpt2"))
    with pytest.raises(MyopiaError, match="ready-made mask"):
        model(ids, attention_mask=torch.ones(2, 1, zoo.T, zoo.T))
    with pytest.raises(MyopiaError, match="cache"):
        past = model(ids[:, :3], use_cache=True).past_key_values
        model(ids[:, 3:], past_key_values=past)
    with pytest.raises(MyopiaError, match="differ in num_hidden_layers"):
        to_local(zoo.build("gpt2"), zoo.build("gpt2", n_layer=2))


@pytest.mark.parametrize("name", ["mamba", "bloom", "rwkv"])
def test_models_that_mix_positions_otherwise_are_refused(name):
    sizes = dict(vocab_size=32, hidden_size=16, num_hidden_layers=2, n_layer=2, n_head=2, state_size=4)
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(name, **sizes))
    with pytest.raises(MyopiaError):
        to_myopic(model)
    assert not hasattr(model, "_myopia")


def test_a_leak_besides_attention_is_found():
    model = zoo.build("llama")

    def shift(module, args, output):  # a token-shift layer, as RWKV has
        return output + torch.roll(output, 1, dims=1)

    model.model.layers[1].mlp.register_forward_hook(shift)
    with pytest.raises(MyopiaError, match="outside its attention"):
        to_myopic(model)


def test_an_attention_that_computes_something_else_is_refused():
    model = zoo.build("llama")

    def quieter(*args, **kwargs):
        output, weights = sdpa_attention_forward(*args, **kwargs)
        return 0.99 * output, weights

    AttentionInterface.register("quieter", quieter)
    AttentionMaskInterface.register("quieter", sdpa_mask)
    model.set_attn_implementation("quieter")
    with pytest.raises(MyopiaError, match=r"differs from that by 0\.01 of the largest"):
        to_myopic(model)
    assert model.config._attn_implementation == "quieter"


def test_layers_that_share_keys_are_refused():
    model = zoo.build("llama")
    first, second = (layer.self_attn.k_proj for layer in model.model.layers[:2])
    made = []
    first.register_forward_hook(lambda module, args, output: made.append(output))
    second.register_forward_hook(lambda module, args, output: made[-1])
    with pytest.raises(MyopiaError, match=r"layer 1 attends to keys or values made from .* layers \[0\]"):
        to_myopic(model)


def test_what_a_models_own_code_raises_becomes_one_sentence():
    model = zoo.build("llama")
    model.model.layers[0].mlp.register_forward_hook(lambda module, args, output: output + torch.zeros(3, 5))
    with pytest.raises(
        MyopiaError, match=r"LlamaForCausalLM cannot be made myopic: .* it fails \(RuntimeError: The size"
    ):
        to_myopic(model)


def test_a_step_leaves_no_garbage_behind():
    """The graph must die by reference count: a cycle in it would hold every activation until the collector runs."""
    model, ids = to_myopic(zoo.build("llama")), zoo.tokens()
    zoo.gradients(model, ids)
    gc.collect()
    gc.disable()
    try:
        before = len(gc.get_objects())
        for _ in range(5):
            zoo.gradients(model, ids)
        model(ids, use_cache=False)  # a forward pass whose graph is dropped unused
        assert len(gc.get_objects()) - before < 100
    finally:
        gc.enable()
