"""Gaps of single tokens, the list of extremes, and influence sent forward."""

import numpy as np
import pandas as pd
import pytest
import torch

from myopia.common.errors import MyopiaError
from myopia.data.tokens import TokenFile
from myopia.experiments.tokens import EXPERIMENT, GAP, INFLUENCE, MAP, TOP, features
from myopia.experiments.tokens import influence as token_influence
from myopia.experiments.tokens import measure as token_gap
from myopia.experiments.tokens.pairs import count_tokens, pair_losses, pair_up
from myopia.measure import text
from myopia.model.attach import to_myopic
from myopia.model.build import load_language_model
from myopia.model.influence import influence
from tiny_runs import VOCABULARY, T


@pytest.fixture(scope="module")
def pairs(runs):
    return pair_up(runs)["tiny"]


@pytest.fixture(scope="module")
def measured(pairs):
    return token_gap.measure_corpus(pairs, windows=12, top=3)


def test_a_pair_shares_corpus_and_seed(runs, pairs):
    assert [(pair.seed, pair.vanilla.arm, pair.myopic.arm) for pair in pairs] == [
        (0, "vanilla", "myopic"), (1, "vanilla", "myopic"),
    ]  # fmt: skip
    with pytest.raises(MyopiaError, match="both needed"):
        pair_up(runs[:3])


def test_windows_of_evenly_spaced_documents():
    docs = [f"{k:02d}" for k in range(50) for _ in range(2)]
    chosen = text.spread_windows(docs, 5)
    assert [docs[k] for k in chosen] == ["00", "12", "24", "37", "49"]
    assert len(text.spread_windows(docs, 80)) == 80


def test_losses_and_kl_against_the_models(pairs):
    file = TokenFile.open(pairs[0].vanilla.tokens, "test")
    tokens = np.asarray(file.tokens[:20])  # more than one batch
    models = [load_language_model(run.folder) for run in pairs[0].runs()]
    with torch.no_grad():
        models[1].transformer.ln_f.weight *= 30  # runs of 20 steps are so alike that their KL has no direction
    loss, kl = pair_losses(*models, tokens)
    for arm in (0, 1):
        assert loss[arm] == pytest.approx(text.position_losses(models[arm], tokens), abs=1e-5)
    ids = torch.from_numpy(tokens.astype(np.int64))
    with torch.no_grad():
        p, q = (model(ids).logits[:, :-1].double().softmax(-1).numpy() for model in models)
    assert kl == pytest.approx((p * np.log(p / q)).sum(-1), rel=2e-6, abs=1e-5)  # up to 25 nats, in fp32
    assert (kl > 0).all() and kl.mean() != pytest.approx((q * np.log(q / p)).sum(-1).mean(), rel=0.1)
    assert pair_losses(models[0], models[0], tokens)[1] == pytest.approx(0, abs=1e-6)


def test_every_grouping_adds_up_to_the_same_loss(pairs, measured):
    frame = measured[0]
    assert tuple(frame.columns) == GAP.columns
    tokens = 12 * (T - 1)
    file = TokenFile.open(pairs[0].vanilla.tokens, "test")
    chosen = text.spread_windows(file.docs, 12)
    direct = text.position_losses(load_language_model(pairs[0].myopic.folder), np.asarray(file.tokens[chosen]))
    one = frame[(frame["arm"] == "myopic") & (frame["seed"] == 0)]
    sums = one.groupby("by")[["weight", "loss"]].sum()
    for by in ("position", "frequency", "copied", "part", "ease", "ease-own", "ease-both"):
        assert sums.loc[by, "weight"] == tokens, by
        assert sums.loc[by, "loss"] == pytest.approx(direct.sum(), rel=1e-6), by
    assert sums.loc["ease-before", "weight"] == tokens - 12  # position 0 was predicted by nothing
    assert sums.loc["copied-matched"].notna().all()
    assert frame.loc[frame["arm"] == "vanilla", "kl"].eq(0).all()
    late = one[(one["by"] == "position") & (one["bin"] == "8-14")]
    assert late["loss"].sum() == pytest.approx(direct[:, 8:].sum(), rel=1e-6)
    assert (late["x"] / late["weight"]).eq(11).all()


def test_matched_rows_hold_the_matched_contrast(pairs, measured):
    file = TokenFile.open(pairs[0].vanilla.tokens, "test")
    chosen = text.spread_windows(file.docs, 12)
    tokens = np.asarray(file.tokens[chosen]).astype(int)
    counts = np.bincount(np.asarray(TokenFile.open(file.folder, "train").tokens).ravel(), minlength=file.vocab_size)
    seen = features.by_copying(tokens).of_NP >= 1
    frequency = features.by_frequency(tokens, counts, 10).of_NP
    design = np.c_[seen.ravel(), pd.get_dummies(pd.Series((np.arange(T - 1) * 10 + frequency).ravel())).to_numpy()]
    losses = [
        text.position_losses(load_language_model(run.folder), np.asarray(file.tokens[chosen]))
        for run in pairs[1].runs()
    ]
    expected = np.linalg.lstsq(design.astype(float), (losses[1] - losses[0]).ravel(), rcond=None)[0][0]
    rows = measured[0][(measured[0]["by"] == "copied-matched") & (measured[0]["bin"] == "seen - new")]
    rows = rows[rows["seed"] == 1].groupby("arm")[["weight", "loss"]].sum()
    gap = (rows.loc["myopic", "loss"] - rows.loc["vanilla", "loss"]) / rows.loc["vanilla", "weight"]
    assert gap == pytest.approx(expected, abs=1e-4)


def test_easiness_by_the_own_loss_shows_a_gap_where_there_is_none():
    """Two models of equal quality with their own luck: judged by itself vanilla wins on easy tokens, else nowhere."""
    rng = np.random.default_rng(0)
    hardness = rng.normal(3, 1, size=(1, 400, 50))
    losses = [hardness + rng.normal(0, 0.5, size=(2, 400, 50)) for _ in range(2)]
    gap = losses[0][1] - losses[0][0]
    tilt = {}
    for name, group in token_gap._easiness(losses, 0).items():
        means = [gap[group.of_NP == k].mean() for k in range(5)]
        tilt[name] = means[0] - means[4]
    assert tilt["ease-own"] > 0.3
    assert all(abs(tilt[name]) < 0.05 for name in ("ease", "ease-both", "ease-before"))
    assert set(token_gap._easiness(losses[:1], 0)) == {"ease-own"}
    before = token_gap._easiness(losses, 0)["ease-before"]
    assert (before.of_NP[:, 0] == -1).all()
    assert np.array_equal(before.x_NP[:, 1:], losses[1][0][:, :-1])  # the other seed's vanilla, one position earlier


def test_extremes_come_with_their_context(pairs, measured):
    top = measured[1]
    assert tuple(top.columns) == TOP.columns
    cells = top.groupby(["window", "position"]).size()
    assert (cells == 4).all() and 3 <= len(cells) <= 18  # two arms, two seeds; three lists of three for each seed
    file = TokenFile.open(pairs[0].vanilla.tokens, "test")
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(pairs[0].vanilla.folder)
    row = top[top["position"] > 3].iloc[0]
    window, p = file.tokens[row["window"]], row["position"]
    assert row["doc"] == file.docs[row["window"]]
    assert row["token"] == tokenizer.decode([int(window[p + 1])])
    assert row["context"] == tokenizer.decode(window[max(0, p - 11) : p + 1].tolist())
    assert token_gap.shown("a\\\n\t\r") == "a\\\\\\n\\t\\r"


def test_the_largest_kl_is_listed(pairs, measured):
    file = TokenFile.open(pairs[0].vanilla.tokens, "test")
    chosen = text.spread_windows(file.docs, 12)
    _, kl = pair_losses(*(load_language_model(run.folder) for run in pairs[1].runs()), np.asarray(file.tokens[chosen]))
    n, p = np.unravel_index(kl.argmax(), kl.shape)
    top = measured[1]
    row = top[(top["window"] == chosen[n]) & (top["position"] == p) & (top["seed"] == 1) & (top["arm"] == "myopic")]
    assert row["kl"].item() == pytest.approx(kl.max())


def test_the_map_holds_every_token_of_a_few_windows(pairs, measured):
    frame = measured[2]
    assert tuple(frame.columns) == MAP.columns
    assert frame["window"].nunique() == token_gap.MAP_WINDOWS and len(frame) == token_gap.MAP_WINDOWS * T * 4
    file = TokenFile.open(pairs[0].vanilla.tokens, "test")
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(pairs[0].vanilla.folder)
    for window, rows in frame[(frame["arm"] == "myopic") & (frame["seed"] == 1)].groupby("window"):
        tokens = np.asarray(file.tokens[[window]])
        assert rows["position"].tolist() == list(range(-1, T - 1))
        assert rows["token"].tolist() == [token_gap.shown(tokenizer.decode([int(t)])) for t in tokens[0]]
        assert np.isnan(rows["loss"].iloc[0])
        own = text.position_losses(load_language_model(pairs[1].myopic.folder), tokens)[0]
        assert rows["loss"].to_numpy()[1:] == pytest.approx(own, abs=1e-5)


def test_what_a_position_sends_forward():
    matrix = np.array([[9.0, 0, 0, 0], [1, 8, 0, 0], [2, 3, 5, 0], [np.nan] * 4])
    sent, share = token_influence.sent_forward(matrix)
    assert sent.tolist() == [3.0, 3.0]
    assert share == pytest.approx([1 / 9 + 0.2, 0.3])


def test_influence_sent_is_the_models_own(pairs):
    frame = token_influence.influence_sent(pairs, windows=3)
    assert tuple(frame.columns) == INFLUENCE.columns
    assert len(frame) == 4 * 3 * (T - 2) and frame.notna().all().all()
    row = frame[(frame["arm"] == "myopic") & (frame["seed"] == 1)].iloc[T - 2 + 4]
    ids = torch.from_numpy(
        np.asarray(TokenFile.open(pairs[0].myopic.tokens, "test").tokens[row["window"]]).astype(np.int64)
    )
    model = load_language_model(pairs[1].myopic.folder)
    matrix = influence(model, ids)
    s = row["position"]
    assert s == 4
    assert row["sent"] == pytest.approx(matrix[s + 1 : -1, s].sum().item(), rel=1e-5)
    loss = text.position_losses(model, ids[None].numpy())[0]
    assert row["loss"] == pytest.approx(loss[s], abs=1e-5)
    assert row["sent"] > 0  # nothing is cut here; attached as in training, a myopic model sends nothing
    assert token_influence.sent_forward(influence(to_myopic(model), ids).numpy())[0].max() == 0


def test_tokens_are_counted_in_blocks():
    tokens = np.random.default_rng(0).integers(0, VOCABULARY, size=(100, 7)).astype(np.uint16)
    assert count_tokens(tokens, VOCABULARY, block=9).tolist() == np.bincount(
        tokens.ravel(), minlength=VOCABULARY
    ).tolist()  # fmt: skip


def test_corpora_are_measured_apart(runs, pairs):
    """The job of one corpus gives its rows of the job for all."""
    entries = [
        {**{key: value for key, value in vars(run).items() if key != "teacher"}, "folder": str(run.folder),
         "tokens": str(run.tokens)}
        for run in runs
    ]  # fmt: skip
    other = [{**entry, "corpus": "other"} for entry in entries]
    options = {"windows": 6, "top_tokens": 2, "influence_windows": 2, "max_tau": 2, "probe_windows": 8,
               "probe_tokens": 4, "table_windows": 50}  # fmt: skip
    whole = token_gap.measure([*other, *entries], options, "cpu")
    (measurement,) = EXPERIMENT.measurements
    assert {name: tuple(f.columns) for name, f in whole.items()} == {t.name: t.columns for t in measurement.tables}
    parts = [token_gap.measure(unit, options, "cpu") for unit in (other, entries)]
    for name, frame in whole.items():
        joined = pd.concat([part[name] for part in parts], ignore_index=True)
        pd.testing.assert_frame_equal(joined, frame.reset_index(drop=True))
        assert len(frame) and frame["corpus"].is_monotonic_increasing
    assert all(frame.empty for frame in token_gap.measure([], options, "cpu").values())
