"""config.yaml -> one checked scale: `base` with the scale's entries laid over it, defaults nowhere else."""

from __future__ import annotations

import copy
import difflib
import functools
import math
from pathlib import Path
from typing import Any

import jsonschema
import yaml

from myopia.common.errors import MyopiaError
from myopia.config.corpora import tokenizer_vocab
from myopia.config.placement import check_devices
from myopia.config.runs import check_rates, run_specs
from myopia.experiments.gradients.settings import check_anatomy
from myopia.experiments.induction.settings import check_induction
from myopia.experiments.multiplication.settings import check_multiplication
from myopia.experiments.released.settings import released_specs
from myopia.experiments.size_sweep.settings import check_family, family
from myopia.experiments.toys.settings import check_toys
from myopia.experiments.zero_shot.settings import check_scored_sizes, use_zero_shot

ROOT = Path(__file__).resolve().parents[3]
SCHEMA = ROOT / "workflow" / "schemas" / "config.schema.yaml"


def load_config(config: dict[str, Any]) -> dict[str, Any]:
    """The resolved settings of `config["scale"]`, checked against the schema and for meaning.

    Args:
        config: config.yaml as a mapping, command-line overrides included.

    Returns:
        The scale's settings with `scale`, `results`, `corpora` and `zero_shot.tasks` (only those used) filled in.

    Raises:
        MyopiaError: unknown key, wrong type or impossible value; the message names the key's path.
    """
    schema = _schema()
    _check(config, schema, "")
    if config["scale"] not in config["scales"]:
        known = ", ".join(config["scales"])
        raise MyopiaError(f"config key scale: {config['scale']!r} is unknown; it must be one of {known}")
    settings = merge(config["base"], config["scales"][config["scale"]])
    _check(settings, {**schema["$defs"]["settings"], "$defs": schema["$defs"]}, f"scales.{config['scale']}")
    settings["scale"] = config["scale"]
    settings["results"] = config.get("results") or f"results/{config['scale']}"
    _use_data_root(settings, config.get("data_root"))
    use_zero_shot(settings, config.get("data_root"))
    _check_meaning(settings)
    return settings


@functools.cache
def _schema() -> dict[str, Any]:
    """Read once: parsing takes longer than all checks together."""
    return yaml.safe_load(SCHEMA.read_text())


def merge(base: Any, over: Any) -> Any:
    """Deep merge: mappings are merged key by key, everything else is replaced."""
    if isinstance(base, dict) and isinstance(over, dict):
        return {k: merge(base[k], over[k]) if k in base and k in over else copy.deepcopy(over.get(k, base.get(k)))
                for k in {**base, **over}}  # fmt: skip
    return copy.deepcopy(over)


def _check(value: Any, schema: dict[str, Any], where: str) -> None:
    errors = sorted(jsonschema.Draft202012Validator(schema).iter_errors(value), key=lambda e: list(map(str, e.path)))
    if not errors:
        return
    error = errors[0]
    path = ".".join([where, *map(str, error.absolute_path)]).strip(".") or "the top level"
    if error.validator == "additionalProperties":
        known = sorted(error.schema.get("properties", {}))
        unknown = min(str(key) for key in error.instance if key not in known)
        close = difflib.get_close_matches(unknown, known, n=1)
        meant = f" (did you mean {close[0]!r}?)" if close else ""
        raise MyopiaError(f"config: unknown key {unknown!r} at {path}{meant}; known keys are {', '.join(known)}")
    if error.validator == "required":
        missing = next(key for key in error.validator_value if key not in error.instance)
        raise MyopiaError(f"config: the key {missing!r} is missing at {path}")
    hint = ""
    if isinstance(error.instance, str) and error.validator == "type" and _is_number(error.instance):
        hint = f"; YAML reads {error.instance} as text, write {float(error.instance)!r}"
    raise MyopiaError(f"config key {path}: {error.message}{hint}")


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _use_data_root(settings: dict[str, Any], data_root: str | None) -> None:
    """Fill {data_root} in corpus paths; with a data_root, laptop and cpu read the real corpora it holds as well."""
    text = settings["text"]
    if data_root and settings["scale"] in ("laptop", "cpu"):
        here, absent = _local_corpora(settings, data_root)
        text["evaluate_on"] = {n: [m for m in names if m not in absent] for n, names in text["evaluate_on"].items()}
        trained = [*text["corpora"], *here]
        only_read = {name for n, names in text["evaluate_on"].items() if n in trained for name in names}
        text["corpora"] = list(dict.fromkeys(n for n in trained if n in text["corpora"] or n not in only_read))
    text["evaluate_on"] = {name: text["evaluate_on"].get(name, []) for name in text["corpora"]}
    for name in text["at_corpus"]:
        if name not in settings["corpora"]:
            raise MyopiaError(f"config key text.at_corpus: corpus {name!r} is not described under corpora")
    text["at_corpus"] = {name: own for name, own in text["at_corpus"].items() if name in text["corpora"]}
    further = [name for names in text["evaluate_on"].values() for name in names]
    for name in further:
        if name in text["corpora"] or further.count(name) > 1:
            raise MyopiaError(
                f"config key text.evaluate_on: corpus {name!r} is also trained on or read twice, so that its rows "
                "would mean two models; name it once"
            )
    used = {}
    wanted = dict.fromkeys(text["corpora"], "text.corpora") | dict.fromkeys(further, "text.evaluate_on")
    if settings["family"]["sizes"]:
        wanted.setdefault(settings["family"]["corpus"], "family.corpus")
    for name, key in wanted.items():
        if name not in settings["corpora"]:
            raise MyopiaError(f"config key {key}: corpus {name!r} is not described under corpora")
        corpus = settings["corpora"][name]
        for part, key in (("source", "path"), ("tokenizer", "path_or_id")):
            path = corpus[part].get(key, "")
            if "{data_root}" in path:
                if not data_root:
                    raise MyopiaError(
                        f"config key data_root: corpus {name!r} reads local files; say where with --config "
                        "data_root=FOLDER"
                    )
                corpus[part][key] = path.replace("{data_root}", str(data_root).rstrip("/"))
        used[name] = corpus
    settings["corpora"] = used


def _local_corpora(settings: dict[str, Any], data_root: str) -> tuple[list[str], list[str]]:
    """Local corpora whose folder is in data_root, and the others; a root with neither corpora nor tasks is a mistake."""
    corpora = settings["corpora"]
    paths = {n: c["source"]["path"] for n, c in corpora.items() if "{data_root}" in str(c["source"].get("path", ""))}
    folder = str(data_root).rstrip("/")
    here = [name for name, path in paths.items() if Path(path.replace("{data_root}", folder)).exists()]
    if not here and not Path(folder, "evals").exists():
        names = ", ".join([*(path.replace("{data_root}/", "") for path in paths.values()), "evals"])
        raise MyopiaError(f"config key data_root: {data_root} holds no folder of a local corpus ({names})")
    return here, [name for name in paths if name not in here]


def _check_meaning(settings: dict[str, Any]) -> None:
    for room in ("synthetic", "text"):
        part = settings[room]
        if part["batch_size"] % part["micro_batch"]:
            raise MyopiaError(
                f"config key {room}.batch_size: {part['batch_size']} is not a multiple of {room}.micro_batch "
                f"{part['micro_batch']}"
            )
        for arm, rate in part["optim"]["lr"].items():
            if rate <= 0:
                raise MyopiaError(f"config key {room}.optim.lr.{arm}: a learning rate must be positive, not {rate}")
        for arm in ("vanilla", "myopic"):
            if arm not in part["optim"]["lr"]:
                raise MyopiaError(f"config key {room}.optim.lr: the arm {arm} needs a learning rate")
    arms = settings["text"]["arms"]
    for arm in arms:
        if arm.startswith("local") and "vanilla" not in arms:
            raise MyopiaError(f"config key text.arms: {arm} reads the past of the vanilla arm; add vanilla")
    synthetic = settings["synthetic"]
    model, task = synthetic["model"], synthetic["task"]
    if model["d_model"] % model["n_heads"]:
        raise MyopiaError(
            f"config key synthetic.model.d_model: {model['d_model']} is not divisible by n_heads {model['n_heads']}"
        )
    for key in synthetic["lr_at_p"]:
        # Looked up as text, so 0.30, or 0.3 without quotes, would quietly be no p at all.
        if not (isinstance(key, str) and _is_number(key) and f"{float(key):g}" == key):
            shown = f"{float(key):g}" if _is_number(str(key)) else "0.3"
            raise MyopiaError(f'config key synthetic.lr_at_p: {key!r} is not a p; write it as text, such as "{shown}"')
    if synthetic["control_p"] not in synthetic["p"]:
        raise MyopiaError(f"config key synthetic.control_p: {synthetic['control_p']} is not among synthetic.p")
    if synthetic["lookback"] >= task["T"] or task["a"] >= task["T"]:
        raise MyopiaError(
            f"config key synthetic.task.T: {task['T']} positions are too few for a window of {task['a']} and probes "
            f"back to {synthetic['lookback']}"
        )
    network = settings["text"]["model"]["config"]
    width, heads, positions = (
        _whole(network, *names)
        for names in (
            ("n_embd", "hidden_size"),
            ("n_head", "num_attention_heads"),
            ("n_positions", "max_position_embeddings"),
        )
    )
    if width and heads and width % heads:
        raise MyopiaError(f"config key text.model.config: width {width} is not divisible by {heads} heads")
    if positions and positions < settings["text"]["T"]:
        raise MyopiaError(
            f"config key text.T: windows of {settings['text']['T']} tokens do not fit into the "
            f"{positions} positions of text.model.config"
        )
    released_specs(settings)
    if settings["tokens"]["max_tau"] > settings["text"]["T"] - 2:
        raise MyopiaError(
            f"config key tokens.max_tau: windows of {settings['text']['T']} tokens have none "
            f"{settings['tokens']['max_tau']} ahead of two positions or more"
        )
    named = settings["tokens"]["probe_tokens"]
    for name, corpus in settings["corpora"].items():
        if named >= corpus["tokenizer"].get("vocab_size", math.inf):
            raise MyopiaError(
                f"config key tokens.probe_tokens: {named} tokens cannot be told apart in the vocabulary of {name}"
            )
    rows = network.get("vocab_size")
    for name in settings["text"]["corpora"]:
        wanted = tokenizer_vocab(settings["corpora"][name]["tokenizer"])
        if rows is not None and wanted is not None and rows < wanted:
            raise MyopiaError(
                f"config key text.model.config.vocab_size: {rows} rows are too few for the {wanted} tokens of the "
                f"tokenizer of corpus {name!r}"
            )
    overlap = set(settings["seeds"]) & set(settings["tuning_seeds"])
    if overlap:
        raise MyopiaError(f"config key tuning_seeds: seed {min(overlap)} is also judged; tune on other seeds")
    check_family(settings)
    check_devices(settings["devices"], (run_specs(settings) | family(settings).specs).values())
    check_scored_sizes(settings)
    check_toys(settings)
    check_multiplication(settings)
    check_anatomy(settings)
    check_rates(settings)
    check_induction(settings)


def _whole(network: dict[str, Any], *names: str) -> int | None:
    """The first of `names` a Hugging Face config sets, checked to be a whole number; None if it sets none."""
    for name in names:
        if name in network:
            if not isinstance(network[name], int) or isinstance(network[name], bool) or network[name] < 1:
                raise MyopiaError(
                    f"config key text.model.config.{name}: {network[name]!r} is not a whole number above 0"
                )
            return network[name]
    return None
