"""Groups of tokens, against definitions written out one token at a time."""

import itertools

import numpy as np
import pytest

from myopia.experiments.tokens import features


def draw(N=40, T=24, V=12, seed=0):
    return np.random.default_rng(seed).integers(0, V, size=(N, T))


def test_copying_token_by_token():
    tokens = draw()
    group = features.by_copying(tokens)
    for n, window in enumerate(tokens.tolist()):
        for p in range(len(window) - 1):
            past, target = window[: p + 1], window[p + 1]
            pairs = list(itertools.pairwise(past))
            expected = 2 if (window[p], target) in pairs else 1 if target in past else 0
            assert group.of_NP[n, p] == expected, (n, p)
    assert set(group.of_NP.ravel()) == {0, 1, 2}


def test_positions_double():
    group = features.by_position((2, 63))
    assert group.labels == ["0", "1", "2-3", "4-7", "8-15", "16-31", "32-62"]
    assert [group.labels[k] for k in group.of_NP[1, [0, 1, 3, 4, 15, 31, 62]]] == [
        "0", "1", "2-3", "4-7", "8-15", "16-31", "32-62",
    ]  # fmt: skip
    assert features.by_position((1, 1)).labels == ["0"]


def test_frequency_cuts_the_training_text_into_equal_shares():
    rng = np.random.default_rng(1)
    counts = np.sort(rng.zipf(1.3, 400).clip(max=3000))[rng.permutation(400)]
    counts[:3] = 0
    tokens = np.tile(np.arange(400), (2, 1))
    group = features.by_frequency(tokens, counts)
    of_V, x_V = np.r_[-1, group.of_NP[0]], np.r_[np.nan, group.x_NP[0]]  # token 0 is predicted nowhere
    shares = [counts[of_V == k].sum() / counts.sum() for k in range(5)]
    assert shares == pytest.approx([0.2] * 5, abs=3000 / counts.sum())
    assert counts[of_V == 0].max() <= counts[of_V == 4].min()
    even = features.by_frequency(np.array([[0, 0, 1, 2, 3, 4]]), np.full(5, 7))
    assert even.of_NP.tolist() == [[0, 1, 2, 3, 4]]  # tokens that own a fifth each
    assert of_V[1] == 0 and x_V[1] == pytest.approx(np.log10(0.5e6 / counts.sum()))  # never seen
    assert 10 ** x_V[counts.argmax()] == pytest.approx(1e6 * counts.max() / counts.sum())


def test_quantiles_leave_the_unknown_out():
    values = np.random.default_rng(2).normal(size=(50, 20))
    values[:, 0] = np.nan
    group = features.by_quantile(values)
    assert (group.of_NP[:, 0] == -1).all() and (group.of_NP[:, 1:] >= 0).all()
    assert np.bincount(group.of_NP[:, 1:].ravel()).tolist() == [190] * 5
    assert values[group.of_NP == 1].max() <= values[group.of_NP == 2].min()


def test_parts_are_thirds_of_documents():
    docs = ["a"] * 6 + ["b"] * 2 + ["c"] * 3
    chosen = np.array([0, 1, 2, 4, 5, 7, 8, 10])
    group = features.by_part(docs, chosen, 5)
    assert group.of_NP.shape == (8, 5)
    assert [group.labels[k] for k in group.of_NP[:, 0]] == [
        "beginning", "beginning", "middle", "end", "end", "short document", "beginning", "end",
    ]  # fmt: skip


def test_matched_contrast_is_least_squares_with_a_constant_per_cell():
    rng = np.random.default_rng(3)
    cells = rng.integers(0, 7, size=(30, 10))
    treated = rng.random((30, 10)) < 0.1 + 0.12 * cells  # some cells are mostly treated
    treated[cells == 6] = True  # and one only
    y = 0.3 * treated + 2.0 * cells + rng.normal(size=cells.shape)
    weight = features.matched_contrast(treated, cells)
    found = (weight * y).sum() / (weight * treated).sum()
    design = np.c_[treated.ravel(), np.eye(7)[cells.ravel()]]
    expected = np.linalg.lstsq(design, y.ravel(), rcond=None)[0][0]
    assert found == pytest.approx(expected, abs=1e-10)
    raw = y[treated].mean() - y[~treated].mean()
    assert abs(raw - found) > 1  # without matching, the cells' levels are taken for an effect
    assert not weight[cells == 6].any()
