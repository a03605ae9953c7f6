"""What training computes: both arms alike, micro-batches without effect, and a stop at the first sign of NaN."""

import json
import re

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from myopia.common.errors import EXIT_PREEMPTED, MyopiaError
from myopia.train import trainer
from myopia.train.batches import DpRegression, LanguageModelling
from myopia.train.signals import Preempted
from myopia.train.trainer import train
from tiny_runs import dp_spec, open_run, place, results, text_spec


def curve(where):
    return np.genfromtxt(where.folder / "curve.csv", delimiter=",", names=True)


def largest_difference(a, b):
    """Over all weights but the keys' biases: softmax ignores those, so their gradient is rounding, which AdamW scales up."""
    differences = []
    for name, tensor in a.items():
        difference = (tensor - b[name]).abs()
        if name.endswith("c_attn.bias"):
            difference = torch.stack(difference.chunk(3))[[0, 2]]
        differences.append(float(difference.max()))
    return max(differences)


# --- both arms ---


def test_arms_start_from_bitwise_equal_weights(corpus, tmp_path):
    states = []
    for arm in ("vanilla", "myopic", "beta1"):
        with open_run(text_spec(arm), 5, place(tmp_path / arm, corpus)) as run:
            states.append({k: v.clone() for k, v in run.model.state_dict().items()})
            assert run.model.training
    for other in states[1:]:
        assert other.keys() == states[0].keys()
        assert all(torch.equal(other[k], states[0][k]) for k in other)
    with open_run(text_spec(), 6, place(tmp_path / "seed6", corpus)) as run:
        assert not all(torch.equal(v, states[0][k]) for k, v in run.model.state_dict().items())


def test_arms_see_identical_batches(corpus, tmp_path, monkeypatch):
    seen, original = [], LanguageModelling.batch

    def batch(self, *key):
        inputs, samples = original(self, *key)
        seen[-1].append((key, {k: v.clone() for k, v in inputs.items()}, samples))
        return inputs, samples

    monkeypatch.setattr(LanguageModelling, "batch", batch)
    for arm in ("vanilla", "myopic"):
        seen.append([])
        train(text_spec(arm, steps=12), 1, place(tmp_path / arm, corpus))
    assert len(seen[0]) == len(seen[1]) >= 12
    for (key_a, a, samples_a), (key_b, b, samples_b) in zip(*seen):
        assert key_a == key_b and torch.equal(samples_a, samples_b)
        assert all(torch.equal(a[k], b[k]) for k in a)
    trained = [samples for key, _, samples in seen[0] if key[3] == "train"]
    assert torch.cat(trained).tolist() == list(range(12 * 8))
    assert {key[0] for key, _, _ in seen[0] if key[3] == "validation"} == {trainer.VALIDATION_SEED}


def test_the_operator_with_nothing_cut_trains_like_vanilla(corpus, tmp_path):
    """The A/A control, with dropout: 20 steps end at the same weights up to rounding."""
    for arm in ("vanilla", "beta1", "myopic"):
        train(text_spec(arm, dropout=0.1), 0, place(tmp_path / arm, corpus))
    weights = {arm: load_file(tmp_path / arm / "run/model.safetensors") for arm in ("vanilla", "beta1", "myopic")}
    start = curve(place(tmp_path / "vanilla"))["validation_loss"]
    assert curve(place(tmp_path / "beta1"))["validation_loss"] == pytest.approx(start, rel=1e-5)
    near, far = (largest_difference(weights["vanilla"], weights[arm]) for arm in ("beta1", "myopic"))
    assert near <= 1e-6 < 1e-3 < far


@pytest.mark.parametrize("arm", ["myopic", "bigram-zeroed"])
def test_no_step_reads_memory_before_it_is_written(arm, corpus, tmp_path, monkeypatch):
    """Jobs train without torch's filling of new tensors (`train.job`); with it, a value read too early would be NaN."""
    monkeypatch.setattr(torch.utils.deterministic, "fill_uninitialized_memory", False)
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)
    try:
        for filled in (False, True):
            torch.utils.deterministic.fill_uninitialized_memory = filled
            train(text_spec(arm), 0, place(tmp_path / str(filled), corpus))
    finally:
        torch.use_deterministic_algorithms(before)
    assert results(tmp_path / "True/run") == results(tmp_path / "False/run")


# --- gradient accumulation ---


@pytest.mark.parametrize("make, arm", [(dp_spec, "vanilla"), (text_spec, "myopic")])
def test_micro_batches_have_the_gradient_of_the_whole(make, arm, corpus, tmp_path):
    gradients, losses = [], []
    for micro in (8, 2):
        with open_run(make(arm, dropout=0.2, micro_batch=micro), 0, place(tmp_path / str(micro), corpus)) as run:
            taken = []
            run.optimizer.register_step_pre_hook(
                lambda *_, run=run, taken=taken: taken.append([p.grad.clone() for p in run.model.parameters()])
            )
            run.train_step()
            run.train_step()
        gradients.append(taken)
        losses.append(torch.stack(run.interval))
    torch.testing.assert_close(*losses, rtol=1e-6, atol=1e-7)
    for whole, parts in zip(*gradients):
        for a, b in zip(whole, parts):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)


def test_gradient_clipping(tmp_path):
    with open_run(dp_spec(optim={"grad_clip": 1e-3}), 0, place(tmp_path)) as run:
        norms = []
        run.optimizer.register_step_pre_hook(
            lambda *_: norms.append(torch.stack([p.grad.norm() for p in run.model.parameters()]).norm())
        )
        run.train_step()
    assert float(norms[0]) == pytest.approx(1e-3, rel=1e-3)


# --- a loss that is not finite ---


def finite(folder):
    """Whether every state in `folder` holds finite weights and losses."""
    for path in folder.rglob("step-*.pt"):
        state = torch.load(path, weights_only=True)
        if not all(torch.isfinite(v).all() for v in state["model"].values()) or not np.isfinite(state["sum"]):
            return False
    return True


@pytest.mark.parametrize("make, rate", [(dp_spec, 1e4), (text_spec, 1e25)])  # after some steps, and at once
def test_nan_stops_with_step_rate_and_samples(make, rate, corpus, tmp_path):
    where = place(tmp_path, corpus, save_steps=1)
    spec = make(optim={"lr": rate, "schedule": "constant", "warmup": 0.0}, steps=300)
    with pytest.raises(MyopiaError) as caught:
        train(spec, 3, where)
    found = re.fullmatch(
        rf"run {spec['name']} 3: (.*) at step (\d+) \(learning rate (\S+), samples (\d+) to (\d+)\); "
        "lower optim.lr or set optim.grad_clip",
        str(caught.value),
    )
    assert found, caught.value
    step = int(found[2])
    assert float(found[3]) == pytest.approx(rate)
    assert (int(found[4]), int(found[5])) == (8 * step, 8 * step + 7)
    assert finite(where.state)
    assert not (where.folder / "metrics.json").exists()
    with pytest.raises(MyopiaError):  # starting again neither helps nor harms
        train(spec, 3, where)
    assert finite(where.state)


def test_a_loss_that_turns_nan_in_the_middle_names_its_own_step(tmp_path, monkeypatch):
    original = DpRegression.loss
    monkeypatch.setattr(trainer, "VALIDATION_SEED", -1)

    def batch(self, seed, first, count, split, original=DpRegression.batch):
        self.poisoned = split == "train" and first == 13 * 8
        return original(self, seed, first, count, split)

    def loss(self, model, inputs):
        return original(self, model, inputs) * (float("inf") if self.poisoned else 1.0)

    monkeypatch.setattr(DpRegression, "batch", batch)
    monkeypatch.setattr(DpRegression, "loss", loss)
    where = place(tmp_path, save_steps=5)
    with pytest.raises(MyopiaError, match=r"the loss is inf at step 13 \(learning rate .*, samples 104 to 111\)"):
        train(dp_spec(), 0, where)
    assert sorted(p.name for p in where.state.rglob("step-*.pt")) == ["step-10.pt", "step-5.pt"] and finite(where.state)


def test_weights_broken_by_the_last_update_are_not_saved(tmp_path):
    where = place(tmp_path)
    with pytest.raises(MyopiaError, match=r"(validation loss|no longer finite).* at step 0 \(learning rate 1e\+38"):
        train(dp_spec(steps=1, optim={"lr": 1e38, "warmup": 0.0}), 0, where)
    assert not list(where.state.rglob("step-*.pt")) and not where.folder.exists()


# --- stopping and going on, in one process ---


def test_stopped_at_every_step_ends_bitwise_the_same(tmp_path):
    spec = dp_spec("myopic", dropout=0.1, steps=9, micro_batch=4, eval={"every": 4, "sequences": 6})
    train(spec, 0, place(tmp_path / "unbroken"))
    where, attempts = place(tmp_path / "broken"), 1
    for _ in range(8):
        with pytest.raises(Preempted):
            train(spec, 0, where, stop=[15])  # a signal that came before the first step
        assert not where.folder.exists()
        attempts += 1
    train(spec, 0, where)
    assert results(where.folder) == results(tmp_path / "unbroken/run")
    assert json.loads((where.folder / "timing.json").read_text())["attempts"] == attempts
    train(spec, 0, where)  # finished: writes the same folder again, trains nothing
    assert results(where.folder) == results(tmp_path / "unbroken/run")


def test_a_job_stops_between_two_seeds(tmp_path, monkeypatch):
    from myopia.train.job import train_all

    started, stop = [], []
    monkeypatch.setattr(
        trainer, "train", lambda spec, seed, context, stop, process_group: (started.append(seed), stop.append(15))
    )
    code = train_all([dp_spec()], [0, 1], place(tmp_path), str(tmp_path), 1, stop)
    assert (code, started) == (EXIT_PREEMPTED, [0])


# --- bad input ---


def test_cuda_asked_for_and_absent(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(MyopiaError, match="device is cuda but torch finds no CUDA GPU: set device: cpu") as caught:
        train(dp_spec(), 0, place(tmp_path, device="cuda"))
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())  # refused before any work
    with pytest.raises(MyopiaError, match="device must be cpu, cuda or cuda:k, not 'gpu0'"):
        train(dp_spec(), 0, place(tmp_path, device="gpu0"))


def test_batch_not_divisible(tmp_path):
    with pytest.raises(MyopiaError, match="batch_size 8 is not a multiple of micro_batch 3 in run dp-vanilla"):
        train(dp_spec(micro_batch=3), 0, place(tmp_path))
    assert not list(tmp_path.iterdir())


def test_dropout_outside_our_control_is_refused(corpus, tmp_path):
    spec = text_spec()
    spec["model"]["config"]["attn_pdrop"] = 0.1
    with pytest.raises(MyopiaError, match="draws random numbers of its own"):
        train(spec, 0, place(tmp_path, corpus))


def test_training_leaves_torch_s_random_stream_alone(tmp_path):
    before = torch.get_rng_state()
    train(dp_spec(dropout=0.2), 0, place(tmp_path))
    assert torch.equal(torch.get_rng_state(), before)


def test_a_watcher_never_sees_nan(tmp_path):
    """Reporting before the first loss was read back (slow first step on a GPU) must not fail."""
    with open_run(dp_spec(), 0, place(tmp_path)) as run:
        run.evaluate()
        run.train_step()
        run.log_progress(1.0)
        progress = json.loads((run.state.folder / "progress.json").read_text())
    assert progress["step"] == 1 and np.isfinite(progress["loss"])
