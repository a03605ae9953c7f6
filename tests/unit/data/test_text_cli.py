"""The data commands from the shell's side, and the corpus file they share."""

import os
from types import SimpleNamespace

import pytest

from corpora import prose
from fetching import myopia, settings_of
from myopia.common.errors import MyopiaError
from myopia.data.documents import read_documents, read_manifest
from myopia.data.harvest import harvest
from myopia.data.tokens import TokenFile


def command(folder, corpus, name, *args):
    """Run a command of the data rules on a settings.json with one corpus, `books`; returns (exit status, stdout, stderr)."""
    settings = settings_of(folder, corpus)
    process = myopia(name, "books", "--settings", settings, *args, env=os.environ)
    out, said = process.communicate(timeout=120)
    return process.returncode, out, said


def test_from_text_to_tokens(tmp_path):
    (tmp_path / "text").mkdir()
    for number in range(30):
        (tmp_path / "text" / f"{number:02d}.txt").write_text(
            prose(number, 120) + " \u2028 ünïcode \ud83d".encode("utf-8", "ignore").decode()
        )
    corpus = {
        "source": {"kind": "files", "path": str(tmp_path / "text")}, "splits": {"seed": 3},
        "tokenizer": {"kind": "bpe", "vocab_size": 300}, "windows": {},
    }  # fmt: skip
    made = []
    for name in ("one", "two"):
        out = tmp_path / name
        docs = out / "docs.jsonl.zst"
        for words in (
            ("harvest-text", "--out", docs, "--manifest", out / "docs.manifest.json"),
            ("train-tokenizer", "--docs", docs, "--out", out / "tokenizer"),
            ("encode", "--docs", docs, "--tokenizer", out / "tokenizer", "--out", out / "tokens"),
        ):
            status, printed, said = command(tmp_path, corpus, *words)
            assert status == 0 and printed == "", said
        made.append({p.relative_to(out): p.read_bytes() for p in sorted(out.rglob("*")) if p.is_file()})
    assert made[0] == made[1]
    assert len(made[0]) == 2 + 3 + 7
    manifest = read_manifest(tmp_path / "one" / "docs.jsonl.zst")
    assert sum(count["documents"] for count in manifest["counts"].values()) == 30
    test = TokenFile.open(tmp_path / "one" / "tokens", "test")
    assert test.tokens.shape[1] == 32
    assert set(test.docs) <= {f"{n:02d}.txt" for n in range(30)}


def test_bad_input_ends_in_one_line_and_code_2(tmp_path):
    corpus = {"source": {"kind": "files", "path": "nope.txt"}, "splits": {}}
    words = ("harvest-text", "--out", tmp_path / "o/d.jsonl.zst", "--manifest", tmp_path / "o/d.manifest.json")
    status, _, said = command(tmp_path, corpus, *words)
    assert status == 2 and said.splitlines() == [said.rstrip("\n")]
    assert said.startswith("error: source: no such file or folder: nope.txt.")
    assert not (tmp_path / "o").exists()
    process = myopia("encode", "nope", "--settings", tmp_path / "settings.json", "--docs", "d", "--tokenizer", "t", "--out", "o",
                     env=os.environ)  # fmt: skip
    _, said = process.communicate(timeout=60)
    assert process.returncode == 2 and "nope is not a corpus of" in said and "Traceback" not in said


def files(tmp_path, **kinds):
    """A `files` source of txt files, in a folder of their own."""
    folder = tmp_path / "text"
    folder.mkdir(exist_ok=True)
    for name, text in kinds.items():
        (folder / f"{name}.txt").write_text(text)
    return {"kind": "files", "path": str(folder), "min_chars": 3}


def test_empty_corpus_leaves_the_old_one_alone(tmp_path):
    source = files(tmp_path, a="aaaa", b="bbbb", c="cccc")
    out, manifest = tmp_path / "out" / "docs.jsonl.zst", tmp_path / "out" / "docs.manifest.json"
    harvest(source, {}, out, manifest)
    before = {path.name: path.read_bytes() for path in out.parent.iterdir()}
    files(tmp_path, a="a", b="", c="c")
    with pytest.raises(MyopiaError, match=r"the corpus is empty: no document was kept \(3 short\)"):
        harvest(source, {}, out, manifest)
    assert before == {path.name: path.read_bytes() for path in out.parent.iterdir()}


def test_a_split_without_documents(tmp_path):
    source = {**files(tmp_path, a="aaaa", b="bbbb"), "split_files": {"train": "a.txt", "test": "b.txt"}}
    with pytest.raises(MyopiaError, match="no document is in the split 'validation'; name its files"):
        harvest(source, {}, tmp_path / "docs.jsonl.zst", tmp_path / "docs.manifest.json")


def test_not_enough_disk_for_the_text(tmp_path):
    source = files(tmp_path, a="a" * 1000, b="bbbb", c="cccc")
    with pytest.raises(MyopiaError, match="not enough disk: about 0.0 MB needed, 0.0 MB free"):
        harvest(
            source,
            {},
            tmp_path / "o" / "docs.jsonl.zst",
            tmp_path / "o" / "docs.manifest.json",
            disk_usage=lambda _: SimpleNamespace(free=4000),
        )


def test_corpus_file_checked_against_its_manifest(tmp_path):
    source = files(tmp_path, a="aaaa", b="bbbb", c="cccc")
    docs = tmp_path / "out" / "docs.jsonl.zst"
    manifest = harvest(source, {}, docs, tmp_path / "out" / "docs.manifest.json")
    assert {d.split for d in read_documents(docs, manifest)} == {"train", "validation", "test"}
    with pytest.raises(MyopiaError, match="the text does not match its manifest; harvest the corpus again"):
        list(read_documents(docs, {**manifest, "text_sha256": "0"}))
    docs.write_bytes(docs.read_bytes()[:-1])
    with pytest.raises(MyopiaError, match="docs.jsonl.zst: the zstd file is cut short"):
        list(read_documents(docs, manifest))
    docs.unlink()
    with pytest.raises(MyopiaError, match="no such corpus file; make it with myopia harvest-text"):
        list(read_documents(docs, manifest))
    with pytest.raises(MyopiaError, match="no such manifest; make the corpus with myopia harvest-text"):
        read_manifest(tmp_path / "docs.jsonl.zst")


def test_a_lone_surrogate_does_not_stop_the_harvest(tmp_path):
    (tmp_path / "a.jsonl").write_text("".join(f'{{"text": "\\ud83d half {n}"}}\n' for n in range(3)))
    docs = tmp_path / "docs.jsonl.zst"
    harvest({"kind": "files", "path": str(tmp_path)}, {}, docs, tmp_path / "docs.manifest.json")
    assert sorted(d.text for d in read_documents(docs)) == [f"? half {n}" for n in range(3)]
