"""Made multiplication problems: the authors' format, counter-based, and read by one token a symbol."""

import numpy as np
import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from myopia.common.errors import MyopiaError
from myopia.common.files import write_json
from myopia.data.streams import build_stream
from myopia.experiments.multiplication.data import (
    Multiplication,
    cell_problems,
    pair_keys,
    problems,
    read_symbols,
    trained_pairs,
    write_symbols,
)
from myopia.experiments.multiplication.formats import SYMBOLS, Format


def stream(**form):
    return Multiplication(Format(**form))


# --- how a problem is written ---


def test_the_papers_example():
    """Fig 8: 73 x 45 = 3285, two zeros of padding each."""
    assert stream(digits=4, pad=4).text(73, 45) == " 3 7 0 0 * 5 4 0 0 = 5 8 2 3 0 0 0 0"


def test_the_authors_example():
    """authors' code 4.1, padded to 10."""
    found = stream(digits=5, pad=10).text(71501, 29124)
    assert found == " 1 0 5 1 7 0 0 0 0 0 * 4 2 1 9 2 0 0 0 0 0 = 4 2 1 5 9 3 2 8 0 2"


def test_controls_add_the_same_symbol_in_one_place():
    short, lead, after = (stream(digits=2, pad=2, **more).text(12, 34) for more in ({}, {"lead": 4}, {"after": 4}))
    assert lead == " . . . ." + short
    assert after == short.replace("=", "= . . . .")


def check_products(made):
    ids, predicted = made.sample(7, 100, 400, "train")
    assert ids.shape == predicted.shape == (400, made.T) and ids.dtype == np.int64
    assert (predicted.sum(1) == 6).all() and (predicted == predicted[0]).all() and not predicted[:, 0].any()
    x, y = problems(3, 7, 100, 400, "train")
    for row in range(400):
        question, answer = "".join(SYMBOLS[i] for i in ids[row]).split("=")
        first, second = question.strip(".").split("*")
        assert (int(first[::-1]), int(second[::-1])) == (x[row], y[row])
        digits = np.array(list(answer))[predicted[row][-len(answer) :]]  # the tokens that are trained
        assert int("".join(digits)[::-1]) == x[row] * y[row]


def test_every_sequence_states_a_true_product():
    for form in ({"pad": 3}, {"pad": 6}, {"pad": 3, "after": 6}, {"pad": 3, "lead": 6}):
        check_products(stream(digits=3, **form))


def test_nine_digits_are_exact():
    text = stream(digits=9, pad=20).text(999_999_999, 999_999_998)
    assert int(text.split("=")[1].replace(" ", "")[::-1]) == 999_999_999 * 999_999_998


def test_loss_on_all_leaves_out_the_first_token_alone():
    _, predicted = stream(digits=2, pad=2, loss_on="all").sample(0, 0, 5, "train")
    assert not predicted[:, 0].any() and predicted[:, 1:].all()


# --- which problems ---


def test_any_slice_is_the_same_problems():
    made = stream(digits=3, pad=4)
    whole, _ = made.sample(3, 0, 64, "train")
    parts = [made.sample(3, first, 16, "train")[0] for first in range(0, 64, 16)]
    assert np.array_equal(np.concatenate(parts), whole)
    assert not np.array_equal(made.sample(4, 0, 64, "train")[0], whole)
    assert not np.array_equal(made.sample(3, 0, 64, "validation")[0], whole)


def test_all_formats_of_a_seed_train_on_the_same_problems():
    short, long = stream(digits=3, pad=3), stream(digits=3, pad=6, lead=2)
    a, b = short.sample(0, 10, 50, "train")[0], long.sample(0, 10, 50, "train")[0]
    assert np.array_equal(a[:, -6:], b[:, -6:])


def test_digit_counts_are_uniform_and_numbers_uniform_below_their_power():
    x, y = problems(3, 0, 0, 90_000, "train")
    # P(x < 10) = 1/3 (1 + 1/10 + 1/100), P(x >= 100) = 1/3 x 9/10
    for value in (x, y):
        assert np.mean(value < 10) == pytest.approx(0.37, abs=0.006)
        assert np.mean(value >= 100) == pytest.approx(0.30, abs=0.006)
        assert value.min() == 0 and value.max() == 999
        assert np.mean(value[value >= 100]) == pytest.approx(549.5, abs=5)
    assert abs(np.corrcoef(x >= 100, y >= 100)[0, 1]) < 0.02


def test_test_problems_fill_their_cell_and_nothing_else():
    x, y = cell_problems(1, 3, 4000)
    assert (x.min(), x.max()) == (0, 9) and y.min() < 20 and 980 < y.max() < 1000
    again = cell_problems(1, 3, 10)
    assert np.array_equal(again[0], x[:10]) and np.array_equal(again[1], y[:10])


def test_trained_pairs_are_those_the_training_stream_showed():
    x, y = problems(2, 5, 0, 3000, "train")
    wanted = sorted({(int(a), int(b)) for a, b in zip(x, y)})
    found = trained_pairs(2, 5, 3000, chunk=700)
    assert found.tolist() == [a * 100 + b for a, b in wanted]
    shown = np.isin(pair_keys(2, *cell_problems(1, 1, 500)), found)
    assert shown.mean() > 0.95  # 100 problems, each seen many times: the overlap that must be reported
    assert np.isin(pair_keys(2, *cell_problems(2, 2, 500)), found).mean() < 0.5


# --- the vocabulary ---


def test_our_tokenizer_reads_what_is_trained(tmp_path):
    from transformers import AutoTokenizer

    write_symbols(tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    made = stream(digits=3, pad=5, after=2, lead=1)
    ids, _ = made.sample(0, 0, 20, "train")
    for row, x, y in zip(ids, *problems(3, 0, 0, 20, "train")):
        assert tokenizer(made.text(int(x), int(y)))["input_ids"] == row.tolist()
        assert tokenizer.decode(row).split() == made.text(int(x), int(y)).split()
    assert len(tokenizer) == made.vocab_size == 13
    numbers, size = read_symbols(tmp_path)
    assert numbers.tolist() == list(range(13)) and size == 13


def bpe(folder, words):
    """A byte-level BPE that knows the given words of a space and a symbol whole; other symbols take two tokens."""
    marks = [word.replace(" ", "Ġ") for word in words]
    alphabet = sorted({*pre_tokenizers.ByteLevel.alphabet(), "Ġ"})
    vocabulary = {token: k for k, token in enumerate([*alphabet, *marks])}
    merges = [("Ġ", mark[1:]) for mark in marks]
    tokenizer = Tokenizer(models.BPE(vocabulary, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    folder.mkdir()
    tokenizer.save(str(folder / "tokenizer.json"))
    write_json(folder / "tokenizer_config.json", {"tokenizer_class": "PreTrainedTokenizerFast"})
    return folder


def test_another_vocabulary_with_one_token_a_symbol_serves(tmp_path):
    folder = bpe(tmp_path / "whole", [f" {symbol}" for symbol in reversed(SYMBOLS)])
    data = {"kind": "multiplication", "digits": 2, "pad": 3, "T": 12, "tokenizer": str(folder)}
    made = build_stream(data)
    ids, _ = made.sample(0, 0, 8, "train")
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    for row, x, y in zip(ids, *problems(2, 0, 0, 8, "train")):
        assert tokenizer.encode(made.text(int(x), int(y))).ids == row.tolist()
    assert made.vocab_size == 256 + 13 and ids.min() >= 256
    (tmp_path / "run").mkdir()
    made.write_tokenizer(tmp_path / "run")
    assert np.array_equal(read_symbols(tmp_path / "run")[0], made.symbol_ids)


def test_a_vocabulary_that_splits_a_digit_is_refused(tmp_path):
    folder = bpe(tmp_path / "split", [f" {symbol}" for symbol in SYMBOLS if symbol != "7"])
    with pytest.raises(MyopiaError, match="splits ' 7' into 2 tokens; multiplication needs one token") as caught:
        Multiplication(Format(digits=2, pad=2), str(folder))
    assert "\n" not in str(caught.value)


def test_a_vocabulary_without_our_signs_is_refused(tmp_path):
    for name, unknown in (("guess", "[UNK]"), ("strict", "[NONE]")):
        words = {**{symbol: k for k, symbol in enumerate("0123456789")}, "[UNK]": 10}
        tokenizer = Tokenizer(models.WordLevel(words, unk_token=unknown))
        tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
        (tmp_path / name).mkdir()
        tokenizer.save(str(tmp_path / name / "tokenizer.json"))
        sentence = "does not tell" if name == "guess" else "cannot read"
        with pytest.raises(MyopiaError, match=sentence):
            read_symbols(tmp_path / name)
    with pytest.raises(MyopiaError, match="no such file"):
        read_symbols(tmp_path)


def test_bad_specs_are_one_sentence():
    for change, sentence in (
        ({"pad": 1}, "pad 1 is too short for operands of 2 digits"),
        ({"T": 11}, "data.T is 11, but mult-d2-pad3 has sequences of 12 tokens"),
        ({"padding": 3}, "Unknown key data.padding"),
        ({"digits": None}, "digits must be a whole number"),
    ):
        with pytest.raises(MyopiaError, match=sentence) as caught:
            build_stream({"kind": "multiplication", "digits": 2, "pad": 3, "T": 12, **change})
        assert "\n" not in str(caught.value), change
    with pytest.raises(MyopiaError, match="lacks the key data.pad"):
        build_stream({"kind": "multiplication", "digits": 2})
