"""Tokenizers, encoding and token files: exact windows, exact counts, and every way they can be wrong."""

import csv
import json
from types import SimpleNamespace

import numpy as np
import pytest

from corpora import prose
from myopia.common.errors import MyopiaError
from myopia.common.files import sha256_file
from myopia.data.documents import open_writer, read_documents, read_manifest
from myopia.data.encode import encode_corpus
from myopia.data.harvest import harvest
from myopia.data.split import SharedNgrams
from myopia.data.tokenizer import excerpt, load_tokenizer, make_tokenizer, splits_words, vocabulary_size, word_prefix
from myopia.data.tokens import TokenFile

SPEC = {"T": 16}


def no_room(_):
    return SimpleNamespace(free=1000)


def test_bpe_is_opened_by_transformers_and_gives_the_same_tokens(corpus, tokenizer):
    from transformers import AutoTokenizer

    theirs = AutoTokenizer.from_pretrained(tokenizer)
    ours = load_tokenizer(tokenizer)
    text = "The river of stone, and\n\n  a <tab>\tünïcode 漢字 castle."
    assert theirs(text)["input_ids"] == ours.encode(text).ids
    assert theirs.decode(theirs(text)["input_ids"]) == text
    assert (theirs.eos_token, theirs.bos_token, theirs.eos_token_id) == ("<|endoftext|>", "<|endoftext|>", 0)
    assert len(theirs) == vocabulary_size(ours) == 400


def test_an_end_mark_written_in_a_document_is_text(tokenizer):
    ids = load_tokenizer(tokenizer).encode("a <|endoftext|> b").ids
    assert 0 not in ids
    assert len(ids) > 5


def test_bpe_sees_the_train_split_alone_and_is_byte_identical_on_rerun(corpus, tokenizer, tmp_path):
    make_tokenizer(corpus, {"kind": "bpe", "vocab_size": 400}, tmp_path / "again")
    altered = tmp_path / "altered.jsonl.zst"
    with open_writer(altered) as writer:
        for document in read_documents(corpus):
            held_out = document.split != "train"
            text = "zzzq " * 500 if held_out else document.text
            writer.write(type(document)(document.id, document.group, text, document.split))
    manifest = {**read_manifest(corpus), "text_sha256": writer.text_sha256}
    (tmp_path / "altered.manifest.json").write_text(json.dumps(manifest))
    make_tokenizer(altered, {"kind": "bpe", "vocab_size": 400}, tmp_path / "other")
    for name in ("tokenizer.json", "tokenizer_config.json", "tokenizer.manifest.json"):
        first = (tokenizer / name).read_bytes()
        assert first == (tmp_path / "again" / name).read_bytes()
        assert first == (tmp_path / "other" / name).read_bytes()


def test_thinned_training_text_takes_a_part_of_every_document(corpus, tmp_path):
    from myopia.data.tokenizer import _training_text

    counts = read_manifest(corpus)["counts"]["train"]
    texts = list(_training_text(corpus, {"max_chars": counts["characters"] // 4, "seed": 0}))
    assert len(texts) == counts["documents"]
    assert sum(map(len, texts)) == pytest.approx(counts["characters"] / 4, rel=0.05)


def test_excerpt_starts_at_a_word_and_moves_with_the_key():
    text = prose(0, 2000)
    found = [excerpt(text, 500, f"doc{n}") for n in range(20)]
    assert len(set(found)) > 15
    assert all(0 < len(part) <= 500 and part in text for part in found)
    assert all(text[text.index(part) - 1] == " " for part in found if not text.startswith(part))
    assert excerpt("short", 500, "x") == "short"


def test_pretrained_folder_is_copied(corpus, tokenizer, tmp_path):
    manifest = make_tokenizer(corpus, {"kind": "pretrained", "path_or_id": str(tokenizer)}, tmp_path / "copy")
    assert manifest["vocab_size"] == 400
    assert str(tmp_path) not in json.dumps(manifest)
    assert (tmp_path / "copy" / "tokenizer.json").read_bytes() == (tokenizer / "tokenizer.json").read_bytes()


WRONG_TOKENIZERS = [
    ({"kind": "wordpiece"}, "unknown kind 'wordpiece'; use bpe or pretrained"),
    ({"kind": "bpe", "vocab": 10}, "unknown key 'vocab'"),
    ({"kind": "bpe", "vocab_size": 100}, "'vocab_size' must be at least 257"),
    ({"kind": "bpe", "max_chars": 0}, "'max_chars' must be greater than 0"),
    ({"kind": "pretrained"}, "the key 'path_or_id' is missing"),
]


def test_bad_tokenizer_specs(corpus, tmp_path):
    for spec, sentence in WRONG_TOKENIZERS:
        with pytest.raises(MyopiaError) as caught:
            make_tokenizer(corpus, spec, tmp_path / "bad")
        assert sentence in str(caught.value), spec
        assert not (tmp_path / "bad").exists(), spec


def test_pretrained_folder_without_a_fast_tokenizer(corpus, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(MyopiaError, match=r"has no tokenizer.json; a fast tokenizer is needed"):
        make_tokenizer(corpus, {"kind": "pretrained", "path_or_id": str(tmp_path / "empty")}, tmp_path / "out")


def expected_windows(corpus, tokenizer, split, length):
    """(document, windows) by the plain definition, one document at a time."""
    coder = load_tokenizer(tokenizer)
    for document in read_documents(corpus):
        if document.split == split:
            ids = coder.encode(document.text, add_special_tokens=False).ids
            yield document, [ids[i : i + length] for i in range(0, len(ids) - length + 1, length)]


@pytest.mark.parametrize("window", ["chunks", "first"])
def test_windows_are_the_documents_tokens(corpus, tokenizer, tmp_path, window):
    manifest = encode_corpus(corpus, tokenizer, {**SPEC, "window": window}, tmp_path / "tokens")
    train = TokenFile.open(tmp_path / "tokens", "train")
    rows, docs, groups = [], [], []
    for document, windows in expected_windows(corpus, tokenizer, "train", 16):
        windows = windows[:1] if window == "first" else windows
        rows += windows
        docs += [document.id] * len(windows)
        groups += [document.group] * len(windows)
    assert train.tokens.tolist() == rows
    assert (train.docs, train.groups) == (docs, groups)
    assert train.tokens.dtype == np.uint16
    entry = manifest["splits"]["train"]
    assert (entry["n_windows"], entry["n_tokens"]) == (len(rows), 16 * len(rows))
    assert entry["n_documents"] == len(set(docs))
    assert train.sha256 == sha256_file(tmp_path / "tokens" / "train.bin")
    assert train.vocab_size == 400
    with open(tmp_path / "tokens" / "train.docs.csv", newline="") as handle:
        assert list(csv.reader(handle))[:2] == [["window", "doc", "group"], ["0", docs[0], groups[0]]]


ODD = [
    "   leading spaces, then a word\n\n\n   and  two   spaces " * 9,
    "=" * 400 + " then words of the river " * 9,
    "漢字かな交じり文" * 60 + " end",
    "\tdef f(x):\n\t\treturn  x  # café naïve\u0301 e\u0301\u00a0nbsp\u2028line " * 8,
    "don't we'll they're 1234567 3.14159 <|endoftext|> a_b_c " * 12,
    "x" * 2000,
    "\x1c\x1d \x85 odd\u3000blanks " * 30,
    "word",
]


def test_first_windows_are_those_of_the_whole_text(tmp_path, tokenizer):
    """Only a prefix of a long text is encoded; it must begin with the tokens that the whole text begins with."""
    rows = [{"text": text, "n": str(n)} for n, text in enumerate([*ODD, *(prose(n, 300) for n in range(20))])]
    for split in ("train", "validation", "test"):
        own = [{"text": f"{split} " + row["text"], "n": f"{split}{row['n']}"} for row in rows]
        (tmp_path / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in own))
    files = {split: f"{split}.jsonl" for split in ("train", "validation", "test")}
    docs = tmp_path / "own.jsonl.zst"
    harvest(
        {"kind": "files", "path": str(tmp_path), "split_files": files, "id_column": "n"},
        {}, docs, tmp_path / "own.manifest.json",
    )  # fmt: skip
    spec = {"T": 24, "window": "first", "ngram": 24}
    encode_corpus(docs, tokenizer, spec, tmp_path / "tokens")
    train = TokenFile.open(tmp_path / "tokens", "train")
    wanted = {d.id: w[0] for d, w in expected_windows(docs, tokenizer, "train", 24) if w}
    assert dict(zip(train.docs, train.tokens.tolist(), strict=True)) == wanted
    assert len(wanted) == len(rows) - 1  # one document is too short


def test_a_prefix_ends_with_a_word():
    text = "one two  three\nfour"
    assert [word_prefix(text, n) for n in (0, 1, 3, 4, 7, 8, 14, 15, 99)] == [
        "one", "one", "one", "one two", "one two", "one two  three", "one two  three", text, text,
    ]  # fmt: skip
    assert word_prefix("x" * 50, 3) == "x" * 50 and word_prefix("", 3) == ""


def test_only_tokenizers_that_cut_at_words_are_given_prefixes(tokenizer):
    from tokenizers import Tokenizer, models, pre_tokenizers

    assert splits_words(load_tokenizer(tokenizer))
    other = Tokenizer(models.BPE(vocab={"a": 0}, merges=[]))
    assert not splits_words(other)
    other.pre_tokenizer = pre_tokenizers.ByteLevel(use_regex=False)
    assert not splits_words(other)


def test_overlap_is_counted_dropped_and_gone(tmp_path):
    shared = prose(99, 60)
    rows = [{"text": prose(n, 80)} for n in range(10)] + [{"text": shared}]
    held_out = [{"text": prose(n, 80)} for n in range(20, 24)] + [{"text": shared}]
    for name, content in [("train", rows), ("validation", held_out), ("test", held_out[:2])]:
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in content))
    files = {split: f"{split}.jsonl" for split in ("train", "validation", "test")}
    source = {"kind": "files", "path": str(tmp_path), "split_files": files}
    docs = tmp_path / "docs.jsonl.zst"
    harvest(source, {}, docs, tmp_path / "docs.manifest.json")
    make_tokenizer(docs, {"kind": "bpe", "vocab_size": 400}, tmp_path / "tokenizer")
    manifest = encode_corpus(docs, tmp_path / "tokenizer", SPEC, tmp_path / "tokens")
    report = manifest["overlap"]["validation"]
    copies = len(next(w for d, w in expected_windows(docs, tmp_path / "tokenizer", "train", 16) if d.text == shared))
    assert report["windows_before"] - report["windows_after"] == copies > 2
    assert report["share_before"] == pytest.approx(copies / report["windows_before"], abs=1e-6)
    assert report["share_after"] == 0
    assert manifest["overlap"]["test"]["share_before"] == 0
    opened = {s: TokenFile.open(tmp_path / "tokens", s) for s in ("train", "validation")}
    assert "validation.jsonl:4" not in opened["validation"].docs
    common = SharedNgrams([opened["train"].tokens], [opened["validation"].tokens])
    assert not common.inside(opened["validation"].tokens).any()

    (tmp_path / "validation.jsonl").write_text(json.dumps({"text": shared}) + "\n")
    harvest(source, {}, docs, tmp_path / "docs.manifest.json")
    with pytest.raises(MyopiaError, match=r"'validation' is empty: every window shares 13 tokens in a row"):
        encode_corpus(docs, tmp_path / "tokenizer", SPEC, tmp_path / "none")


def test_caps_hold_and_spread_over_documents(corpus, tokenizer, tmp_path):
    spec = {**SPEC, "max_windows_per_document": 3, "max_tokens": {"train": 16 * 40}}
    manifest = encode_corpus(corpus, tokenizer, spec, tmp_path / "capped")
    train = TokenFile.open(tmp_path / "capped", "train")
    assert len(train) == 40
    counts = [train.docs.count(doc) for doc in set(train.docs)]
    assert len(counts) == 14
    assert max(counts) == 3
    assert manifest["splits"]["train"]["n_tokens"] == 640
    texts = {document.id: document.text for document in read_documents(corpus)}
    coder = load_tokenizer(tokenizer)
    for doc in set(train.docs):
        rows = [row for row, name in zip(train.tokens, train.docs, strict=True) if name == doc]
        assert coder.decode(np.concatenate(rows).tolist()) in texts[doc]
    encode_corpus(corpus, tokenizer, {**spec, "seed": 1}, tmp_path / "other")
    assert set(TokenFile.open(tmp_path / "other", "train").docs) != set(train.docs)


def test_long_documents_are_sampled_from_an_excerpt(tmp_path):
    rows = [{"text": prose(n, 20_000)} for n in range(3)]
    for number, split in enumerate(("train", "validation", "test")):
        (tmp_path / f"{split}.jsonl").write_text(json.dumps(rows[number]) + "\n")
    files = {split: f"{split}.jsonl" for split in ("train", "validation", "test")}
    docs = tmp_path / "docs.jsonl.zst"
    source = {"kind": "files", "path": str(tmp_path), "split_files": files}
    harvest(source, {}, docs, tmp_path / "docs.manifest.json")
    make_tokenizer(docs, {"kind": "bpe", "vocab_size": 400}, tmp_path / "tokenizer")
    encode_corpus(docs, tmp_path / "tokenizer", {**SPEC, "max_windows_per_document": 7}, tmp_path / "tokens")
    train = TokenFile.open(tmp_path / "tokens", "train")
    assert len(train) == 7
    text = load_tokenizer(tmp_path / "tokenizer").decode(train.tokens.ravel().tolist())
    assert text in rows[0]["text"]


def test_rerun_is_byte_identical(corpus, tokenizer, tmp_path):
    for name in ("one", "two"):
        encode_corpus(corpus, tokenizer, SPEC, tmp_path / name)
    names = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert names == sorted(
        [f"{s}{e}" for s in ("train", "validation", "test") for e in (".bin", ".docs.csv")] + ["tokens.manifest.json"]
    )
    for name in names:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


WRONG_WINDOWS = [
    ({"t": 64}, "unknown key 't'; known keys are T, max_tokens"),
    ({"T": "64"}, "'T' must be int, got \"64\""),
    ({"T": 12}, "'T' (12) must be at least 'ngram' (13)"),
    ({"T": 0}, "'T' must be greater than 0"),
    ({"window": "last"}, "'window' must be chunks or first, got 'last'"),
    ({"window": "first", "max_windows_per_document": 2}, "has no meaning with 'window': \"first\""),
    ({"max_tokens": {"dev": 5}}, "'max_tokens' maps train, validation or test"),
    ({"T": 64, "max_tokens": {"train": 63}}, "'max_tokens' of the split 'train' is less than one window"),
    ({"T": 4000}, "is empty: none of its"),
]


def test_bad_encode_specs(corpus, tokenizer, tmp_path):
    for spec, sentence in WRONG_WINDOWS:
        with pytest.raises(MyopiaError) as caught:
            encode_corpus(corpus, tokenizer, spec, tmp_path / "tokens")
        assert sentence in str(caught.value), spec
        assert not list(tmp_path.glob("tokens/*")), spec


def test_not_enough_disk_is_said_before_anything_is_written(corpus, tokenizer, tmp_path):
    with pytest.raises(MyopiaError, match=r"tokens: not enough disk: about 0\.\d MB needed, 0\.0 MB free"):
        encode_corpus(corpus, tokenizer, SPEC, tmp_path / "tokens", disk_usage=no_room)
    assert list((tmp_path / "tokens").iterdir()) == []


def test_disk_that_fills_up_while_writing(corpus, tokenizer, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    encode_corpus(corpus, tokenizer, SPEC, tmp_path / "tokens")
    before = {path.name: path.read_bytes() for path in (tmp_path / "tokens").iterdir()}
    monkeypatch.setattr("myopia.data.encode._encode", full)
    with pytest.raises(MyopiaError, match="the disk filled up while writing; free some space"):
        encode_corpus(corpus, tokenizer, SPEC, tmp_path / "tokens")
    assert before == {path.name: path.read_bytes() for path in (tmp_path / "tokens").iterdir()}


@pytest.fixture
def tokens(corpus, tokenizer, tmp_path):
    """An encoded corpus; returns its folder."""
    encode_corpus(corpus, tokenizer, SPEC, tmp_path / "tokens")
    return tmp_path / "tokens"


def test_token_file_that_does_not_match_its_manifest(tokens):
    path = tokens / "train.bin"
    content = bytearray(path.read_bytes())
    content[7] ^= 1
    path.write_bytes(content)
    TokenFile.open(tokens, "train", verify=False)
    with pytest.raises(MyopiaError, match=r"train\.bin: .*does not match its manifest \(sha256 differs\)"):
        TokenFile.open(tokens, "train")
    path.write_bytes(content[:-32])
    with pytest.raises(MyopiaError, match=rf"\({len(content) - 32} bytes instead of {len(content)}\)"):
        TokenFile.open(tokens, "train", verify=False)
    path.unlink()
    with pytest.raises(MyopiaError, match=r"train\.bin: the token file is missing; encode the corpus again"):
        TokenFile.open(tokens, "train")


def test_other_broken_token_folders(tokens, tmp_path):
    with pytest.raises(MyopiaError, match="no such manifest; make it with myopia encode"):
        TokenFile.open(tmp_path / "nowhere", "train")
    with pytest.raises(MyopiaError, match="there is no split 'dev'; it has test, train, validation"):
        TokenFile.open(tokens, "dev")
    opened = TokenFile.open(tokens, "test")
    (tokens / "test.docs.csv").write_text("window,doc,group\n0,a,b\n")
    with pytest.raises(MyopiaError, match="list of documents does not match its manifest"):
        _ = opened.docs
    (tokens / "tokens.manifest.json").write_text("{}")
    with pytest.raises(MyopiaError, match="not a readable manifest; encode the corpus again"):
        TokenFile.open(tokens, "train")


def test_requirements_of_a_model_and_a_batch(tokens):
    test = TokenFile.open(tokens, "test")
    test.require_windows(len(test))
    test.require_vocab(400)
    with pytest.raises(MyopiaError) as caught:
        test.require_windows(len(test) + 1)
    sentence = f"the split 'test' has {len(test)} windows, fewer than one batch of {len(test) + 1}; take more text"
    assert sentence in str(caught.value)
    with pytest.raises(MyopiaError, match="has 400 tokens, more than the model's vocabulary of 399; raise the"):
        test.require_vocab(399)
    with pytest.raises(ValueError, match="read-only"):
        test.tokens[0, 0] = 1


def test_vocabulary_beyond_sixteen_bits_needs_uint32(corpus, tokenizer, tmp_path):
    content = json.loads((tokenizer / "tokenizer.json").read_text())
    vocabulary = content["model"]["vocab"]
    vocabulary[max(vocabulary, key=vocabulary.get)] = 70_000
    (tokenizer / "tokenizer.json").write_text(json.dumps(content))
    manifest = encode_corpus(corpus, tokenizer, SPEC, tmp_path / "wide")
    assert (manifest["dtype"], manifest["vocab_size"]) == ("uint32", 70_001)
    wide = TokenFile.open(tmp_path / "wide", "train")
    assert wide.tokens.dtype == np.uint32
    assert (wide.tokens[:5].tolist()) == next(w for _, w in expected_windows(corpus, tokenizer, "train", 16))[:5]
