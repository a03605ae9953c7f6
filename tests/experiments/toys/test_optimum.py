"""The exact optimum of shared computation, against brute force over every function f."""

import itertools

import numpy as np
import pytest

from myopia.common.errors import MyopiaError
from myopia.experiments.toys.data import consequence_joint, shared_joint
from myopia.experiments.toys.partitions import frontier, optima, partition_losses, set_partitions
from myopia.experiments.toys.settings import partition_count


def random_joint(inputs, Z, W, seed=0):
    return np.random.default_rng(seed).dirichlet(np.ones(inputs * Z * W) * 0.3).reshape(inputs, Z, W)


def losses_by_hand(f, joint_XZW):
    """Conditional entropies in bits, one sum at a time."""
    _, Z, W = joint_XZW.shape
    loss1 = loss2 = 0.0
    for y in set(f):
        members = [x for x, value in enumerate(f) if value == y]
        p_y = joint_XZW[members].sum()
        for z in range(Z):
            p_z = joint_XZW[members, z].sum()
            loss1 -= p_z * np.log2(p_z / p_y) if p_z > 0 else 0
            for w in range(W):
                p = joint_XZW[members, z, w].sum()
                loss2 -= p * np.log2(p / p_z) if p > 0 else 0
    return loss1, loss2


def test_every_partition_once():
    for inputs, classes in ((1, 1), (4, 2), (5, 5), (6, 3)):
        found = set_partitions(inputs, classes)
        assert len(found) == partition_count(inputs, classes) == len({tuple(row) for row in found}), (inputs, classes)
        for row in found:  # restricted growth: each new class is the next one
            assert all(value <= max(row[:k], default=-1) + 1 for k, value in enumerate(row.tolist()))
        assert found.max() < classes


def check_optimum(capacity, seed):
    joint = random_joint(4, 2, 3, seed)
    every = [losses_by_hand(f, joint) for f in itertools.product(range(capacity), repeat=4)]
    exact = optima(joint, [capacity]).set_index(["aim", "ties"])
    assert exact.loc[("vanilla", "best"), ["loss1", "loss2"]].sum() == pytest.approx(min(a + b for a, b in every))
    least = min(a for a, _ in every)
    tied = [b for a, b in every if a < least + 1e-9]
    assert exact.loc[("myopic", "best"), "loss1"] == pytest.approx(least)
    assert exact.loc[("myopic", "best"), "loss2"] == pytest.approx(min(tied))
    assert exact.loc[("myopic", "worst"), "loss2"] == pytest.approx(max(tied))
    front = exact.loc["frontier"][["loss1", "loss2"]].to_numpy()
    assert all(any((p <= np.array(e) + 1e-9).all() for p in front) for e in every)
    for a, b in itertools.permutations(front, 2):
        assert not (a <= b + 1e-12).all()


def test_optimum_against_all_functions():
    for capacity, seed in ((1, 0), (2, 0), (3, 1), (4, 1)):
        check_optimum(capacity, seed)


def test_no_stochastic_f_does_better():
    joint, rng = random_joint(4, 2, 2, 3), np.random.default_rng(1)
    best = optima(joint, [2]).query("aim == 'vanilla' and ties == 'best'")[["loss1", "loss2"]].sum(axis=1).item()
    for _ in range(300):
        q = rng.dirichlet(np.ones(2) * 0.5, size=4)
        # A stochastic f is a deterministic one of inputs that are told apart by y: H(z | y) of the joint it makes.
        made = np.einsum("xk,xzw->kzw", q, joint)
        loss = -np.sum(made * np.log2(made / made.sum((1, 2), keepdims=True)))
        assert loss >= best - 1e-9


def test_ties_are_a_matter_of_rule_only_where_capacity_is_spare():
    joint = shared_joint(2, 0.5, 0.0)
    exact = optima(joint, [2, 4]).set_index(["capacity", "aim", "ties"])["loss2"]
    assert exact[2, "myopic", "best"] == pytest.approx(exact[2, "myopic", "worst"])  # all of f is needed for a
    assert exact[4, "myopic", "best"] < exact[4, "myopic", "mean"] < exact[4, "myopic", "worst"]


def test_who_gets_the_bits_in_tasks_known_by_heart():
    one, none = shared_joint(2, 0.2, 0.0), shared_joint(2, 0.8, 0.0)
    for joint, served in ((one, "loss1"), (none, "loss2")):
        exact = optima(joint, [1, 2]).query("ties == 'best'").set_index(["capacity", "aim"])[["loss1", "loss2"]]
        gained = exact.loc[1] - exact.loc[2]
        assert gained.loc["vanilla", served] > 0.1
        assert gained.loc["vanilla"].drop(served).abs().item() < 1e-9
        assert gained.loc["myopic", "loss1"] > 0 and abs(gained.loc["myopic", "loss2"]) < 1e-9


def test_where_both_need_the_same_the_aims_agree():
    exact = optima(shared_joint(3, 0.6, 1.0), [1, 2, 3, 4]).query("ties == 'best'").set_index(["capacity", "aim"])
    for capacity in (1, 2, 3, 4):
        assert exact.loc[(capacity, "vanilla"), "loss2"] == pytest.approx(exact.loc[(capacity, "myopic"), "loss2"])


def test_tasks_are_distributions_with_uniform_inputs():
    for name, joint in (("shared", shared_joint(3, 0.3, 0.5)), ("consequence", consequence_joint(4, 0.5))):
        assert joint.min() >= 0 and joint.sum() == pytest.approx(1), name
        assert joint.sum((1, 2)) == pytest.approx(1 / len(joint)), name


def test_z1_is_fair_and_its_futures_differ():
    joint = consequence_joint(4, 0.5)
    assert joint.sum(2) == pytest.approx(1 / 8)  # whatever x is
    easy, hard = (partition_losses(set_partitions(4, 1), part / part.sum())[1] for part in (joint[:, :1], joint[:, 1:]))
    assert easy == pytest.approx(0) and hard == pytest.approx(2)


def test_tasks_that_cannot_be_are_refused():
    for make, wrong in (
        (shared_joint, (1, 0.5, 0)), (shared_joint, (3, 1.2, 0)), (shared_joint, (3, 0.5, -1)),
        (consequence_joint, (1, 0.5)),
    ):  # fmt: skip
        with pytest.raises(MyopiaError, match="must be"):
            make(*wrong)


def test_too_many_partitions_are_refused():
    with pytest.raises(MyopiaError, match="678,570"):
        optima(np.full((11, 2, 2), 1 / 44), [11])


def test_the_frontier_keeps_what_nothing_beats():
    loss1, loss2 = frontier(np.array([1.0, 0.0, 0.5, 0.5, 0.0]), np.array([0.0, 1.0, 0.6, 0.5, 2.0]))
    assert loss1.tolist() == [0.0, 0.5, 1.0] and loss2.tolist() == [1.0, 0.5, 0.0]
    assert len(frontier(np.array([0.1, 0.1 + 1e-16, 0.1 - 1e-16]), np.array([3.0, 1.0, 2.0]))[0]) == 1  # not by a digit
