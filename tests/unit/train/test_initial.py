"""Runs that start from another run, or from released weights: bitwise the same model, other text, refused if missing."""

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from myopia.common.errors import MyopiaError
from myopia.model.build import build_model, load_language_model
from myopia.model.initial import initial_identity
from myopia.train.batches import build_task
from myopia.train.provenance import parameter_counts
from myopia.train.signals import Preempted
from myopia.train.trainer import fingerprint, train
from tiny_runs import T, place, results, text_spec

NEOX = {
    "kind": "language",
    "model_type": "gpt_neox",
    "config": {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64,
               "max_position_embeddings": T},
}  # fmt: skip


def pretraining(**changes):
    return text_spec(name="pretrain", model=NEOX, **changes)


def fine_tuning():
    """Goes on after the 20 steps of 8 windows of `pretraining`."""
    data = {"kind": "tokens", "corpus": "tiny", "T": T, "first_sample": 160}
    return text_spec("myopic", name="tuned-myopic", model=NEOX, init_from="pretrain", data=data)


@pytest.fixture(scope="module")
def pretrained(corpus, tmp_path_factory):
    """RunContext of a finished pretraining run, seed 0."""
    where = place(tmp_path_factory.mktemp("pretrain"), corpus)
    train(pretraining(), 0, where)
    return where


def tune(root, corpus, pretrained):
    where = place(root, corpus, initial=str(pretrained.folder))
    train(fine_tuning(), 0, where)
    return where


def curve(where):
    return pd.read_csv(Path(where.folder, "curve.csv"))


def test_step_0_is_the_pretrained_model(corpus, pretrained, tmp_path):
    tuned = tune(tmp_path, corpus, pretrained)
    last, first = curve(pretrained).iloc[-1], curve(tuned).iloc[0]
    assert first["step"] == 0 and first["validation_loss"] == last["validation_loss"]  # bitwise, for all that is cut
    before, after = (load_file(Path(w.folder, "model.safetensors")) for w in (pretrained, tuned))
    assert set(before) == set(after) and not all(torch.equal(before[k], after[k]) for k in before)
    assert curve(tuned)["validation_loss"].iloc[-1] < first["validation_loss"]
    record = json.loads(Path(tuned.folder, "provenance.json").read_text())
    assert record["initial"] == initial_identity(fine_tuning(), pretrained.folder)
    assert json.loads(Path(pretrained.folder, "provenance.json").read_text())["initial"] is None


def test_fine_tuning_reads_on_where_pretraining_stopped(corpus):
    task, tuned = build_task(pretraining(), corpus[0]), build_task(fine_tuning(), corpus[0])
    there, indices = task.batch(0, 160, 8, "train")
    here, samples = tuned.batch(0, 0, 8, "train")
    assert torch.equal(here["input_ids"], there["input_ids"]) and torch.equal(samples, indices)
    assert not torch.equal(here["input_ids"], task.batch(0, 0, 8, "train")[0]["input_ids"])
    # The validation set is everyone's.
    held_out = [t.batch(0, 0, 8, "validation")[0]["input_ids"] for t in (task, tuned)]
    assert torch.equal(*held_out)


def test_a_stopped_fine_tuning_run_ends_where_an_unbroken_one_ends(corpus, pretrained, tmp_path):
    unbroken = tune(tmp_path / "unbroken", corpus, pretrained)
    where = place(tmp_path / "broken", corpus, initial=str(pretrained.folder))
    for _ in range(3):
        with pytest.raises(Preempted):
            train(fine_tuning(), 0, where, stop=[15])
    train(fine_tuning(), 0, where)
    assert results(where.folder) == results(unbroken.folder)


def test_other_initial_weights_are_another_run(pretrained, tmp_path):
    spec = fine_tuning()
    identity = initial_identity(spec, pretrained.folder)
    base = fingerprint(spec, 0, "data", initial=identity)
    assert base != fingerprint(spec, 0, "data", initial=None)
    other = Path(shutil.copytree(pretrained.folder, tmp_path / "other"))
    weights = other / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    assert fingerprint(spec, 0, "data", initial=initial_identity(spec, other)) != base
    assert initial_identity(pretraining(), None) is None


def test_a_missing_initial_model_is_one_sentence(corpus, tmp_path):
    where = place(tmp_path, corpus, initial=str(tmp_path / "nowhere"))
    with pytest.raises(MyopiaError, match=r"run tuned-myopic: its initial model .*nowhere.* is missing; train the run"):
        train(fine_tuning(), 0, where)
    assert not where.state.exists()


def test_an_initial_model_of_another_shape_is_one_sentence(corpus, pretrained, tmp_path):
    wider = {**NEOX, "config": {**NEOX["config"], "hidden_size": 32}}
    spec = {**fine_tuning(), "model": wider}
    where = place(tmp_path, corpus, initial=str(pretrained.folder))
    with pytest.raises(MyopiaError, match=r"run tuned-myopic: the initial model in .* does not fit .*size mismatch"):
        train(spec, 0, where)
    assert not (where.folder / "metrics.json").exists()


def test_a_damaged_initial_model_is_one_sentence(corpus, pretrained, tmp_path):
    broken = Path(shutil.copytree(pretrained.folder, tmp_path / "broken"))
    (broken / "model.safetensors").write_bytes(b"\0" * 100)
    where = place(tmp_path, corpus, initial=str(broken))
    with pytest.raises(MyopiaError, match="run tuned-myopic: the initial model in"):
        train(fine_tuning(), 0, where)


# --- released weights, as a folder stands for them ---


def released(folder, **more):
    model = {"kind": "language", "pretrained": {"id": str(folder), "revision": "main"}, **more}
    return text_spec("myopic", name="released", model=model)


def test_released_weights_start_a_run(corpus, pretrained, tmp_path):
    where = place(tmp_path, corpus)
    train(released(pretrained.folder), 0, where)
    assert curve(where)["validation_loss"].iloc[0] == curve(pretrained)["validation_loss"].iloc[-1]
    identity = initial_identity(released(pretrained.folder), None)
    assert json.loads((where.folder / "provenance.json").read_text())["initial"] == identity
    with pytest.raises(MyopiaError, match="holds no .safetensors file"):
        initial_identity(released(tmp_path), None)
    with pytest.raises(MyopiaError, match="cannot be loaded"):
        initial_identity(released(tmp_path / "no" / "such" / "folder"), None)


def test_the_released_architecture_with_random_weights(pretrained, vanilla):
    spec = released(pretrained.folder, weights="random")
    models = [build_model(spec, seed) for seed in (0, 0, 1)]
    first, again, other = (m.state_dict()["gpt_neox.layers.0.attention.dense.weight"] for m in models)
    trained = load_language_model(pretrained.folder).state_dict()["gpt_neox.layers.0.attention.dense.weight"]
    assert torch.equal(first, again) and not torch.equal(first, other) and not torch.equal(first, trained)
    assert first.shape == trained.shape


# --- the N of scaling laws ---


def test_parameters_without_embeddings(pretrained, vanilla):
    """L (12 d^2 + 13 d) + 2 d, with an output head of its own (NeoX) or a tied one (GPT-2)."""
    d, layers = 16, 2
    blocks = layers * (12 * d**2 + 13 * d) + 2 * d
    for where in (pretrained, vanilla):
        assert parameter_counts(load_language_model(where.folder))["parameters_without_embeddings"] == blocks
