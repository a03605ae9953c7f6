"""Public revisions through the real hub client and a loopback hub: config and weights, pinned, in one folder."""

import hashlib
import json
import os
import shutil

import pytest

from fetching import environment, lock_hub, myopia, refusal, refusals
from standin import Fault, HubStandIn

REPO = "lab/model"


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("hub")
    folder = root / "models" / REPO
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"model_type": "gpt_neox"}))
    (folder / "pytorch_model.bin").write_bytes(os.urandom(200_000))
    (folder / "training_args.bin").write_bytes(b"not wanted")
    return root


@pytest.fixture
def hub(root, tmp_path):
    """A hub of its own for each test, free to be changed."""
    with HubStandIn(shutil.copytree(root, tmp_path / "hub")) as server:
        yield server


def fetch(hub, folder, lock=None):
    """(exit status, what it said) of a fetch of the branch main into `folder`."""
    words = ("--repo", REPO, "--revision", "main", "--state", folder / "state", "--out", folder / "out")
    more = ["--lock", lock] if lock else []
    process = myopia("fetch-revision", *words, *more, env=environment(hub.url, folder / "hf"))
    _, said = process.communicate(timeout=100)
    return process.returncode, said


@pytest.fixture(scope="module")
def first(root, tmp_path_factory):
    """The folder of a fetch at first contact: the lock that it was given is not there yet."""
    folder = tmp_path_factory.mktemp("first")
    with HubStandIn(root) as server:
        status, said = fetch(server, folder, folder / "hub.lock.json")
    assert status == 0, said
    return folder


def test_config_and_weights_come_and_nothing_else(first, hub):
    out = first / "out"
    assert {path.name for path in out.iterdir()} == {"config.json", "pytorch_model.bin", "revision.json"}
    record = json.loads((out / "revision.json").read_text())
    content = (hub.root / "models" / REPO / "pytorch_model.bin").read_bytes()
    assert (out / "pytorch_model.bin").read_bytes() == content
    assert record["commit"] == hub.commit("models", REPO) and record["weights"] == "pytorch_model.bin"
    assert record["files"]["pytorch_model.bin"] == hashlib.sha256(content).hexdigest()
    assert not (first / "state").exists()


def test_safetensors_are_preferred(hub, tmp_path):
    (hub.root / "models" / REPO / "model.safetensors").write_bytes(b"x" * 1000)
    status, said = fetch(hub, tmp_path)
    assert status == 0, said
    assert (tmp_path / "out/model.safetensors").is_file() and not (tmp_path / "out/pytorch_model.bin").exists()


def test_bad_answers_are_one_sentence_and_leave_no_result(hub, tmp_path):
    lock = tmp_path / "hub.lock.json"
    entry = {"commit": hub.commit("models", REPO), "files": {"pytorch_model.bin": "0" * 64}}
    lock.write_text(json.dumps({"format": 1, "models": {f"{REPO}@main": entry}}))
    (hub.root / "models/lab/bare").mkdir()
    (hub.root / "models/lab/bare/pytorch_model.bin").write_bytes(b"x")
    wrong = [
        ({"revision": "step4"}, "has no revision 'step4'"),
        ({"repo": "lab/absent"}, "there is no model 'lab/absent'"),
        ({"repo": "lab/bare"}, "name another revision"),
        ({"lock": str(lock)}, "sha256 of pytorch_model.bin is"),
    ]
    call = {"repo": REPO, "revision": "main", "state": str(tmp_path / "state"), "out": str(tmp_path / "out")}
    cases = [call | changes for changes, _ in wrong]
    said = refusals("myopia.data.revisions:fetch_revision", cases, environment(hub.url, tmp_path / "hf"))
    for (changes, wanted), sentence in zip(wrong, said, strict=True):
        assert sentence and wanted in sentence, (changes, sentence)
    assert not (tmp_path / "out/revision.json").exists()


def test_bytes_that_are_not_the_listed_ones_are_refused(hub, tmp_path):
    hub.faults.append(Fault("GET", r"resolve/.*pytorch_model\.bin", "garble"))
    assert "does not have the size and sha256" in refusal(*fetch(hub, tmp_path))
    assert not (tmp_path / "out/revision.json").exists()


def test_a_revision_is_locked_once_fetched_and_other_weights_are_refused_ever_after(first, hub, tmp_path):
    folder = shutil.copytree(first, tmp_path / "first")
    path, record = folder / "hub.lock.json", folder / "out/revision.json"
    assert lock_hub(path, "checkpoints", record)[0] == 0
    told = json.loads(record.read_text())
    assert json.loads(path.read_text())["models"] == {
        f"{REPO}@main": {"commit": told["commit"], "files": told["files"]}
    }
    assert fetch(hub, folder, path)[0] == 0
    changed = json.loads(path.read_text())
    changed["models"][f"{REPO}@main"]["files"]["pytorch_model.bin"] = "0" * 64
    path.write_text(json.dumps(changed))
    assert "sha256 of pytorch_model.bin" in refusal(*lock_hub(path, "checkpoints", record))
    assert "sha256 of pytorch_model.bin" in refusal(*fetch(hub, folder, path))
    assert not record.exists()
