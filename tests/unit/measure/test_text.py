"""Held-out text measures: the right windows, the right losses, pictures that show the cut."""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "train"))
from tiny_runs import T, make_tokens, place, text_spec

from myopia.data.tokens import TokenFile
from myopia.measure import text
from myopia.model.build import load_language_model
from myopia.train.trainer import train


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A vanilla and a myopic run of 20 steps, seeds 0 and 1."""
    corpus = make_tokens(tmp_path_factory.mktemp("corpus"))
    result = []
    for arm in ("vanilla", "myopic"):
        for seed in (0, 1):
            where = place(tmp_path_factory.mktemp(f"{arm}{seed}"), corpus)
            train(text_spec(arm), seed, where)
            result.append(text.TextRun(f"text-{arm}", arm, seed, "tiny", where.folder, Path(corpus[0])))
    return result


def test_windows_are_spread_over_documents_before_any_gives_a_second():
    docs = ["a"] * 5 + ["b"] + ["c"] * 3
    assert text.choose_windows(docs, 3).tolist() == [0, 5, 6]
    assert text.choose_windows(docs, 5).tolist() == [0, 1, 5, 6, 7]
    assert text.choose_windows(docs, 99).tolist() == list(range(9))


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


def test_curves_are_those_of_training(runs):
    frame = text.text_curve(runs)
    own = pd.read_csv(runs[0].folder / "curve.csv")
    mine = frame[(frame["run"] == "text-vanilla") & (frame["seed"] == 0)]
    assert mine["validation_loss"].tolist() == own["validation_loss"].tolist()


def test_influence_pictures_show_who_may_plan(runs):
    frame = text.influence_pictures([r for r in runs if r.seed == 0], length=8)
    past = frame[frame["s"] < frame["t"]].groupby("arm")["influence"].max()
    assert past["vanilla"] > 0 and past["myopic"] == 0 and past["vanilla, cut"] == 0
    assert frame[frame["s"] == frame["t"]].groupby("arm")["influence"].min().gt(0).all()
    assert frame["token"].str.len().gt(0).all() and frame["t"].max() == 6
