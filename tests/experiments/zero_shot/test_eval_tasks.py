"""Local and hub tasks: items as they are, and one sentence for every way they can be missing or wrong."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from myopia.common.errors import MyopiaError
from myopia.common.files import sha256_file
from myopia.experiments.zero_shot.task_folder import read_task
from myopia.experiments.zero_shot.tasks import make_task

SCRIPTS = Path(__file__).resolve().parents[3] / "scripts"
ROWS = [{"goal": f"goal {n}", "sol1": "yes", "sol2": "no", "label": n % 2} for n in range(6)]
COLUMNS = ["goal", "sol1", "sol2", "label"]


def spec(path, columns=COLUMNS, items=None):
    source = {"kind": "files", "path": str(path), "split": "validation", "items": items}
    return {"definition": "piqa/piqa.yaml", "columns": columns, "source": source}


def write(path, rows=ROWS):
    if path.suffix == ".parquet":
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def sentence(tmp_path, task):
    with pytest.raises(MyopiaError) as caught:
        make_task("piqa", task, tmp_path / "out")
    assert "\n" not in str(caught.value) and not (tmp_path / "out" / "task.json").exists()
    return str(caught.value)


def check_copied(tmp_path, name):
    manifest = make_task("piqa", spec(write(tmp_path / name)), tmp_path / "out")
    lines = (tmp_path / "out" / "items.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == ROWS
    assert read_task(tmp_path / "out") == manifest
    assert (manifest["split"], manifest["items"], manifest["definition"]) == ("validation", 6, "piqa/piqa.yaml")
    assert manifest["source"]["sha256"] == sha256_file(tmp_path / name)
    assert str(tmp_path) not in (tmp_path / "out" / "task.json").read_text()


def test_items_are_copied_and_vouched_for(tmp_path):
    for name in ("a.parquet", "a.jsonl"):
        check_copied(tmp_path, name)


def test_a_limit_takes_items_evenly(tmp_path):
    write(tmp_path / "a.jsonl", [{**ROWS[0], "goal": f"goal {n}"} for n in range(10)])
    manifest = make_task("piqa", spec(tmp_path / "a.jsonl", items=4), tmp_path / "out")
    lines = (tmp_path / "out" / "items.jsonl").read_text().splitlines()
    assert [json.loads(line)["goal"] for line in lines] == ["goal 0", "goal 2", "goal 5", "goal 7"]
    assert (manifest["items"], manifest["source"]["of"]) == (4, 10)
    whole = make_task("piqa", spec(tmp_path / "a.jsonl", items=10), tmp_path / "out")
    assert whole["items"] == 10 and "of" not in whole["source"]


def test_a_missing_file_names_its_key(tmp_path):
    message = sentence(tmp_path, spec(tmp_path / "nowhere" / "validation.parquet"))
    assert message.startswith("config key zero_shot.tasks.piqa.local.path: there is no file ")
    assert "data_root" in message and "nowhere/validation.parquet" in message


def test_wrong_columns_are_named(tmp_path):
    rows = [{"question": "q", "sol1": "a", "label": 0}]
    message = sentence(tmp_path, spec(write(tmp_path / "a.parquet", rows)))
    assert "item 0 lacks the column(s) goal, sol2; it has label, question, sol1" in message
    holes = [*ROWS, {**ROWS[0], "label": None}]
    assert "item 6 lacks the column(s) label" in sentence(tmp_path, spec(write(tmp_path / "b.parquet", holes)))


def test_a_damaged_file_is_one_sentence(tmp_path):
    for name, content, part in (
        ("a.parquet", b"PAR1 but no more", "not readable as items"),
        ("a.jsonl", b'{"goal": 1}\n{"goal"', "not readable as items"),
        ("a.jsonl", b"[1, 2]\n", "not readable as items"),
        ("a.jsonl", b"", "there is not one item"),
        ("a.csv", b"goal,sol1\n", "unknown format"),
    ):
        (tmp_path / name).write_bytes(content)
        assert part in sentence(tmp_path, spec(tmp_path / name)), content


def test_items_that_are_not_the_manifests_are_refused(tmp_path):
    make_task("piqa", spec(write(tmp_path / "a.jsonl")), tmp_path / "out")
    with open(tmp_path / "out" / "items.jsonl", "a") as handle:
        handle.write("{}\n")
    with pytest.raises(MyopiaError, match="do not match their manifest"):
        read_task(tmp_path / "out")
    (tmp_path / "out" / "task.json").unlink()
    with pytest.raises(MyopiaError, match="myopia make-task"):
        read_task(tmp_path / "out")


def test_a_task_that_needs_the_network_while_offline_is_one_line(tmp_path):
    source = {
        "kind": "hub",
        "dataset": "allenai/winogrande",
        "name": "winogrande_xl",
        "revision": "main",
        "items": None,
    }
    task = {
        "definition": "winogrande/default.yaml",
        "columns": ["sentence"],
        "source": {**source, "split": "validation"},
    }
    settings = {
        "experiments": [],
        "share_process": True,
        "results": str(tmp_path),
        "zero_shot": {"tasks": {"winogrande": task}},
    }
    (tmp_path / "settings.json").write_text(json.dumps(settings))
    done = subprocess.run(
        [sys.executable, "-m", "myopia", "make-task", "winogrande", "--settings", tmp_path / "settings.json",
         "--out", tmp_path / "out"],
        cwd=SCRIPTS, env={**os.environ, "HF_HUB_OFFLINE": "1"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr == (
        "error: zero_shot task 'winogrande' needs the dataset 'allenai/winogrande' from the network: HF_HUB_OFFLINE is"
        " set. Remove it from zero_shot.run, or give it a 'local' path.\n"
    )
    assert not (tmp_path / "out").exists()
