"""Dropout masks keyed by (seed, step, global sample index, layer)."""

import pytest
import torch
from torch import nn

from myopia.model.build import apply_arm, build_model
from myopia.model.dropout import KeyedDropout, Keys, install
from tiny_runs import dp_spec, text_spec


def mask(p=0.25, layer=0, seed=0, step=0, samples=range(64), shape=(16, 32)):
    """Which units survive, [B, *shape]."""
    samples = torch.tensor(list(samples))
    layer = KeyedDropout(p, layer, Keys(seed=seed, step=step, samples=samples)).train()
    return layer(torch.ones(len(samples), *shape)) != 0


def test_rate_and_scale():
    p, samples = 0.1, torch.arange(256)
    out = KeyedDropout(p, 0, Keys(samples=samples)).train()(torch.ones(256, 32, 32))
    n = out.numel()
    assert abs(float((out == 0).double().mean()) - p) < 5 * (p * (1 - p) / n) ** 0.5
    assert torch.unique(out).tolist() == pytest.approx([0, 1 / (1 - p)])
    rate_by_unit = (out == 0).double().mean(0)  # no unit and no sample is special
    assert (rate_by_unit - p).abs().max() < 6 * (p * (1 - p) / 256) ** 0.5
    rate_by_sample = (out == 0).double().mean((1, 2))
    assert (rate_by_sample - p).abs().max() < 6 * (p * (1 - p) / 1024) ** 0.5


def test_mask_does_not_depend_on_the_partition_into_micro_batches():
    whole = mask(samples=range(40, 52))
    assert torch.equal(torch.cat([mask(samples=range(i, i + 3)) for i in range(40, 52, 3)]), whole)
    assert torch.equal(mask(samples=[44]), whole[4:5])


@pytest.mark.parametrize("other", [{"seed": 1}, {"step": 1}, {"layer": 1}, {"samples": range(64, 128)}])
def test_mask_differs_by_every_key_as_if_independent(other):
    p, one, two = 0.25, mask(), mask(**other)
    agree = p * p + (1 - p) ** 2
    assert abs(float((one == two).double().mean()) - agree) < 5 * (agree * (1 - agree) / one.numel()) ** 0.5
    assert torch.equal(mask(**other), two)  # and is reproducible


def test_evaluation_and_rate_zero_are_the_identity():
    x = torch.randn(4, 5)
    assert KeyedDropout(0.5, 0, Keys()).eval()(x) is x
    assert KeyedDropout(0.0, 0, Keys()).train()(x) is x


@pytest.mark.parametrize("samples", [None, torch.arange(3)])
def test_without_the_batch_s_indices_it_refuses(samples):
    with pytest.raises(RuntimeError, match="no sample indices for this batch"):
        KeyedDropout(0.5, 0, Keys(samples=samples)).train()(torch.ones(4, 5))


def test_gradient_passes_the_same_units():
    x = torch.randn(4, 50, requires_grad=True)
    out = KeyedDropout(0.5, 0, Keys(samples=torch.arange(4))).train()(x)
    out.sum().backward()
    assert torch.equal(x.grad != 0, out != 0)
    assert torch.unique(x.grad).tolist() == [0, 2]


def test_install_replaces_every_active_dropout_once():
    model = build_model(dp_spec(dropout=0.1), 0)
    keys = Keys()
    # embedding; attention output and MLP in each of two blocks; the attention weights' own (p = 0) is left alone
    assert install(model, keys) == 5
    layers = [m for m in model.modules() if isinstance(m, KeyedDropout)]
    assert sorted(m.layer for m in layers) == [0, 1, 2, 3, 4] and all(m.keys is keys for m in layers)
    assert not [m for m in model.modules() if type(m) is nn.Dropout and m.p > 0]
    assert install(build_model(dp_spec(), 0), keys) == 0


@pytest.mark.parametrize("make, arm", [(dp_spec, "beta1"), (text_spec, "myopic")])
def test_both_arms_drop_the_same_units(make, arm):
    outputs, masks = [], []
    for name in ("vanilla", arm):
        spec = make(name, dropout=0.3)
        model = build_model(spec, 0, 50)
        keys = Keys(seed=7, step=3, samples=torch.arange(16, 20))
        install(model, keys)
        model = apply_arm(model, spec["arm"]).train()
        seen = []
        for module in model.modules():
            if isinstance(module, KeyedDropout):
                module.register_forward_hook(lambda m, i, o, seen=seen: seen.append((m.layer, (o != 0).detach())))
        if make is dp_spec:
            outputs.append(model(torch.linspace(-1, 1, 4 * 8 * 2).view(4, 8, 2)))
        else:
            outputs.append(model(input_ids=torch.arange(64).view(4, 16) % 50, use_cache=False).logits)
        masks.append(seen)
    assert len(masks[0]) == len(masks[1]) == 5
    for (layer_a, a), (layer_b, b) in zip(*masks):
        assert layer_a == layer_b and torch.equal(a, b)
    torch.testing.assert_close(*outputs, rtol=1e-4, atol=1e-5)


def test_no_two_samples_of_different_seeds_share_a_mask():
    one, two = mask(seed=0, samples=range(128)).flatten(1), mask(seed=1, samples=range(128)).flatten(1)
    same = (one[:, None] == two[None]).all(-1)
    assert not same.any()
