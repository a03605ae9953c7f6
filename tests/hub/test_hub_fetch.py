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

from fetching import NAMES, Fetch, json_lines, lock_hub, make_hub, parquet, refusal, rows
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


def texts(documents, split=None):
    return [document["text"] for document in documents if split in (None, document["split"])]


# --- what comes ---


def test_parquet_is_streamed_shuffled_and_pinned(fetch, hub, tmp_path):
    source = {"splits": NAMES, "group_column": "book", "shuffle_buffer": 50, "seed": 7}
    status, said = fetch({**source, "expected_rows": {"train": 200, "validation": 30}})
    assert status == 0, said
    documents, manifest = fetch.documents, fetch.manifest
    assert Counter(d["split"] for d in documents) == {"train": 200, "validation": 30, "test": 20}
    assert sorted(texts(documents, "train")) == sorted(row["text"] for row in rows("train", 200))
    assert {d["group"] for d in documents if d["split"] == "test"} == {"b0", "b1"}
    commit = hub.commit("datasets", "someone/books")
    assert manifest["source"]["commit"] == commit
    assert manifest["source"]["rows"] == {"train": 200, "validation": 30, "test": 20}
    lines = b"".join(json.dumps(d, sort_keys=True).encode() + b"\n" for d in documents)
    assert manifest["text_sha256"] == hashlib.sha256(lines).hexdigest()
    shards = [path for method, path, _ in hub.requests if method == "GET" and path.endswith(".parquet")]
    assert len(shards) >= 4
    assert all(f"/resolve/{commit}/" in path for path in shards)
    assert {path.name for path in fetch.state.glob("*/*")} == {"lock"}  # all else goes once the corpus is written

    again = Fetch(tmp_path / "again", hub.url)
    assert again({**source, "revision": commit, "expected_rows": {"train": 200, "validation": 30}})[0] == 0
    assert again.docs.read_bytes() == fetch.docs.read_bytes()
    other = Fetch(tmp_path / "other", hub.url)
    assert other({**source, "seed": 8})[0] == 0
    assert texts(other.documents, "train") != texts(documents, "train")
    # A buffer mixes both shards, and not by a little.
    moved = [abs(k - int(text.split()[-1])) for k, text in enumerate(texts(documents, "train"))]
    assert sum(moved) / len(moved) > 20


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


def test_a_limit_takes_the_first_documents_of_the_shuffled_stream(fetch, tmp_path, hub):
    source = {"split": "train", "shuffle_buffer": 30, "seed": 3}
    assert fetch(source)[0] == 0
    limited = Fetch(tmp_path / "limited", hub.url)
    assert limited({**source, "max_documents": 40})[0] == 0
    assert texts(limited.documents) == texts(fetch.documents)[:40]
    assert limited.manifest["source"]["rows"] == {"train": 70}


# --- kills ---


def first_shard_first(split):
    """A seed whose order of two shards is that of the files; the listing reads a schema from the first anyway."""
    return next(s for s in range(99) if seeded_hash(s, split, "0") < seeded_hash(s, split, "1"))


def test_a_killed_fetch_goes_on_and_ends_with_the_same_bytes(fetch, hub, tmp_path):
    source = {"splits": NAMES, "shuffle_buffer": 50, "seed": first_shard_first("train")}
    unbroken = Fetch(tmp_path / "unbroken", hub.url)
    assert unbroken(source)[0] == 0
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
    assert fetch.docs.read_bytes() == unbroken.docs.read_bytes()
    assert fetch.manifest == unbroken.manifest


def test_a_damaged_piece_and_all_after_it_are_fetched_again(fetch, hub, tmp_path):
    source = {"split": "train", "shuffle_buffer": 0}
    unbroken = Fetch(tmp_path / "unbroken", hub.url)
    assert unbroken(source)[0] == 0
    hub.faults.append(Fault("*", "train-00001.*parquet", "404"))
    assert "broke off while it was read" in refusal(*fetch(source, "--chunk-documents", 25))
    hub.faults.clear()
    [folder] = fetch.state.iterdir()
    assert len(list(folder.glob("chunk-*.json"))) == 4
    piece = folder / "chunk-000001.jsonl.zst"
    piece.write_bytes(piece.read_bytes()[:-1] + b"?")
    status, said = fetch(source)
    assert status == 0, said
    assert "chunk-000001.jsonl.zst is not used and will be fetched again (its checksum does not match)" in said
    assert "resumed: 25 rows are here already" in said
    assert fetch.docs.read_bytes() == unbroken.docs.read_bytes()


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


def test_a_branch_that_moved_does_not_mix_two_texts(own_hub, tmp_path):
    fetch, source = Fetch(tmp_path / "text", own_hub.url), {"split": "train", "shuffle_buffer": 0}
    own_hub.faults.append(Fault("*", "train-00001.*parquet", "404"))
    assert "delete it to start over" in refusal(*fetch(source, "--chunk-documents", 25))
    own_hub.faults.clear()
    (own_hub.root / "datasets" / "someone" / "books" / "README.md").write_text("a new commit")
    # The stand-in forgets old commits; the hub does not. Either way the text is of one commit.
    sentence = refusal(*fetch(source))
    assert "cannot be opened" in sentence and "delete it to start over" in sentence
    shutil.rmtree(fetch.state)
    assert fetch(source)[0] == 0 and len(fetch.documents) == 200


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


@pytest.mark.parametrize(("name", "pack"), [("zst", zstandard.compress), ("gz", gzip.compress)])
def test_a_compressed_shard_cut_in_half_is_an_error_and_not_fewer_documents(own_hub, tmp_path, name, pack):
    """`datasets` alone reads such a zst shard without a word."""
    folder = own_hub.root / "datasets" / "someone" / "cut"
    folder.mkdir()
    content = json_lines({"text": hashlib.sha256(str(n).encode()).hexdigest()} for n in range(6000))
    (folder / f"train-00000-of-00002.jsonl.{name}").write_bytes(pack(content))
    whole = pack(content)
    (folder / f"train-00001-of-00002.jsonl.{name}").write_bytes(whole[: len(whole) // 2])
    fetch = Fetch(tmp_path, own_hub.url)
    sentence = refusal(*fetch({"dataset": "someone/cut", "split": "train", "shuffle_buffer": 0}))
    if name == "zst":
        assert "train-00001-of-00002.jsonl.zst: the zstd file is cut short; fetch the file again." in sentence
    assert not fetch.docs.exists()


def test_a_known_number_of_rows_is_checked(fetch):
    sentence = refusal(*fetch({"split": "train", "expected_rows": {"train": 201}}))
    assert "someone/books (train): 200 rows came instead of the 201 in 'expected_rows'" in sentence


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        ({"split": "train", "revision": "v9"}, "the dataset 'someone/books' has no revision 'v9' on the hub."),
        ({"split": "train", "dataset": "someone/nothing"}, "there is no dataset 'someone/nothing' on the hub http"),
        ({"split": "dev"}, "has no split 'dev'; its splits are train, validation, test."),
        ({"split": "train", "text_column": "body"}, "there is no column 'body'; the columns are book, text."),
        (
            {"split": "train", "component_column": "meta.set"},
            "there is no column 'meta.set'; the columns are book, text.",
        ),
        ({"split": "train", "name": "large"}, "cannot be opened (ValueError: BuilderConfig 'large' not found"),
    ],
)
def test_bad_requests(fetch, source, sentence):
    found = refusal(*fetch(source, "--attempts", 3))  # no patience for what cannot pass
    assert sentence in found


def test_a_component_may_be_absent_where_config_says_so(fetch):
    status, said = fetch({"split": "train", "component_column": "meta.set", "component_required": False})
    assert status == 0, said
    assert "components" not in fetch.manifest and "component" not in fetch.documents[0]


def test_a_dataset_that_needs_a_loading_script(own_hub, tmp_path):
    own_hub.root.joinpath("datasets/someone/books/books.py").write_text("print('never run')")
    sentence = refusal(*Fetch(tmp_path, own_hub.url)({"split": "train"}))
    assert "cannot be opened (RuntimeError: Dataset scripts are no longer supported, but found books.py)" in sentence


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
        "missing": ([Fault("*", "train-00001.*parquet", "404")], {}, "broke off while it was read"),
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


def test_parquet_cut_in_half_is_named(own_hub, tmp_path):
    path = own_hub.root / "datasets/someone/books/data/train-00001-of-00002.parquet"
    parquet(path, rows("train", 5000))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    sentence = refusal(*Fetch(tmp_path, own_hub.url)({"split": "train", "shuffle_buffer": 0}))
    assert "broke off while it was read (ArrowInvalid" in sentence
