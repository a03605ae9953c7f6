"""Which zero-shot tasks a scale runs, where the items of each come from, and which models are scored."""

from __future__ import annotations

import copy
import functools
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import yaml
from annotated_types import Ge, Len
from pydantic import Field, Strict, StringConstraints

from myopia.common.errors import MyopiaError
from myopia.config.runs import PAIR, Spec, seeds_phrase
from myopia.config.schema import Count, Distinct, Section, Text, key
from myopia.experiments.size_sweep.settings import conditions
from myopia.experiments.text.settings import steps_phrase

if TYPE_CHECKING:
    from myopia.config.dag import Dag

CLOZE = "cloze"
"""In `zero_shot.run`: a last-word cloze for every text corpus, made from its test split."""

TaskName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9_-]+$", strict=True)]
Held = Literal["validation", "test"]


class Cloze(Section):
    """The last-word cloze: which of four words ends a passage of the test split."""

    items: Count = key("Most passages kept, spread over documents.", unit="items")
    min_tokens: Annotated[int, Strict(), Ge(13)] = key(
        "Shortest passage; the longest is context_length.", unit="tokens"
    )


class Local(Section):
    """Items on disk."""

    path: Text = key("A parquet, jsonl or jsonl.zst file; {data_root} stands for data_root.")
    split: Held = key("Which split of the benchmark the file is; shown beside every result.")


class Hub(Section):
    """Items on the Hugging Face hub."""

    dataset: Text = key("Dataset id.")
    name: Text | None = key("Configuration of the dataset.", None)
    revision: Text = key("Branch, tag or commit; the commit read is recorded.")
    split: Held = key("Split that is evaluated.")


class Task(Section):
    """A task that lm-eval knows, and where its items are."""

    definition: Annotated[str, StringConstraints(pattern=r"\.yaml$", strict=True)] = key(
        "The task's YAML file inside lm-eval's `tasks` folder."
    )
    columns: Annotated[list[Text], Len(1), Distinct] = key(
        "Columns the definition reads; checked before anything is evaluated."
    )
    local: Local | None = key("Items on disk.", None)
    hub: Hub | None = key("Items on the Hugging Face hub.", None)


@functools.cache
def _known_tasks() -> dict[str, Any]:
    return yaml.safe_load(Path(__file__).with_name("tasks.yaml").read_text())


class ZeroShot(Section):
    """Zero-shot accuracy of vanilla and myopic language runs (Fig 5): no training data, no examples in the prompt."""

    # the cloze needs neither network nor data_root
    run: Annotated[list[Text], Len(1), Distinct] = key(
        "Tasks evaluated: names under zero_shot.tasks, and `cloze` for one last-word cloze per text corpus.", ["cloze"]
    )
    sweep_sizes: Annotated[list[Text], Distinct] | None = key(
        "Sizes of the size sweep whose fine-tuned pairs are scored too, as the authors ran them (recipe as_run); null "
        "means all.",
        None,
    )
    items: Count | None = key(
        "Most items of a task other than the cloze, spread evenly over its split; null means all.", None, unit="items"
    )
    cloze: Cloze = key("The last-word cloze.", {"items": 4000, "min_tokens": 24})
    tasks: dict[TaskName, Task] = Field(
        default_factory=lambda: copy.deepcopy(_known_tasks()),
        description="Tasks by lm-eval's name; those of tasks.yaml are known.",
    )


# --- tasks ---


def resolve(settings: dict[str, Any], data_root: str | None) -> None:
    """Replace `zero_shot.tasks` by those that run, as {name: {"definition", "columns", "source"}}.

    With a data_root every task that has a `local` entry runs, at every scale but smoke, and reads it; all others
    come from the hub. `cloze` becomes `cloze-<corpus>`.

    Raises:
        MyopiaError: an unknown task, one without items, or a cloze whose passages do not fit into a window.
    """
    section = settings["zero_shot"]
    names = list(section["run"])
    if data_root and settings["scale"] != "smoke":
        names += [name for name, task in section["tasks"].items() if task.get("local")]
    used: dict[str, dict[str, Any]] = {}
    for name in dict.fromkeys(names):
        if name == CLOZE:
            for corpus in _trained_on(settings):
                used[f"{CLOZE}-{corpus}"] = _cloze(settings, corpus)
        elif name in section["tasks"]:
            used[name] = _task(name, section["tasks"][name], data_root, section["items"])
        else:
            known = ", ".join([CLOZE, *section["tasks"]])
            raise MyopiaError(f"config key zero_shot.run: the task {name!r} is unknown; known are {known}")
    section["tasks"] = used


def _trained_on(settings: dict[str, Any]) -> list[str]:
    """Corpora whose models are scored: those of `text`, and the size sweep's."""
    sweep = [settings["size_sweep"]["corpus"]] if scored_sizes(settings) else []
    return list(dict.fromkeys([*settings["text"]["corpora"], *sweep]))


def _cloze(settings: dict[str, Any], corpus: str) -> dict[str, Any]:
    section, length = settings["zero_shot"][CLOZE], settings["context_length"]
    if section["min_tokens"] >= length:
        raise MyopiaError(
            f"config key zero_shot.cloze.min_tokens: {section['min_tokens']} tokens do not fit into context_length = "
            f"{length}"
        )
    source = {"kind": CLOZE, "corpus": corpus, "split": "test", "max_tokens": length, **section}
    return {"definition": None, "columns": ["context", "choices", "answer"], "source": source}


def _task(name: str, task: dict[str, Any], data_root: str | None, items: int | None) -> dict[str, Any]:
    local, hub = task.get("local"), task.get("hub")
    if local is not None and (data_root or "{data_root}" not in local["path"]):
        path = local["path"].replace("{data_root}", str(data_root or "").rstrip("/"))
        source = {"kind": "files", "path": path, "split": local["split"], "items": items}
    elif hub is not None:
        source = {"kind": "hub", "name": None, **hub, "items": items}
    elif local is not None:
        raise MyopiaError(
            f"config key data_root: the zero-shot task {name!r} reads local files; "
            "say where with --config data_root=FOLDER"
        )
    else:
        raise MyopiaError(f"config key zero_shot.tasks.{name}: give 'local' or 'hub', or nothing can be evaluated")
    return {"definition": task["definition"], "columns": task["columns"], "source": source}


def task_folders(settings: dict[str, Any], corpus: str | None = None) -> list[str]:
    """Folders of the tasks that a model trained on `corpus` is scored on; all of them without one."""
    return [
        f"{settings['results']}/data/tasks/{name}"
        for name, task in settings["zero_shot"]["tasks"].items()
        if corpus is None or task["source"].get("corpus", corpus) == corpus
    ]


def task_files(dag: Dag) -> list[str]:
    """What must be in the folders of all tasks."""
    return [
        f"{folder}/{file}"
        for folder in task_folders(dag.settings)
        for file in ("items.jsonl", "task.yaml", "task.json")
    ]


# --- models ---


def scored_sizes(settings: dict[str, Any]) -> list[str]:
    """Sizes of the sweep whose pairs are scored as the authors ran them (the paper's Fig 5)."""
    wanted, sweep = settings["zero_shot"]["sweep_sizes"], settings["size_sweep"]
    if not sweep["sizes"] or "checkpoint" not in sweep["recipes"].get("as_run", []):
        return []
    return sweep["sizes"] if wanted is None else wanted


def scored_sweep_runs(settings: dict[str, Any]) -> dict[str, str]:
    """Runs of the size sweep that are scored, and the size of each as figures name it."""
    sizes = scored_sizes(settings)
    return {
        condition["run"]: condition["size"].removeprefix("pythia-")
        for condition in conditions(settings)
        if (condition["recipe"], condition["start"]) == ("as_run", "checkpoint") and condition["size"] in sizes
    }


def units(dag: Dag) -> dict[str, list[Spec]]:
    """Each run and seed can be scored alone; `model` is what the two arms of a pair share: a corpus, or a size.

    Evaluation of a cut arm is vanilla evaluation, so these are plain models: the text pairs, and the size sweep as the
    authors ran it. Each is scored on the cloze of its own corpus and on every other task.
    """
    scored = {run: dag.runs[run]["data"]["corpus"] for run in dag.of("text", *PAIR)} | scored_sweep_runs(dag.settings)
    return {
        f"{run}-seed{seed}": [
            {
                "run": run,
                "arm": dag.runs[run]["arm_name"],
                "seed": seed,
                "model": model,
                "folder": dag.folder(run, seed),
                "tasks": task_folders(dag.settings, dag.runs[run]["data"]["corpus"]),
            }
        ]
        for run, model in scored.items()
        for seed in dag.seeds(run)
    }


def check(settings: dict[str, Any]) -> None:
    """Refuse a size that is to be scored but is not trained."""
    trained = settings["size_sweep"]["sizes"]
    for size in scored_sizes(settings):
        if size not in trained:
            raise MyopiaError(
                f"config key zero_shot.sweep_sizes: {size!r} is not among size_sweep.sizes ({', '.join(trained)})"
            )


def caption(settings: dict[str, Any]) -> str:
    """What the figure's caption says about this scale."""
    sweep, text = settings["size_sweep"], settings["text"]
    sizes = (
        f" Size sweep ({', '.join(scored_sizes(settings))}, {sweep['corpus']}, {seeds_phrase(sweep['seeds'])}): fine-tuned"
        " pairs as the authors ran them, each arm at its own learning rate."
        if scored_sweep_runs(settings)
        else ""
    )
    return (
        f"Scale {settings['scale']}: {text['model']['model_type']}, {steps_phrase(text)} of {text['batch_size']} x"
        f" {settings['context_length']} tokens, {seeds_phrase(settings['seeds'])}.{sizes}"
    )


def task_corpus(dag: Dag, task: str) -> list[str]:
    """The encoded corpus a cloze is made from; no other task is made from anything here."""
    corpus = dag.settings["zero_shot"]["tasks"][task]["source"].get("corpus")
    return [] if corpus is None else [dag.manifest(corpus)]
