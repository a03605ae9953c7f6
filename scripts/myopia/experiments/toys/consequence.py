"""Offline training and three closed loops of one network on the task of consequences (`data.consequence_joint`).

`offline`   teacher forcing on true triplets.
`own`       teacher forcing on triplets the network has made itself, its own z2 included; no reward.
`reward`    rollouts: the network says z1, the task answers with z2, minus the loss on z2 is the reward (REINFORCE,
            baseline: the mean reward of the other samples); g2 learns from the answers.
`mixed`     `reward`, and teacher forcing of z1 on true triplets beside it.

The closed loops start from the network that was trained offline, with plain gradient descent, whose course can be
computed. In the myopic arm no loss or reward of z2 trains f.

Shapes: R runs, B samples, X inputs, K values of y, Z = 2 of z1, W of z2. Losses in nats.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from myopia.experiments.toys.training import (
    Draws,
    Tables,
    descend,
    empirical,
    initial_tables,
    log_codes,
    partly_cut,
    pick,
    sampled_joint,
    teacher_forced,
)

LOOPS = ("own", "reward", "mixed")
Watch = Callable[[int, Tables], None]


def train_offline(
    seeds: Sequence[int], through_R: Tensor, joint_XZW: Tensor, section: dict[str, Any], watch: Watch
) -> Tables:
    """Teacher forcing; both arms of a seed start alike and read the same triplets."""
    X, Z, W = joint_XZW.shape
    start = initial_tables(seeds, X, section["capacity"], Z, W, section["offline"]["optim"]["start"])
    draws = Draws(seeds, "consequence offline", section["offline"]["batch_size"], 1)

    def data(step: int, _: Tables) -> tuple[Tensor, ...]:
        return sampled_joint(joint_XZW, draws(step).squeeze(-1)), through_R

    def loss(params: Tables, seen_XZW: Tensor, through: Tensor) -> Tensor:
        return sum(teacher_forced(params, seen_XZW, through))

    return descend(start, loss, data, steps=section["offline"]["steps"], optim=section["offline"]["optim"], watch=watch)


def train_closed(
    loop: str,
    start: Tables,
    seeds: Sequence[int],
    through_R: Tensor,
    joint_XZW: Tensor,
    section: dict[str, Any],
    watch: Watch,
) -> Tables:
    """One closed loop from `start`; loops and arms of a seed share their random numbers."""
    size = section["closed"]["batch_size"]
    rollouts, truths = Draws(seeds, "consequence rollouts", size, 4), Draws(seeds, "consequence truth", size, 1)

    def own(step: int, params: Tables) -> tuple[Tensor, ...]:
        x, _, z, w = roll_out(params, joint_XZW, rollouts(step), own_answers=True)
        _, Z, W = joint_XZW.shape
        return empirical((x * Z + z) * W + w, joint_XZW.shape), through_R

    def reward(step: int, params: Tables) -> tuple[Tensor, ...]:
        return *roll_out(params, joint_XZW, rollouts(step)), through_R

    def mixed(step: int, params: Tables) -> tuple[Tensor, ...]:
        return *reward(step, params), sampled_joint(joint_XZW, truths(step).squeeze(-1))

    def own_loss(params: Tables, seen_XZW: Tensor, through: Tensor) -> Tensor:
        return sum(teacher_forced(params, seen_XZW, through))

    def mixed_loss(params: Tables, *rest: Tensor) -> Tensor:
        *sample, through, seen_XZW = rest
        return reward_loss(params, *sample, through) + teacher_forced(params, seen_XZW, through)[0]

    data, loss = {"own": (own, own_loss), "reward": (reward, reward_loss), "mixed": (mixed, mixed_loss)}[loop]
    return descend(start, loss, data, steps=section["closed"]["steps"], optim=section["closed"]["optim"], watch=watch)


def expected_course(
    loop: str, start: Tables, through_R: Tensor, joint_XZW: Tensor, section: dict[str, Any], watch: Watch
) -> Tables:
    """Descent of the same length on what the loop's loss is in expectation, without sampling (`reward`, `mixed`)."""
    joint_RXZW = joint_XZW.expand(len(through_R), *joint_XZW.shape)

    def loss(params: Tables, one_XZW: Tensor, through: Tensor) -> Tensor:
        future = expected_future(params, one_XZW, through)
        return future + teacher_forced(params, one_XZW, through)[0] if loop == "mixed" else future

    closed = section["closed"]
    return descend(start, loss, lambda step, params: (joint_RXZW, through_R), steps=closed["steps"],
                   optim=closed["optim"], watch=watch)  # fmt: skip


def roll_out(
    params: Tables, joint_XZW: Tensor, u_RB4: Tensor, own_answers: bool = False
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Samples (x, y, z1, z2), int64 [R, B]: x and z2 from the task, y and z1 from the network.

    own_answers: z2 from the network, too.
    """
    Z, W = joint_XZW.shape[1:]
    x_RB = pick(joint_XZW.sum((1, 2)), u_RB4[..., 0])
    y_RB = pick(_rows(log_codes(params).exp(), x_RB), u_RB4[..., 1])
    z_RB = pick(_rows(params["g1"].softmax(-1), y_RB), u_RB4[..., 2])
    if own_answers:
        answers_RBW = _rows(params["g2"].softmax(-1).flatten(1, 2), y_RB * Z + z_RB)
    else:
        answers_RBW = (joint_XZW / joint_XZW.sum(-1, keepdim=True)).reshape(-1, W)[x_RB * Z + z_RB]
    return x_RB, y_RB, z_RB, pick(answers_RBW, u_RB4[..., 3])


def _rows(table_RNC: Tensor, index_RB: Tensor) -> Tensor:
    return table_RNC.gather(1, index_RB.unsqueeze(-1).expand(-1, -1, table_RNC.shape[-1]))


def reward_loss(params: Tables, x_B: Tensor, y_B: Tensor, z_B: Tensor, w_B: Tensor, through: Tensor) -> Tensor:
    """REINFORCE's surrogate for E[loss2] over rollouts of one run, plus g2's own loss on the answers.

    Its gradient is an unbiased estimate of that of `expected_future`: each sample's baseline leaves it out.
    """
    log_q_B, log_g1_B = log_codes(params)[x_B, y_B], params["g1"].log_softmax(-1)[y_B, z_B]
    log_g2_B = params["g2"].log_softmax(-1)[y_B, z_B, w_B]
    reward_B = log_g2_B.detach()
    advantage_B = reward_B - (reward_B.sum() - reward_B) / (len(reward_B) - 1)
    return -(advantage_B * (log_g1_B + through * log_q_B)).mean() - log_g2_B.mean()


def expected_future(params: Tables, joint_XZW: Tensor, through: Tensor) -> Tensor:
    """E[loss2] of one run if the task answers the network's own z1; differentiable through the network's choice."""
    q_XK = partly_cut(log_codes(params).exp(), through)
    answer_XZW = joint_XZW / joint_XZW.sum(-1, keepdim=True)
    input_X = joint_XZW.sum((1, 2))
    rollout_KZW = torch.einsum("x,xk,kz,xzw->kzw", input_X, q_XK, params["g1"].softmax(-1), answer_XZW)
    return -(rollout_KZW * params["g2"].log_softmax(-1)).sum()


def easy_share(params: Tables, joint_XZW: Tensor) -> Tensor:
    """P(z1 = 0), the easy future, averaged over x, [R]."""
    q_RXK = log_codes(params).exp()
    return torch.einsum("x,rxk,rk->r", joint_XZW.sum((1, 2)), q_RXK, params["g1"].softmax(-1)[..., 0])


def own_samples_spread(params: Tables, joint_XZW: Tensor, lr: float, batch: int) -> Tensor:
    """Standard deviation of P(z1 = 0) after one step on own samples, [R]; after t steps it is sqrt(t) times that.

    Of a network at 1/2, whatever y, and as long as P stays near it. In a step, z1's logit difference at y moves by
    2 lr / B sum_b q(y|x_b) (1[z1_b = 0] - 1/2), and P by a quarter of these, weighted by P(y): variance
    lr^2 E_x[c^2] / (16 B), c(x) = sum_y P(y) q(y|x).

    Steps are independent, and P a martingale, where f is deterministic. A soft f draws the values of y together when
    they have come apart (only the sum of their logits is a martingale then), which narrows P a little if some y are
    much commoner than others.
    """
    q_RXK = log_codes(params).exp()
    input_X = joint_XZW.sum((1, 2))
    c_RX = torch.einsum("rxk,rk->rx", q_RXK, torch.einsum("x,rxk->rk", input_X, q_RXK))
    return lr / 4 * torch.sqrt((c_RX**2 @ input_X) / batch)
