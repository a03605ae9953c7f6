"""Small corpora for the tests of the text part of the data room."""

import os

import pytest

from corpora import prose

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("RAYON_NUM_THREADS", "1")


@pytest.fixture
def corpus(tmp_path):
    """A harvested corpus of 60 documents in 20 groups; returns the path of its docs.jsonl.zst."""
    from myopia.data.harvest import harvest

    folder = tmp_path / "text"
    folder.mkdir()
    for number in range(60):
        place = folder / f"group{number % 20:02d}"
        place.mkdir(exist_ok=True)
        (place / f"{number:02d}.txt").write_text(prose(number, 100 + 10 * (number % 5)))
    lines = folder / "all.jsonl"
    rows = [
        f'{{"id": "{path.relative_to(folder)}", "dir": "{path.parent.name}", "text": "{path.read_text()}"}}'
        for path in sorted(folder.rglob("*.txt"))
    ]
    lines.write_text("\n".join(rows) + "\n")
    source = {"kind": "files", "path": str(lines), "id_column": "id", "group_column": "dir"}
    splits = {"fractions": {"train": 0.7, "validation": 0.15, "test": 0.15}}
    docs = tmp_path / "docs.jsonl.zst"
    harvest(source, splits, docs, tmp_path / "docs.manifest.json")
    return docs


@pytest.fixture
def tokenizer(corpus, tmp_path):
    """A 400-token BPE folder trained on `corpus`."""
    from myopia.data.tokenizer import make_tokenizer

    make_tokenizer(corpus, {"kind": "bpe", "vocab_size": 400}, tmp_path / "tokenizer")
    return tmp_path / "tokenizer"
