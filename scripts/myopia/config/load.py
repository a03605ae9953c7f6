"""From config.yaml to the resolved settings of one scale, checked before anything is planned.

Laid over each other, the later over the earlier: the defaults of the core and of every experiment's section, the
corpora of workflow/corpora.yaml, an experiment's own entry for the scale (scales.yaml in its package), the scale's file
in workflow/scales, and what config.yaml and --config say.
"""

from __future__ import annotations

import copy
import difflib
import functools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from myopia.common.errors import MyopiaError
from myopia.common.files import canonical_json, sha256_text, write_json
from myopia.config.experiment import Experiment, chosen, experiment, known
from myopia.config.placement import check_devices
from myopia.config.schema import defaults, validate
from myopia.config.settings import Core, User

ROOT = Path(__file__).resolve().parents[3]
SCALES = ROOT / "workflow" / "scales"
CORPORA = ROOT / "workflow" / "corpora.yaml"


def load_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """The resolved settings of `config["scale"]`, checked for types, units and meaning.

    Args:
        config: config.yaml as a mapping, command-line overrides included.

    Returns:
        The core's settings, a section for each experiment that runs, and `scale`, `results`, `experiments`; `corpora`
        holds only those in use.

    Raises:
        MyopiaError: unknown key, wrong type or impossible value; the message names the key's path.
    """
    user = {key: config[key] for key in User.model_fields if key in config}
    validate(User, user, "")
    scale = user["scale"]
    if not (SCALES / f"{scale}.yaml").is_file():
        raise MyopiaError(f"config key scale: {scale!r} is unknown; it must be one of {', '.join(scales())}")
    laid = _read(SCALES / f"{scale}.yaml")
    named = laid.pop("experiments", None)
    running = chosen(user.get("experiments") or named)
    own = {key: value for key, value in config.items() if key not in User.model_fields}
    settings = defaults(Core) | {"corpora": _read(CORPORA)}
    for one in map(experiment, known()):
        entry = _read(one.folder / "scales.yaml").get(scale) or {}
        settings[one.name] = merge(defaults(one.section), entry)
    settings = merge(settings, laid)
    settings = merge(settings, {key: value for key, value in own.items() if value is not None})
    _check_types(settings)
    settings = {key: value for key, value in settings.items() if key in Core.model_fields or key in _names(running)}
    settings["scale"], settings["experiments"] = scale, _names(running)
    settings["results"] = user.get("results") or f"results/{scale}"
    for one in running:
        if one.resolve:
            one.resolve(settings, user.get("data_root"))
    _use_corpora(settings, running, user.get("data_root"))
    _check_meaning(settings, running)
    return settings


def scales() -> list[str]:
    """Names of all scales, as files lie in workflow/scales."""
    return sorted(path.stem for path in SCALES.glob("*.yaml"))


def merge(base: Any, over: Any) -> Any:
    """Deep merge: mappings are merged key by key, everything else is replaced."""
    if isinstance(base, dict) and isinstance(over, dict):
        return {k: merge(base[k], over[k]) if k in base and k in over else copy.deepcopy(over.get(k, base.get(k)))
                for k in {**base, **over}}  # fmt: skip
    return copy.deepcopy(over)


def digest(value: Any) -> str:
    """What a rule depends on: a short hash of settings, equal for equal values in whatever order."""
    return sha256_text(canonical_json(value))[:16]


def write_settings(settings: Mapping[str, Any]) -> Path:
    """Write results/<scale>/settings.json, which every job of the workflow reads; left alone if it says the same."""
    path = settings_path(settings)
    if not path.is_file() or read_settings(path, missing_ok=True) != settings:
        write_json(path, settings)
    return path


def settings_path(settings: Mapping[str, Any]) -> Path:
    """Where the resolved settings of a results folder stand."""
    return Path(settings["results"], "settings.json")


def read_settings(path: str | Path, missing_ok: bool = False) -> dict[str, Any]:
    """The settings a workflow wrote; MyopiaError if they are not there or cannot be read."""
    try:
        return json.loads(Path(path).read_text())
    except (OSError, ValueError) as error:
        if missing_ok:
            return {}
        raise MyopiaError(
            f"{path} cannot be read ({error}); snakemake writes it when it starts: run snakemake on that folder first"
        ) from None


def _names(running: list[Experiment]) -> list[str]:
    return [one.name for one in running]


@functools.cache
def _text(path: Path) -> Any:
    return yaml.safe_load(path.read_text())


def _read(path: Path) -> dict[str, Any]:
    """A YAML mapping; {} where there is no such file."""
    return copy.deepcopy(_text(path) or {}) if path.is_file() else {}


def _check_types(settings: dict[str, Any]) -> None:
    """Every key known and of its type; a section of an experiment that does not run is checked as well."""
    sections = {name: experiment(name).section for name in known()}
    core = {key: value for key, value in settings.items() if key not in sections}
    unknown = [key for key in core if key not in Core.model_fields]
    if unknown:
        names = sorted([*Core.model_fields, *sections, *User.model_fields])
        near = difflib.get_close_matches(unknown[0], names, n=1)
        meant = f" (did you mean {near[0]!r}?)" if near else ""
        raise MyopiaError(
            f"config: unknown key {unknown[0]!r} at the top level{meant}; known keys are {', '.join(names)}"
        )
    validate(Core, core, "")
    for name, section in sections.items():
        validate(section, settings[name], name)


def _use_corpora(settings: dict[str, Any], running: list[Experiment], data_root: str | None) -> None:
    """Keep the corpora that some experiment uses, {data_root} filled in."""
    wanted: dict[str, str] = {}
    for one in running:
        for name, key in one.corpora(settings).items():
            wanted.setdefault(name, key)
    used = {}
    for name, key in wanted.items():
        if name not in settings["corpora"]:
            raise MyopiaError(f"config key {key}: corpus {name!r} is not described under corpora")
        corpus = settings["corpora"][name]
        for section, field in (("source", "path"), ("tokenizer", "path_or_id")):
            path = corpus[section].get(field) or ""
            if "{data_root}" in path:
                if not data_root:
                    raise MyopiaError(
                        f"config key data_root: corpus {name!r} reads local files; say where with --config "
                        "data_root=FOLDER"
                    )
                corpus[section][field] = path.replace("{data_root}", str(data_root).rstrip("/"))
        used[name] = corpus
    settings["corpora"] = used


def _check_meaning(settings: dict[str, Any], running: list[Experiment]) -> None:
    overlap = set(settings["seeds"]) & set(settings["tuning_seeds"])
    if overlap:
        raise MyopiaError(f"config key tuning_seeds: seed {min(overlap)} is also judged; tune on other seeds")
    for one in running:
        if one.check:
            one.check(settings)
    specs = [spec for one in running for spec in one.runs(settings).values()]
    check_devices(settings["devices"], specs)
