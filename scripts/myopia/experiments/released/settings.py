"""The authors' released checkpoints: which of them a scale measures, and where everything about them lies."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from annotated_types import Gt, Len
from pydantic import Strict, StringConstraints

from myopia.common.errors import MyopiaError
from myopia.config.dag import scale_by_attempt
from myopia.config.schema import Count, Distinct, Section, Text, key
from myopia.experiments.zero_shot.settings import task_folders

KEYS = {"repo": ("{size}", "{arm}"), "base": ("{size}",)}
"""Templates of the section and what each must contain."""

Size = Annotated[str, StringConstraints(pattern=r"^[0-9]+(\.[0-9]+)?[mb]$", strict=True)]


class ReleasedSettings(Section):
    """The authors' checkpoints, measured without training (target `released`, never part of `all`)."""

    sizes: Annotated[list[Size], Len(1), Distinct] = key(
        "Pythia sizes.", ["14m", "31m", "70m", "160m", "410m", "1b", "1.4b", "2.8b"]
    )
    arms: Annotated[list[Literal["vanilla", "myopic"]], Len(1), Distinct] = key(
        "Arms; a gap needs both.", ["vanilla", "myopic"]
    )
    # one Lightning checkpoint each
    repo: Text = key(
        "Model repository on the hub, with {size} and {arm} to be filled in.", "wiwu2390/pythia-{size}-{arm}"
    )
    file: Text = key("Pattern that exactly one file of each repository fits.", "*.ckpt")
    revision: Text = key(
        "Branch, tag or commit; resolved to a commit when first asked for, which "
        "<results>/released/released.lock.json keeps.",
        "main",
    )
    base: Text = key(
        "Hub id or local folder with {size}: config.json and tokenizer of the architecture.", "EleutherAI/pythia-{size}"
    )
    base_revision: Text = key("Branch, tag or commit of `base` on the hub.", "main")
    T: Annotated[int, Strict(), Gt(1)] = key(
        "Window length; the released models were trained on 64.", 64, unit="tokens"
    )
    test_windows: Count = key("Most test windows of each corpus, spread over documents.", 2048, unit="windows")


def checkpoints(settings: dict[str, Any]) -> dict[str, dict[str, str]]:
    """`pythia-<size>-<arm>` -> where its checkpoint and the config of its architecture are."""
    section = settings["released"]
    found = {}
    for size in section["sizes"]:
        for arm in section["arms"]:
            place = {name: section[name].replace("{size}", size).replace("{arm}", arm) for name in KEYS}
            run = f"pythia-{size}-{arm}"
            found[run] = {"run": run, "size": size, "arm": arm, **place} | {
                name: section[name] for name in ("file", "revision", "base_revision")
            }
    return found


def check(settings: dict[str, Any]) -> None:
    """Refuse a template that would give two checkpoints one place."""
    section = settings["released"]
    for name, marks in KEYS.items():
        for mark in marks:
            if mark not in section[name]:
                raise MyopiaError(f"config key released.{name}: {section[name]!r} must contain {mark}, to be filled in")


def folder(settings: dict[str, Any]) -> str:
    """Everything about the released checkpoints."""
    return f"{settings['results']}/released"


def run_folder(settings: dict[str, Any], run: str) -> str:
    """A converted checkpoint, which is a plain Hugging Face model."""
    return f"{folder(settings)}/runs/{run}"


def losses_folder(settings: dict[str, Any], run: str) -> str:
    """Where the held-out losses of one checkpoint lie."""
    return f"{folder(settings)}/measure/{run}"


def tokens_folder(settings: dict[str, Any], corpus: str) -> str:
    """A corpus in the checkpoints' own tokenizer."""
    return f"{folder(settings)}/tokens/{corpus}"


def scored(settings: dict[str, Any]) -> list[dict[str, Any]]:
    """The checkpoints as zero-shot scoring takes runs: on every task, as a cloze is made of words, not of tokens."""
    return [
        {
            "run": run,
            "arm": checkpoint["arm"],
            "seed": 0,
            "model": checkpoint["size"],
            "folder": run_folder(settings, run),
            "tasks": task_folders(settings),
        }
        for run, checkpoint in checkpoints(settings).items()
    ]


def nominal(size: str) -> float:
    """The parameters a size's name promises: `70m` -> 7e7."""
    return float(size[:-1]) * {"m": 1e6, "b": 1e9}[size[-1]]


def caption(settings: dict[str, Any]) -> str:
    """What the captions of losses say about this scale."""
    section = settings["released"]
    return f"Scale {settings['scale']}: at most {section['test_windows']} test windows of {section['T']} tokens per corpus."


def tasks_caption(settings: dict[str, Any]) -> str:
    """What the caption of accuracies says about this scale."""
    return f"Scale {settings['scale']}: tasks {', '.join(settings['zero_shot']['tasks'])}."


def converted_files(settings: dict[str, Any], file: str) -> list[str]:
    """A file of every converted checkpoint."""
    return [f"{run_folder(settings, run)}/{file}" for run in checkpoints(settings)]


def memory(sizes: list[str], attempt: int) -> int:
    """Host memory, MB: libraries, and the largest network in fp32, read and opened."""
    return scale_by_attempt(3000 + int(8 * max(map(nominal, sizes)) / 1e6), attempt)
