"""Public revisions through the real hub client and a loopback hub: config and weights, pinned, in one folder."""

import hashlib
import json
import os
from types import SimpleNamespace

import pytest

from fetching import lock_hub, myopia, refusal
from standin import Fault, HubStandIn

REPO = "lab/model"


@pytest.fixture
def hub(tmp_path):
    folder = tmp_path / "hub" / "models" / REPO
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"model_type": "gpt_neox"}))
    (folder / "pytorch_model.bin").write_bytes(os.urandom(200_000))
    (folder / "training_args.bin").write_bytes(b"not wanted")
    with HubStandIn(tmp_path / "hub") as server:
        yield server


@pytest.fixture
def fetch(hub, tmp_path):
    def run(revision="main", repo=REPO, lock=None):
        out = tmp_path / "revisions" / "step4"
        environment = {
            "HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "hf"), "HF_HUB_DISABLE_XET": "1", "HF_HUB_OFFLINE": "0",
            "NO_PROXY": "127.0.0.1",
        }  # fmt: skip
        more = ["--lock", str(lock)] if lock else []
        words = ("--repo", repo, "--revision", revision, "--state", tmp_path / "state", "--out", out, *more)
        process = myopia("fetch-revision", *words, env={**os.environ, **environment})
        _, said = process.communicate(timeout=100)
        return SimpleNamespace(returncode=process.returncode, stderr=said), out

    return run


def test_config_and_weights_come_and_nothing_else(fetch, hub, tmp_path):
    done, out = fetch()
    assert done.returncode == 0, done.stderr
    assert {path.name for path in out.iterdir()} == {"config.json", "pytorch_model.bin", "revision.json"}
    record = json.loads((out / "revision.json").read_text())
    content = (hub.root / "models" / REPO / "pytorch_model.bin").read_bytes()
    assert (out / "pytorch_model.bin").read_bytes() == content
    assert record["commit"] == hub.commit("models", REPO) and record["weights"] == "pytorch_model.bin"
    assert record["files"]["pytorch_model.bin"] == hashlib.sha256(content).hexdigest()
    assert not (tmp_path / "state").exists()


def test_safetensors_are_preferred(fetch, hub):
    (hub.root / "models" / REPO / "model.safetensors").write_bytes(b"x" * 1000)
    done, out = fetch()
    assert done.returncode == 0, done.stderr
    assert (out / "model.safetensors").is_file() and not (out / "pytorch_model.bin").exists()


def test_bad_answers_are_one_sentence_and_leave_no_result(fetch, hub, tmp_path):
    lock = tmp_path / "hub.lock.json"
    commit = hub.commit("models", REPO)
    entry = {"commit": commit, "files": {"pytorch_model.bin": "0" * 64}}
    lock.write_text(json.dumps({"format": 1, "models": {f"{REPO}@main": entry}}))
    for call, sentence in (
        ({"revision": "step4"}, "has no revision 'step4'"),
        ({"repo": "lab/absent"}, "there is no model 'lab/absent'"),
        ({"lock": lock}, "sha256 of pytorch_model.bin is"),
    ):
        done, out = fetch(**call)
        assert done.returncode == 2 and "Traceback" not in done.stderr and sentence in done.stderr.splitlines()[-1]
        assert not (out / "revision.json").exists()
    (hub.root / "models" / REPO / "config.json").unlink()
    done, _ = fetch()
    assert done.returncode == 2 and "name another revision" in done.stderr


def test_bytes_that_are_not_the_listed_ones_are_refused(fetch, hub):
    hub.faults.append(Fault("GET", r"resolve/.*pytorch_model\.bin", "garble"))
    done, out = fetch()
    assert done.returncode == 2 and "does not have the size and sha256" in done.stderr
    assert not (out / "revision.json").exists()


def test_a_revision_is_locked_once_fetched_and_other_weights_are_refused_ever_after(fetch, hub, tmp_path):
    path = tmp_path / "hub.lock.json"
    done, out = fetch(lock=path)  # nothing is locked yet: first contact
    assert done.returncode == 0, done.stderr
    assert lock_hub(path, "checkpoints", out / "revision.json")[0] == 0
    record = json.loads((out / "revision.json").read_text())
    assert json.loads(path.read_text())["models"] == {
        f"{REPO}@main": {"commit": record["commit"], "files": record["files"]}
    }
    assert fetch(lock=path)[0].returncode == 0
    changed = json.loads(path.read_text())
    changed["models"][f"{REPO}@main"]["files"]["pytorch_model.bin"] = "0" * 64
    path.write_text(json.dumps(changed))
    assert "sha256 of pytorch_model.bin" in refusal(*lock_hub(path, "checkpoints", out / "revision.json"))
    done, _ = fetch(lock=path)
    assert done.returncode == 2 and "sha256 of pytorch_model.bin" in done.stderr
    assert not (out / "revision.json").exists()
