"""Weights a run starts from when they are not drawn from its seed: another run's, or released ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from torch import nn

from myopia.common.errors import MyopiaError
from myopia.common.files import canonical_json, sha256_file, sha256_text
from myopia.model.build import load_language_model


def initial_identity(spec: dict[str, Any], folder: str | Path | None) -> str | None:
    """What the weights before step 0 are, as a hash or a commit; None if the seed alone decides them.

    Args:
        spec: run spec; `init_from` names the run it starts from, `model.pretrained` released weights.
        folder: run folder of `init_from`, of the same seed; or where the released weights lie.

    Raises:
        MyopiaError: the weights are not there.
    """
    if "init_from" in spec:
        weights = Path(folder or spec["init_from"], "model.safetensors")
        if not weights.is_file():
            raise MyopiaError(
                f"run {spec['name']}: its initial model {weights} is missing; train the run {spec['init_from']} first"
            )
        return sha256_file(weights)
    source = spec["model"].get("pretrained")
    return None if source is None else _released_identity(source, folder)


def _released_identity(source: dict[str, Any], folder: str | Path | None) -> str:
    """sha256 of the weights in a folder, or the commit a hub revision stands for."""
    local = Path(folder or source["id"])
    if folder and not local.is_dir():
        raise MyopiaError(f"model {source['id']!r} is not in {folder}: say `snakemake fetch`, which downloads it")
    if local.is_dir():
        files = sorted(local.glob("*.safetensors")) or sorted(local.glob("pytorch_model.bin"))
        if not files:
            raise MyopiaError(f"model {source['id']!r} cannot be loaded: {local} holds no .safetensors file")
        return sha256_text(canonical_json({file.name: sha256_file(file) for file in files}))
    from transformers import AutoConfig

    try:
        config = AutoConfig.from_pretrained(source["id"], revision=source.get("revision"))
    except (OSError, ValueError) as error:
        raise MyopiaError(f"model {source['id']!r} cannot be loaded: {str(error).splitlines()[0]}") from error
    return str(getattr(config, "_commit_hash", None) or source.get("revision"))


def load_initial(model: nn.Module, folder: str | Path, run: str) -> None:
    """Give `model` the weights of a trained run folder; every tensor must be there and fit.

    Raises:
        MyopiaError: the folder holds another architecture, or files that cannot be read.
    """
    try:
        model.load_state_dict(load_language_model(folder).state_dict())
    except (RuntimeError, OSError, ValueError, SafetensorError) as error:
        detail = str(error).strip().splitlines()[-1].strip()
        raise MyopiaError(
            f"run {run}: the initial model in {folder} does not fit the network of this run ({detail}); train it again "
            "with the same shape"
        ) from error
