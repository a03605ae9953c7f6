"""Text measured: the right windows, the right losses, pictures that show the cut, and parts that are the whole."""

import numpy as np
import pandas as pd
import pytest
import torch

from myopia.common.errors import MyopiaError
from myopia.config.runs import ARMS
from myopia.config.tables import TEXT_COMPONENTS, TEXT_CURVE, TEXT_LOSS
from myopia.data.tokens import TokenFile
from myopia.experiments.text import INFLUENCE
from myopia.experiments.text.measure import influence_pictures, measure
from myopia.measure import text
from myopia.model.build import apply_arm, load_language_model, load_trained
from myopia.train.trainer import train
from tiny_runs import T, place, text_spec


def test_windows_are_spread_over_documents_before_any_gives_a_second():
    docs = ["a"] * 5 + ["b"] + ["c"] * 3
    assert sorted(docs[i] for i in text.choose_windows(docs, 3)) == ["a", "b", "c"]
    assert sorted(docs[i] for i in text.choose_windows(docs, 5)) == ["a", "a", "b", "c", "c"]
    assert text.choose_windows(docs, 99).tolist() == list(range(9))


def test_windows_come_from_all_over_a_document():
    docs = [f"book{n}" for n in range(200) for _ in range(100)]
    places = text.choose_windows(docs, 200) % 100
    assert 40 < places.mean() < 60 and places.min() < 10 and places.max() > 90


def test_losses_are_the_models_own_by_position(runs):
    file = TokenFile.open(runs[0].tokens, "test")
    model = load_language_model(runs[0].folder)
    loss = text.position_losses(model, np.asarray(file.tokens[:3]))
    assert loss.shape == (3, T - 1)
    ids = torch.from_numpy(np.asarray(file.tokens[:3]).astype(np.int64))
    assert loss.mean() == pytest.approx(model(ids, labels=ids).loss.item(), abs=1e-5)


def test_every_run_is_measured_on_the_same_documents_and_positions(runs):
    frame = text.text_loss(runs, max_windows=12)
    keys = ["doc", "group", "position", "n"]
    cells = [part[keys].reset_index(drop=True) for _, part in frame.groupby(["run", "seed"])]
    assert len(cells) == 4 and all(cells[0].equals(other) for other in cells[1:])
    assert cells[0]["n"].sum() == 12 * (T - 1)
    one = frame[(frame["run"] == "text-vanilla") & (frame["seed"] == 0)]
    file = TokenFile.open(runs[0].tokens, "test")
    chosen = text.choose_windows(file.docs, 12)
    direct = text.position_losses(load_language_model(runs[0].folder), np.asarray(file.tokens[chosen]))
    assert np.average(one["loss"], weights=one["n"]) == pytest.approx(direct.mean())


@pytest.fixture(scope="module")
def arms(runs, tmp_path_factory):
    """The four arms whose forward is not the plain one; the local ones learn from vanilla seed 0."""
    corpus, teacher = runs[0].tokens, runs[0].folder
    result = {}
    for arm in ("local-hidden", "local-kv", "bigram-zeroed", "bigram-true"):
        own = teacher if arm.startswith("local") else None
        where = place(tmp_path_factory.mktemp(arm), (str(corpus), None), teacher=str(own) if own else None)
        train(text_spec(arm), 0, where)
        result[arm] = text.TextRun(f"text-{arm}", arm, 0, "tiny", where.folder, corpus, own)
    return result


def test_arms_are_measured_with_their_own_forward_pass(runs, arms):
    frame = text.text_loss([runs[0], *arms.values()], max_windows=12)
    file = TokenFile.open(runs[0].tokens, "test")
    tokens = np.asarray(file.tokens[text.choose_windows(file.docs, 12)])
    for arm, run in arms.items():
        rows = frame[frame["arm"] == arm]
        own = apply_arm(load_language_model(run.folder), ARMS[arm], run.teacher)
        assert np.average(rows["loss"], weights=rows["n"]) == pytest.approx(text.position_losses(own, tokens).mean())
        plain = text.position_losses(load_language_model(run.folder), tokens)
        assert np.average(rows["loss"], weights=rows["n"]) != pytest.approx(plain.mean(), abs=1e-6)
        assert (run.folder / "README.md").read_text().count("myopia.json") == 1


def test_a_true_bigram_knows_only_its_own_token(arms):
    run = arms["bigram-true"]
    model = load_trained(run.folder, ARMS["bigram-true"])
    ids = torch.from_numpy(np.asarray(TokenFile.open(run.tokens, "test").tokens[:1]).astype(np.int64))
    other = ids.clone()
    other[0, :5] = (other[0, :5] + 7) % 300
    with torch.no_grad():
        assert torch.equal(model(ids).logits[0, 5:], model(other).logits[0, 5:])


def test_an_arm_is_refused_without_its_record_or_with_another_teacher(runs, arms, tmp_path):
    import shutil

    folder = tmp_path / "arm"
    shutil.copytree(arms["local-hidden"].folder, folder)
    with pytest.raises(MyopiaError, match="is not the teacher"):
        load_trained(folder, ARMS["local-hidden"], runs[1].folder)
    with pytest.raises(MyopiaError, match="says the arm is"):
        load_trained(folder, ARMS["local-kv"], runs[0].folder)
    with pytest.raises(MyopiaError, match="not a plain language model"):
        load_trained(folder, ARMS["vanilla"])
    (folder / "myopia.json").unlink()
    with pytest.raises(MyopiaError, match="would be run as a plain model"):
        load_trained(folder, ARMS["local-hidden"], runs[0].folder)


def test_curves_are_those_of_training(runs):
    frame = text.text_curve(runs)
    own = pd.read_csv(runs[0].folder / "curve.csv")
    mine = frame[(frame["run"] == "text-vanilla") & (frame["seed"] == 0)]
    assert mine["validation_loss"].tolist() == own["validation_loss"].tolist()


def test_influence_pictures_show_who_may_plan(runs):
    frame = influence_pictures([r for r in runs if r.seed == 0], length=8)
    past = frame[frame["s"] < frame["t"]].groupby("arm")["influence"].max()
    assert past["vanilla"] > 0 and past["myopic"] == 0 and past["vanilla, cut"] == 0
    assert frame[frame["s"] == frame["t"]].groupby("arm")["influence"].min().gt(0).all()
    assert frame["token"].str.len().gt(0).all() and frame["t"].max() == 6


def test_units_are_the_whole(runs, arms):
    """Every run and seed measured apart gives the rows of one job for all, each table with its columns."""
    first = {"text-vanilla": ["influence"], "text-myopic": ["influence"]}
    entries = [
        {
            **{key: str(value) if key in ("folder", "tokens") else value for key, value in vars(run).items()},
            "teacher": run.teacher and str(run.teacher),
            "tables": ["loss", "curve", *(first.get(run.run, []) if run.seed == 0 else [])],
        }
        for run in [*runs, arms["local-hidden"]]
    ]
    entries[0]["tables"].append("components")
    options = {"max_windows": 12, "influence_tokens": 8}
    whole = measure(entries, options, "cpu")
    tables = (TEXT_LOSS, TEXT_COMPONENTS, TEXT_CURVE, INFLUENCE)
    assert {name: tuple(frame.columns) for name, frame in whole.items()} == {t.name: t.columns for t in tables}
    assert len(whole[TEXT_COMPONENTS.name]) == 0 and all(len(whole[t.name]) for t in tables if t is not TEXT_COMPONENTS)
    parts = [measure([entry], options, "cpu") for entry in entries]
    for table in tables:
        keys = [*table.columns]
        joined = pd.concat([part[table.name] for part in parts])
        ordered = [frame.sort_values(keys, ignore_index=True) for frame in (joined, whole[table.name])]
        pd.testing.assert_frame_equal(*ordered, check_dtype=False)  # of empty parts


def test_a_local_arm_goes_to_a_device_with_its_teacher(arms):
    run = arms["local-hidden"]
    model = load_trained(run.folder, ARMS["local-hidden"], run.teacher, "meta")
    teacher = model._myopia.arm.teacher.model
    assert teacher is not model and {p.device.type for m in (model, teacher) for p in m.parameters()} == {"meta"}
