"""The last-word cloze: where passages start and end, what is kept out, and fair choices."""

import json
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from myopia.common.errors import MyopiaError
from myopia.data.documents import read_documents
from myopia.data.tokenizer import load_tokenizer
from myopia.data.tokens import TokenFile
from myopia.experiments.zero_shot.cloze import CHOICES, NEIGHBOURS, build_cloze, neighbours, passages, with_choices
from myopia.experiments.zero_shot.tasks import make_task
from sentences import LAST, RARE, T, cloze_source, make_corpus

SPEC = {"definition": None, "columns": ["context", "choices", "answer"], "source": cloze_source()}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return make_corpus(tmp_path_factory.mktemp("corpus"))


def letters(text):
    """One token per character: lengths that can be counted by hand."""
    return list(text)


def cut(text, low, high):
    return [(context, word) for context, word, _ in passages(text, letters, {"min_tokens": low, "max_tokens": high})]


def test_a_passage_ends_with_the_last_word_of_a_sentence_that_still_fits():
    text = "One two three. Four five six. Seven eight nine."
    assert cut(text, 5, 13) == [("One two", "three"), ("Four five", "six"), ("Seven eight", "nine")][:2]
    assert cut(text, 5, 28) == [("One two three. Four five", "six"), ("Seven eight", "nine")]
    assert cut(text, 5, 100) == [("One two three. Four five six. Seven eight", "nine")]
    assert cut(text, 13, 13) == [("One two", "three"), ("Four five", "six")]


def test_short_passages_and_endless_sentences_are_passed_over():
    assert cut("Go now. " + "word " * 40 + "end. Then all went home.", 12, 30) == [("Then all went", "home")]
    assert cut("No stop at all", 1, 99) == [] and cut("", 1, 99) == []


def test_only_a_plain_word_after_one_space_can_be_asked_for():
    for text in ("a  word.", "a\nword.", "(word).", "see 123.", "it is e.g. so", "a word.py", "an ox."):
        assert cut(text, 1, 99) == [], text


def test_items_are_held_out_text_in_full(corpus):
    items, report = build_cloze(corpus, cloze_source(items=1000))
    texts = {d.id: d.text for d in read_documents(corpus / "docs.jsonl.zst") if d.split == "test"}
    coder = load_tokenizer(corpus / "tokenizer")
    assert len(items) > 40 and report["documents"] == len({item["doc"] for item in items})
    assert {word for item in items for word in item["choices"]} & set(RARE)
    for item in items:
        word = item["choices"][item["answer"]]
        assert f"{item['context']} {word}." in texts[item["doc"]] and word in LAST + RARE
        for choice in item["choices"]:  # each choice fits into the window, so that no prompt is cut
            assert len(coder.encode(f"{item['context']} {choice}").ids) <= T
        assert len(coder.encode(f"{item['context']} {word}").ids) >= 13


def test_every_document_gives_one_passage_before_any_gives_two(corpus):
    documents = sum(d.split == "test" for d in read_documents(corpus / "docs.jsonl.zst"))
    items, _ = build_cloze(corpus, cloze_source(items=documents))
    assert max(Counter(item["doc"] for item in items).values()) == 1
    more, _ = build_cloze(corpus, cloze_source(items=2 * documents))
    assert set(Counter(item["doc"] for item in more).values()) == {2}


def test_a_passage_the_models_were_trained_on_is_kept_out(corpus, tmp_path):
    """Planted: the train windows are replaced by the tokens of one held-out passage, shifted by three places."""
    items, before = build_cloze(corpus, cloze_source(items=1000))
    train = TokenFile.open(corpus / "tokens", "train")
    coder = load_tokenizer(corpus / "tokenizer")
    planted = items[5]
    ids = coder.encode(f"{planted['context']} {planted['choices'][planted['answer']]}").ids[:16]
    copy = tmp_path / "corpus"
    for name in ("docs.jsonl.zst", "docs.manifest.json", "tokenizer"):
        copy.mkdir(exist_ok=True)
        (copy / name).symlink_to(corpus / name)
    (copy / "tokens").mkdir()
    windows = np.array(train.tokens)
    windows[7, 3:19] = ids
    windows.tofile(copy / "tokens" / "train.bin")
    manifest = json.loads((corpus / "tokens" / "tokens.manifest.json").read_text())
    from myopia.common.files import sha256_file

    manifest["splits"]["train"]["sha256"] = sha256_file(copy / "tokens" / "train.bin")
    (copy / "tokens" / "tokens.manifest.json").write_text(json.dumps(manifest))
    after, report = build_cloze(copy, cloze_source(items=1000))
    assert before["in_training_text"] == 0 and report["in_training_text"] >= 1
    assert planted["context"] in {item["context"] for item in items} - {item["context"] for item in after}


def test_wrong_choices_are_neighbours_in_frequency_and_never_forms_of_the_word():
    words = {f"w{chr(97 + n // 26)}{chr(97 + n % 26)}" for n in range(120)} | {"array", "arrays", "Array"}
    common = {word: 10 * place for place, word in enumerate(sorted(words))}
    nearest = neighbours(words, common)
    ranked = sorted(words, key=lambda word: common[word])
    for word in words:
        assert len(nearest[word]) <= NEIGHBOURS and word not in nearest[word]
        assert all(abs(ranked.index(word) - ranked.index(other)) <= NEIGHBOURS for other in nearest[word])
    assert not {"arrays", "Array"} & set(nearest["array"])
    middle = ranked[60]
    assert {ranked.index(other) - 60 for other in nearest[middle]} == set(range(-12, 13)) - {0}


def test_the_answer_stands_anywhere():
    wrong = ["one", "two", "three", "four", "five"]
    items = [with_choices({"doc": "d", "context": f"passage {n}", "word": "right"}, wrong) for n in range(400)]
    places = Counter(item["answer"] for item in items)
    assert set(places) == set(range(CHOICES)) and min(places.values()) > 60
    for item in items:
        assert item["choices"][item["answer"]] == "right" and len(set(item["choices"])) == CHOICES
    assert len(Counter(tuple(sorted(item["choices"])) for item in items)) == 10  # three of five wrong ones


def test_a_task_folder_is_a_function_of_its_corpus(corpus, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folders = [Path(name, "task") for name in ("a", "b")]
    for folder in folders:
        make_task("cloze-tiny", SPEC, folder, corpus)
    for name in ("items.jsonl", "task.json"):
        assert (folders[0] / name).read_bytes() == (folders[1] / name).read_bytes()
    text = (folders[0] / "task.yaml").read_text()
    assert "a/task/items.jsonl" in text and not re.search(r": \"?/", text)


def test_too_little_text_is_one_sentence(corpus):
    with pytest.raises(MyopiaError, match=r"no passage of the test split of 'tiny' is left .* lower zero_shot.cloze"):
        build_cloze(corpus, cloze_source(min_tokens=T, items=3))
    with pytest.raises(MyopiaError, match="--corpus"):
        make_task("cloze-tiny", SPEC, corpus / "task")
