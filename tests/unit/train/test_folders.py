"""Run folders: complete, plain Hugging Face, and free of anything by which two equal runs would differ."""

import hashlib
import json

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from myopia.common.errors import MyopiaError
from myopia.model.regression import load_regression_model
from myopia.train.batches import build_task
from myopia.train.trainer import CURVE_COLUMNS, VALIDATION_SEED, fingerprint, train
from tiny_runs import dp_spec, open_run, place, results, text_spec

SENTENCE = "the river and the yellow paper"
COMMON = {
    "README.md", "config.json", "model.safetensors", "metrics.json", "curve.csv", "provenance.json", "timing.json",
}  # fmt: skip


@pytest.fixture(scope="module")
def myopic(corpus, tmp_path_factory):
    where = place(tmp_path_factory.mktemp("myopic"), corpus)
    train(text_spec("myopic"), 0, where)
    return where


def read(where, name):
    return json.loads((where.folder / name).read_text())


def test_folder_is_complete(vanilla):
    names = {p.name for p in vanilla.folder.iterdir()}
    assert names >= COMMON | {"tokenizer.json", "tokenizer_config.json"}
    assert not [n for n in names if n.startswith(".")]
    modes = {p.name: p.stat().st_mode & 0o777 for p in vanilla.folder.iterdir()}
    assert modes["model.safetensors"] == modes["config.json"] == 0o644


def test_dp_folder_is_complete(tmp_path):
    where = place(tmp_path)
    train(dp_spec("myopic"), 0, where)
    assert {p.name for p in where.folder.iterdir()} == COMMON
    model, task = load_regression_model(where.folder), build_task(dp_spec(), None)
    with torch.no_grad():
        loss = float(task.loss(model, task.batch(VALIDATION_SEED, 0, 16, "validation")[0]))
    assert loss == pytest.approx(read(where, "metrics.json")["final_validation_loss"], rel=1e-5)


def test_opens_with_transformers_alone(vanilla, myopic, corpus):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    task = build_task(text_spec(), corpus[0])
    inputs = task.batch(VALIDATION_SEED, 0, 16, "validation")[0]
    for where in (vanilla, myopic):
        assert "myopi" not in (where.folder / "config.json").read_text().lower()
        assert not (where.folder / "myopia.json").exists()
        model, report = AutoModelForCausalLM.from_pretrained(where.folder, output_loading_info=True)
        assert not any(report[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys"))
        tokenizer = AutoTokenizer.from_pretrained(where.folder)
        assert tokenizer.decode(tokenizer(SENTENCE)["input_ids"]) == SENTENCE
        assert len(tokenizer) == task.vocab_size == model.config.vocab_size
        with torch.no_grad():  # the weights are those the curve's last row speaks of
            loss = float(model(**inputs, labels=inputs["input_ids"]).loss)
        assert loss == pytest.approx(read(where, "metrics.json")["final_validation_loss"], rel=1e-5)
    assert results(vanilla.folder)["model.safetensors"] != results(myopic.folder)["model.safetensors"]


def test_lm_eval_reads_the_folder(myopic):
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM
    from transformers import AutoTokenizer

    from myopia.model.build import load_language_model

    context, continuation = "the river", " and the yellow paper"
    theirs = HFLM(pretrained=str(myopic.folder), device="cpu", batch_size=1, dtype="float32")
    request = Instance("loglikelihood", doc={}, arguments=(context, continuation), idx=0)
    ((value, _),) = theirs.loglikelihood([request], disable_tqdm=True)
    tokenizer = AutoTokenizer.from_pretrained(myopic.folder)
    ids, n = tokenizer(context + continuation)["input_ids"], len(tokenizer(context)["input_ids"])
    with torch.no_grad():
        logp = load_language_model(myopic.folder)(input_ids=torch.tensor([ids])).logits[0].log_softmax(-1)
    assert value == pytest.approx(sum(float(logp[t - 1, ids[t]]) for t in range(n, len(ids))), rel=1e-5)


# --- what the other files say ---


def test_metrics_and_curve(vanilla):
    metrics, curve = read(vanilla, "metrics.json"), pd.read_csv(vanilla.folder / "curve.csv")
    assert list(curve) == list(CURVE_COLUMNS)
    assert curve["step"].tolist() == [0, 10, 20]
    assert curve["tokens"].tolist() == [0, 10 * 8 * 16, 20 * 8 * 16] and metrics["tokens"] == 2560
    assert np.isnan(curve["train_loss"][0]) and curve.iloc[1:].notna().all(axis=None)
    assert metrics["final_validation_loss"] == pytest.approx(curve["validation_loss"].iloc[-1], rel=1e-9)
    assert metrics["final_train_loss"] == pytest.approx(curve["train_loss"].iloc[-1], rel=1e-9)
    assert curve["validation_loss"].iloc[-1] < curve["validation_loss"].iloc[0]
    tensors = load_file(vanilla.folder / "model.safetensors")
    total, tables = sum(t.numel() for t in tensors.values()), (metrics["parameters"], 300 * 16 + 16 * 16)
    assert metrics["parameters"] == total and metrics["parameters_without_embeddings"] == total - tables[1]
    assert metrics["flops"] == 2560 * (6 * (total - tables[1]) + 12 * 2 * 16 * 16)


def test_nothing_compared_by_bytes_knows_when_where_or_how_often(vanilla):
    import socket

    assert set(read(vanilla, "metrics.json")) == {
        "run", "arm", "seed", "purpose", "status", "steps", "tokens", "flops", "parameters",
        "parameters_without_embeddings", "final_train_loss", "final_validation_loss",
    }  # fmt: skip
    host, place_name = socket.gethostname().encode(), str(vanilla.folder.parent).encode()
    for name, content in results(vanilla.folder).items():
        assert place_name not in content, name
        if name != "model.safetensors":  # a short host name may occur in weights by chance
            assert host not in content.replace(b"vanilla", b"") or len(host) < 3


def test_provenance(vanilla, corpus):
    record, timing = read(vanilla, "provenance.json"), read(vanilla, "timing.json")
    task = build_task(text_spec(), corpus[0])
    assert record["spec"] == text_spec() and record["seed"] == 0
    assert record["fingerprint"] == fingerprint(text_spec(), 0, task.fingerprint)
    assert record["data_fingerprint"] == task.fingerprint
    assert record["versions"]["torch"] == torch.__version__ and record["versions"]["transformers"]
    assert set(record["git"]) == {"commit", "dirty"}
    assert {"host", "device", "cpu_count", "threads", "instructions"} <= set(record["hardware"])
    assert timing["attempts"] == record["attempts"] == 1
    assert timing["seconds"] > 0 and timing["tokens_per_s"] > 0 and timing["peak_memory_bytes"] > 1e7
    assert record["flops"] > 0 and record["tokens"] == 2560


# --- checkpoint series ---


def test_snapshots_at_the_steps_asked_for(corpus, tmp_path):
    spec = text_spec("myopic", steps=8, snapshots=[0, 1, 2, 4, 8])
    where = place(tmp_path / "a", corpus)
    with open_run(spec, 0, place(tmp_path / "b", corpus)) as run:
        start = {k: v.clone() for k, v in run.model.state_dict().items()}
        run.train_step()
        first = {k: v.clone() for k, v in run.model.state_dict().items()}
    train(spec, 0, where)
    folders = sorted(p.name for p in (where.folder / "snapshots").iterdir())
    assert folders == ["step0", "step1", "step2", "step4", "step8"]
    read_step = lambda step: load_file(where.folder / f"snapshots/step{step}/model.safetensors")  # noqa: E731
    for step, expected in ((0, start), (1, first), (8, load_file(where.folder / "model.safetensors"))):
        found = read_step(step)
        assert all(torch.equal(found[k], v) for k, v in expected.items())


# --- arms that are not the vanilla model when run ---


@pytest.mark.parametrize("arm", ["local-kv", "bigram-true"])
def test_arms_train_and_say_what_they_are(arm, vanilla, corpus, tmp_path):
    weights = vanilla.folder / "model.safetensors"
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    local = arm.startswith("local")
    where = place(tmp_path, corpus, teacher=str(vanilla.folder) if local else None)
    spec = text_spec(arm, steps=5, dropout=0.1)
    train(spec, 0, where)
    record = read(where, "myopia.json")
    assert record == {"arm": spec["arm"], **({"teacher_sha256": digest} if local else {})}
    assert "myopi" not in (where.folder / "config.json").read_text().lower()
    assert np.isfinite(read(where, "metrics.json")["final_validation_loss"])
    assert hashlib.sha256(weights.read_bytes()).hexdigest() == digest
    from transformers import AutoModelForCausalLM

    AutoModelForCausalLM.from_pretrained(where.folder)  # opens, though it means something only with myopia.json


def test_the_teacher_neither_learns_nor_drops(vanilla, corpus, tmp_path):
    with open_run(
        text_spec("local-hidden", dropout=0.5), 0, place(tmp_path, corpus, teacher=str(vanilla.folder))
    ) as run:
        teacher = run.model._myopia.arm.teacher.model
        before = {k: v.clone() for k, v in teacher.state_dict().items()}
        learning = {id(p) for group in run.optimizer.param_groups for p in group["params"]}
        run.train_step()
        assert not any(module.training for module in teacher.modules())
        assert not any(p.requires_grad or id(p) in learning for p in teacher.parameters())
        assert all(torch.equal(before[k], v) for k, v in teacher.state_dict().items())
        assert not [k for k in run.model.state_dict() if "teacher" in k]


def test_another_teacher_is_another_run(vanilla, myopic):
    spec = text_spec("local-hidden")
    prints = {fingerprint(spec, 0, "data", str(where.folder)) for where in (vanilla, myopic)}
    assert len(prints) == 2
    assert fingerprint(text_spec(), 0, "data", str(vanilla.folder)) == fingerprint(text_spec(), 0, "data")


def test_missing_teacher_is_named(corpus, tmp_path):
    with pytest.raises(MyopiaError, match="its teacher .*model.safetensors is missing; train the vanilla run first"):
        train(text_spec("local-hidden"), 0, place(tmp_path, corpus, teacher=str(tmp_path / "nowhere")))
    with pytest.raises(MyopiaError, match="the local arm needs a teacher"):
        train(text_spec("local-hidden"), 0, place(tmp_path, corpus))


# --- a folder that was begun before ---


def test_leftovers_of_a_killed_export_are_cleared(tmp_path):
    where = place(tmp_path)
    (where.folder / ".export-killed").mkdir(parents=True)
    (where.folder / ".export-killed/model.safetensors").write_text("half")
    (where.folder / ".curve.tmp-123.csv").write_text("half")
    train(dp_spec(), 0, where)
    assert {p.name for p in where.folder.iterdir()} == COMMON


def test_old_metrics_never_vouch_for_new_weights(tmp_path, monkeypatch):
    from myopia.train import results as results_module

    where = place(tmp_path)
    train(dp_spec(), 0, where)

    def killed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(results_module, "write_csv", killed)
    with pytest.raises(KeyboardInterrupt):
        train(dp_spec(steps=10), 0, where)
    assert not (where.folder / "metrics.json").exists()
