"""The local arm and the transformer bigram, against their formulas written out on gpt2's own layers."""

import copy

import pytest
import torch

import zoo
from myopia import to_bigram, to_local, to_myopic

NAMES = ("gpt2", "gpt_neox", "llama", "olmo2", "gpt_oss", "deepseek_v3")


@pytest.mark.parametrize(("name", "form"), [*((n, "hidden") for n in NAMES), ("gpt2", "kv"), ("gpt_oss", "kv")])
def test_local_arm_with_itself_as_teacher_is_the_cut(name, form):
    """A frozen copy of the student supplies the same past: forward vanilla, gradients those of the cut."""
    student, ids = zoo.build(name), zoo.tokens()
    teacher = copy.deepcopy(student).train()
    cut = zoo.gradients(to_myopic(copy.deepcopy(student), cut=form), ids)
    to_local(student, teacher, form=form)
    assert not teacher.training and not any(p.requires_grad for p in teacher.parameters())
    student.train()
    assert not teacher.training  # the student's mode does not reach it
    assert zoo.worst(zoo.gradients(student, ids), cut) <= 1e-10
    with torch.no_grad():
        torch.testing.assert_close(student(ids).logits, cut["logits"])


@pytest.mark.parametrize("form", ["hidden", "kv"])
def test_local_arm_reads_the_teachers_past(form):
    """Against gpt2's formula written out: the past comes from the teacher's ln_1 output, or its keys and values."""
    student, teacher, ids = zoo.build("gpt2"), zoo.build("gpt2", seed=5), zoo.tokens()
    inputs = []
    for block in teacher.transformer.h:
        block.attn.register_forward_pre_hook(lambda m, args: inputs.append(args[0].detach()))
    to_local(student, teacher, form=form)
    inputs.clear()
    with torch.no_grad():
        logits = student(ids).logits
        x = student.transformer.wte(ids) + student.transformer.wpe(torch.arange(zoo.T))
        for layer, block in enumerate(student.transformer.h):
            h = block.ln_1(x)
            maker = block if form == "hidden" else teacher.transformer.h[layer]
            q, k, v = (y.view(2, zoo.T, 4, 4) for y in block.attn.c_attn(h).split(16, dim=2))
            _, k_past, v_past = (y.view(2, zoo.T, 4, 4) for y in maker.attn.c_attn(inputs[layer]).split(16, dim=2))
            out = torch.empty_like(q)
            for t in range(zoo.T):
                keys = torch.cat([k_past[:, :t], k[:, t : t + 1]], 1)
                values = torch.cat([v_past[:, :t], v[:, t : t + 1]], 1)
                a = (torch.einsum("bhd,bshd->bsh", q[:, t], keys) / 2).softmax(1)
                out[:, t] = torch.einsum("bsh,bshd->bhd", a, values)
            x = x + block.attn.c_proj(out.flatten(2))
            x = x + block.mlp(block.ln_2(x))
        torch.testing.assert_close(logits, student.lm_head(student.transformer.ln_f(x)), atol=1e-10, rtol=0)


def test_bigram_zeroed_leaks_position_and_true_bigram_does_not():
    model = zoo.build("gpt_neox")  # rotary: no position embedding of its own
    ids = torch.full((1, zoo.T), 3)
    with torch.no_grad():
        zeroed = to_bigram(model, form="zeroed")(ids).logits[0]
        true = to_bigram(model, form="true")(ids).logits[0]
    assert (zeroed[0] - zeroed[-1]).abs().max() > 1e-3
    assert (true[0] - true[-1]).abs().max() < 1e-12
    torch.testing.assert_close(zeroed[0], true[0])  # the first token has no past in either


@pytest.mark.parametrize("name", ["gpt_oss", "deepseek_v3"])
def test_true_bigram_sees_each_token_as_if_it_stood_alone(name):
    model, ids = zoo.build(name), zoo.tokens(batch=1)
    with torch.no_grad():
        alone = model(ids.T).logits[:, 0]
        # Rotary: a score with oneself knows no position, up to the fp32 of its sines (a sink compares with it).
        torch.testing.assert_close(to_bigram(model, form="true")(ids).logits[0], alone, atol=1e-6, rtol=0)


def test_bigram_zeroed_equals_the_formula():
    model, ids = zoo.build("gpt2", n_layer=1), zoo.tokens()
    block = model.transformer.h[0]
    with torch.no_grad():
        logits = to_bigram(model)(ids).logits
        x = model.transformer.wte(ids) + model.transformer.wpe(torch.arange(zoo.T))
        q, k, v = (y.view(2, zoo.T, 4, 4) for y in block.attn.c_attn(block.ln_1(x)).split(16, dim=2))
        own = torch.exp((q * k).sum(-1) / 2)
        share = own / (own + torch.arange(zoo.T)[None, :, None])  # exp(0) for each past slot
        x = x + block.attn.c_proj((share[..., None] * v).flatten(2))
        x = x + block.mlp(block.ln_2(x))
        torch.testing.assert_close(logits, model.lm_head(model.transformer.ln_f(x)), atol=1e-10, rtol=0)
