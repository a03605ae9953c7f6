"""Text from the hub through the real `datasets` client: text, pins, resuming, and every bad answer."""

import gzip
import hashlib
import json
import shutil
import socket
import time
from collections import Counter

import pytest
import tenacity
import zstandard

from fetching import NAMES, Fetch, environment, json_lines, lock_hub, make_hub, parquet, refusal, refusals, rows
from myopia.common.errors import MyopiaError
from myopia.data.documents import seeded_hash
from myopia.data.hub import checked_hub
from myopia.data.hub_client import HubUnavailable, retry
from myopia.data.sources import iter_documents
from standin import Fault, HubStandIn


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return make_hub(tmp_path_factory.mktemp("hub"))


@pytest.fixture
def hub(root):
    with HubStandIn(root) as server:
        yield server


@pytest.fixture
def fetch(hub, tmp_path):
    return Fetch(tmp_path, hub.url)


@pytest.fixture
def own_hub(root, tmp_path):
    """A hub that a test may change."""
    with HubStandIn(shutil.copytree(root, tmp_path / "own")) as server:
        yield server


def first_shard_first(split):
    """A seed whose order of two shards is that of the files; the listing reads a schema from the first anyway."""
    return next(s for s in range(99) if seeded_hash(s, split, "0") < seeded_hash(s, split, "1"))


SHUFFLED = {"splits": NAMES, "group_column": "book", "shuffle_buffer": 50, "seed": first_shard_first("train")}
IN_ORDER = {"split": "train", "shuffle_buffer": 0}


@pytest.fixture(scope="module")
def whole(root, tmp_path_factory):
    """The text of `SHUFFLED`, fetched without any trouble, and what was asked for."""
    with HubStandIn(root) as server:
        fetch = Fetch(tmp_path_factory.mktemp("whole"), server.url)
        status, said = fetch({**SHUFFLED, "expected_rows": {"train": 200, "validation": 30}})
        assert status == 0, said
        fetch.requests = list(server.requests)
    return fetch


@pytest.fixture(scope="module")
def broken_off(root, tmp_path_factory):
    """The folder of a fetch of `IN_ORDER` whose second shard is missing on the hub: half of the rows are in its state."""
    with HubStandIn(root) as server:
        server.faults.append(Fault("*", "train-00001.*parquet", "404"))
        fetch = Fetch(tmp_path_factory.mktemp("broken"), server.url)
        sentence = refusal(*fetch(IN_ORDER, "--chunk-documents", 25))
    assert "broke off while it was read" in sentence and "delete it to start over" in sentence
    assert not fetch.docs.exists()
    return fetch.folder


def texts(documents, split=None):
    return [document["text"] for document in documents if split in (None, document["split"])]


# --- what comes ---


def test_parquet_is_streamed_shuffled_and_pinned(whole, fetch, hub):
    documents, manifest = whole.documents, whole.manifest
    assert Counter(d["split"] for d in documents) == {"train": 200, "validation": 30, "test": 20}
    assert sorted(texts(documents, "train")) == sorted(row["text"] for row in rows("train", 200))
    assert {d["group"] for d in documents if d["split"] == "test"} == {"b0", "b1"}
    commit = hub.commit("datasets", "someone/books")
    assert manifest["source"]["commit"] == commit
    assert manifest["source"]["rows"] == {"train": 200, "validation": 30, "test": 20}
    lines = b"".join(json.dumps(d, sort_keys=True).encode() + b"\n" for d in documents)
    assert manifest["text_sha256"] == hashlib.sha256(lines).hexdigest()
    shards = [path for method, path, _ in whole.requests if method == "GET" and path.endswith(".parquet")]
    assert len(shards) >= 4
    assert all(f"/resolve/{commit}/" in path for path in shards)
    assert {path.name for path in whole.state.glob("*/*")} == {"lock"}  # all else goes once the corpus is written
    # A buffer mixes both shards, and not by a little.
    moved = [abs(k - int(text.split()[-1])) for k, text in enumerate(texts(documents, "train"))]
    assert sum(moved) / len(moved) > 20

    status, said = fetch({**SHUFFLED, "seed": SHUFFLED["seed"] + 1, "revision": commit})
    assert status == 0, said
    assert texts(fetch.documents, "train") != texts(documents, "train")


def test_zst_lines_are_limited_divided_cut_and_have_components(fetch):
    source = {"dataset": "someone/lines", "split": "train", "shuffle_buffer": 0, "max_documents": 60, "max_chars": 17}
    status, said = fetch({**source, "component_column": "meta.set"})
    assert status == 0, said
    assert texts(fetch.documents) == [row["text"][:17] for row in rows("train", 60)]
    assert set(Counter(d["split"] for d in fetch.documents)) == set(NAMES)
    assert [d["component"] for d in fetch.documents] == [f"part {n % 3}" for n in range(60)]
    told = fetch.manifest["components"]
    assert sum(sum(parts.values()) for parts in told.values()) == 60 and set(told["train"]) <= {
        "part 0",
        "part 1",
        "part 2",
    }


def test_a_limit_takes_the_first_documents_of_the_shuffled_stream(whole, fetch):
    source = {"split": "train", "shuffle_buffer": 50, "seed": SHUFFLED["seed"]}
    assert fetch({**source, "max_documents": 40})[0] == 0
    assert texts(fetch.documents) == texts(whole.documents, "train")[:40]
    assert fetch.manifest["source"]["rows"] == {"train": 90}


# --- kills ---


def test_a_killed_fetch_goes_on_and_ends_with_the_same_bytes(whole, fetch, hub):
    source = {**SHUFFLED, "expected_rows": {"train": 200, "validation": 30}}
    hub.faults.append(Fault("GET", "resolve/.*train-00001.*parquet", "hang"))
    process = fetch.start(source, "--chunk-documents", 35)
    assert hub.hanging.wait(60), process.communicate()[1]
    process.kill()
    process.communicate()
    assert not fetch.docs.exists()
    hub.faults.clear()
    [folder] = fetch.state.iterdir()
    # 20 rows of test and 100 of train had come: three pieces, and 15 rows that were in no piece yet.
    assert sorted(path.name for path in folder.glob("chunk-*.json")) == [f"chunk-{n:06d}.json" for n in range(3)]
    (folder / "chunk-000003.jsonl.zst").write_bytes(b"a piece whose record was never written")
    (folder / ".chunk-000004.jsonl.tmp-1.zst").write_bytes(b"half a piece")
    status, said = fetch(source, "--chunk-documents", 70)
    assert status == 0, said
    assert "resumed: 105 rows are here already" in said
    assert fetch.docs.read_bytes() == whole.docs.read_bytes()
    assert fetch.manifest == whole.manifest


def test_a_damaged_piece_and_all_after_it_are_fetched_again(broken_off, hub, tmp_path):
    fetch = Fetch(shutil.copytree(broken_off, tmp_path / "text"), hub.url)
    [folder] = fetch.state.iterdir()
    assert len(list(folder.glob("chunk-*.json"))) == 4
    piece = folder / "chunk-000001.jsonl.zst"
    piece.write_bytes(piece.read_bytes()[:-1] + b"?")
    status, said = fetch(IN_ORDER)
    assert status == 0, said
    assert "chunk-000001.jsonl.zst is not used and will be fetched again (its checksum does not match)" in said
    assert "resumed: 25 rows are here already" in said
    assert texts(fetch.documents) == [row["text"] for row in rows("train", 200)]


def test_once_all_has_come_no_hub_is_needed(fetch, hub, tmp_path):
    """Killed between the last row and the corpus: with the hub down or switched off, the same call ends it."""
    (tmp_path / "docs.jsonl.zst").mkdir()  # where the corpus should go: the fetch fails at the very end
    source = {"split": "train"}
    status, _ = fetch(source)
    assert status == 1
    (tmp_path / "docs.jsonl.zst").rmdir()
    before = len(hub.requests)
    status, said = fetch(source, HF_HUB_OFFLINE="1")
    assert status == 0, said
    assert len(fetch.documents) == 200 and len(hub.requests) == before


def test_a_branch_that_moved_does_not_mix_two_texts(broken_off, own_hub, tmp_path):
    fetch = Fetch(shutil.copytree(broken_off, tmp_path / "text"), own_hub.url)
    (own_hub.root / "datasets" / "someone" / "books" / "README.md").write_text("a new commit")
    # The stand-in forgets old commits; the hub does not. Either way the text is of one commit.
    sentence = refusal(*fetch(IN_ORDER))
    assert "cannot be opened" in sentence and "delete it to start over" in sentence


# --- the lock ---


def lock(fetch, path):
    status, said = lock_hub(path, "texts", fetch.folder / "docs.manifest.json")
    assert status == 0, said
    return json.loads(path.read_text())


def test_what_was_fetched_is_locked_and_checked_ever_after(own_hub, tmp_path):
    source, path = {"split": "train", "seed": 1}, tmp_path / "hub.lock.json"
    fetch = Fetch(tmp_path / "first", own_hub.url)
    assert fetch(source, "--lock", path)[0] == 0  # nothing is locked yet: first contact
    commit = own_hub.commit("datasets", "someone/books")
    entry = lock(fetch, path)["datasets"]["someone/books@main"]
    assert entry["commit"] == commit
    assert entry["texts"] == [
        {
            "source": {"kind": "hub", "split": "train", "seed": 1},
            "splits": fetch.manifest["splits"],
            "counts": {"train": 180, "validation": 10, "test": 10},
            "rows": {"train": 200},
            "text_sha256": fetch.manifest["text_sha256"],
        }
    ]
    assert lock(fetch, path)["datasets"]["someone/books@main"] == entry  # writing it twice adds nothing

    again = Fetch(tmp_path / "again", own_hub.url)
    assert again(source, "--lock", path)[0] == 0
    asked = [path for _, path, _ in own_hub.requests if path.startswith("/api/datasets/someone/books/revision/main")]
    assert len(asked) == 1  # the branch was looked up at first contact alone

    changed = json.loads(path.read_text())
    changed["datasets"]["someone/books@main"]["texts"][0]["counts"]["train"] = 181
    path.write_text(json.dumps(changed))
    third = Fetch(tmp_path / "third", own_hub.url)
    sentence = refusal(*third(source, "--lock", path))
    assert "200 documents of 'someone/books@main'" in sentence and "instead of the 201" in sentence
    assert not third.docs.exists() and not list(third.state.glob("*/chunk-*"))
    assert "came instead of the 201" in refusal(*lock_hub(path, "texts", fetch.folder / "docs.manifest.json"))

    path.write_text("{}")
    assert "hub.lock.json: not a readable lock file" in refusal(*third(source, "--lock", path))


# --- what goes wrong ---


def test_a_shard_cut_in_half_is_an_error_and_not_fewer_documents(own_hub, tmp_path):
    """`datasets` alone reads such a zst shard without a word."""
    content = json_lines({"text": hashlib.sha256(str(n).encode()).hexdigest()} for n in range(6000))
    for name, pack in (("zst", zstandard.compress), ("gz", gzip.compress)):
        folder = own_hub.root / "datasets" / "someone" / name
        folder.mkdir()
        (folder / f"train-00000-of-00002.jsonl.{name}").write_bytes(whole := pack(content))
        (folder / f"train-00001-of-00002.jsonl.{name}").write_bytes(whole[: len(whole) // 2])
    path = own_hub.root / "datasets/someone/books/data/train-00001-of-00002.parquet"
    parquet(path, rows("train", 5000))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    sentences = wrong(
        own_hub, tmp_path, [{**IN_ORDER, "dataset": f"someone/{name}"} for name in ("zst", "gz", "books")]
    )
    assert "train-00001-of-00002.jsonl.zst: the zstd file is cut short; fetch the file again." in sentences[0]
    assert sentences[1]
    assert "broke off while it was read (ArrowInvalid" in sentences[2]
    assert not list(tmp_path.rglob("docs.jsonl.zst"))


def wrong(hub, folder, sources):
    """The sentence with which a fetch of each source ends."""
    cases = [
        {
            "source": {"kind": "hub", "dataset": "someone/books", "revision": "main", **source}, "splits": {},
            "out": str(folder / f"{n}/docs.jsonl.zst"), "manifest": str(folder / f"{n}/docs.manifest.json"),
            "state": str(folder / f"{n}/state"), "attempts": 3, "wait_s": 0.1,
        }
        for n, source in enumerate(sources)
    ]  # fmt: skip
    return refusals("myopia.data.fetch:fetch_corpus", cases, environment(hub.url, folder / "hf"))


WRONG = [
    ({"revision": "v9"}, "the dataset 'someone/books' has no revision 'v9' on the hub."),
    ({"dataset": "someone/nothing"}, "there is no dataset 'someone/nothing' on the hub http"),
    ({"split": "dev"}, "has no split 'dev'; its splits are train, validation, test."),
    ({"text_column": "body"}, "there is no column 'body'; the columns are book, text."),
    ({"component_column": "meta.set"}, "there is no column 'meta.set'; the columns are book, text."),
    ({"name": "large"}, "cannot be opened (ValueError: BuilderConfig 'large' not found"),
    (
        {"dataset": "someone/scripted"},
        "cannot be opened (RuntimeError: Dataset scripts are no longer supported, but found scripted.py)",
    ),
    ({"expected_rows": {"train": 201}}, "someone/books (train): 200 rows came instead of the 201 in 'expected_rows'"),
]


def test_what_the_hub_does_not_have(own_hub, tmp_path):
    folder = own_hub.root / "datasets/someone/scripted"
    folder.mkdir()
    (folder / "scripted.py").write_text("print('never run')")
    sentences = wrong(own_hub, tmp_path, [{"split": "train", **source} for source, _ in WRONG])
    for (source, wanted), sentence in zip(WRONG, sentences, strict=True):
        assert sentence and wanted in sentence, (source, sentence)


def test_a_component_may_be_absent_where_config_says_so(fetch):
    status, said = fetch({"split": "train", "component_column": "meta.set", "component_required": False})
    assert status == 0, said
    assert "components" not in fetch.manifest and "component" not in fetch.documents[0]


def test_specs_are_checked_before_any_request():
    for source, sentence in [
        ({"split": "train", "splits": NAMES}, "give either 'split' (divided later) or 'splits'"),
        ({"split": "train", "shuffle": 5}, "unknown key 'shuffle'; known keys are component_column"),
        ({"split": "train", "shuffle_buffer": -1}, "'shuffle_buffer' must not be negative"),
        ({"splits": {"dev": "dev"}}, "'splits' has the unknown split 'dev'; use train"),
        ({"splits": {"train": ["a", "b"]}}, "must name one split of the dataset for 'train'"),
    ]:
        with pytest.raises(MyopiaError) as caught:
            checked_hub({"kind": "hub", "dataset": "a/b", "revision": "main", **source})
        assert sentence in str(caught.value)
    with pytest.raises(MyopiaError, match="not harvested"):
        iter_documents({"kind": "hub"})


def test_pauses_double_up_to_a_minute(monkeypatch):
    pauses = []
    monkeypatch.setattr(tenacity.nap.time, "sleep", pauses.append)

    def fail():
        raise HubUnavailable("down.")

    with pytest.raises(HubUnavailable):
        retry(fail, 8, 2.0)
    assert pauses == [2, 4, 8, 16, 32, 60, 60]


def test_switched_off_and_nothing_here(fetch, hub):
    start = time.monotonic()
    sentence = refusal(*fetch({"split": "train"}, "--attempts", 5, "--wait", 5, HF_HUB_OFFLINE="1"))
    assert "the hub is switched off (HF_HUB_OFFLINE)" in sentence
    assert not hub.requests and time.monotonic() - start < 30


def test_nobody_answers(fetch):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
        status, said = fetch({"split": "train"}, "--attempts", 3, url=url)
    sentence = refusal(status, said)
    assert f"error: source: the hub {url} cannot be reached for 'someone/books' (" in sentence
    assert "What has arrived is kept: run again to go on." in sentence
    assert [line.split("Attempt ")[1] for line in said.splitlines() if "Attempt" in line] == [
        "2 of 3 in 0.1 s.",
        "3 of 3 in 0.2 s.",
    ]


def test_failures_that_pass_are_waited_out(fetch, hub):
    """A 503 at the listing, one at a shard, and half a shard on the wire."""
    hub.faults += [
        Fault("GET", "/api/datasets/someone/books", "503", count=1),
        Fault("GET", "resolve/.*parquet", "503", count=1),
        Fault("GET", "resolve/.*00001.*parquet", "truncate", count=1),
    ]
    status, said = fetch({"split": "train"}, "--attempts", 2)
    assert status == 0, said
    assert sorted(texts(fetch.documents)) == sorted(row["text"] for row in rows("train", 200))
    assert [status for _, _, status in hub.requests].count(503) == 2 and "Attempt 2 of 2" in said


def test_failures_that_do_not_pass_end_in_a_sentence(root, tmp_path):
    """All at once, because each spends half a minute in the client's own five pauses."""
    cases = {
        "503": ([Fault("GET", "resolve/.*parquet", "503")], {}, "503 Service Unavailable"),
        "truncated": ([Fault("GET", "resolve/.*00001.*parquet", "truncate")], {}, "broke off while it was read"),
        "silent": ([Fault("*", "/api/", "hang")], {"HF_HUB_DOWNLOAD_TIMEOUT": "1"}, "cannot be reached"),
        "hanging": ([Fault("GET", "resolve/.*parquet", "hang")], {"HF_HUB_DOWNLOAD_TIMEOUT": "1"}, "cannot be opened"),
    }
    running = {}
    start = time.monotonic()
    hubs = {name: HubStandIn(root) for name in cases}
    try:
        for name, (faults, more, _) in cases.items():
            hub = hubs[name].__enter__()
            hub.faults += faults
            fetch = Fetch(tmp_path / name, hub.url)
            running[name] = fetch, fetch.start({"split": "train", "shuffle_buffer": 0}, **more)
        for name, (fetch, process) in running.items():
            _, said = process.communicate(timeout=120)
            assert cases[name][2] in refusal(process.returncode, said), name
            assert not fetch.docs.exists()
    finally:
        for name in running:
            hubs[name].__exit__()
            running[name][1].kill()
    assert time.monotonic() - start < 100


def test_two_fetches_of_one_corpus_do_not_disturb_each_other(fetch):
    source = {"split": "train"}
    both = [fetch.start(source), fetch.start(source)]
    said = [process.communicate(timeout=90)[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert len(fetch.documents) == 200
