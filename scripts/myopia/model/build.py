"""From a run spec to a network: architecture, initialisation and arm."""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

import torch
from torch import nn

from myopia.common.errors import MyopiaError
from myopia.common.files import sha256_file
from myopia.model.attach import to_bigram, to_local, to_myopic
from myopia.model.regression import RegressionModel

ARMS = ("vanilla", "myopic", "local", "bigram")
ATTENTION_DROPOUT = ("attention_dropout", "attn_pdrop", "attention_probs_dropout_prob")  # names it has in configs


def build_model(
    spec: dict[str, Any], seed: int, vocab_size: int | None = None, released: str | Path | None = None
) -> nn.Module:
    """The untrained network of a run, in eval mode: a pure function of (spec["model"], seed), the same in every arm.

    `released`: folder of the released weights that the spec names, where they were fetched to.

    Raises:
        MyopiaError: unknown architecture, sizes that do not fit, weights that cannot be had.
    """
    model = spec["model"]
    if model["kind"] == "regression":
        return RegressionModel.from_spec(model, seed)
    return build_language_model(model, seed, vocab_size, released)


def build_language_model(
    model: dict[str, Any], seed: int, vocab_size: int | None, released: str | Path | None = None
) -> nn.Module:
    """A causal language model: `model_type` with `config` overrides and random weights, or a `pretrained` one.

    `weights: random` beside `pretrained` takes the released architecture alone. `released` is the folder that holds
    what `pretrained` names; without it the name itself is opened.
    """
    source = model.get("pretrained")
    if source is None:
        built = _random(_config(model, vocab_size), seed, f"model.config does not describe a {model['model_type']}")
    else:
        built = _released(source, seed, released, random=model.get("weights") == "random")
    if vocab_size is not None and vocab_size > built.config.vocab_size:
        raise MyopiaError(
            f"the tokenizer knows {vocab_size} tokens but the model only {built.config.vocab_size}: "
            "set model.config.vocab_size or use the model's own tokenizer"
        )
    return built.eval()


def _config(model: dict[str, Any], vocab_size: int | None) -> Any:
    from transformers import AutoConfig

    try:
        plain = AutoConfig.for_model(model["model_type"])
        # The type's defaults name special tokens of its own tokenizer, which need not exist in ours.
        none = dict.fromkeys(("bos_token_id", "eos_token_id", "pad_token_id"))
        config = AutoConfig.for_model(model["model_type"], **{**model["config"], **none})
    except ValueError as error:
        raise MyopiaError(f"model_type {model['model_type']!r} is unknown to transformers") from error
    for key in model["config"]:  # transformers takes any key in silence
        if not hasattr(plain, key) and key not in ATTENTION_DROPOUT:  # which specs set under one name for all types
            raise MyopiaError(f"model.config.{key} is not a setting of {model['model_type']}: correct its spelling")
    if vocab_size is not None and "vocab_size" not in model["config"]:
        config.vocab_size = vocab_size
    return without_dropout(config, set(model["config"]))  # one that is asked for is refused later


def _random(config: Any, seed: int, what: str) -> nn.Module:
    from transformers import AutoModelForCausalLM

    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return AutoModelForCausalLM.from_config(config, attn_implementation=attention_of(config))
    except ValueError as error:
        raise MyopiaError(f"{what}: {error}") from error


def _released(source: dict[str, Any], seed: int, folder: str | Path | None, random: bool) -> nn.Module:
    from transformers import AutoConfig

    where = {"pretrained_model_name_or_path": str(folder or source["id"])}
    where |= {} if folder else {"revision": source.get("revision")}
    try:
        config = AutoConfig.from_pretrained(**where)
        if random:
            return _random(without_dropout(config), seed, f"the config of {source['id']!r} cannot be used")
        return open_plain(config, **where)
    except (OSError, ValueError) as error:
        raise MyopiaError(f"model {source['id']!r} cannot be loaded: {str(error).splitlines()[0]}") from error


def attention_of(config: Any) -> str:
    """SDPA, or eager for an architecture that has none (soft-capped scores, attention sinks)."""
    from transformers import MODEL_FOR_CAUSAL_LM_MAPPING

    known = type(config) in MODEL_FOR_CAUSAL_LM_MAPPING
    return "sdpa" if not known or MODEL_FOR_CAUSAL_LM_MAPPING[type(config)]._supports_sdpa else "eager"


def without_dropout(config: Any, asked: Collection[str] = ()) -> Any:
    """The same config without attention dropout, which the fused kernels cannot reproduce in both arms.

    `asked`: names that are left as they are.
    """
    for name in ATTENTION_DROPOUT:
        if name not in asked and getattr(config, name, 0):
            setattr(config, name, 0.0)
    return config


def open_plain(config: Any, **where: Any) -> nn.Module:
    """A causal language model with its own weights: fp32, no attention dropout. Raises what transformers raises."""
    from transformers import AutoModelForCausalLM

    without_dropout(config)
    attention = attention_of(config)
    return AutoModelForCausalLM.from_pretrained(
        **where, config=config, dtype=torch.float32, attn_implementation=attention
    )


def apply_arm(model: nn.Module, arm: dict[str, Any], teacher: str | Path | None = None) -> nn.Module:
    """Give a network the attention of its arm, in place.

    arm: {"kind": "vanilla"} | {"kind": "myopic", "cut", "beta"} | {"kind": "local", "form"} |
    {"kind": "bigram", "form"}. `teacher` is the run folder the local arm reads its past from.
    """
    kind = arm["kind"]
    if kind == "vanilla":
        return model
    if kind == "myopic":
        return to_myopic(model, cut=arm.get("cut", "hidden"), beta=arm.get("beta", 0.0))
    if kind == "bigram":
        return to_bigram(model, form=arm.get("form", "zeroed"))
    if kind == "local":
        if teacher is None:
            raise MyopiaError("the local arm needs a teacher: name a trained vanilla run of the same seed")
        return to_local(model, load_language_model(teacher), form=arm.get("form", "hidden"))
    raise MyopiaError(f"arm {kind!r} is unknown; it must be one of {', '.join(ARMS)}")


def load_trained(
    folder: str | Path, arm: dict[str, Any], teacher: str | Path | None = None, device: torch.device | str = "cpu"
) -> nn.Module:
    """Open a trained run with the forward pass its training had, in eval mode, on a device.

    A vanilla or myopic model's forward is the plain one. A local or bigram folder must say in `myopia.json` what it
    is, and a local one must be given the very teacher it was trained with.

    Args:
        folder: run folder.
        arm: what the run is supposed to be (`config.runs.ARMS`).
        teacher: run folder of the local arm's teacher.

    Raises:
        MyopiaError: folder and arm disagree, or the teacher is another one.
    """
    model, record = load_language_model(folder), Path(folder, "myopia.json")
    if arm["kind"] not in ("local", "bigram"):
        if record.exists():
            raise MyopiaError(f"{folder} holds an arm that {record.name} describes, not a plain language model")
        return model.to(device)
    if not record.is_file():
        raise MyopiaError(f"{record} is missing: without it {folder} would be run as a plain model; train it again")
    written = json.loads(record.read_text())
    if written["arm"] != arm:
        raise MyopiaError(f"{record} says the arm is {written['arm']}, not {arm}; train the run again")
    if arm["kind"] == "local":
        weights = Path(teacher or "", "model.safetensors")
        if not weights.is_file() or sha256_file(weights) != written["teacher_sha256"]:
            raise MyopiaError(f"{weights} is not the teacher that {folder} was trained with; train the run again")
    model = apply_arm(model, arm, teacher).eval().to(device)
    if arm["kind"] == "local":  # the teacher hangs on the student without being a part of it
        model._myopia.arm.teacher.model.to(device)
    return model


def load_language_model(folder: str | Path) -> nn.Module:
    """Open a trained run folder as a plain Hugging Face model: fp32, SDPA where it has it, eval mode."""
    from transformers import AutoConfig

    folder = Path(folder)
    if not (folder / "model.safetensors").is_file():
        raise MyopiaError(f"{folder / 'model.safetensors'} is missing: train the run first")
    return open_plain(AutoConfig.from_pretrained(folder), pretrained_model_name_or_path=folder).eval()


def load_untrained(folder: str | Path, seed: int) -> nn.Module:
    """The network of a trained run folder as it was before its first step: fresh weights from the run's seed."""
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.from_pretrained(folder)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return AutoModelForCausalLM.from_config(config, attn_implementation=attention_of(config)).float().eval()
