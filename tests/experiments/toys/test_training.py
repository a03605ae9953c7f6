"""The toys' training: what is cut is exactly zero, what should not drift does not, what is sampled is unbiased."""

import math

import numpy as np
import pytest
import torch
from scipy.optimize import brentq
from torch.func import grad, vmap

from myopia.config.load import load_config
from myopia.experiments.toys import consequence, hidden_bits
from myopia.experiments.toys.data import consequence_joint, shared_joint
from myopia.experiments.toys.shared_computation import SharedRun, train_shared
from myopia.experiments.toys.training import Draws, initial_tables, pick, sampled_joint, teacher_forced

ADAM = {"kind": "adam", "lr": 0.1, "schedule": "cosine", "warmup": 0.0, "start": 0.1}
SGD = {"kind": "sgd", "lr": 0.1, "schedule": "constant", "warmup": 0.0}


def one(tables):
    return {name: value[0] for name, value in tables.items()}


def tables(X=4, K=2, Z=2, W=4, scale=1.0, seed=0):
    return one(initial_tables([seed], X, K, Z, W, scale))


def true_joint(letters=4, reveal=0.5):
    return torch.from_numpy(consequence_joint(letters, reveal)).float()


def through(value):
    return torch.tensor(float(value))


# --- shared computation ---


def test_the_later_loss_does_not_reach_a_myopic_f():
    joint = torch.from_numpy(shared_joint(3, 0.6, 0.5)).float()
    params = tables(9, 4, 3, 3)
    later = {arm: grad(lambda p, arm=arm: teacher_forced(p, joint, through(arm))[1])(params) for arm in (0, 0.5, 1)}
    assert torch.equal(later[0]["f"], torch.zeros_like(params["f"]))
    assert later[1]["f"].abs().max() > 1e-4
    assert torch.allclose(later[0.5]["f"], later[1]["f"] / 2, atol=1e-8)
    for arm in (0, 1):  # g2 learns in both arms, g1 has no part in the later loss
        assert torch.equal(later[arm]["g2"], later[1]["g2"]) and not later[arm]["g1"].any()
    own = grad(lambda p: teacher_forced(p, joint, through(0))[0])(params)
    assert own["f"].abs().max() > 1e-4


def test_losses_are_cross_entropies_of_the_joint():
    joint, params = torch.from_numpy(shared_joint(2, 0.7, 0.3)), {k: v.double() for k, v in tables(4, 3, 2, 2).items()}
    loss1, loss2 = teacher_forced(params, joint, through(1))
    q, g1, g2 = (params[name].softmax(-1) for name in ("f", "g1", "g2"))
    by_hand = [0.0, 0.0]
    for x in range(4):
        for y in range(3):
            for z in range(2):
                for w in range(2):
                    p = (joint[x, z, w] * q[x, y]).item()
                    by_hand[0] -= p * math.log(g1[y, z])
                    by_hand[1] -= p * math.log(g2[y, z, w])
    assert [loss1.item(), loss2.item()] == pytest.approx(by_hand)


def test_a_run_does_not_depend_on_its_neighbours():
    runs = [SharedRun(0.0, b, 4, arm, s) for b in (0.3, 0.7) for arm in ("vanilla", "myopic") for s in (0, 1)]
    together = train_shared(runs, 2, ADAM, 30)
    for k in (0, 3, 6):
        alone = train_shared([runs[k]], 2, ADAM, 30)
        assert [v[0] for v in alone] == pytest.approx([v[k] for v in together], abs=1e-5)


def test_closed_values_are_never_used():
    joint = torch.from_numpy(shared_joint(2, 0.5, 0.0)).float()
    params, is_open = tables(4, 4, 2, 2), torch.tensor([True, True, False, False])
    narrow = {name: value[..., :2] if name == "f" else value[:2] for name, value in params.items()}
    wide = teacher_forced(params, joint, through(1), is_open)
    assert torch.allclose(torch.stack(wide), torch.stack(teacher_forced(narrow, joint, through(1))))


def test_a_sampled_joint_is_the_true_one_on_average():
    joint = true_joint()
    draws = Draws(range(50), "test", 400, 1)
    mean = torch.stack([sampled_joint(joint, draws(k).squeeze(-1)).mean(0) for k in range(2)]).mean(0)
    assert mean.sum().item() == pytest.approx(1)
    error = (mean - joint) / torch.sqrt(joint.clamp(min=1e-9) / 40000)
    assert error.abs().max() < 4.5 and not mean[joint == 0].any()


def test_draws_are_a_function_of_seed_and_step():
    late, whole = Draws([7, 3], "test", 5, 3), Draws([3], "test", 5, 3)
    assert torch.equal(late(70)[1], whole(70)[0]) and not torch.equal(late(70)[0], late(70)[1])
    assert torch.equal(late(3)[1], whole(3)[0]) and not torch.equal(whole(3), whole(4))


def test_pick_draws_by_inversion():
    p = torch.tensor([[0.2, 0.0, 0.8]])
    u = torch.tensor([[0.0, 0.19, 0.21, 0.9999999]], dtype=torch.float64)
    assert pick(p.unsqueeze(1), u).tolist() == [[0, 0, 2, 2]]


# --- hidden bits ---


def hidden_gradient(through_value, reads_true, names):
    params = hidden_bits.initial(0, 8)
    rng = torch.Generator().manual_seed(0)
    x = torch.randint(16, (64,), generator=rng)
    z1, blur = hidden_bits.MEAN_N[x], 0.1 * torch.randn(64, generator=rng)
    rest = (x, z1, blur, through(through_value), through(reads_true), through(0.5))
    whole = grad(hidden_bits.total_loss)(params, *rest)

    def first(p):
        return ((hidden_bits.predict(p, hidden_bits.INPUTS_NS[x])[1] - z1) ** 2).mean() / (2 * 0.25)

    alone = grad(first)(params)
    return max((whole[name] - alone[name]).abs().max().item() for name in names)


def test_only_the_full_gradient_lets_the_later_loss_reach_g1():
    g1 = ("in", "in_bias", "out", "out_bias")
    assert hidden_gradient(0, 0, g1) < 1e-6 and hidden_gradient(0, 1, g1) < 1e-6
    assert hidden_gradient(1, 0, g1) > 1e-3
    assert hidden_gradient(0, 0, ("f",)) > 1e-3  # f serves both in every training


def test_a_linear_reader_cannot_tell_the_parity_without_g1():
    x = np.column_stack([hidden_bits.INPUTS_NS.numpy(), np.ones(16)])
    assert np.abs(x.T @ hidden_bits.PARITY_N.numpy()).max() == 0 and abs(hidden_bits.MEAN_N @ hidden_bits.PARITY_N) == 0
    assert hidden_bits.MEAN_N.var(correction=0).item() == pytest.approx(1)


# --- consequence-blindness ---


def sharp(K=2, X=4):
    """A network with a deterministic f, whatever else it says."""
    params = tables(X, K, 2, 4, scale=1.0, seed=5)
    params["f"] = torch.where(torch.arange(X)[:, None] % K == torch.arange(K), 30.0, -30.0)
    return params


def own_joint(params, joint):
    """The distribution of the network's own triplets."""
    q, g1, g2 = (params[name].softmax(-1) for name in ("f", "g1", "g2"))
    return torch.einsum("x,xk,kz,kzw->xzw", joint.sum((1, 2)), q, g1, g2)


def test_own_samples_are_a_martingale():
    """The expected step on own samples is zero, whatever the network says of z1 and z2."""
    params = sharp()
    step = grad(lambda p: sum(teacher_forced(p, own_joint(params, true_joint()), through(1))))(params)
    assert max(step[name].abs().max().item() for name in ("g1", "g2")) < 1e-7
    told = grad(lambda p: sum(teacher_forced(p, true_joint(), through(1))))(params)
    assert told["g1"].abs().max() > 1e-2  # true samples do move it


def test_a_soft_f_keeps_the_sum_of_logits_alone():
    """Values of y that share inputs are drawn together on own samples, by steps that cancel in their sum."""
    params = {name: value.double() for name, value in tables(scale=1.5, seed=4).items()}
    joint = true_joint().double()
    step = grad(lambda p: sum(teacher_forced(p, own_joint(params, joint), through(0))))(params)["g1"]
    assert step.abs().max() > 1e-3 and step.sum(0).abs().max() < 1e-12


def test_rollouts_on_own_answers_follow_the_network():
    params = sharp()
    stacked = {name: value.expand(200, *value.shape) for name, value in params.items()}
    x, y, z, w = consequence.roll_out(stacked, true_joint(), Draws(range(200), "test", 256, 4)(0), own_answers=True)
    counts = torch.zeros(32).scatter_add_(0, ((x * 2 + z) * 4 + w).flatten(), torch.ones(51200)) / 51200
    error = (counts - own_joint(params, true_joint()).flatten()) / torch.sqrt(
        own_joint(params, true_joint()).flatten() / 51200
    )
    assert error.abs().max() < 4.5
    assert torch.equal(y, x % 2)


@pytest.mark.parametrize("arm", [0.0, 1.0])
def test_reinforce_is_unbiased(arm):
    """Mean of the surrogate's gradients over rollouts against the gradient of the exact expectation."""
    params, n = tables(scale=1.0, seed=2), 4000
    stacked = {name: value.expand(n, *value.shape) for name, value in params.items()}
    sample = consequence.roll_out(stacked, true_joint(), Draws(range(n), "test", 16, 4)(0))
    found = vmap(grad(consequence.reward_loss))(stacked, *sample, torch.full((n,), arm))
    exact = grad(consequence.expected_future)(params, true_joint(), through(arm))
    for name in ("f", "g1", "g2"):
        error = (found[name].mean(0) - exact[name]) / (found[name].std(0) / n**0.5).clamp(min=1e-9)
        assert error.abs().max() < 4.5, name
    assert exact["g1"].abs().max() > 0.005
    assert exact["f"].any() == bool(arm) and found["f"].any() == bool(arm)


def fair_start(K=1):
    """f says nothing, g1 is fair, g2 knows the truth."""
    joint = true_joint()
    answer = joint.sum(0) / joint.sum((0, 2))[:, None]
    return {
        "f": torch.zeros(1, 4, K),
        "g1": torch.zeros(1, K, 2),
        "g2": answer.clamp(min=1e-12).log().expand(1, K, 2, 4).clone(),
    }


def run_expected(loop, steps):
    seen = {}
    section = {"closed": {"steps": steps, "optim": SGD}}
    consequence.expected_course(loop, fair_start(), torch.ones(1), true_joint(), section,
                                lambda step, p: seen.update({step: consequence.easy_share(p, true_joint()).item()}))  # fmt: skip
    return seen


def test_reward_tilts_as_its_differential_equation_says():
    """theta = logit P(z1 = 0) obeys 2 sinh(theta) + 2 theta = 2 lr delta t, delta the difference of the two futures."""
    seen, delta = run_expected("reward", 200), math.log(4)
    for step in (50, 200):
        theta = brentq(lambda t, goal=2 * 0.1 * delta * step: 2 * math.sinh(t) + 2 * t - goal, 0, 20)
        assert seen[step] == pytest.approx(1 / (1 + math.exp(-theta)), abs=0.004)


def test_truth_beside_the_reward_stops_the_tilt_where_they_balance():
    """(2 p - 1) / (2 p (1 - p)) = delta."""
    p = brentq(lambda p: (2 * p - 1) / (2 * p * (1 - p)) - math.log(4), 0.5, 0.999)
    assert run_expected("mixed", 300)[300] == pytest.approx(p, abs=1e-3)
    assert 0.7 < p < 0.8


def closed(loop, chains=64, steps=100):
    section = {"closed": {"steps": steps, "batch_size": 32, "optim": SGD}}
    start = {name: value.expand(chains, *value.shape[1:]).clone() for name, value in fair_start().items()}
    done = consequence.train_closed(
        loop, start, range(chains), torch.ones(chains), true_joint(), section, lambda *_: None
    )
    spread = consequence.own_samples_spread(start, true_joint(), 0.1, 32) * steps**0.5
    return consequence.easy_share(done, true_joint()), spread


def test_own_samples_spread_without_drift():
    p, spread = closed("own", chains=256)
    assert abs(p.mean() - 0.5) < 3.5 * p.std() / 16
    assert p.std().item() == pytest.approx(spread[0].item(), rel=0.2)
    assert spread[0].item() == pytest.approx(0.1 / 4 * (100 / 32) ** 0.5)  # K = 1: c = 1


def test_rewarded_rollouts_tilt_every_seed():
    p, _ = closed("reward")
    assert p.min() > 0.6 and p.mean().item() == pytest.approx(run_expected("reward", 100)[100], abs=0.02)


def test_the_frozen_offline_recipe_is_blind_and_learns_the_future():
    """Few chains of the laptop's recipe: fair in both arms, while the loss on z2 falls to its best."""
    section = load_config({"scale": "laptop", "experiments": ["toys"]})["toys"]["consequence"]
    arms = torch.tensor([0.0, 1.0]).repeat_interleave(10)
    seeds = [100 + k for k in range(10)] * 2
    done = consequence.train_offline(
        seeds, arms, true_joint(section["letters"], section["reveal"]), section, lambda *_: None
    )
    p = consequence.easy_share(done, true_joint())
    assert (p - 0.5).abs().max() < 0.05 and p.std() > 0
    joint = true_joint().expand(20, *true_joint().shape)
    loss2 = vmap(teacher_forced)(done, joint, arms)[1]
    assert loss2[10:].mean() < loss2[:10].mean() - 0.01  # vanilla f serves z2
