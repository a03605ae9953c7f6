"""Probes of tokens to come: tables against counting, maps against an independent fit, controls that show nothing."""

import copy

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from myopia.common.errors import MyopiaError
from myopia.data.tokens import TokenFile
from myopia.experiments.tokens import PROBES, skip_tables
from myopia.experiments.tokens import future_probes as probes
from myopia.experiments.tokens.pairs import count_tokens, pair_up
from myopia.model.build import build_model, load_language_model, load_untrained
from tiny_runs import T, text_spec

TAUS, NAMED = [1, 2], 4


def test_tables_against_counting():
    tokens = np.random.default_rng(0).integers(0, 9, size=(50, 12))
    classes = skip_tables.frequent_classes(np.bincount(tokens.ravel(), minlength=9), NAMED)
    assert sorted(classes[classes < NAMED].tolist()) == list(range(NAMED))
    assert (np.bincount(tokens.ravel())[classes == NAMED] <= np.bincount(tokens.ravel())[classes == 0].item()).all()
    for tau in (1, 3):
        counts = skip_tables.count_pairs(tokens, classes, tau)
        expected = np.zeros((9, NAMED + 1))
        for window in tokens:
            for t in range(12 - tau):
                expected[window[t], classes[window[t + tau]]] += 1
        assert (counts == expected).all()
    with pytest.raises(MyopiaError, match="tokens.probe_tokens"):
        skip_tables.frequent_classes(np.ones(4), 4)


def test_a_table_is_smoothed_as_much_as_other_text_wants():
    rng = np.random.default_rng(1)
    now, later = rng.integers(0, 300, size=(2, 4000)) % [[300], [5]]
    counts = np.zeros((300, 5))
    np.add.at(counts, (now[:2000], later[:2000]), 1)  # later does not depend on now: only the unigram is right
    table = skip_tables.skip_table(counts, now[2000:], later[2000:])
    assert np.exp(table.bigram_VC).sum(1) == pytest.approx(np.ones(300), abs=1e-5)
    assert np.exp(table.bigram_VC) == pytest.approx(np.tile(np.exp(table.unigram_C), (300, 1)), abs=0.02)
    later = now % 5  # wholly determined
    counts[:] = 0
    np.add.at(counts, (now[:2000], later[:2000]), 1)
    table = skip_tables.skip_table(counts, now[2000:], later[2000:])
    seen = counts.sum(1) > 0
    assert np.exp(table.bigram_VC[seen, np.arange(300)[seen] % 5]).min() > 0.7


def samples(later, offset):
    return probes.Samples(np.zeros((0, 0)), torch.from_numpy(later), torch.from_numpy(offset.astype(np.float32)))


def draw(N, seed, strength, D=6):
    """States of which two coordinates tell the class tau = 1 ahead beyond a common table; tau = 2 is noise."""
    rng = np.random.default_rng(seed)
    h = rng.normal(size=(N, D)) * np.resize([1, 1, 3, 0.5, 1, 1], D) + 5
    table = np.log(np.array([0.3, 0.2, 0.2, 0.1, 0.2]))
    logits = table + strength * (h[:, :2] - 5) @ np.array([[1.0, -1, 0, 0, 0], [0, 0, 1, -1, 0]])
    cumulative = np.exp(logits - np.log(np.exp(logits).sum(1, keepdims=True))).cumsum(1)
    first = (rng.random((N, 1)) > cumulative[:, :-1]).sum(1)
    second = rng.choice(5, size=N, p=np.exp(table))
    return torch.from_numpy(h.astype(np.float32)), samples(np.stack([first, second], 1), np.tile(table, (N, 2, 1)))


def test_a_map_finds_what_is_there_and_nothing_else():
    (fit_h, fit), (tune_h, tune), (test_h, test) = (draw(n, k, 0.3) for k, n in enumerate((4000, 1500, 6000)))
    white = probes.Whitening(fit_h)
    weight = probes.fit_map(white(fit_h), fit, white(tune_h), tune)
    ce, hits = probes.score(white(test_h), weight, test)
    table = probes.cross_entropies(test.offset_NAC, test.later_NA).numpy()
    gain = table.mean(0) - ce.mean(0)
    truth = test.offset_NAC[:, 0].numpy() + 0.3 * (test_h[:, :2].numpy() - 5) @ [[1, -1, 0, 0, 0], [0, 0, 1, -1, 0]]
    best = np.log(np.exp(truth).sum(1)) - truth[np.arange(len(truth)), test.later_NA[:, 0].numpy()]
    assert 0.02 < gain[0] < table[:, 0].mean() - best.mean() + 0.002  # no better than the truth
    assert gain[0] > 0.85 * (table[:, 0].mean() - best.mean())
    assert abs(gain[1]) < 0.002
    shuffled = copy.copy(test_h)[torch.randperm(len(test_h), generator=torch.Generator().manual_seed(0))]
    assert table.mean(0)[0] - probes.score(white(shuffled), weight, test)[0].mean(0)[0] < 0
    named = test.later_NA.numpy() < 4
    assert (hits <= named).all() and hits[:, 0].mean() > 0.3  # the class of all others is never guessed


def test_where_there_is_nothing_to_learn_the_table_stays(monkeypatch):
    (fit_h, fit), (tune_h, tune), (test_h, test) = (draw(n, k, 0.0, D=40) for k, n in enumerate((300, 2000, 6000)))
    white = probes.Whitening(fit_h)
    table = probes.cross_entropies(test.offset_NAC, test.later_NA).numpy()
    ce, _ = probes.score(white(test_h), probes.fit_map(white(fit_h), fit, white(tune_h), tune), test)
    assert (table.mean(0) - ce.mean(0) > -0.005).all()
    monkeypatch.setattr(probes, "PRIORS", (1.0,))
    ce, _ = probes.score(white(test_h), probes.fit_map(white(fit_h), fit, white(fit_h), fit), test)
    assert (table.mean(0) - ce.mean(0) < -0.05).all()  # chosen on the text it was fitted to


def test_a_map_against_scikit_learns_regression(monkeypatch):
    """With a flat table, one prior and time to converge, the fit is ridge-penalised logistic regression."""
    monkeypatch.setattr(probes, "PRIORS", (0.2,))
    monkeypatch.setattr(probes, "ITERATIONS", 300)
    (fit_h, fit), (tune_h, tune) = (draw(n, k, 0.5) for k, n in enumerate((1500, 500)))
    flat = torch.full_like(fit.offset_NAC[:, :1], -np.log(5))
    one = probes.Samples(fit.tokens_WT, fit.later_NA[:, :1], flat)
    other = probes.Samples(tune.tokens_WT, tune.later_NA[:, :1], flat[:500])
    white = probes.Whitening(fit_h)
    weight = probes.fit_map(white(fit_h), one, white(tune_h), other)[:, 0]
    independent = LogisticRegression(C=0.2**2, tol=1e-8, max_iter=2000)
    independent.fit(white(fit_h)[:, :-1].numpy(), one.later_NA[:, 0].numpy())
    assert (weight[:-1] - weight[:-1].mean(1, keepdim=True)).T.numpy() == pytest.approx(independent.coef_, abs=3e-3)
    assert (weight[-1] - weight[-1].mean()).numpy() == pytest.approx(independent.intercept_, abs=3e-3)


def test_whitening_has_a_floor():
    h = torch.randn(5000, 3, generator=torch.Generator().manual_seed(0)) * torch.tensor([10.0, 1.0, 1e-6]) + 7
    white = probes.Whitening(h)(h)
    assert white.shape == (5000, 4) and (white[:, 3] == 1).all()
    sd = white[:, :3].std(0).sort().values
    assert sd[2] == pytest.approx(1, abs=0.01)
    assert sd[0] < 1e-5  # a direction a millionth the size of the state stays small


def test_untrained_is_the_network_training_starts_from(runs):
    before = load_untrained(runs[1].folder, 1).state_dict()
    vocabulary = load_language_model(runs[1].folder).config.vocab_size
    built = build_model(text_spec(), 1, vocabulary).state_dict()
    assert before.keys() == built.keys() and all(torch.equal(before[k], built[k]) for k in before)


@pytest.fixture(scope="module")
def table(runs):
    pairs = pair_up(runs)["tiny"]
    return probes.probe_models(pairs, max_tau=2, windows=16, named=NAMED, table_windows=50)


def test_the_table_has_every_network_layer_and_document(table):
    assert tuple(table.columns) == PROBES.columns
    assert set(table["arm"]) == {"vanilla", "myopic", "untrained"}
    cells = table.groupby(["arm", "seed", "layer", "tau"])
    assert len(cells) == 3 * 2 * 3 * 2
    assert (cells["n"].sum() == cells["n"].sum().iloc[0]).all()
    assert cells["n"].sum().iloc[0] == 16 * (T - 2)
    assert cells["ce_bigram"].sum().groupby("tau").nunique().eq(1).all()  # the table is nobody's own
    assert (table["hits"] <= table["n"]).all() and table.notna().all().all()


def test_states_and_targets_belong_together(runs):
    """Position t of window w is the same sample for the state, the current token and the token to come."""
    pairs = pair_up(runs)["tiny"]
    task = probes.build_task(pairs, 2, 16, NAMED, 50, "cpu")
    part = task.test
    train = TokenFile.open(runs[0].tokens, "train")
    classes = skip_tables.frequent_classes(count_tokens(train.tokens, train.vocab_size), NAMED)
    positions = T - 2
    model = load_language_model(runs[0].folder)
    states = probes.hidden_states(model, part.tokens_WT, positions, "cpu")
    w, t = 5, 7
    with torch.no_grad():
        direct = model(torch.from_numpy(part.tokens_WT[w : w + 1]), output_hidden_states=True).hidden_states
    n = w * positions + t
    for layer in range(3):
        torch.testing.assert_close(states[layer][n], direct[layer][0, t])
    for a, tau in enumerate(TAUS):
        row = task.tables[a].bigram_VC[part.tokens_WT[w, t]]
        assert part.offset_NAC[n, a].numpy() == pytest.approx(row)
        assert part.later_NA[n, a] == classes[part.tokens_WT[w, t + tau]]
        assert part.later_NA[:, a].tolist() == classes[part.tokens_WT[:, tau : T - 2 + tau]].ravel().tolist()


def test_too_little_text_is_refused(runs):
    with pytest.raises(MyopiaError, match="too few for probes"):
        probes.build_task(pair_up(runs)["tiny"], 2, 3, NAMED, 50, "cpu")
