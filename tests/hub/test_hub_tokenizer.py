"""A fixed tokenizer from the hub: pinned, cached, opened by transformers without a network, and every bad answer."""

import json
import shutil
import subprocess
import sys

import pytest

from fetching import environment, lock_hub, make_hub, myopia, refusal, refusals, settings_of
from myopia.common.errors import MyopiaError
from myopia.data.tokenizer import make_tokenizer
from standin import Fault, HubStandIn


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return make_hub(tmp_path_factory.mktemp("hub"))


@pytest.fixture
def hub(root, tmp_path):
    with HubStandIn(shutil.copytree(root, tmp_path / "hub")) as server:
        yield server


@pytest.fixture
def fetch(hub, tmp_path):
    """Call with a spec: `myopia fetch-tokenizer`; returns (exit status, what it said)."""

    def run(*options, path_or_id="someone/model", revision="main", **more):
        spec = {"kind": "pretrained", "path_or_id": path_or_id, "revision": revision}
        process = myopia(
            "fetch-tokenizer", "books", "--settings", settings_of(tmp_path, {"source": {"kind": "files"}, "tokenizer": spec}),
            "--out", tmp_path / "tokenizer", "--attempts", 1, "--wait", 0.1, *options,
            env=environment(hub.url, tmp_path / "hf", **more),
        )  # fmt: skip
        _, said = process.communicate(timeout=90)
        return process.returncode, said

    return run


def manifest(tmp_path):
    return json.loads((tmp_path / "tokenizer" / "tokenizer.manifest.json").read_text())


def test_a_tokenizer_comes_alone_and_pinned_and_transformers_opens_it_offline(fetch, hub, tmp_path):
    status, said = fetch()
    assert status == 0, said
    found = manifest(tmp_path)
    assert found["vocab_size"] == 2 and found["spec"]["commit"] == hub.commit("models", "someone/model")
    assert not (tmp_path / "tokenizer" / "model.safetensors").exists()
    assert not [path for _, path, _ in hub.requests if "safetensors" in path]
    before = len(hub.requests)
    code = (
        f"from transformers import AutoTokenizer; t = AutoTokenizer.from_pretrained({str(tmp_path / 'tokenizer')!r});"
        "print(t('abba')['input_ids'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=90,
        env=environment(hub.url, tmp_path / "empty", HF_HUB_OFFLINE="1"),
    )  # fmt: skip
    assert done.stdout.strip() == "[0, 1, 1, 0]" and len(hub.requests) == before


WRONG = [
    ({"revision": "v9"}, "tokenizer: the model 'someone/model' has no revision 'v9' on the hub."),
    ({"path_or_id": "someone/else"}, "tokenizer: there is no model 'someone/else' on the hub http"),
    ({"path_or_id": "not a name"}, "tokenizer: there is no model 'not a name' on the hub http"),
    ({"path_or_id": "someone/slow"}, "'someone/slow' has no tokenizer.json; a fast tokenizer is needed."),
]


def test_what_the_hub_does_not_have(hub, tmp_path):
    (hub.root / "models/someone/slow").mkdir()
    (hub.root / "models/someone/slow/vocab.txt").write_text("a\nb\n")
    spec = {"kind": "pretrained", "path_or_id": "someone/model", "revision": "main"}
    cases = [
        {"spec": spec | changes, "out": str(tmp_path / "tokenizer"), "attempts": 3, "wait_s": 0.1}
        for changes, _ in WRONG
    ]
    said = refusals("myopia.data.hub_tokenizer:fetch_tokenizer", cases, environment(hub.url, tmp_path / "hf"))
    for (changes, wanted), sentence in zip(WRONG, said, strict=True):
        assert sentence and wanted in sentence, (changes, sentence)
    assert not (tmp_path / "tokenizer").exists()


def test_offline_takes_the_cache_and_nothing_else(fetch, hub, tmp_path):
    sentence = refusal(*fetch("--attempts", 3, HF_HUB_OFFLINE="1"))
    assert "tokenizer: 'someone/model' cannot be fetched: the hub is switched off (HF_HUB_OFFLINE)" in sentence
    assert not hub.requests
    assert fetch()[0] == 0
    first, before = manifest(tmp_path), len(hub.requests)
    shutil.rmtree(tmp_path / "tokenizer")
    status, said = fetch(HF_HUB_OFFLINE="1")
    assert status == 0, said
    assert manifest(tmp_path) == first and len(hub.requests) == before


def test_a_dead_hub_does_not_pass_an_old_copy_off_as_the_branch(fetch, hub, tmp_path):
    assert fetch()[0] == 0
    shutil.rmtree(tmp_path / "tokenizer")
    hub.faults.append(Fault("*", ".*", "503"))
    status, said = fetch("--attempts", 2)
    assert "cannot be reached for 'someone/model' (HfHubHTTPError" in refusal(status, said) and "Attempt 2 of 2" in said
    lock = tmp_path / "hub.lock.json"
    commit = hub.commit("models", "someone/model")
    entry = {"someone/model@main": {"commit": commit, "files": {}}}
    lock.write_text(json.dumps({"format": 1, "datasets": {}, "models": entry}))
    status, said = fetch("--lock", lock)  # the very commit is in the cache: no hub is needed to know it
    assert status == 0, said


def test_failures_of_a_file_that_pass_are_waited_out(fetch, hub):
    hub.faults.append(Fault("*", "resolve/.*tokenizer.json", "503", count=1))
    hub.faults.append(Fault("GET", "resolve/.*tokenizer.json", "truncate", count=1))
    status, said = fetch("--attempts", 3)
    assert status == 0, said
    assert not any(fault.count for fault in hub.faults)


def test_a_file_that_never_comes(fetch, hub, tmp_path):
    hub.faults.append(Fault("HEAD", "resolve/.*tokenizer.json", "503"))
    assert "tokenizer: 'someone/model' cannot be fetched (" in refusal(*fetch())
    assert not (tmp_path / "tokenizer").exists()


def test_the_lock_knows_the_tokenizer(fetch, hub, tmp_path):
    path = tmp_path / "hub.lock.json"
    record = tmp_path / "tokenizer" / "tokenizer.manifest.json"
    assert fetch("--lock", path)[0] == 0
    assert lock_hub(path, "tokenizers", record)[0] == 0
    entry = json.loads(path.read_text())["models"]["someone/model@main"]
    assert entry == {
        "commit": hub.commit("models", "someone/model"),
        "files": {"tokenizer.json": manifest(tmp_path)["sha256"]},
    }
    text = path.read_text()
    path.write_text(text.replace(manifest(tmp_path)["sha256"], "0" * 64))
    sentence = refusal(*fetch("--lock", path))
    assert "the model 'someone/model@main': the sha256 of tokenizer.json is" in sentence
    assert "hub.lock.json has 000000000000" in refusal(*lock_hub(path, "tokenizers", record))
    assert path.read_text() != text  # and a lock is never overwritten


def test_training_a_tokenizer_never_downloads(tmp_path):
    with pytest.raises(MyopiaError, match="no folder 'someone/model'; one from the hub is fetched by"):
        make_tokenizer("unused", {"kind": "pretrained", "path_or_id": "someone/model"}, tmp_path / "out")
