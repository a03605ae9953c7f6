"""Zero-shot tasks from the hub, through the real client and a loopback hub: pinned, or one clear line."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from standin import HubStandIn

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
ROWS = [{"sentence": f"_ is number {n}", "option1": "it", "option2": "he", "answer": str(1 + n % 2)} for n in range(9)]


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    root = tmp_path_factory.mktemp("hub")
    folder = root / "datasets" / "someone" / "schemas"
    (folder / "xl").mkdir(parents=True)
    for split, rows in (("train", ROWS * 3), ("validation", ROWS)):
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), folder / "xl" / f"{split}-00000-of-00001.parquet")
    files = [{"split": split, "path": f"xl/{split}-*"} for split in ("train", "validation")]
    front = json.dumps({"configs": [{"config_name": "xl", "data_files": files}]})
    (folder / "README.md").write_text(f"---\n{front}\n---\n")
    with HubStandIn(root) as server:
        yield server


def make(hub_url, out, **source):
    columns = ["sentence", "option1", "option2", "answer"]
    source = {
        "kind": "hub",
        "dataset": "someone/schemas",
        "name": "xl",
        "revision": "main",
        "split": "validation",
        "items": None,
        **source,
    }
    task = {"definition": "winogrande/default.yaml", "columns": columns, "source": source}
    settings = {
        "experiments": [],
        "share_process": True,
        "results": str(out.parent),
        "zero_shot": {"tasks": {"winogrande": task}},
    }
    (out.parent / "settings.json").write_text(json.dumps(settings))
    environment = {"HF_ENDPOINT": hub_url, "HF_HOME": str(out.parent / "hf"), "HF_HUB_DISABLE_XET": "1",
                   "HF_HUB_OFFLINE": "0", "NO_PROXY": "127.0.0.1"}  # fmt: skip
    return subprocess.run(
        [sys.executable, "-m", "myopia", "make-task", "winogrande", "--settings", out.parent / "settings.json",
         "--out", out],
        cwd=SCRIPTS, env={**os.environ, **environment}, capture_output=True, text=True, timeout=90, check=False,
    )  # fmt: skip


def test_items_come_at_a_commit_that_is_recorded(hub, tmp_path):
    done = make(hub.url, tmp_path / "out")
    assert done.returncode == 0, done.stderr
    lines = (tmp_path / "out" / "items.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == ROWS
    manifest = json.loads((tmp_path / "out" / "task.json").read_text())
    assert manifest["source"] == {
        "kind": "hub", "dataset": "someone/schemas", "name": "xl", "revision": "main", "split": "validation",
        "commit": hub.commit("datasets", "someone/schemas"),
    }  # fmt: skip
    assert "validation_split: validation" in (tmp_path / "out" / "task.yaml").read_text()


def test_what_the_hub_does_not_have_is_one_line(hub, tmp_path):
    for source, told in (
        ({"dataset": "someone/nothing"}, "there is no dataset 'someone/nothing'"),
        ({"split": "test"}, "cannot be read"),
    ):
        done = make(hub.url, tmp_path / "out", **source)
        assert done.returncode == 2 and "Traceback" not in done.stderr, source
        line = done.stderr.splitlines()[-1]
        assert line.startswith("error: zero_shot task 'winogrande'") and told in line, (source, line)
        assert not (tmp_path / "out").exists(), source


def test_no_network_is_one_line(tmp_path):
    with socket.socket() as taken:  # bound and not listening: nobody answers there
        taken.bind(("127.0.0.1", 0))
        done = make(f"http://127.0.0.1:{taken.getsockname()[1]}", tmp_path / "out")
    assert done.returncode == 2 and "Traceback" not in done.stderr
    line = done.stderr.splitlines()[-1]
    assert line.startswith("error: zero_shot task 'winogrande' needs the dataset 'someone/schemas' from the network")
    assert line.endswith("Remove it from zero_shot.run, or give it a 'local' path.")
