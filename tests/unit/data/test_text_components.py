"""The part of a mixture a document comes from: from the source to the list of windows."""

import csv
import json
from collections import Counter

import pytest

from corpora import prose
from myopia.common.errors import MyopiaError
from myopia.data.documents import read_documents, read_manifest
from myopia.data.encode import encode_corpus
from myopia.data.harvest import harvest
from myopia.data.sources import iter_documents
from myopia.data.tokenizer import make_tokenizer
from myopia.data.tokens import TokenFile

PARTS = ("ArXiv", "Books, old", "Code")


def source(tmp_path, rows, **more):
    """A `files` source of the rows."""
    (tmp_path / "all.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return {"kind": "files", "path": str(tmp_path / "all.jsonl"), "component_column": "meta.set", **more}


def mixture(count):
    return [{"text": prose(n, 70), "meta": {"set": PARTS[n % 3]}} for n in range(count)]


def test_from_the_source_to_the_list_of_windows(tmp_path):
    docs = tmp_path / "docs.jsonl.zst"
    fractions = {"train": 0.6, "validation": 0.2, "test": 0.2}
    harvest(
        source(tmp_path, mixture(60)), {"fractions": fractions, "by": "document"}, docs, tmp_path / "docs.manifest.json"
    )
    told = read_manifest(docs)["components"]
    counted = Counter((d.split, d.component) for d in read_documents(docs))
    assert {(split, part): n for split, parts in told.items() for part, n in parts.items()} == counted
    make_tokenizer(docs, {"kind": "bpe", "vocab_size": 400}, tmp_path / "tokenizer")
    encode_corpus(docs, tmp_path / "tokenizer", {"T": 16}, tmp_path / "tokens")
    of_document = {d.id: d.component for d in read_documents(docs)}
    for split in ("train", "validation", "test"):
        file = TokenFile.open(tmp_path / "tokens", split)
        assert file.components == [of_document[doc] for doc in file.docs] and set(file.components) <= set(PARTS)
        assert len(file.docs) == len(file.groups) == len(file)
    with open(tmp_path / "tokens" / "test.docs.csv", newline="") as handle:
        assert next(csv.reader(handle)) == ["window", "doc", "group", "component"]


def test_a_corpus_without_components_has_no_column_for_them(corpus, tokenizer, tmp_path):
    encode_corpus(corpus, tokenizer, {"T": 16}, tmp_path / "tokens")
    file = TokenFile.open(tmp_path / "tokens", "test")
    assert file.components is None and len(file.groups) == len(file)
    assert (tmp_path / "tokens" / "test.docs.csv").read_text().startswith("window,doc,group\n")
    assert "components" not in read_manifest(corpus)
    assert all(document.component is None for document in read_documents(corpus))


def test_a_document_without_its_component(tmp_path):
    rows = [*mixture(2), {"text": "none", "meta": {}}]
    with pytest.raises(MyopiaError, match=r"there is no column 'meta.set'; the columns are meta, text"):
        list(iter_documents(source(tmp_path, rows)))
    found = list(iter_documents(source(tmp_path, rows, component_required=False)))
    assert [document.component for document in found] == ["ArXiv", "Books, old", None]


@pytest.mark.parametrize("required", [True, False])
def test_a_parquet_file_without_the_column(tmp_path, required):
    import pyarrow
    import pyarrow.parquet

    pyarrow.parquet.write_table(pyarrow.Table.from_pylist([{"text": "a"}]), tmp_path / "a.parquet")
    spec = {"kind": "files", "path": str(tmp_path), "component_column": "meta.set", "component_required": required}
    if required:
        with pytest.raises(MyopiaError, match=r"there is no column 'meta'; the columns are text"):
            list(iter_documents(spec))
    else:
        assert [document.component for document in iter_documents(spec)] == [None]


def test_text_beyond_max_chars_is_cut_off(tmp_path):
    found = list(iter_documents(source(tmp_path, mixture(3), max_chars=25, min_chars=20)))
    assert [document.text for document in found] == [prose(n, 70)[:25] for n in range(3)]
