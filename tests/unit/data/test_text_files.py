"""Local text files: every format, every way they can be broken, and the layouts of real data sets."""

import json
import os
from collections import Counter
from pathlib import Path

import pytest
import zstandard

from myopia.common.errors import MyopiaError
from myopia.data.sources import iter_documents, source_provenance

ROWS = [{"text": f"text number {n}", "meta": {"set": f"s{n % 2}"}, "queries": [f"q{n}", "z"]} for n in range(5)]
DATA = os.environ.get("MYOPIA_DATA_ROOT")
needs_data = pytest.mark.skipif(not DATA, reason="MYOPIA_DATA_ROOT does not name a folder with msmarco and pg19")


def write(path: Path, rows=ROWS) -> Path:
    """Write the rows in the format of the path's suffix."""
    lines = "".join(json.dumps(row) + "\n" for row in rows).encode()
    if path.name.endswith(".parquet"):
        import pyarrow
        import pyarrow.parquet

        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    elif path.name.endswith(".zst"):
        path.write_bytes(zstandard.compress(lines))
    else:
        path.write_bytes(lines)
    return path


def read(**source):
    return list(iter_documents({"kind": "files", **source}))


@pytest.mark.parametrize("name", ["a.parquet", "a.jsonl", "a.jsonl.zst"])
def test_formats_agree(tmp_path, name):
    write(tmp_path / name)
    found = read(path=str(tmp_path), group_column="meta.set", id_column="queries")
    assert [(d.id, d.group, d.text, d.split) for d in found] == [
        (f"q{n}", f"s{n % 2}", f"text number {n}", None) for n in range(5)
    ]
    plain = read(path=str(tmp_path / name))
    assert [(d.id, d.group) for d in plain][:2] == [(f"{name}:0", f"{name}:0"), (f"{name}:1", f"{name}:1")]


def test_txt_glob_limits_and_splits(tmp_path):
    for name in ("b", "a", "c"):
        (tmp_path / f"{name}.txt").write_text(name * 10)
    (tmp_path / "short.txt").write_text("x")
    dropped = Counter()
    source = {"kind": "files", "path": str(tmp_path / "*.txt"), "min_chars": 5, "max_documents": 2}
    assert [d.id for d in iter_documents(source)] == ["a.txt", "b.txt"]
    list(iter_documents({**source, "max_documents": None}, dropped))
    assert dropped == {"short": 1}
    found = read(path=str(tmp_path), split_files={"train": ["a.txt", "b.txt"], "held_out": "[cs]*.txt"})
    assert {d.id: d.split for d in found} == {
        "a.txt": "train",
        "b.txt": "train",
        "c.txt": "held_out",
        "short.txt": "held_out",
    }


def test_provenance_names_the_bytes_and_not_the_machine(tmp_path):
    write(tmp_path / "a.jsonl")
    first = source_provenance({"kind": "files", "path": str(tmp_path)})
    assert str(tmp_path) not in json.dumps(first)
    assert first["files"][0]["bytes"] == (tmp_path / "a.jsonl").stat().st_size
    write(tmp_path / "a.jsonl", ROWS[:4])
    assert source_provenance({"kind": "files", "path": str(tmp_path)}) != first


def test_zst_cut_short_is_an_error_and_not_fewer_documents(tmp_path):
    rows = [{"text": os.urandom(20).hex()} for _ in range(2000)]
    path = write(tmp_path / "a.jsonl.zst", rows)
    assert len(read(path=str(path))) == 2000
    whole = path.read_bytes()
    for part in (0.1, 0.5, 0.99):
        path.write_bytes(whole[: int(part * len(whole))])
        with pytest.raises(MyopiaError, match="a.jsonl.zst: the zstd file is cut short; fetch the file again"):
            read(path=str(path))


def test_zst_of_two_frames_is_read_whole_and_checked_at_the_second(tmp_path):
    path = write(tmp_path / "a.jsonl.zst")
    frame = path.read_bytes()
    path.write_bytes(frame + frame)
    assert len(read(path=str(path))) == 10
    path.write_bytes(frame + frame[:-3])
    with pytest.raises(MyopiaError, match="cut short"):
        read(path=str(path))


def test_broken_files(tmp_path):
    def sentence(name, content, **source):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(MyopiaError) as caught:
            read(path=str(tmp_path / name), **source)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    assert "a.jsonl.zst: the zstd file is cut short" in sentence("a.jsonl.zst", b"")
    assert "b.jsonl.zst: damaged zstd data" in sentence("b.jsonl.zst", b"not zstd at all")
    assert "c.parquet: not a readable parquet file" in sentence("c.parquet", b"PAR1 nonsense")
    cut = write(tmp_path / "whole.parquet").read_bytes()[:-20]
    assert "d.parquet: not a readable parquet file" in sentence("d.parquet", cut)
    assert "e.jsonl: line 2 is not valid JSON" in sentence("e.jsonl", b'{"text": "a"}\n{"tex')
    assert "f.jsonl: line 1 is not a JSON object" in sentence("f.jsonl", b"[1]\n")
    assert "g.txt: not UTF-8 text" in sentence("g.txt", b"\xff\xfe")
    assert "h.csv: unknown kind of file; use .parquet" in sentence("h.csv", b"a,b")
    bad = sentence("i.jsonl", b'{"body": "a"}\n')
    assert "i.jsonl: there is no column 'text'; the columns are body." in bad
    assert "holds dict, not text" in sentence("j.jsonl", b'{"text": {"a": 1}}\n')


def test_missing_column_of_a_parquet_file(tmp_path):
    write(tmp_path / "a.parquet")
    with pytest.raises(MyopiaError, match=r"no column 'body'; the columns are meta, queries, text"):
        read(path=str(tmp_path), text_column="body")
    with pytest.raises(MyopiaError, match=r"no column 'meta.nope'"):
        read(path=str(tmp_path), group_column="meta.nope")


def test_missing_paths(tmp_path):
    for source, sentence in [
        ({"path": str(tmp_path / "nope")}, "no such file or folder"),
        ({"path": str(tmp_path)}, "holds no .parquet, .jsonl, .jsonl.zst, .txt file"),
        ({"path": str(tmp_path), "split_files": {"train": "t*.txt"}}, "no file matches 't*.txt' (train)"),
        ({"path": str(tmp_path), "split_files": {"train": str(Path(__file__))}}, "leads out of the folder"),
        ({"path": str(tmp_path), "split_files": {"dev": "x"}}, "unknown split 'dev'; use train, validation"),
        ({"path": str(tmp_path / "x"), "split_files": {"train": "x"}}, "'path' must be an existing folder"),
        ({}, "the key 'path' is missing"),
    ]:
        with pytest.raises(MyopiaError) as caught:
            read(**source)
        assert sentence in str(caught.value)


@needs_data
def test_real_msmarco():
    names = {split: f"{split}.parquet" for split in ("train", "validation", "test")}
    source = {
        "path": f"{DATA}/msmarco",
        "id_column": "_id",
        "group_column": "query_ids",
        "split_files": names,
    }
    found = read(**source)
    assert Counter(d.split for d in found) == {"train": 23679, "validation": 5320, "test": 1046}
    assert found[0].id == "26281"
    assert found[0].group == "fde14ee0"


@needs_data
def test_real_pg19_and_pile():
    books = read(path=f"{DATA}/pg19", group_column="url", id_column="url", split_files={"test": "test.parquet"})
    assert len({d.group for d in books}) == 33
    assert min(len(d.text) for d in books) > 10_000
    pile = read(path=f"{DATA}/pile_like", group_column="meta.pile_set_name", split_files={"validation": "val*.zst"})
    assert len(pile) == 1398
    assert len({d.group for d in pile}) == 5
    assert all(d.text for d in pile)
