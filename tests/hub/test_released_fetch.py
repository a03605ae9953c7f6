"""Released checkpoints through the real hub client and a loopback hub: pins, resumed downloads, every bad answer.

Nothing is opened here, so the checkpoints are noise. Each case is a process of its own, as in the workflow.
"""

import hashlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from fetching import environment, refusals
from lightning_files import file_name
from myopia.experiments.released.fetch import parse_file_name
from myopia.experiments.released.settings import checkpoints
from standin import Fault, HubStandIn

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
SETTINGS = {
    "sizes": ["14m", "31m"], "arms": ["vanilla", "myopic"], "repo": "authors/pythia-{size}-{arm}", "file": "*.ckpt",
    "revision": "main", "base": "base/pythia-{size}", "base_revision": "main",
}  # fmt: skip
TOKENIZER = {"model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2}, "merges": ["a b"]}, "added_tokens": []}
BIG = 300_000


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Both arms of two sizes and their two architectures."""
    root = tmp_path_factory.mktemp("hub")
    for size in SETTINGS["sizes"]:
        base = root / "models" / "base" / f"pythia-{size}"
        base.mkdir(parents=True)
        (base / "config.json").write_text(json.dumps({"model_type": "gpt_neox", "size": size}))
        # Another version of the library writes the same tokenizer in other words.
        merges = ["a b"] if size == "14m" else [["a", "b"]]
        tokenizer = {**TOKENIZER, "model": {**TOKENIZER["model"], "merges": merges}}
        (base / "tokenizer.json").write_text(json.dumps(tokenizer, indent=len(size) if size == "14m" else None))
        (base / "tokenizer_config.json").write_text("{}")
        (base / "pytorch_model.bin").write_bytes(b"not wanted" * 1000)
        for arm in SETTINGS["arms"]:
            repo = root / "models" / "authors" / f"pythia-{size}-{arm}"
            repo.mkdir(parents=True)
            (repo / file_name(size, arm)).write_bytes(os.urandom(BIG))
            (repo / "README.md").write_text("nothing")
    return root


@pytest.fixture
def hub(root, tmp_path):
    """A hub of its own for each test, free to be changed."""
    with HubStandIn(shutil.copytree(root, tmp_path / "hub")) as server:
        yield server


def call(url, folder, *arguments, **environment):
    """Run Python with a hub and a cache in `folder`; extra environment by keyword."""
    settings = {
        "HF_ENDPOINT": url, "HF_HOME": str(folder / "hf"), "HF_HUB_DISABLE_XET": "1", "HF_HUB_OFFLINE": "0",
        "NO_PROXY": "127.0.0.1",
    }  # fmt: skip
    return subprocess.run(
        [sys.executable, *map(str, arguments)], cwd=SCRIPTS,
        capture_output=True, text=True, check=False, timeout=100, env={**os.environ, **settings, **environment},
    )  # fmt: skip


def settings_file(folder, **changes):
    """Write settings.json with changed settings of the section."""
    path = folder / "settings.json"
    released = {**SETTINGS, **changes}
    settings = {"experiments": [], "share_process": True, "results": str(folder), "released": released}
    path.write_text(json.dumps(settings))
    return path


@pytest.fixture
def resolve(hub, tmp_path):
    """Call with changed settings: (process, lock or None)."""

    def run(pins=None, url=None, environment=None, **changes):
        out = tmp_path / "released"
        settings = settings_file(tmp_path, **changes)
        words = ["--settings", settings, "--out", out, *(("--pins", pins) if pins else ())]
        done = call(url or hub.url, tmp_path, "-m", "myopia", "resolve-released", *words, **(environment or {}))
        lock = out / "released.lock.json"
        return done, json.loads(lock.read_text()) if lock.exists() else None

    return run


@pytest.fixture(scope="module")
def resolved(root, tmp_path_factory):
    """What `resolve-released` made of the hub as it is: its folder, what it said, and what was asked for."""
    folder = tmp_path_factory.mktemp("resolved")
    with HubStandIn(root) as server:
        words = ("--settings", settings_file(folder), "--out", folder / "released")
        done = call(server.url, folder, "-m", "myopia", "resolve-released", *words)
        assert done.returncode == 0, done.stderr
        return SimpleNamespace(folder=folder / "released", said=done.stderr, requests=list(server.requests))


@pytest.fixture
def fetch(hub, resolved, tmp_path):
    """Fetch one checkpoint as it was resolved."""
    shutil.copytree(resolved.folder, tmp_path / "released")

    def run(changes=None, **environment):
        folder = tmp_path / "checkpoints"
        done = call(
            hub.url, tmp_path,
            "-m", "myopia", "fetch-released", "pythia-14m-myopic", "--settings", settings_file(tmp_path, **(changes or {})),
            "--lock", tmp_path / "released" / "released.lock.json", "--state", tmp_path / "state",
            "--out", folder / "checkpoint.ckpt", "--record", folder / "fetched.json", **environment,
        )  # fmt: skip
        return done, folder / "checkpoint.ckpt", folder / "fetched.json"

    return run


def last_line(done):
    """The one sentence of a failed run, which must be the last line of stderr with exit code 2."""
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr.splitlines()[-1]


def original(hub, size="14m", arm="myopic"):
    return hub.root / "models" / "authors" / f"pythia-{size}-{arm}" / file_name(size, arm)


def test_everything_is_pinned_before_anything_big_is_fetched(hub, resolved):
    out = resolved.folder
    lock = json.loads((out / "released.lock.json").read_text())
    entry = lock["models"]["authors/pythia-31m-vanilla@main"]
    content = original(hub, "31m", "vanilla").read_bytes()
    assert entry == {
        "commit": hub.commit("models", "authors/pythia-31m-vanilla"),
        "files": {file_name("31m", "vanilla"): hashlib.sha256(content).hexdigest()},
        "checkpoint": file_name("31m", "vanilla"),
        "size": BIG,
    }
    assert len(lock["models"]) == 6
    assert "released: 4 checkpoints, 0.0 GB to download" in resolved.said
    assert not [path for method, path, _ in resolved.requests if method == "GET" and ".ckpt" in path]
    made = {p.relative_to(out).as_posix() for p in out.rglob("*") if p.is_file()}
    bases = {
        f"base/pythia-{s}/{f}"
        for s in SETTINGS["sizes"]
        for f in ("config.json", "tokenizer.json", "tokenizer_config.json")
    }
    assert made == bases | {"released.lock.json", "tokenizer/tokenizer.json", "tokenizer/tokenizer_config.json"}
    assert json.loads((out / "base" / "pythia-31m" / "config.json").read_text())["size"] == "31m"


def test_a_checkpoint_comes_whole_from_its_pinned_commit(hub, fetch, tmp_path):
    done, checkpoint, record = fetch()
    assert done.returncode == 0, done.stderr
    assert checkpoint.read_bytes() == original(hub).read_bytes()
    commit = hub.commit("models", "authors/pythia-14m-myopic")
    assert json.loads(record.read_text()) == {
        "repo": "authors/pythia-14m-myopic", "commit": commit, "file": file_name("14m"), "size": BIG,
        "sha256": hashlib.sha256(original(hub).read_bytes()).hexdigest(), "in_name": parse_file_name(file_name("14m")),
    }  # fmt: skip
    assert all(f"/resolve/{commit}/" in path for _, path, _ in hub.requests if ".ckpt" in path)
    assert not (tmp_path / "state").exists()


def test_a_busy_hub_is_asked_again_and_a_broken_download_is_continued(hub, resolve, fetch):
    with open(original(hub), "ab") as handle:
        handle.write(os.urandom(23_000_000))  # the client writes pieces of 10 MB: less is not continued but repeated
    hub.faults.append(Fault("*", "/api/models", "503", count=1))
    assert resolve()[0].returncode == 0
    hub.faults += [Fault("GET", "ckpt", "503", count=1), Fault("GET", "ckpt", "truncate", count=1)]
    hub.requests.clear()
    done, checkpoint, _ = fetch()
    assert done.returncode == 0, done.stderr
    assert "Attempt 2 of 3" in done.stderr
    assert checkpoint.read_bytes() == original(hub).read_bytes()
    statuses = [status for method, path, status in hub.requests if method == "GET" and ".ckpt" in path]
    assert statuses == [503, 200, 206]


def test_other_bytes_than_listed_are_never_kept(hub, fetch, tmp_path):
    hub.faults.append(Fault("GET", "ckpt", "garble", count=1))
    done, checkpoint, _ = fetch()
    assert done.returncode == 0, done.stderr
    assert "is not what the hub lists; once more" in done.stderr
    assert checkpoint.read_bytes() == original(hub).read_bytes()
    checkpoint.unlink()
    hub.faults.append(Fault("GET", "ckpt", "garble"))
    killed = tmp_path / "state" / ".cache" / "huggingface" / "download" / "name.1a42aedd.incomplete"
    killed.parent.mkdir(parents=True)
    killed.write_bytes(b"what a killed client leaves and never reads again")
    done, checkpoint, record = fetch()
    assert not killed.exists()
    assert "does not have the size and sha256 that the hub lists, twice" in last_line(done)
    assert not checkpoint.exists()


def test_a_download_that_is_already_here_needs_no_hub(hub, fetch, tmp_path):
    (tmp_path / "state").mkdir()
    shutil.copy(original(hub), tmp_path / "state" / file_name("14m"))
    done, checkpoint, _ = fetch(HF_HUB_OFFLINE="1")
    assert done.returncode == 0, done.stderr
    assert not hub.requests
    assert checkpoint.stat().st_size == BIG


WRONG = [
    ({"revision": "v9"}, "the model 'authors/pythia-14m-vanilla' has no revision 'v9' on the hub."),
    ({"repo": "nobody/{size}-{arm}"}, "there is no model 'nobody/14m-vanilla' on the hub http"),
    ({"file": "*.pt"}, "must hold exactly one checkpoint that fits '*.pt', but none of PYTHIA"),
    ({"base_revision": "v9"}, "the model 'base/pythia-14m' has no revision 'v9' on the hub."),
    (
        {"base": "authors/pythia-{size}-myopic"},
        "'authors/pythia-14m-myopic' has no config.json; config key released.base",
    ),
]


def resolving(hub, folder, *changes):
    """What `resolve_released` refuses changed settings with, None for what it does not."""
    cases = [
        {
            "specs": list(checkpoints({"released": {**SETTINGS, **each}}).values()),
            "out": str(folder / "out"),
        }
        for each in changes
    ]
    return refusals("myopia.experiments.released.fetch:resolve_released", cases, environment(hub.url, folder / "hf"))


def test_wrong_settings(hub, tmp_path):
    said = resolving(hub, tmp_path, *(changes for changes, _ in WRONG))
    for (changes, wanted), sentence in zip(WRONG, said, strict=True):
        assert sentence and wanted in sentence, (changes, sentence)
    assert not (tmp_path / "out" / "released.lock.json").exists()


def test_repositories_that_are_not_what_they_are_called(hub, tmp_path):
    models = hub.root / "models"
    for owner in ("two", "swapped"):
        shutil.copytree(models / "authors", models / owner)
    (models / "two/pythia-14m-myopic/last.ckpt").write_bytes(b"x")
    mislabelled = models / "swapped/pythia-14m-myopic"
    (mislabelled / file_name("14m")).rename(mislabelled / file_name("14m", "vanilla"))
    two, named, swapped = resolving(
        hub, tmp_path,
        {"repo": "two/pythia-{size}-{arm}"},
        {"repo": "two/pythia-{size}-{arm}", "file": "PYTHIA*.ckpt"},
        {"repo": "swapped/pythia-{size}-{arm}"},
    )  # fmt: skip
    assert "but PYTHIA-" in two and "last.ckpt fit; name the file in config key released.file." in two
    assert named is None
    assert "should hold the myopic model of size 14m, but its file is called PYTHIA-PILE10M64-VANILLA" in swapped
    assert "a mislabelled checkpoint" in swapped


def test_one_encoding_must_serve_all_sizes(hub, tmp_path):
    path = hub.root / "models" / "base" / "pythia-31m" / "tokenizer.json"
    path.write_text(json.dumps({**TOKENIZER, "model": {**TOKENIZER["model"], "vocab": {"a": 0, "b": 1, "ab": 3}}}))
    both, one = resolving(hub, tmp_path, {}, {"sizes": ["31m"]})
    assert "the tokenizers of pythia-14m and pythia-31m differ" in both and one is None


def test_the_architecture_may_lie_in_a_local_folder(hub, resolve, tmp_path):
    for size in SETTINGS["sizes"]:
        shutil.copytree(hub.root / "models" / "base" / f"pythia-{size}", tmp_path / "local" / f"p-{size}")
    done, lock = resolve(base=f"{tmp_path}/local/p-{{size}}")
    assert done.returncode == 0, done.stderr
    assert lock["models"]["p-14m"]["commit"] is None
    assert str(tmp_path) not in json.dumps(lock)


def test_pins_are_kept_and_checked(hub, resolved, resolve, tmp_path):
    lock = json.loads((resolved.folder / "released.lock.json").read_text())
    pins = tmp_path / "pins.json"
    pins.write_text(json.dumps({"datasets": {"a/b": {}}, **lock}))
    assert resolve(pins=pins)[1] == lock
    name = file_name("14m", "myopic")
    lock["models"]["authors/pythia-14m-myopic@main"]["files"][name] = "0" * 64
    pins.write_text(json.dumps(lock))
    assert f"{name} of 'authors/pythia-14m-myopic' is no longer the pinned one" in last_line(
        resolve(sizes=["14m"], pins=pins)[0]
    )
    original(hub).write_bytes(b"moved on")  # a new commit: the stand-in forgets the old one
    assert "has no revision" in last_line(resolve(sizes=["14m"], pins=pins)[0])
    assert resolve(sizes=["14m"], pins=tmp_path / "not there.json")[0].returncode == 0


def test_no_network(resolve):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    start = time.monotonic()
    done, _ = resolve(url=url)
    assert f"hub: the hub {url} cannot be reached for 'authors/pythia-14m-vanilla' (" in last_line(done)
    assert "Attempt 3 of 3" in done.stderr
    assert time.monotonic() - start < 20
    assert "the hub is switched off (HF_HUB_OFFLINE)" in last_line(resolve(environment={"HF_HUB_OFFLINE": "1"})[0])


def test_a_lock_that_does_not_know_the_checkpoint(fetch, tmp_path):
    assert "it has no checkpoint of 'authors/else-14m-myopic'; delete it" in last_line(
        fetch({"repo": "authors/else-{size}-{arm}"})[0]
    )
    (tmp_path / "released" / "released.lock.json").write_text("{")
    assert "not a readable lock of hub files" in last_line(fetch()[0])


def test_file_names():
    assert parse_file_name(file_name("2.8b", "myopic", 6.4e-5, 2.67)) == {
        "arm": "myopic", "size": "2.8b", "lr": 6.4e-5, "warmup": 0.05, "global_step": 1627.0, "train_loss": 2.67
    }  # fmt: skip
    assert parse_file_name("last.ckpt") == {}
