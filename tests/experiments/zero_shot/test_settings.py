"""Which zero-shot tasks run where and from what, which models are scored, and refusals in one sentence."""

import re
from pathlib import Path

import pytest

from myopia.common.errors import MyopiaError
from myopia.config.dag import Dag
from myopia.config.load import load_config
from myopia.experiments.zero_shot import EXPERIMENT

LOCAL = ["lambada_openai", "piqa", "sciq", "arc_easy"]
EIGHT = [*LOCAL, "winogrande", "wsc", "arc_challenge", "logiqa"]
READS = ["text", "size_sweep", "zero_shot"]


def load(scale="smoke", data_root=None, **section):
    config = {"scale": scale, "experiments": READS, "zero_shot": section}
    return load_config(config | ({"data_root": str(data_root)} if data_root else {}))


def tasks(*args, **section):
    return load(*args, **section)["zero_shot"]["tasks"]


# --- tasks ---


def check_clone(scale):
    settings = load(scale)
    found = settings["zero_shot"]["tasks"]
    # One cloze for each corpus whose models are scored; the size sweep has its own at cpu.
    assert list(found) == ["cloze-docstrings", "cloze-docstrings-1k"][: 2 if scale == "cpu" else 1]
    source = found["cloze-docstrings"]["source"]
    assert (source["kind"], source["split"], source["corpus"]) == ("cloze", "test", "docstrings")
    assert source["max_tokens"] == settings["context_length"] > source["min_tokens"]


def test_a_fresh_clone_runs_the_cloze_alone():
    for scale in ("smoke", "laptop", "cpu", "gpu"):
        check_clone(scale)


def test_data_root_adds_the_local_tasks_and_a_cloze_for_each_corpus(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("somewhere/data/msmarco").mkdir(parents=True)
    for scale, sweep in (("laptop", []), ("cpu", ["cloze-docstrings-1k"])):
        found = tasks(scale, "somewhere/data/")
        assert list(found) == ["cloze-docstrings", "cloze-msmarco", *sweep, *LOCAL], scale
        source = {"kind": "files", "path": "somewhere/data/evals/sciq/validation.parquet", "split": "validation"}
        items = load(scale)["zero_shot"]["items"]
        assert found["sciq"]["source"] == {**source, "items": items}, scale
        assert found["sciq"]["definition"] == "sciq/sciq.yaml"


def test_the_papers_scale_runs_all_eight_and_prefers_local_files():
    from importlib import resources

    hub = tasks("paper")
    assert list(hub) == ["cloze-msmarco-hub", "cloze-pile-hub", *EIGHT]
    assert {hub[name]["source"]["kind"] for name in EIGHT} == {"hub"} and hub["sciq"]["source"]["split"] == "test"
    assert hub["piqa"]["source"]["name"] is None and hub["wsc"]["source"]["name"] == "wsc.fixed"
    here = tasks("paper", "d")
    assert [name for name in EIGHT if here[name]["source"]["kind"] == "files"] == LOCAL
    packaged = resources.files("lm_eval") / "tasks"
    for name, task in here.items():
        assert re.fullmatch(r"[a-z0-9_-]+", name)
        assert task["definition"] is None or (packaged / task["definition"]).is_file()


def test_a_task_of_ones_own_needs_items_from_somewhere():
    mine = {"definition": "hellaswag/hellaswag.yaml", "columns": ["ctx"]}
    with pytest.raises(MyopiaError, match=r"zero_shot\.tasks\.mine: give 'local' or 'hub'"):
        load(run=["mine"], tasks={"mine": mine})
    local = {"path": "{data_root}/mine.jsonl", "split": "test"}
    own = {"run": ["mine"], "tasks": {"mine": {**mine, "local": local}}}
    with pytest.raises(MyopiaError, match=r"config key data_root: the zero-shot task 'mine' reads local files"):
        load(**own)
    assert tasks("smoke", "d", **own)["mine"]["source"]["path"] == "d/mine.jsonl"
    own["tasks"]["mine"]["local"]["path"] = "/data/mine.jsonl"
    assert tasks(**own)["mine"]["source"]["path"] == "/data/mine.jsonl"


# --- what is scored ---


def test_pairs_of_text_and_of_the_sweep_as_the_authors_ran_it_are_scored():
    settings = load("cpu")
    (measurement,) = EXPERIMENT.measurements
    found = measurement.units(Dag(settings))
    assert all(len(unit) == 1 for unit in found.values())
    entries = [unit[0] for unit in found.values()]
    text = [entry for entry in entries if entry["model"] == "docstrings"]
    assert {(e["arm"], e["seed"]) for e in text} == {(a, s) for a in ("vanilla", "myopic") for s in settings["seeds"]}
    assert text[0]["tasks"] == ["results/cpu/data/tasks/cloze-docstrings"]
    sweep = [entry for entry in entries if entry["model"] != "docstrings"]
    assert {entry["model"] for entry in sweep} == {"d16", "d24", "d32", "d48"}
    assert {entry["seed"] for entry in sweep} == set(settings["size_sweep"]["seeds"])
    assert len(sweep) == 4 * 2 * 5 and sweep[0]["tasks"] == ["results/cpu/data/tasks/cloze-docstrings-1k"]
    assert "Size sweep (d16, d24, d32, d48, docstrings-1k, 5 seeds)" in EXPERIMENT.figures[0].caption(settings)
    assert measurement.needs(Dag(settings))[:3] == [
        f"results/cpu/data/tasks/cloze-docstrings/{file}" for file in ("items.jsonl", "task.yaml", "task.json")
    ]
    none = load(sweep_sizes=[])
    assert {unit[0]["model"] for unit in measurement.units(Dag(none)).values()} == {"docstrings"}
    assert "Size sweep" not in EXPERIMENT.figures[0].caption(none)


# --- refusals ---


@pytest.mark.parametrize(
    ("section", "told"),
    [
        ({"sweep_sizes": ["d64"]}, "zero_shot.sweep_sizes: 'd64' is not among size_sweep.sizes (d16, d24)"),
        ({"run": ["cloze", "hellaswag"]}, "zero_shot.run: the task 'hellaswag' is unknown; known are cloze, lambada"),
        ({"cloze": {"min_tokens": 64}}, "config key zero_shot.cloze.min_tokens: 64 tokens do not fit"),
    ],
)
def test_refusals_name_the_key(section, told):
    with pytest.raises(MyopiaError) as caught:
        load(**section)
    assert told in str(caught.value) and "\n" not in str(caught.value)
