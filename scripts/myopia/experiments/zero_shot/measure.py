"""Zero-shot accuracy of trained language models through lm-eval, one row per item.

Models are plain Hugging Face folders: evaluation of a cut arm is vanilla evaluation. Items come from task folders
on disk (task_folder.py), so nothing here needs a network.
"""

from __future__ import annotations

import functools
import importlib.metadata
import logging
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from myopia.common.errors import MyopiaError
from myopia.config.runs import ARMS
from myopia.experiments.zero_shot import SCORES
from myopia.experiments.zero_shot.task_folder import DEFINITION, ITEMS, read_task
from myopia.model.build import load_trained

LOG = logging.getLogger(__name__)

BATCH = 64  # most requests per forward pass; no result depends on it beyond rounding
LOGITS = 1 << 29  # most logits of one forward pass for prompts of 512 tokens: 2 GiB


@dataclass(frozen=True)
class EvalRun:
    """One trained model and the tasks (folders) it is scored on. `model` is what its arms share: a corpus, a size."""

    run: str
    arm: str
    seed: int
    model: str
    folder: Path
    tasks: tuple[Path, ...]


@dataclass(frozen=True)
class _Loaded:
    """A task as lm-eval holds it, and its manifest."""

    task: Any
    manifest: dict[str, Any]


def measure(runs: list[dict[str, Any]], options: dict[str, Any], device: str) -> dict[str, pd.DataFrame]:
    """The one table of these runs, which `settings.units` gives; there are no options."""
    opened = [
        EvalRun(**{**run, "folder": Path(run["folder"]), "tasks": tuple(map(Path, run["tasks"]))}) for run in runs
    ]
    return {SCORES.name: zero_shot(opened, device)}


def zero_shot(runs: Sequence[EvalRun], device: str = "cpu") -> pd.DataFrame:
    """One row per (run, seed, task, item), see `SCORES`.

    Raises:
        MyopiaError: a task folder is missing or damaged, lm-eval lacks the task or cannot read its items, a model
            folder is not complete or is that of an arm with a forward pass of its own.
    """
    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory(prefix="myopia-eval-") as scratch:
        folders = sorted({folder for run in runs for folder in run.tasks})
        loaded = {folder: load_task(folder, Path(scratch)) for folder in folders}
        chosen: dict[tuple[str, Path], tuple[list[int], np.ndarray, int]] = {}
        frames = []
        for run in runs:
            harness = _harness(run, device)
            wanted = {}
            for folder in run.tasks:
                # Both arms and all seeds of a model share its tokenizer and its positions.
                key = (run.model, folder)
                if key not in chosen:
                    chosen[key] = choose_items(harness, loaded[folder].task)
                if not chosen[key][0]:
                    LOG.warning(
                        "%s: no item fits into the %d positions of %s", folder.name, harness.max_length, run.run
                    )
                    continue
                wanted[folder] = chosen[key]
            frames += _score(run, harness, loaded, wanted)
            LOG.info("%s seed %d: scored on %s", run.run, run.seed, ", ".join(folder.name for folder in wanted))
    frame = pd.concat(frames) if frames else pd.DataFrame(columns=SCORES.columns)
    return frame[[*SCORES.columns]].sort_values(["task", "run", "seed", "item"], kind="stable")


def load_task(folder: Path, scratch: Path) -> _Loaded:
    """The lm-eval task of a task folder; `scratch` takes what lm-eval and datasets write on the way."""
    import lm_eval.tasks

    manifest = read_task(folder)
    name, split = manifest["task"], manifest["split"]
    include = [str((folder / DEFINITION).resolve())]
    if manifest["definition"] is not None:
        packaged = Path(lm_eval.tasks.__file__).parent / manifest["definition"]
        if not packaged.is_file():
            raise MyopiaError(
                f"config key zero_shot.tasks.{name}.definition: lm-eval {_version()} has no {manifest['definition']}; "
                "name a file in its folder 'tasks'."
            )
        include.insert(0, str(packaged))
    whole = {
        "include": include,
        "dataset_kwargs": {
            "data_files": {split: str((folder / ITEMS).resolve())},
            "cache_dir": str(scratch / "datasets"),
        },
    }
    path = scratch / f"{name}.yaml"
    path.write_text(yaml.safe_dump(whole))
    try:
        tasks = lm_eval.tasks.TaskManager(include_defaults=False).load(str(path))["tasks"]
    except Exception as error:  # jinja, datasets and the definition's own code have no common class
        first = (str(error).splitlines() or [""])[0]
        raise MyopiaError(
            f"zero_shot task '{name}': lm-eval cannot read {folder / ITEMS} ({type(error).__name__}: {first})."
        ) from error
    if list(tasks) != [name] or tasks[name].OUTPUT_TYPE not in ("loglikelihood", "multiple_choice"):
        raise MyopiaError(
            f"config key zero_shot.tasks.{name}.definition: {manifest['definition']} is not one task of last words or "
            "multiple choice; only those are scored here."
        )
    return _Loaded(tasks[name], manifest)


def choose_items(harness: Any, task: Any) -> tuple[list[int], np.ndarray, int]:
    """(numbers of the items that fit, whether each one's prompt is cut, how many do not fit) of one model and task.

    lm-eval cuts a prompt from the left but cannot cut an answer: items with an answer longer than the model's
    positions are left out.
    """
    task.build_all_requests()
    prompts = [request.args[0] for request in task.instances]
    whole = [prompt + request.args[1] for prompt, request in zip(prompts, task.instances, strict=True)]
    prompt_lengths, lengths = (
        np.array([len(ids) for ids in harness.tokenizer(texts)["input_ids"]]) for texts in (prompts, whole)
    )
    of_item = np.array([request.doc_id for request in task.instances])
    fits, cut = np.ones(len(task.eval_docs), bool), np.zeros(len(task.eval_docs), bool)
    fits[of_item[lengths - prompt_lengths > harness.max_length]] = False
    cut[of_item[lengths > harness.max_length + 1]] = True
    return np.flatnonzero(fits).tolist(), cut[fits], int((~fits).sum())


def _harness(run: EvalRun, device: str) -> Any:
    """The model of a run, wrapped for lm-eval."""
    from lm_eval.models.huggingface import HFLM
    from transformers import AutoTokenizer

    model = load_trained(run.folder, ARMS[run.arm], device=device)
    batch = max(1, min(BATCH, LOGITS // (512 * model.config.vocab_size)))
    harness = HFLM(pretrained=model, tokenizer=AutoTokenizer.from_pretrained(run.folder), batch_size=batch)
    harness.loglikelihood = functools.partial(harness.loglikelihood, disable_tqdm=True)
    return harness


def _score(
    run: EvalRun,
    harness: Any,
    loaded: Mapping[Path, _Loaded],
    wanted: Mapping[Path, tuple[list[int], np.ndarray, int]],
) -> list[pd.DataFrame]:
    """The rows of one run, a frame for each task."""
    from lm_eval import evaluate

    if not wanted:
        return []
    # Not simple_evaluate, which calls this and then asks the machine for its versions, seconds for every model.
    tasks = {loaded[folder].manifest["task"]: loaded[folder].task for folder in wanted}
    found = evaluate(
        lm=harness,
        task_dict={"tasks": tasks},
        samples={
            loaded[folder].manifest["task"]: items
            for folder, (items, _, _) in wanted.items()
            if len(items) < len(loaded[folder].task.eval_docs)  # all of them: no list to look every item up in
        },
        bootstrap_iters=0,
        log_samples=True,
    )
    frames = []
    for folder, (items, cut, left_out) in wanted.items():
        manifest, task = loaded[folder].manifest, loaded[folder].task
        samples = found["samples"][manifest["task"]]
        decided = [_decided(task, sample) for sample in samples]
        frame = pd.DataFrame(decided, columns=["correct", "ll_answer", "ll_rival", "choices", "answer"])
        frame["item"] = items
        frame["cluster"] = [s["doc"][manifest["cluster"]] for s in samples] if manifest["cluster"] else items
        frame["chance"] = _chance(frame)
        frame["truncated"], frame["left_out"] = cut.astype(int), left_out
        frame["task"], frame["split"], frame["harness"] = manifest["task"], manifest["split"], _version()
        frame["version"] = str(found["versions"][manifest["task"]])
        frame["model"], frame["run"], frame["arm"], frame["seed"] = run.model, run.run, run.arm, run.seed
        frame["parameters"] = harness.model.num_parameters()
        frames.append(frame)
    return frames


def _decided(task: Any, sample: Mapping[str, Any]) -> tuple[int, float, float, int, str]:
    """(correct, log-likelihood of the answer, of its rival, number of choices, the answer) of one scored item."""
    scores = np.array([score for score, _ in sample["filtered_resps"]])
    if task.OUTPUT_TYPE == "loglikelihood":
        return int(sample["acc"]), float(scores[0]), np.nan, 1, str(sample["target"])
    answer = task.doc_to_text(sample["doc"]) if task.multiple_input else sample["target"]
    if isinstance(answer, str):
        answer = task.doc_to_choice(sample["doc"]).index(answer)
    rival = np.delete(scores, answer).max()
    return int(sample["acc"]), float(scores[answer]), float(rival), len(scores), ""


def _chance(frame: pd.DataFrame) -> np.ndarray:
    """What a guess without the prompt scores on each item."""
    commonest = Counter(frame["answer"]).most_common(1)[0][0]
    last_word = (frame["answer"] == commonest).astype(float)
    return np.where(frame["choices"] > 1, 1 / frame["choices"], last_word)


def _version() -> str:
    return importlib.metadata.version("lm_eval")
