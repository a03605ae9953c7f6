"""Induction measured: losses and scores against loops, ablation on networks whose answer is known, missing snapshots."""

import shutil

import numpy as np
import pytest
import torch

from myopia.common.errors import MyopiaError
from myopia.config.runs import ARMS
from myopia.experiments.induction import CURVE, HEADS, LOSS
from myopia.experiments.induction import measure as induction
from myopia.model.build import load_language_model
from tiny_runs import OPTIM, place

DATA = {"kind": "induction", "T": 12, "vocab_size": 8, "period": [3, 5]}
SEQUENCES = 128


def spec(arm):
    config = {"vocab_size": 8, "n_positions": 12, "n_layer": 2, "n_head": 2, "n_embd": 16,
              "attn_pdrop": 0.0, "embd_pdrop": 0.0, "resid_pdrop": 0.0}  # fmt: skip
    return {
        "name": f"induction-{arm}", "arm": ARMS[arm], "arm_name": arm, "purpose": "test", "optim": {**OPTIM, "lr": 1e-2},
        "steps": 20, "batch_size": 16, "micro_batch": 16, "precision": "fp32", "eval": {"every": 10, "sequences": 32},
        "snapshots": [0, 10], "model": {"kind": "language", "model_type": "gpt2", "config": config}, "data": DATA,
    }  # fmt: skip


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    from myopia.train.trainer import train

    found = []
    for arm in ("vanilla", "myopic"):
        where = place(tmp_path_factory.mktemp(arm))
        train(spec(arm), 0, where)
        found.append(induction.InductionRun(f"induction-{arm}", arm, 0, where.folder, DATA, 20, [0, 10]))
    return found


def test_losses_against_a_loop(trained):
    frame = induction.repeat_losses(trained, SEQUENCES)
    run = trained[0]
    ids, period, place = run.stream.draw(0, 0, SEQUENCES, "test")
    logp = load_language_model(run.folder)(input_ids=torch.from_numpy(ids)).logits.detach().log_softmax(-1).numpy()
    groups = {-1: "first", 0: "0", 1: "1", 2: "2-3", 3: "2-3", 4: "4-7"}
    sums, counts = {}, {}
    for n, t in np.ndindex(SEQUENCES, 11):
        name = groups[place[n, t + 1]]
        key = (n // 64, period[n], name)
        sums[key] = sums.get(key, 0) - logp[n, t, ids[n, t + 1]]
        counts[key] = counts.get(key, 0) + 1
    here = frame[frame["run"] == run.run].set_index(["block", "period", "since"])
    assert set(here.index) == set(sums)
    for key, total in sums.items():
        assert here.loc[key, "n"] == counts[key]
        assert here.loc[key, "loss"] == pytest.approx(total / counts[key], rel=1e-4)
        assert here.loc[key, "loss_bag"] == pytest.approx(np.log(key[1] - 1))


def test_the_curve_is_the_loss_on_the_repeat(trained):
    frame = induction.curves(trained)
    assert frame.groupby("run")["step"].apply(list).tolist() == [[0, 10, 20]] * 2
    run = trained[1]
    ids, predicted = run.stream.sample(0, 0, 32, "validation")
    losses = induction.position_losses(load_language_model(run.folder), ids)
    mean = np.mean([losses[n][predicted[n, 1:]].mean() for n in range(32)])  # each sequence weighs the same
    last = frame[(frame["run"] == run.run) & (frame["step"] == 20)]["validation_loss"].item()
    assert last == pytest.approx(mean, rel=1e-4)


def test_scores_against_a_loop(trained):
    run = trained[0]
    ids, _ = run.stream.sample(0, 0, 8, "test")
    model = load_language_model(run.folder)
    model.set_attn_implementation("eager")
    scores = induction.attention_scores(model, ids)
    attention = [a.detach().numpy() for a in model(input_ids=torch.from_numpy(ids), output_attentions=True).attentions]
    for layer, head in np.ndindex(2, 2):
        found = {"previous": [], "match": [], "duplicate": []}
        for n, t in np.ndindex(ids.shape):
            row = attention[layer][n, head, t]
            if t:
                found["previous"].append(row[t - 1])
            copies = [s for s in range(t) if ids[n, s] == ids[n, t]]
            if copies:
                found["match"].append(sum(row[s + 1] for s in copies))
                found["duplicate"].append(sum(row[s] for s in copies))
        for name, values in found.items():
            assert scores[name][layer, head] == pytest.approx(np.mean(values), rel=1e-4)


def test_scores_along_training(trained):
    frame = induction.head_scores(trained, 32)
    assert frame.groupby("run")["step"].apply(lambda s: sorted(set(s))).tolist() == [[0, 10, 20]] * 2
    assert len(frame) == 2 * 3 * 4 and set(frame["layer"]) == {1, 2}
    # Both arms start from one network, and the cut makes them part.
    start = frame[frame["step"] == 0].pivot(index=["layer", "head"], columns="arm", values="previous")
    end = frame[frame["step"] == 20].pivot(index=["layer", "head"], columns="arm", values="previous")
    assert start["vanilla"].to_numpy() == pytest.approx(start["myopic"].to_numpy())
    assert not np.allclose(end["vanilla"], end["myopic"], atol=1e-4)
    assert (
        frame.loc[frame["step"] == 20, "damage"].notna().all() and frame.loc[frame["step"] < 20, "damage"].isna().all()
    )


def test_only_what_a_head_says_is_lost_without_it(trained):
    run = trained[0]
    ids, predicted = run.stream.sample(0, 0, 64, "test")
    predicted = predicted[:, 1:]
    model = load_language_model(run.folder)
    with torch.no_grad():
        model.transformer.h[0].attn.c_proj.weight[8:] = 0  # head 1 of layer 1 is not listened to
        damage = induction._damage(model, ids, predicted)
        assert damage[0, 1] == 0 and (damage[[0, 1, 1], [0, 0, 1]] != 0).all()
        # Values that do not depend on the sequence: the head's output is its own mean, and nothing is lost.
        attention = model.transformer.h[1].attn.c_attn
        attention.weight[:, 32:40] = 0
        attention.bias[32:40] = torch.arange(8.0)
        damage = induction._damage(model, ids, predicted)
        assert abs(damage[1, 0]) < 1e-6 and abs(damage[1, 1]) > 1e-6
    whole = induction.position_losses(model, ids)
    induction._damage(model, ids, predicted)
    assert np.array_equal(whole, induction.position_losses(model, ids))  # the hooks are gone


def test_a_missing_snapshot_is_one_sentence(trained, tmp_path):
    run = trained[0]
    folder = shutil.copytree(run.folder, tmp_path / "copy")
    shutil.rmtree(folder / "snapshots" / "step10")
    with pytest.raises(MyopiaError, match="step10.* is missing.*train it again"):
        induction.head_scores([induction.InductionRun("r", "vanilla", 0, folder, DATA, 20, [0, 10])], 32)


def test_all_three_tables_are_made_in_the_declared_columns(trained):
    names = ("run", "arm", "seed", "data", "steps", "snapshots")
    runs = [{name: getattr(one, name) for name in names} | {"folder": str(one.folder)} for one in trained]
    tables = induction.measure(runs, {"test_sequences": 128, "head_sequences": 16}, "cpu")
    assert {name: tuple(frame.columns) for name, frame in tables.items()} == {
        t.name: t.columns for t in (LOSS, HEADS, CURVE)
    }
    assert all(set(frame["run"]) == {one.run for one in trained} for frame in tables.values())
