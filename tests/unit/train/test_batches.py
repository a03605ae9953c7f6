"""Batches are functions of (seed, global sample index) and nothing else."""

import numpy as np
import pytest
import torch

from myopia.common.errors import MyopiaError
from myopia.data.tokens import TokenFile
from myopia.experiments.synthetic.data import DpTask, sample
from myopia.train.batches import build_task
from tiny_runs import dp_spec, text_spec


@pytest.fixture
def task(corpus):
    return build_task(text_spec(), corpus[0])


def ids(task, seed, first, count, split="train"):
    return task.batch(seed, first, count, split)[0]["input_ids"]


def test_each_epoch_is_a_permutation_of_the_corpus(task, corpus):
    windows = torch.from_numpy(TokenFile.open(corpus[0], "train").tokens.astype(np.int64))
    n = len(windows)
    epochs = [ids(task, 0, epoch * n, n) for epoch in range(3)]
    for epoch in epochs:
        assert sorted(map(tuple, epoch.tolist())) == sorted(map(tuple, windows.tolist()))
    assert not torch.equal(epochs[0], epochs[1]) and not torch.equal(epochs[1], epochs[2])
    assert not torch.equal(ids(task, 1, 0, n), epochs[0])
    assert torch.equal(ids(task, 0, n, n), epochs[1])  # going back recomputes the same order


def test_order_does_not_depend_on_micro_batches(task):
    n = len(task.splits["train"])
    first, count, size = n - 12, 24, 8  # the second one across the end of an epoch
    whole, samples = task.batch(0, first, count, "train")
    parts = [task.batch(0, i, size, "train") for i in range(first, first + count, size)]
    assert torch.equal(torch.cat([p[0]["input_ids"] for p in parts]), whole["input_ids"])
    assert torch.equal(torch.cat([p[1] for p in parts]), samples)
    assert samples.tolist() == list(range(first, first + count))


def test_validation_windows_come_in_file_order(task, corpus):
    windows = TokenFile.open(corpus[0], "validation").tokens[:5].astype(np.int64)
    assert np.array_equal(ids(task, 0, 0, 5, "validation").numpy(), windows)


def test_dp_batches_are_slices_of_the_stream():
    spec = dp_spec()
    task = build_task(spec, None)
    x, z, y = sample(DpTask.from_spec({k: v for k, v in spec["data"].items() if k != "kind"}), 3, 5, 4)
    inputs, samples = task.batch(3, 5, 4, "train")
    assert np.array_equal(inputs["inputs_BTC"].numpy(), np.stack([x, z], -1))
    assert np.array_equal(inputs["y_BT"].numpy(), y)
    assert samples.tolist() == [5, 6, 7, 8]
    assert not np.array_equal(task.batch(3, 5, 4, "validation")[0]["y_BT"].numpy(), y)


def test_losses_are_the_documented_means(task, corpus, vanilla):
    from myopia.model.build import load_language_model

    model = load_language_model(vanilla.folder)
    inputs = {"input_ids": ids(task, 0, 0, 4)}
    logp = model(**inputs).logits.detach().log_softmax(-1)
    picked = [logp[b, t, inputs["input_ids"][b, t + 1]] for b in range(4) for t in range(task.tokens_per_sample - 1)]
    assert float(task.loss(model, inputs).detach()) == pytest.approx(-float(torch.stack(picked).mean()), rel=1e-5)

    dp = build_task(dp_spec(), None)
    y = torch.tensor([[0.5, 3.0]])
    loss = dp.loss(lambda x: torch.zeros(1, 2), {"inputs_BTC": None, "y_BT": y})
    assert float(loss) == pytest.approx((0.125 + 2.5) / 2)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"batch_size": 5000, "micro_batch": 5000}, "fewer than one batch of 5000"),
        ({"eval": {"every": 5, "sequences": 5000}}, "windows but eval.sequences is 5000"),
        ({"data": {"kind": "tokens", "corpus": "tiny", "T": 32}}, "windows of 16 tokens but the run wants T = 32"),
        ({"data": {"kind": "images"}}, "data.kind is .images."),
        ({"data": {"kind": "dp", "p": 1.5, "a": 2, "b": 2, "T": 8}}, "data.p must be a number between 0 and 1"),
    ],
)
def test_bad_data_gets_one_sentence(corpus, changes, message):
    with pytest.raises(MyopiaError, match=message) as caught:
        build_task(text_spec(**changes), corpus[0])
    assert "\n" not in str(caught.value)


def test_text_run_without_tokens_is_refused():
    with pytest.raises(MyopiaError, match="run text-vanilla reads text but no token folder was given"):
        build_task(text_spec(), None)


def test_tokens_that_do_not_match_their_manifest_are_refused(corpus, tmp_path):
    import shutil

    folder = shutil.copytree(corpus[0], tmp_path / "tokens")
    content = bytearray((folder / "train.bin").read_bytes())
    content[5] ^= 1
    (folder / "train.bin").write_bytes(content)
    with pytest.raises(MyopiaError, match="does not match its manifest"):
        build_task(text_spec(), str(folder))
