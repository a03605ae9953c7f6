"""The authors' released Lightning checkpoints, read as data: nothing inside such a file is ever run.

What they hold is known from the authors' code and from the hub's scan of the files' pickle imports: ZeRO-2 states
merged to fp32 by Lightning, with `state_dict`, `hyper_parameters` and the state of the training loop; beside tensors
and containers the myopic ones name one function, `models.myopic_model.to_myopic_neox`.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import pickle
import re
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from myopia.common.errors import MyopiaError
from myopia.common.files import write_json

RECORD = "checkpoint.json"


class _Named:
    """Stands for a function that a checkpoint only names, as a hyper-parameter; whoever calls it is refused."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self, *_: Any, **__: Any) -> Any:
        raise pickle.UnpicklingError(f"the file wants to call {self.name}")


_FUNCTIONS = ("models.myopic_model.to_myopic_neox", "models.myopic_model.to_myopic_gpt2")
_ATTRIBUTE_DICTS = (
    "lightning.fabric.utilities.data.AttributeDict",
    "lightning_fabric.utilities.data.AttributeDict",
    "lightning.pytorch.utilities.parsing.AttributeDict",
    "pytorch_lightning.utilities.parsing.AttributeDict",
)
ALLOWED: list[Any] = [
    *((_Named(name), name) for name in _FUNCTIONS),
    *((dict, name) for name in _ATTRIBUTE_DICTS),  # Lightning's dict with attributes, read as a plain one
    argparse.Namespace,
]
"""What a checkpoint may name besides torch's own tensors and containers; each entry is inert."""

_ANCHOR = "gpt_neox.embed_in.weight"
_WRAPPERS = ("_forward_module.", "module.", "_orig_mod.")  # Lightning, DeepSpeed, torch.compile
_PREFIXES = ("", "model.", "myopic_model.")  # a plain model, LitGPTModel, LitMyopicModel
_BUFFER = re.compile(r"\.attention\.(bias|masked_bias|rotary_emb\.inv_freq)$")  # constants that older versions stored
_RENAMED = {"embed_out.weight": "lm_head.weight"}  # transformers 5 calls GPT-NeoX's head so


@dataclass(frozen=True)
class Released:
    """A checkpoint's weights under transformers' names, and everything plain it says about its training."""

    path: Path
    state: dict[str, Tensor]
    record: dict[str, Any]


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """The dictionary in a checkpoint; its tensors stay on disk until they are used.

    Raises:
        MyopiaError: the file names anything outside `ALLOWED` and torch's own list, or is no checkpoint at all.
    """
    path = Path(path)
    with torch.serialization.safe_globals(ALLOWED):
        try:
            foreign = sorted(torch.serialization.get_unsafe_globals_in_checkpoint(path))
            if foreign:
                raise MyopiaError(
                    f"{path}: refused, because reading it needs {', '.join(foreign)}, and a checkpoint can run any "
                    "program through such a name; delete the file, or, if the name is sure to be plain data, allow it "
                    "in scripts/myopia/experiments/released/convert.py."
                )
            value = torch.load(str(path), map_location="cpu", mmap=True, weights_only=True)
        except pickle.UnpicklingError as error:
            # Torch's own message advises to read the file with `weights_only=False`; what it wraps says what is wrong.
            raise MyopiaError(
                f"{path}: refused, because it does not read as plain data ({_first_line(error.__context__ or error)}); "
                "fetch it again, and if that does not help, do not open it."
            ) from None
        except (RuntimeError, ValueError, EOFError, OSError, KeyError, TypeError) as error:
            raise MyopiaError(
                f"{path}: not a checkpoint that torch.save wrote, or cut short ({_first_line(error)}); fetch it again."
            ) from None
    if not isinstance(value, dict) or not isinstance(value.get("state_dict"), Mapping):
        raise MyopiaError(f"{path}: a Lightning checkpoint holds a 'state_dict'; this file does not.")
    return value


def open_released(path: str | Path, arm: str) -> Released:
    """Read a checkpoint and find the one trained model in it.

    Raises:
        MyopiaError: see `read_checkpoint`; or no model, several, or one that is not where the authors' code puts the
            trained model of this arm.
    """
    path = Path(path)
    value = read_checkpoint(path)
    stored = value["state_dict"]
    for name, tensor in stored.items():
        if not isinstance(name, str) or not isinstance(tensor, Tensor):
            raise MyopiaError(f"{path}: 'state_dict' holds {name!r}, which is not a named tensor.")
    prefix = _prefix(stored, path, arm)
    inside = {name.removeprefix(prefix): t for name, t in stored.items() if name.startswith(prefix)}
    outside = {name: t for name, t in stored.items() if not name.startswith(prefix)}
    state = {_RENAMED.get(name, name): t for name, t in inside.items() if not _BUFFER.search(name)}
    record = {
        "prefix": prefix,
        "buffers_dropped": len(inside) - len(state),
        "keys": sorted(map(str, value)),
        **{key: _plain_or_none(value.get(key)) for key in ("epoch", "global_step")},
        "lightning_version": _plain_or_none(value.get("pytorch-lightning_version")),
        **_hyper_parameters(value.get("hyper_parameters")),
        "lr_schedulers": [_plain_fields(s) for s in _dicts(value.get("lr_schedulers"))],
        "optimizers": [_optimizer(s) for s in _dicts(value.get("optimizer_states"))],
    }
    return Released(path, state | outside, record)


def build_released(released: Released, base: str | Path) -> nn.Module:
    """The model of a checkpoint, its architecture taken from the `config.json` in the folder `base`.

    Nothing is initialised and nothing copied: the parameters are the checkpoint's own tensors.

    Raises:
        MyopiaError: a tensor is missing, unknown, of another shape than the config asks for, not a float or not finite.
    """
    from transformers import AutoConfig, AutoModelForCausalLM

    base, path, state = Path(base), released.path, released.state
    config = AutoConfig.from_pretrained(base)
    if config.model_type != "gpt_neox":
        raise MyopiaError(
            f"{base}: the released checkpoints are GPT-NeoX models, but its config is of {config.model_type}."
        )
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    wanted = {name: list(tensor.shape) for name, tensor in model.state_dict().items()}
    wrong = [name for name in wanted if name in state and list(state[name].shape) != wanted[name]]
    if wrong:
        name = wrong[0]
        raise MyopiaError(
            f"{path}: {len(wrong)} tensors disagree in shape with the config of {base.name}, the first being {name}: "
            f"{list(state[name].shape)} in the checkpoint, {wanted[name]} by the config; one of the two is of another "
            "size: correct config key released.base or released.repo."
        )
    for what, names in (("lacks", sorted(wanted.keys() - state)), ("has the unknown", sorted(state.keys() - wanted))):
        if names:
            more = f" and {len(names) - 1} more" if len(names) > 1 else ""
            raise MyopiaError(f"{path}: it {what} tensor {names[0]}{more}, compared with the config of {base.name}.")
    for name, tensor in state.items():
        if not tensor.is_floating_point() or not bool(torch.isfinite(tensor).all()):
            raise MyopiaError(
                f"{path}: {name} holds values that are not finite numbers ({tensor.dtype}); nothing to measure."
            )
    model.load_state_dict({name: tensor.float() for name, tensor in state.items()}, assign=True)
    return model.eval()


def convert_released(
    checkpoint: str | Path,
    fetched: str | Path,
    size: str,
    arm: str,
    base: str | Path,
    tokenizer: str | Path,
    out: str | Path,
) -> dict[str, Any]:
    """Write a checkpoint as a plain Hugging Face folder; `checkpoint.json` comes last and vouches for the rest.

    Args:
        checkpoint: the Lightning file.
        fetched: record of `fetch.fetch_released`.
        size, arm: what the checkpoint is supposed to be.
        base: folder with the architecture's config.json.
        tokenizer: folder whose files are copied.
        out: folder to fill.

    Returns:
        The record: origin, name, hyper-parameters, optimiser and schedule as far as they are plain data.
    """
    out = Path(out)
    origin = json.loads(Path(fetched).read_text())
    released = open_released(checkpoint, arm)
    model = build_released(released, base)
    record = {
        "format": 1,
        "run": f"pythia-{size}-{arm}",
        "size": size,
        "arm": arm,
        "in_name": origin.pop("in_name"),
        "origin": origin,
        "parameters": sum(p.numel() for p in model.parameters()),
        "dtype": sorted({str(t.dtype).removeprefix("torch.") for t in released.state.values()}),
        **released.record,
    }
    out.mkdir(parents=True, exist_ok=True)
    (out / RECORD).unlink(missing_ok=True)
    for leftover in out.glob(".export-*"):  # of a process that was killed
        shutil.rmtree(leftover)
    with tempfile.TemporaryDirectory(dir=out, prefix=".export-") as name:
        temporary = Path(name)
        model.save_pretrained(temporary, max_shard_size="1TB")  # measuring expects one file
        for file in Path(tokenizer).iterdir():
            shutil.copyfile(file, temporary / file.name)
        (temporary / "README.md").write_text(_card(record), encoding="utf-8")
        for file in sorted(temporary.iterdir()):
            os.chmod(file, 0o644)
            with open(file, "rb+") as handle:
                os.fsync(handle.fileno())
            os.replace(file, out / file.name)
    write_json(out / RECORD, record)
    return record


def _prefix(stored: Mapping[str, Tensor], path: Path, arm: str) -> str:
    """What stands before every name of the trained model."""
    found = sorted({name.removesuffix(_ANCHOR) for name in stored if name.endswith(_ANCHOR)})
    if not found:
        raise MyopiaError(f"{path}: it holds no GPT-NeoX language model: no tensor's name ends in {_ANCHOR}.")
    if len(found) > 1:
        raise MyopiaError(
            f"{path}: it holds several models ({', '.join(map(repr, found))}); which one was trained is unclear."
        )
    bare = found[0]
    while wrapper := next((w for w in _WRAPPERS if bare.startswith(w)), None):
        bare = bare.removeprefix(wrapper)
    if bare not in _PREFIXES:
        raise MyopiaError(
            f"{path}: its weights lie under '{found[0]}', but the authors' code puts a trained model under 'model.' or "
            "'myopic_model.'; this may be another model."
        )
    if arm == "vanilla" and bare == "myopic_model.":
        raise MyopiaError(f"{path}: a vanilla model was expected, but its weights are those of a LitMyopicModel.")
    return found[0]


def _hyper_parameters(value: Any) -> dict[str, Any]:
    """The plain ones, and the names of what else there is; None when the checkpoint holds none at all."""
    if isinstance(value, argparse.Namespace):
        value = vars(value)
    if not isinstance(value, Mapping):
        return {"hyper_parameters": None, "hyper_parameters_left_out": {}}
    plain = _plain_fields(value)
    rest = {
        str(k): v.name if isinstance(v, _Named) else type(v).__name__ for k, v in value.items() if str(k) not in plain
    }
    return {"hyper_parameters": plain, "hyper_parameters_left_out": rest}


def _optimizer(state: Mapping[str, Any]) -> dict[str, Any]:
    """What an optimiser's state holds, without its tensors."""
    per_parameter = state.get("state")
    per_parameter = per_parameter if isinstance(per_parameter, Mapping) else {}
    names = sorted({str(key) for entry in per_parameter.values() if isinstance(entry, Mapping) for key in entry})
    groups = [{k: v for k, v in _plain_fields(g).items() if k != "params"} for g in _dicts(state.get("param_groups"))]
    return {"state": names, "parameters": len(per_parameter), "param_groups": groups}


def _dicts(value: Any) -> list[Mapping[str, Any]]:
    return [entry for entry in value if isinstance(entry, Mapping)] if isinstance(value, list | tuple) else []


def _plain_fields(value: Mapping[Any, Any]) -> dict[str, Any]:
    return {str(key): entry for key, entry in value.items() if _is_plain(entry)}


def _plain_or_none(value: Any) -> Any:
    return value if _is_plain(value) else None


def _is_plain(value: Any) -> bool:
    """Whether a value can stand in JSON as it is."""
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, list | tuple):
        return all(_is_plain(entry) for entry in value)
    if isinstance(value, Mapping):
        return all(isinstance(key, str) and _is_plain(entry) for key, entry in value.items())
    return value is None or isinstance(value, bool | int | str)


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _card(record: Mapping[str, Any]) -> str:
    origin = record["origin"]
    return (
        f"---\nlibrary_name: transformers\npipeline_tag: text-generation\ntags: [myopia, {record['arm']}]\n---\n\n# {record['run']}\n\n"
        f"Weights released by the authors of arXiv 2404.00859, converted by myopia: `{origin['file']}` of "
        f"`{origin['repo']}` at commit `{origin['commit']}` (sha256 `{origin['sha256']}`). A plain transformers folder; "
        f"what else the checkpoint said is in `{RECORD}`.\n"
    )
