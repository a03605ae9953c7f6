"""The loss of two sets of parameters: its derivatives against the operator, the literal definition and differences."""

import pytest
import torch
from torch import nn

import zoo
from myopia.model.attach import to_vanilla
from myopia.model.two_sets import TwoSets

NAMES = ["gpt2", "llama"]


def pair_of(model, ids):
    def losses(output):
        logits_BVP = output.logits[:, :-1].transpose(1, 2)
        return nn.functional.cross_entropy(logits_BVP, ids[:, 1:], reduction="none").mean(0)

    return TwoSets(model, {"input_ids": ids, "use_cache": False}, losses)


def flat(gradients, names):
    return torch.cat([gradients[name].flatten() for name in names])


@pytest.mark.parametrize("name", NAMES)
def test_own_and_future_part_add_up_to_the_gradient_to_fp64(name):
    """Three independent ways: f's two partial gradients, plain backward, and the definition run literally."""
    model, ids = zoo.build(name), zoo.tokens()
    mean = torch.full((ids.shape[0], ids.shape[1] - 1), 1 / (ids.shape[0] * (ids.shape[1] - 1)), dtype=torch.float64)
    total = zoo.gradients(model, ids, mean)
    with zoo.reference_hidden(model):
        literal = zoo.gradients(model, ids, mean)
    pair = pair_of(model, ids)
    future, myopic = torch.func.grad(pair.loss, argnums=(0, 1))(pair.point, pair.point)
    assert (flat(total, pair.names) - (future + myopic)).abs().max() <= 1e-10
    assert (flat(literal, pair.names) - myopic).abs().max() <= 1e-10
    assert future.norm() > 0.1 * myopic.norm()  # the test can fail: there is something to split


def test_the_value_is_the_models_own_loss_and_pasts_of_others_matter():
    model, ids = zoo.build("gpt2"), zoo.tokens()
    logits = model(ids, use_cache=False).logits[:, :-1]
    loss_BP = nn.functional.cross_entropy(logits.transpose(1, 2), ids[:, 1:], reduction="none")
    pair = pair_of(model, ids)
    assert (pair.losses(pair.point, pair.point) - loss_BP.mean(0)).abs().max() <= 1e-12
    other = pair.losses(pair.point + 0.1 * torch.randn_like(pair.point), pair.point)
    assert other[0] == pair.losses(pair.point, pair.point)[0]  # position 0 has no past
    assert (other - pair.losses(pair.point, pair.point))[1:].abs().min() > 1e-6


def test_no_state_is_left_behind():
    model, ids = zoo.build("gpt2"), zoo.tokens()
    before = model(ids, use_cache=False).logits
    pair = pair_of(model, ids)
    pair.loss(pair.point, pair.point)
    assert all(site.recorded is None and site.past is None for site in model._myopia.sites)
    assert torch.equal(to_vanilla(model)(ids, use_cache=False).logits, before)
