"""A small hub on loopback and the commands that fetch from it, each in a process of its own as in the workflow."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pyarrow
import pyarrow.parquet
import zstandard

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
NAMES = {"train": "train", "validation": "validation", "test": "test"}


def rows(split, count):
    """Rows of a data set of books."""
    return [{"text": f"{split} text number {n}", "book": f"b{n // 10}"} for n in range(count)]


def parquet(path, part):
    """Write rows as parquet."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(part), path)


def json_lines(part):
    return "".join(json.dumps(row) + "\n" for row in part).encode()


def make_hub(root):
    """`someone/books` in parquet (train in two shards), `someone/lines` in jsonl.zst (two shards), `someone/model`."""
    from tokenizers import Tokenizer, models

    books, train = root / "datasets" / "someone" / "books" / "data", rows("train", 200)
    for name, part in [
        ("train-00000-of-00002", train[:100]),
        ("train-00001-of-00002", train[100:]),
        ("validation-00000-of-00001", rows("validation", 30)),
        ("test-00000-of-00001", rows("test", 20)),
    ]:
        parquet(books / f"{name}.parquet", part)
    lines = root / "datasets" / "someone" / "lines"
    lines.mkdir(parents=True)
    mixed = [{**row, "meta": {"set": f"part {n % 3}"}} for n, row in enumerate(rows("train", 200))]
    for shard in (0, 1):
        content = zstandard.compress(json_lines(mixed[100 * shard : 100 * (shard + 1)]))
        (lines / f"train-{shard:05d}-of-00002.jsonl.zst").write_bytes(content)
    model = root / "models" / "someone" / "model"
    model.mkdir(parents=True)
    Tokenizer(models.BPE(vocab={"a": 0, "b": 1}, merges=[])).save(str(model / "tokenizer.json"))
    (model / "model.safetensors").write_bytes(b"x" * 1000)
    return root


def environment(url, home, **more):
    """Ours, pointed at the loopback hub and at a cache of its own."""
    return {
        **os.environ,
        "HF_ENDPOINT": url,
        "HF_HOME": str(home),
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_OFFLINE": "0",
        "HF_DATASETS_OFFLINE": "0",
        "NO_PROXY": "127.0.0.1",
        **more,
    }


def settings_of(folder, corpus):
    """A settings.json whose only corpus, `books`, is this one."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "settings.json"
    path.write_text(
        json.dumps(
            {
                "experiments": [],
                "share_process": True,
                "context_length": 32,
                "results": str(folder),
                "corpora": {"books": corpus},
            }
        )
    )
    return path


def myopia(*words, env):
    """The process of a command of the package."""
    return subprocess.Popen(
        [sys.executable, "-m", "myopia", *map(str, words)], text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env={**env, "PYTHONPATH": str(SCRIPTS)},
    )  # fmt: skip


def refusals(function, cases, env):
    """What each call of `module:function` with these keywords refuses with, None of one that does not.

    One process for all of them: most of a call's time is the start of the client.
    """
    code = """
import importlib, json, sys
from myopia.cli.start import start
from myopia.common.errors import MyopiaError
start(network=True)
module, _, name = sys.argv[1].partition(":")
for keywords in json.loads(sys.argv[2]):
    try:
        getattr(importlib.import_module(module), name)(**keywords)
        print("null")
    except MyopiaError as error:
        print(json.dumps(str(error)))
"""
    words = [sys.executable, "-c", code, function, json.dumps(cases)]
    done = subprocess.run(
        words, env={**env, "PYTHONPATH": str(SCRIPTS)}, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def lock_hub(path, kind, record):
    """`myopia lock-hub`: add one record of a kind (texts, tokenizers, checkpoints); returns (exit status, what it said)."""
    process = myopia("lock-hub", "--lock", path, f"--{kind}", record, env=os.environ)
    _, said = process.communicate(timeout=90)
    return process.returncode, said


class Fetch:
    """One corpus to be fetched into a folder, again and again; `documents` and `manifest` are what is there."""

    def __init__(self, folder, url):
        self.folder, self.url = Path(folder), url
        self.docs, self.state = self.folder / "docs.jsonl.zst", self.folder / "state"

    def start(self, source, *options, url=None, **more):
        """The process; `options` go to `myopia fetch-text`. One attempt, unless they say otherwise."""
        source = {"kind": "hub", "dataset": "someone/books", "revision": "main", **source}
        settings = settings_of(self.folder, {"source": source, "splits": {}})
        return myopia(
            "fetch-text", "books", "--settings", settings, "--out", self.docs, "--state", self.state,
            "--manifest", self.folder / "docs.manifest.json", "--attempts", 1, "--wait", 0.1, *options,
            env=environment(url or self.url, self.folder / "hf", **more),
        )  # fmt: skip

    def __call__(self, source, *options, **more):
        """Fetch, and return (exit status, what it said)."""
        process = self.start(source, *options, **more)
        _, said = process.communicate(timeout=90)
        return process.returncode, said

    @property
    def documents(self):
        text = zstandard.ZstdDecompressor().decompressobj().decompress(self.docs.read_bytes())
        return [json.loads(line) for line in text.splitlines()]

    @property
    def manifest(self):
        return json.loads((self.folder / "docs.manifest.json").read_text())


def refusal(returncode, said):
    """The one sentence of a failed fetch: the last line it said, with exit status 2 and no traceback."""
    assert returncode == 2, said
    assert "Traceback" not in said
    return said.splitlines()[-1]
