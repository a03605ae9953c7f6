"""Learning rate and parameter groups."""

import pytest
import torch
from transformers import get_cosine_schedule_with_warmup

from myopia.common.errors import MyopiaError
from myopia.model.build import build_model
from myopia.train.optim import build_optimizer, learning_rate
from tiny_runs import OPTIM, dp_spec


@pytest.mark.parametrize("warmup, steps", [(0.1, 50), (0.01, 58)])
def test_cosine_has_the_shape_of_transformers(warmup, steps):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.5)
    n = int(warmup * steps)
    schedule = get_cosine_schedule_with_warmup(optimizer, n, steps)
    theirs = []
    for _ in range(steps):
        theirs.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    ours = [learning_rate({"lr": 0.5, "warmup": warmup, "schedule": "cosine"}, step, steps) for step in range(steps)]
    # Theirs wastes step 0 at rate 0; ours starts at 1/n of the peak and so runs one step ahead while warming up.
    assert ours[:n] == pytest.approx([0.5 * (step + 1) / n for step in range(n)])
    assert ours[: max(n - 1, 0)] == pytest.approx(theirs[1:n])
    assert ours[n:] == pytest.approx(theirs[n:], rel=1e-12)
    assert max(ours) == 0.5 and min(ours) > 0


def test_constant_stays_after_warm_up():
    optim = {"lr": 0.5, "warmup": 0.2, "schedule": "constant"}
    assert [learning_rate(optim, s, 10) for s in (0, 1, 2, 9)] == [0.25, 0.5, 0.5, 0.5]


def test_unknown_schedule_is_refused_at_the_first_step():
    with pytest.raises(MyopiaError, match=r"optim.schedule must be cosine or constant, not 'linear'"):
        learning_rate({"lr": 0.5, "warmup": 0.2, "schedule": "linear"}, 0, 10)


def test_groups_follow_lr_scale():
    model = build_model(dp_spec(), 0)
    names = {id(p): name for name, p in model.named_parameters()}
    optimizer = build_optimizer(model, {**OPTIM, "lr_scale": {r"\.attn\.": 0.25, r"unembed": 4.0}})
    found = {names[id(p)]: group["scale"] for group in optimizer.param_groups for p in group["params"]}
    assert set(found) == set(names.values())  # every parameter in exactly one group
    assert sum(len(group["params"]) for group in optimizer.param_groups) == len(names)
    for name, scale in found.items():
        assert scale == (0.25 if ".attn." in name else 4.0 if "unembed" in name else 1.0), name
    assert all(group["weight_decay"] == 0.01 and group["betas"] == (0.9, 0.999) for group in optimizer.param_groups)


def test_lr_scale_does_not_depend_on_the_order_of_a_mapping():
    model = build_model(dp_spec(), 0)
    scales = {"attn": 0.25, "c_proj": 2.0}
    for mapping in (scales, dict(reversed(scales.items()))):
        optimizer = build_optimizer(model, {**OPTIM, "lr_scale": mapping})
        group = next(g for g in optimizer.param_groups if g["scale"] == 0.25)
        both = model.transformer.h[0].attn.c_proj.weight  # matches both patterns
        assert any(p is both for p in group["params"])


def test_the_trainer_applies_the_scale_at_every_step(tmp_path):
    from tiny_runs import open_run, place

    spec = dp_spec(optim={"lr_scale": {"unembed": 0.0}})
    with open_run(spec, 0, place(tmp_path)) as run:
        before = {k: v.clone() for k, v in run.model.state_dict().items()}
        run.train_step()
        assert [g["lr"] for g in run.optimizer.param_groups] == pytest.approx([OPTIM["lr"] / 2, 0.0])
        after = run.model.state_dict()
        assert torch.equal(before["unembed.weight"], after["unembed.weight"])
        assert not torch.equal(before["embed.weight"], after["embed.weight"])
