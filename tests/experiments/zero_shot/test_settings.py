"""Which zero-shot tasks run where, and from what; bad entries end in one sentence."""

import re
from pathlib import Path

import pytest

from myopia.common.errors import MyopiaError
from myopia.config.load import load_config

LOCAL = ["lambada_openai", "piqa", "sciq", "arc_easy"]
EIGHT = [*LOCAL, "winogrande", "wsc", "arc_challenge", "logiqa"]


def tasks(config, scale, **more):
    return load_config({**config, "scale": scale, **more})["zero_shot"]["tasks"]


@pytest.mark.parametrize("scale", ["smoke", "laptop", "cpu", "gpu"])
def test_a_fresh_clone_runs_the_cloze_alone(config, scale):
    found = tasks(config, scale)
    # One cloze for each corpus whose models are scored; the family has its own at cpu.
    assert list(found) == ["cloze-docstrings", "cloze-docstrings-1k"][: 2 if scale == "cpu" else 1]
    source = found["cloze-docstrings"]["source"]
    assert (source["kind"], source["split"], source["corpus"]) == ("cloze", "test", "docstrings")
    assert source["max_tokens"] == load_config({**config, "scale": scale})["text"]["T"] > source["min_tokens"]


@pytest.mark.parametrize("scale", ["laptop", "cpu"])
def test_data_root_adds_the_local_tasks_and_a_cloze_for_each_corpus(config, scale, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("somewhere/data/msmarco").mkdir(parents=True)
    found = tasks(config, scale, data_root="somewhere/data/")
    family = ["cloze-docstrings-1k"] if scale == "cpu" else []
    assert list(found) == ["cloze-docstrings", "cloze-msmarco", *family, *LOCAL]
    source = {"kind": "files", "path": "somewhere/data/evals/sciq/validation.parquet", "split": "validation"}
    items = load_config({**config, "scale": scale})["zero_shot"]["items"]
    assert found["sciq"]["source"] == {**source, "items": items} and found["sciq"]["definition"] == "sciq/sciq.yaml"


def test_the_papers_scale_runs_all_eight_and_prefers_local_files(config):
    hub = tasks(config, "paper")
    assert list(hub) == ["cloze-msmarco-hub", "cloze-pile-hub", *EIGHT]
    assert {hub[name]["source"]["kind"] for name in EIGHT} == {"hub"} and hub["sciq"]["source"]["split"] == "test"
    assert hub["piqa"]["source"]["name"] is None and hub["wsc"]["source"]["name"] == "wsc.fixed"
    here = tasks(config, "paper", data_root="d")
    assert [name for name in EIGHT if here[name]["source"]["kind"] == "files"] == LOCAL


def test_every_name_fits_the_wildcard_and_every_definition_is_one_of_lm_eval(config):
    from importlib import resources

    packaged = resources.files("lm_eval") / "tasks"
    for name, task in tasks(config, "paper", data_root="d").items():
        assert re.fullmatch(r"[a-z0-9_-]+", name)
        assert task["definition"] is None or (packaged / task["definition"]).is_file()


def test_sizes_that_are_not_trained_cannot_be_scored(put):
    with pytest.raises(MyopiaError, match=r"zero_shot.family_sizes: 'd64' is not among family.sizes \(d16, d24\)"):
        load_config(put("scales.smoke.zero_shot.family_sizes", ["d64"]))


def test_an_unknown_task_is_named_with_the_known_ones(put):
    with pytest.raises(MyopiaError, match=r"zero_shot.run: the task 'hellaswag' is unknown; known are cloze, lambada"):
        load_config(put("scales.smoke.zero_shot.run", ["cloze", "hellaswag"]))


def test_a_task_of_ones_own_needs_items_from_somewhere(put):
    mine = {"definition": "hellaswag/hellaswag.yaml", "columns": ["ctx"]}
    put("scales.smoke.zero_shot.run", ["mine"])
    with pytest.raises(MyopiaError, match=r"zero_shot\.tasks\.mine: give 'local' or 'hub'"):
        load_config(put("base.zero_shot.tasks.mine", mine))
    local = {"path": "{data_root}/mine.jsonl", "split": "test"}
    config = put("base.zero_shot.tasks.mine", {**mine, "local": local})
    with pytest.raises(MyopiaError, match=r"config key data_root: the zero-shot task 'mine' reads local files"):
        load_config(config)
    assert tasks(config, "smoke", data_root="d")["mine"]["source"]["path"] == "d/mine.jsonl"
    fixed = put("base.zero_shot.tasks.mine", {**mine, "local": {**local, "path": "/data/mine.jsonl"}})
    assert tasks(fixed, "smoke")["mine"]["source"]["path"] == "/data/mine.jsonl"


@pytest.mark.parametrize(
    ("path", "value", "told"),
    [
        ("base.zero_shot.cloze.min_tokens", 64, "config key zero_shot.cloze.min_tokens: 64 tokens do not fit"),
        ("base.zero_shot.cloze.min_tokens", 5, "config key base.zero_shot.cloze.min_tokens"),
        ("base.zero_shot.items", 0, "config key base.zero_shot.items"),
        ("base.zero_shot.tasks.piqa.local.split", "train", "config key base.zero_shot.tasks.piqa.local.split"),
        ("base.zero_shot.tasks.piqa.definition", "piqa", "config key base.zero_shot.tasks.piqa.definition"),
        ("base.zero_shot.tasks.piqa.defintion", "a.yaml", "unknown key 'defintion' at base.zero_shot.tasks.piqa"),
        ("base.zero_shot.tasks.piqa", {"definition": "a.yaml"}, "the key 'columns' is missing"),
    ],
)
def test_a_bad_entry_names_its_key(put, path, value, told):
    with pytest.raises(MyopiaError) as caught:
        load_config(put(path, value))
    assert told in str(caught.value) and "\n" not in str(caught.value)
