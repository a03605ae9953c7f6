"""Zero-shot accuracy through the real lm-eval on tiny models: the same numbers as by hand, and clear refusals."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from eval_items import DEFINITIONS, cloze_task, local_task, rows, tiny_model
from myopia.common.errors import MyopiaError
from myopia.common.files import write_csv
from myopia.experiments.zero_shot import SCORES
from myopia.experiments.zero_shot.measure import EvalRun, load_task, measure, zero_shot
from myopia.model.build import load_language_model
from standin import HubStandIn

ROOT = Path(__file__).resolve().parents[3]
DATA = os.environ.get("MYOPIA_DATA_ROOT")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Task folders, and two models (arms) of one seed with a wide window so that no simulated item is cut."""
    folder = tmp_path_factory.mktemp("zero-shot")
    cloze, tokenizer = cloze_task(folder)
    tasks = {"cloze-tiny": cloze, **{task: local_task(folder, task) for task in DEFINITIONS}}
    models = {arm: tiny_model(folder / arm, tokenizer, seed, 256) for seed, arm in enumerate(("vanilla", "myopic"))}
    return {"tasks": tasks, "models": models, "tokenizer": tokenizer, "folder": folder}


def runs(place, tasks, arms=("vanilla", "myopic"), **changes):
    folders = tuple(place["tasks"].get(task, task) for task in tasks)
    return [
        EvalRun(**{"run": f"text-tiny-{arm}", "arm": arm, "seed": 0, "model": "tiny", "folder": place["models"][arm],
                   "tasks": folders, **changes})
        for arm in arms
    ]  # fmt: skip


@pytest.fixture(scope="module")
def frame(place):
    return zero_shot(runs(place, place["tasks"]))


def test_one_row_for_every_item_of_every_task_in_both_arms(frame, place):
    assert tuple(frame.columns) == SCORES.columns
    counts = frame.groupby(["task", "arm"]).size().unstack()
    assert (counts["vanilla"] == counts["myopic"]).all()
    assert counts["vanilla"].drop("cloze-tiny").eq(12).all() and set(counts.index) == set(place["tasks"])
    assert not frame.duplicated(["task", "run", "seed", "item"]).any()
    assert frame["correct"].isin([0, 1]).all() and 0.1 < frame["correct"].mean() < 0.9
    assert set(frame["harness"]) == {"0.4.13"} and set(frame["version"]) == {"1.0"}
    split = frame.groupby("task")["split"].first()
    assert all(split[task] == wanted for task, (_, wanted) in DEFINITIONS.items()) and split["cloze-tiny"] == "test"


def test_the_log_likelihoods_decide(frame):
    choice = frame[frame["task"] != "lambada_openai"]
    assert (choice["correct"] == (choice["ll_answer"] > choice["ll_rival"])).all()
    last = frame[frame["task"] == "lambada_openai"]
    assert last["ll_rival"].isna().all() and (last["ll_answer"] < 0).all()


def test_chance_is_what_a_guess_scores(frame):
    chance = frame[frame["arm"] == "vanilla"].groupby("task")["chance"]
    for task, share in {"piqa": 1 / 2, "sciq": 1 / 4, "winogrande": 1 / 2, "wsc": 1 / 2, "cloze-tiny": 1 / 4}.items():
        assert chance.min()[task] == chance.max()[task] == share
    assert sorted(set(frame.loc[frame["task"] == "arc_easy", "chance"])) == [1 / 5, 1 / 4, 1 / 3]
    words = pd.Series([row["text"].split(" ")[-1] for row in rows("lambada_openai")])
    assert chance.mean()["lambada_openai"] == pytest.approx(words.value_counts().max() / len(words))


def test_the_cloze_agrees_with_a_plain_forward_pass(frame, place):
    """No lm-eval here: the likelier of four words after the passage, summed over its tokens."""
    import torch
    from transformers import AutoTokenizer

    model = load_language_model(place["models"]["myopic"])
    tokenizer = AutoTokenizer.from_pretrained(place["models"]["myopic"])
    items = [json.loads(line) for line in (place["tasks"]["cloze-tiny"] / "items.jsonl").read_text().splitlines()]
    scores = np.zeros((len(items), 4))
    for n, item in enumerate(items):
        start = len(tokenizer(item["context"])["input_ids"])
        for k, word in enumerate(item["choices"]):
            ids = torch.tensor([tokenizer(f"{item['context']} {word}")["input_ids"]])
            with torch.no_grad():
                logs = model(input_ids=ids).logits.log_softmax(-1)[0]
            scores[n, k] = sum(float(logs[t - 1, ids[0, t]]) for t in range(start, ids.shape[1]))
    answer = np.array([item["answer"] for item in items])
    mine = frame[(frame["task"] == "cloze-tiny") & (frame["arm"] == "myopic")].set_index("item").sort_index()
    assert (mine["correct"].to_numpy() == (scores.argmax(1) == answer)).all()
    np.testing.assert_allclose(mine["ll_answer"], scores[np.arange(len(items)), answer], atol=1e-4)
    assert list(mine["cluster"]) == [item["doc"] for item in items]


def test_a_last_word_counts_if_it_is_the_greedy_continuation(place, tmp_path):
    import torch
    from transformers import AutoTokenizer

    model = load_language_model(place["models"]["vanilla"])
    tokenizer = AutoTokenizer.from_pretrained(place["models"]["vanilla"])
    items, greedy = [], []
    for row in rows("lambada_openai", 60):
        context, _, word = row["text"].rpartition(" ")
        with torch.no_grad():
            best = int(model(torch.tensor([tokenizer(context)["input_ids"]])).logits[0, -1].argmax())
        said = tokenizer.decode([best])
        if said[:1] == " " and said[1:].isalpha():  # a whole word: as the answer it must count
            items += [{"text": context + said}, {"text": f"{context} {word}"}]
            greedy += [1, int(said == f" {word}")]
    assert len(items) >= 6
    task = local_task(tmp_path, "lambada_openai", items)
    found = zero_shot(runs(place, [task], arms=["vanilla"])).set_index("item").sort_index()
    assert found["correct"].tolist() == greedy


def test_it_is_what_simple_evaluate_says(frame, place, tmp_path, monkeypatch):
    """lm-eval's own front door on the same tasks: the same accuracy to the last digit."""
    import lm_eval.tasks
    from lm_eval.models.huggingface import HFLM
    from transformers import AutoTokenizer

    folder = place["models"]["vanilla"]
    lm = HFLM(load_language_model(folder), tokenizer=AutoTokenizer.from_pretrained(folder), batch_size=7)
    tasks = [load_task(path, tmp_path).task for path in place["tasks"].values()]
    # It asks the machine for every version it can think of, which takes longer than all tasks.
    monkeypatch.setattr("lm_eval.evaluator.add_env_info", lambda results: None)
    manager = lm_eval.tasks.TaskManager(include_defaults=False)
    found = lm_eval.simple_evaluate(
        lm, tasks=tasks, num_fewshot=0, bootstrap_iters=0, log_samples=False, task_manager=manager
    )["results"]
    mine = frame[frame["arm"] == "vanilla"].groupby("task")["correct"].mean()
    assert {task: found[task]["acc,none"] for task in mine.index} == mine.to_dict()


def test_answers_that_do_not_fit_are_left_out_and_cut_prompts_are_told(place, tmp_path):
    items = rows("piqa")
    items[3]["sol1"] = " ".join(["harbour"] * 40)  # no window of 32 holds it
    items[5]["goal"] = " ".join(["harbour"] * 40)  # cut from the left
    narrow = tiny_model(tmp_path / "narrow", place["tokenizer"], 0, 32)
    task = local_task(tmp_path, "piqa", items)
    got = zero_shot(runs(place, [task], arms=["vanilla"], folder=narrow)).set_index("item")
    assert list(got.index) == [n for n in range(12) if n != 3] and set(got["left_out"]) == {1}
    assert list(got.index[got["truncated"] == 1]) == [5]
    none = local_task(tmp_path, "piqa", [items[3]])
    assert zero_shot(runs(place, [none], arms=["vanilla"], folder=narrow)).empty


def test_what_cannot_be_evaluated_is_one_sentence(place, tmp_path):
    def sentence(task, **changes):
        with pytest.raises(MyopiaError) as caught:
            zero_shot(runs(place, [task], **changes))
        assert "\n" not in str(caught.value)
        return str(caught.value)

    bad = local_task(tmp_path, "arc_easy", [{**row, "answerKey": "Z"} for row in rows("arc_easy")])
    assert "zero_shot task 'arc_easy': lm-eval cannot read" in sentence(bad)
    missing = tmp_path / "missing"
    missing.mkdir()
    assert "no readable manifest" in sentence(missing)
    quiz = [{"goal": "g", "sol1": "a", "sol2": "b", "label": 0, "question": "q", "answer": {"aliases": ["a"]}}]
    folder = local_task(tmp_path, "piqa", quiz)
    manifest = json.loads((folder / "task.json").read_text())
    for definition, told in (("piqa/no.yaml", "has no piqa/no.yaml"), ("triviaqa/default.yaml", "not one task of")):
        (folder / "task.json").write_text(json.dumps({**manifest, "definition": definition}))
        message = sentence(folder)
        assert told in message and message.startswith("config key zero_shot.tasks.piqa.definition")
    local = tmp_path / "local"
    local.mkdir()
    for path in place["models"]["vanilla"].iterdir():
        (local / path.name).write_bytes(path.read_bytes())
    (local / "myopia.json").write_text("{}")
    assert "holds an arm" in sentence("piqa", arms=["vanilla"], folder=local)


def test_no_network_is_asked_and_units_give_the_same_rows_in_another_process(place, tmp_path):
    wanted = runs(place, ["cloze-tiny", "lambada_openai"])
    units = [{**vars(run), "folder": str(run.folder), "tasks": [str(task) for task in run.tasks]} for run in wanted]
    code = """
import json, sys
from myopia.cli.start import start
start()
from myopia.common.files import write_csv
from myopia.experiments.zero_shot.measure import measure
units, out = json.loads(sys.argv[1]), sys.argv[2:]
for unit, path in zip(units, out):
    write_csv(path, measure([unit], {}, "cpu")["zero_shot.csv.gz"])
"""
    parts = [tmp_path / f"{arm}.csv.gz" for arm in ("vanilla", "myopic")]
    with HubStandIn(tmp_path) as hub:
        done = subprocess.run(
            [sys.executable, "-c", code, json.dumps(units), *map(str, parts)],
            cwd=ROOT / "scripts", capture_output=True, text=True, check=False,
            env={**os.environ, "HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "hf"), "HF_HUB_OFFLINE": "0"},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert hub.requests == []
    # The log holds our lines alone: no bars, no advice.
    assert done.stderr.splitlines() == [
        f"text-tiny-{arm} seed 0: scored on cloze-tiny, lambada_openai" for arm in ("vanilla", "myopic")
    ]
    whole = measure(units, {}, "cpu")[SCORES.name]
    write_csv(tmp_path / "whole.csv.gz", whole)
    keys = [*SCORES.columns]
    joined, together = (
        pd.concat(map(pd.read_csv, paths)).sort_values(keys, ignore_index=True)
        for paths in (parts, [tmp_path / "whole.csv.gz"])
    )
    pd.testing.assert_frame_equal(joined, together)
    assert len(joined) == len(wanted) * (48 + 12)


@pytest.mark.skipif(not DATA, reason="MYOPIA_DATA_ROOT does not name a folder with evals/")
def test_twenty_items_of_each_local_task(place, tmp_path):
    from myopia.config.load import load_config
    from myopia.experiments.zero_shot.tasks import make_task

    experiments = ["text", "size_sweep", "zero_shot"]
    asked = {"scale": "laptop", "data_root": DATA, "experiments": experiments, "zero_shot": {"items": 20}}
    tasks = load_config(asked)["zero_shot"]["tasks"]
    local = {name: task for name, task in tasks.items() if task["source"]["kind"] == "files"}
    assert set(local) == {"lambada_openai", "piqa", "sciq", "arc_easy"}
    counts = {name: make_task(name, task, tmp_path / name)["source"]["of"] for name, task in local.items()}
    assert counts == {"lambada_openai": 5153, "piqa": 1838, "sciq": 1000, "arc_easy": 2376}
    wide = tiny_model(tmp_path / "wide", place["tokenizer"], 0, 2048)
    got = zero_shot(runs(place, [tmp_path / name for name in local], arms=["vanilla"], folder=wide))
    assert got.groupby("task").size().to_dict() == dict.fromkeys(local, 20)
    assert set(got.loc[got["task"] == "sciq", "split"]) == {"validation"}
    assert got.groupby("task")["chance"].mean().drop("lambada_openai").between(0.2, 0.5).all()
