"""A last-word cloze from held-out text: which of four words ends this passage?

A passage starts at the beginning of a document or of a sentence, ends with the last word of a sentence, and fits,
that word included, into the window the models were trained on. The three other choices end other held-out passages
and are about as common at the end of a sentence in training text, so that frequency alone decides little. (Saying the
word outright, as in LAMBADA, is beyond models as small as ours: vanilla is not above chance.)
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from myopia.common.errors import MyopiaError
from myopia.data.documents import read_documents, read_manifest, seeded_hash
from myopia.data.specs import checked, positive
from myopia.data.split import NGRAM, SharedNgrams, blocks
from myopia.data.tokenizer_folder import load_tokenizer
from myopia.data.tokens import TokenFile

CHOICES = 4
NEIGHBOURS = 24
"""Words next in frequency among which the wrong choices are drawn."""

_TYPES = {"kind": str, "corpus": str, "split": str, "items": int, "min_tokens": int, "max_tokens": int}
# A word of three letters or more, one space before it, a full stop and then space or the end behind it.
_LAST_WORD = re.compile(r"(?<=\S )([A-Za-z]{3,})\.(?=\s|$)")
_TEXT = re.compile(r"\S")
# Passages of one document are worth less than as many documents, and a book has thousands.
_LEAST_PER_DOCUMENT = 4


def build_cloze(corpus: str | Path, source: Mapping[str, Any]) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The items of a corpus's cloze, `{"doc", "group", "context", "choices", "answer"}`, and what was left out.

    `corpus` is a folder with `docs.jsonl.zst`, `tokenizer/` and `tokens/`. `source`: `split`, `min_tokens` and
    `max_tokens` of a passage, last word included, and `items`: most passages kept, the first of every document
    before the second of any. Passages that share 13 tokens in a row with a training window are dropped.
    Raises MyopiaError for a bad source or corpus, or when too little is left.
    """
    corpus = Path(corpus)
    spec = checked(source, "zero_shot.cloze", _TYPES, {})
    positive(spec, "zero_shot.cloze", "items", "max_tokens")
    docs = corpus / "docs.jsonl.zst"
    manifest = read_manifest(docs)
    coder = load_tokenizer(corpus / "tokenizer")
    documents = manifest["counts"].get(spec["split"], {}).get("documents", 0)
    most = max(_LEAST_PER_DOCUMENT, -(-2 * spec["items"] // max(documents, 1)))

    def tokens(text: str) -> list[int]:
        return coder.encode(text, add_special_tokens=False).ids

    common: Counter[str] = Counter()
    found: list[tuple[int, dict[str, Any], list[int]]] = []
    for document in read_documents(docs, manifest):
        if document.split == "train":
            common.update(_LAST_WORD.findall(document.text))
        if document.split != spec["split"]:
            continue
        for place, (context, word, ids) in enumerate(passages(document.text, tokens, spec)):
            if place == most:
                break
            item = {"doc": document.id, "group": document.group, "context": context, "word": word}
            found.append((place, item, ids))
    seen = _in_training([ids for _, _, ids in found], TokenFile.open(corpus / "tokens", "train"), spec["max_tokens"])
    left = sorted((place, n) for n, (place, _, _) in enumerate(found) if not seen[n])
    chosen = sorted(n for _, n in left[: spec["items"]])
    nearest = neighbours({found[n][1]["word"] for n in chosen}, common)
    length = {word: len(tokens(" " + word)) for word in nearest}
    kept = []
    for n in chosen:
        _, item, ids = found[n]
        # A wrong choice must fit into the window as well, or its prompt would be cut.
        room = spec["max_tokens"] - len(ids) + length[item["word"]]
        wrong = [word for word in nearest[item["word"]] if length[word] <= room]
        if len(wrong) >= CHOICES - 1:
            kept.append(with_choices(item, wrong))
    if not kept:
        raise MyopiaError(
            f"zero_shot.cloze: no passage of the {spec['split']} split of '{spec['corpus']}' is left ({len(found)} "
            f"found, {int(seen.sum())} of them in training text, {len(nearest)} different last words); take more text "
            "or lower zero_shot.cloze.min_tokens."
        )
    report = {
        "passages": len(found),
        "in_training_text": int(seen.sum()),
        "ngram": NGRAM,
        "documents": len({item["doc"] for item in kept}),
        "different_words": len(nearest),
    }
    return kept, report


def passages(
    text: str, tokens: Callable[[str], list[int]], spec: Mapping[str, Any]
) -> Iterator[tuple[str, str, list[int]]]:
    """(context, last word, token ids of both) of each passage of a document, in order and without overlap."""
    ends = list(_LAST_WORD.finditer(text))
    start = first = 0
    while first < len(ends):
        start = _TEXT.search(text, start).start()
        chosen, ids = None, []
        for k in range(first, len(ends)):
            longer = tokens(text[start : ends[k].end(1)])
            if len(longer) > spec["max_tokens"]:
                break
            chosen, ids = k, longer
        if chosen is not None and len(ids) >= spec["min_tokens"]:
            end = ends[chosen]
            # One space before the word: lm-eval puts it in front of each choice again.
            yield text[start : end.start(1) - 1], end.group(1), ids
        first = (first if chosen is None else chosen) + 1
        start = ends[first - 1].end()


def neighbours(words: set[str], common: Mapping[str, int]) -> dict[str, list[str]]:
    """For each word the `NEIGHBOURS` nearest of the others by rank of frequency, forms of the same word left out."""
    ranked = sorted(words, key=lambda word: (common.get(word, 0), word))
    result = {}
    for place, word in enumerate(ranked):
        others = [k for k in range(max(0, place - NEIGHBOURS), min(len(ranked), place + NEIGHBOURS + 1)) if k != place]
        others.sort(key=lambda k: (abs(k - place), k))
        different = [ranked[k] for k in others if not _same(word, ranked[k])]
        result[word] = different[:NEIGHBOURS]
    return result


def _same(one: str, other: str) -> bool:
    """array, arrays, Array: no two of these may be told apart."""
    one, other = one.lower(), other.lower()
    return one.startswith(other) or other.startswith(one)


def with_choices(item: Mapping[str, Any], wrong: list[str]) -> dict[str, Any]:
    """The item with its last word among `CHOICES`; which wrong ones and what order is drawn from the passage itself."""
    word, rest = item["word"], {key: value for key, value in item.items() if key != "word"}

    def draw(other: str) -> int:
        return seeded_hash(0, item["doc"], item["context"], other)

    choices = sorted([word, *sorted(wrong, key=draw)[: CHOICES - 1]], key=lambda other: draw("at " + other))
    return {**rest, "choices": choices, "answer": choices.index(word)}


def _in_training(passages: list[list[int]], train: TokenFile, width: int) -> np.ndarray:
    """bool [N]: which passages share an n-gram of tokens with any training window."""
    if not passages:
        return np.zeros(0, bool)
    # Rows of one width, filled up with numbers that no token has and that no two places share.
    rows_NT = np.arange(len(passages) * width, dtype=np.uint64).reshape(-1, width) + np.uint64(1 << 32)
    for row, ids in zip(rows_NT, passages, strict=True):
        row[: len(ids)] = ids
    return SharedNgrams(blocks(train.tokens), [rows_NT]).inside(rows_NT)
