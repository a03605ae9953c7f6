"""The operator itself: fused against dense in fp64, dense against first principles."""

import math

import pytest
import torch

from myopia import MyopiaError, myopic_attention

CASES = [  # B, H, G, T, D, mask, beta, sinks
    (2, 4, 4, 9, 8, None, 0.0, False),
    (2, 4, 4, 9, 8, None, 0.0, True),
    (2, 4, 2, 17, 8, None, 0.3, False),
    (2, 4, 1, 64, 16, "right", 0.0, True),
    (1, 2, 2, 1, 4, None, 0.0, False),
    (2, 4, 2, 33, 8, "left and holes", 0.5, False),
    (2, 4, 2, 33, 8, "left and holes", 0.5, True),
    (2, 2, 2, 130, 8, None, 1.0, False),
]


def _inputs(B, H, G, T, D, dtype=torch.float64):
    generator = torch.Generator().manual_seed(T)
    shapes = [(B, H, T, D)] + [(B, G, T, D)] * 4
    return [torch.randn(s, dtype=dtype, generator=generator).requires_grad_() for s in shapes]


def _mask(kind, B, T):
    if kind is None:
        return None
    mask = torch.ones(B, T, dtype=torch.long)
    if kind == "right":
        mask[0, T - 5 :] = 0
    else:
        mask[0, :5] = 0
        mask[1, 3] = 0
    return mask


@pytest.mark.parametrize("case", CASES, ids=str)
def test_fused_equals_dense_forward_and_backward(case):
    B, H, G, T, D, kind, beta, sinks = case
    inputs, mask = _inputs(B, H, G, T, D), _mask(kind, B, T)
    if sinks:
        inputs.append(torch.linspace(-2, 2, H, dtype=torch.float64).requires_grad_())
    grad_out = torch.randn(B, H, T, D, dtype=torch.float64)
    results = []
    for impl in ("dense", "fused"):
        sink = inputs[5] if sinks else None
        out = myopic_attention(*inputs[:5], scale=0.3, beta=beta, attn_mask=mask, impl=impl, sinks=sink)
        grads = torch.autograd.grad(out, inputs, grad_out, materialize_grads=True, allow_unused=True)
        results.append((out, *grads))
    for dense, fused in zip(*results, strict=True):
        torch.testing.assert_close(fused, dense, atol=1e-12, rtol=1e-12)


@pytest.mark.parametrize("sink", [None, 0.7])
def test_dense_is_the_papers_token_wise_formula(sink):
    q, k, v, k_past, v_past = _inputs(1, 1, 1, 6, 4)
    sinks = None if sink is None else torch.tensor([sink])
    out = myopic_attention(q, k, v, k_past, v_past, scale=0.5, impl="dense", sinks=sinks)
    for t in range(6):
        weights = torch.exp(0.5 * (q[0, 0, t] * k_past[0, 0, :t]).sum(-1))
        own = torch.exp(0.5 * (q[0, 0, t] * k[0, 0, t]).sum())
        lost = 0 if sink is None else math.exp(sink)
        expected = (weights @ v_past[0, 0, :t] + own * v[0, 0, t]) / (weights.sum() + own + lost)
        torch.testing.assert_close(out[0, 0, t], expected, atol=0, rtol=1e-7)  # the sink is fp32


def test_equals_sdpa_when_past_and_live_coincide():
    q, k, v, *_ = _inputs(2, 4, 2, 21, 8)
    expected = torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
    for impl in ("dense", "fused"):
        out = myopic_attention(q, k, v, k, v, scale=8**-0.5, impl=impl)
        torch.testing.assert_close(out, expected, atol=1e-12, rtol=0)


@pytest.mark.parametrize("own", [60.0, -60.0])
def test_no_cancellation_when_one_token_takes_all_attention(own):
    """Subtracting the diagonal from a full pass would lose every digit here."""
    q = torch.ones(1, 1, 8, 4, dtype=torch.float64, requires_grad=True)
    k = torch.full_like(q, own / 4).detach().requires_grad_()
    k_past = torch.zeros_like(k).detach().requires_grad_()
    v, v_past = _inputs(1, 1, 1, 8, 4)[1:3]
    grads = []
    for impl in ("dense", "fused"):
        out = myopic_attention(q, k, v, k_past, v_past, scale=1.0, impl=impl)
        grads.append(torch.autograd.grad(out.square().sum(), [q, k, v, k_past, v_past]))
    for dense, fused in zip(*grads, strict=True):
        torch.testing.assert_close(fused, dense, rtol=1e-9, atol=1e-300)


def test_dense_is_twice_differentiable_and_works_under_torch_func():
    inputs = _inputs(1, 2, 1, 4, 3)
    assert torch.autograd.gradgradcheck(lambda *x: myopic_attention(*x, scale=0.5, impl="dense"), inputs, atol=1e-6)
    q, k, v, k_past, v_past = (x.detach() for x in inputs)

    def loss(k_):
        return myopic_attention(q, k_, v, k_past, v_past, scale=0.5, impl="dense").square().sum()

    hessian = torch.func.hessian(loss)(k)
    assert hessian.shape == (*k.shape, *k.shape)
    product = torch.func.jvp(torch.func.grad(loss), (k,), (torch.ones_like(k),))[1]
    torch.testing.assert_close(product, hessian.sum(dim=(4, 5, 6, 7)))


def test_fused_is_not_silently_differentiated_twice():
    q, k, v, k_past, v_past = _inputs(1, 1, 1, 5, 4)
    out = myopic_attention(q, k, v, k_past, v_past, scale=0.5)
    (grad,) = torch.autograd.grad(out.square().sum(), q, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        grad.sum().backward()


def test_half_precision_gradients_are_as_good_as_the_kernels_own():
    q, k, v, k_past, v_past = _inputs(2, 4, 4, 64, 16, torch.float32)
    exact = torch.autograd.grad(
        myopic_attention(q, k, v, k_past, v_past, scale=0.25).square().sum(), [q, k, v, k_past, v_past]
    )
    half = [x.detach().bfloat16().requires_grad_() for x in (q, k, v, k_past, v_past)]
    rough = torch.autograd.grad(myopic_attention(*half, scale=0.25).float().square().sum(), half)
    for a, b in zip(exact, rough, strict=True):
        assert b.dtype == torch.bfloat16
        assert (a - b.float()).norm() / a.norm() < 0.02


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(beta=1.5), "beta must lie in"),
        (dict(impl="flash"), "impl must be"),
        (dict(softcap=30.0), "soft-capped"),
        (dict(attn_mask=torch.ones(2, 3)), "key padding mask"),
    ],
)
def test_bad_arguments_end_in_one_sentence(change, message):
    with pytest.raises(MyopiaError, match=message):
        myopic_attention(*_inputs(2, 4, 2, 5, 4), **{"scale": 0.5, **change})


def test_shapes_that_do_not_fit_end_in_one_sentence():
    q, k, v, k_past, v_past = _inputs(2, 4, 2, 5, 4)
    with pytest.raises(MyopiaError, match="divisible by the number of key heads"):
        myopic_attention(q[:, :3], k, v, k_past, v_past, scale=1.0)
    with pytest.raises(MyopiaError, match="four equal"):
        myopic_attention(q, k, v, k_past[:, :, :2], v_past, scale=1.0)
