"""Which zero-shot tasks a scale runs, and where the items of each come from."""

from __future__ import annotations

from typing import Any

from myopia.common.errors import MyopiaError

CLOZE = "cloze"
"""In `zero_shot.run`: a last-word cloze for every text corpus, made from its test split."""


def use_zero_shot(settings: dict[str, Any], data_root: str | None) -> None:
    """Replace `zero_shot.tasks` by those that run, as {name: {"definition", "columns", "source"}}.

    With a data_root every task that has a `local` entry runs, at every scale but smoke, and reads it; all others
    come from the hub. `cloze` becomes `cloze-<corpus>`.
    """
    part = settings["zero_shot"]
    names = list(part["run"])
    if data_root and settings["scale"] != "smoke":
        names += [name for name, task in part["tasks"].items() if "local" in task]
    used: dict[str, dict[str, Any]] = {}
    for name in dict.fromkeys(names):
        if name == CLOZE:
            for corpus in _trained_on(settings):
                used[f"{CLOZE}-{corpus}"] = _cloze(settings, corpus)
        elif name in part["tasks"]:
            used[name] = _task(name, part["tasks"][name], data_root, part["items"])
        else:
            known = ", ".join([CLOZE, *part["tasks"]])
            raise MyopiaError(f"config key zero_shot.run: the task {name!r} is unknown; known are {known}")
    part["tasks"] = used


def _trained_on(settings: dict[str, Any]) -> list[str]:
    """Corpora whose models are scored: those of `text`, and the family's."""
    family = [settings["family"]["corpus"]] if scored_sizes(settings) else []
    return list(dict.fromkeys([*settings["text"]["corpora"], *family]))


def scored_sizes(settings: dict[str, Any]) -> list[str]:
    """Sizes of the family whose pairs are scored as the authors ran them (the paper's Fig 5)."""
    wanted, family = settings["zero_shot"]["family_sizes"], settings["family"]
    if not family["sizes"] or "checkpoint" not in family["recipes"].get("as_run", []):
        return []
    return family["sizes"] if wanted is None else wanted


def check_scored_sizes(settings: dict[str, Any]) -> None:
    """Raise MyopiaError for a size that is to be scored but not trained."""
    trained = settings["family"]["sizes"]
    for size in scored_sizes(settings):
        if size not in trained:
            raise MyopiaError(
                f"config key zero_shot.family_sizes: {size!r} is not among family.sizes ({', '.join(trained)})"
            )


def _cloze(settings: dict[str, Any], corpus: str) -> dict[str, Any]:
    part, window = settings["zero_shot"][CLOZE], settings["text"]["T"]
    if part["min_tokens"] >= window:
        raise MyopiaError(
            f"config key zero_shot.cloze.min_tokens: {part['min_tokens']} tokens do not fit into text.T = {window}"
        )
    source = {"kind": CLOZE, "corpus": corpus, "split": "test", "max_tokens": window, **part}
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
