"""Export of a trained model: a plain Hugging Face folder that other tools open without our code."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import nn

from myopia.common.files import sha256_file, write_json
from myopia.model.attach import to_vanilla
from myopia.model.regression import RegressionModel

MEANING = {
    "vanilla": "trained with ordinary gradients",
    "myopic": "trained without gradients from a token's loss to earlier hidden states",
    "local": "its past is read from a frozen vanilla model",
    "bigram": "it has no past at all",
}


def model_card(run: str, arm: dict[str, Any], language: bool, tokenizer: bool) -> str:
    """README.md of a model folder: what the model is, and whether other programs may open it.

    The hub reads the YAML at its top, which names a library only if that library alone opens the folder.

    Args:
        run: name of the run.
        arm: arm of its spec.
        language: whether it is a language model (else a regression on vectors).
        tokenizer: whether the folder holds one.
    """
    details = ", ".join(f"{key} = {value}" for key, value in arm.items())
    metadata = ""
    if arm["kind"] in ("local", "bigram"):
        use = (
            "**Do not open this folder with `AutoModelForCausalLM` alone.** Its attention differs from what "
            "`config.json` describes; `myopia.json` says how, and myopia's own evaluation applies it."
        )
    elif not language:
        use = "A regression network on vectors: `myopia.model.regression.load_regression_model` opens it."
    else:
        use = "A plain transformers folder: its forward pass is that of any model of its type."
        if not tokenizer:
            use += " It has no tokenizer: its tokens are numbers."
        metadata = "library_name: transformers\npipeline_tag: text-generation\n"
    return (
        f"---\n{metadata}tags: [myopia, {arm['kind']}]\n---\n\n# {run}\n\n"
        f"Arm: {details} ({MEANING[arm['kind']]}; arXiv 2404.00859).\n\n{use}\n\n"
        "Recipe, seed, data and versions: `provenance.json`. Losses: `metrics.json`, `curve.csv`.\n"
    )


def export_model(
    model: nn.Module,
    folder: Path,
    tokenizer: str | None,
    arm: dict[str, Any],
    teacher: str | None,
    write_tokenizer: Callable[[Path], None] | None = None,
) -> None:
    """Write config.json, model.safetensors and the tokenizer into `folder`, each file atomically.

    The model is detached from its arm first, so that config.json never names our attention. Arms whose forward pass is
    not the vanilla one (local, bigram) get a `myopia.json` that says how to run them.

    Args:
        model: unsharded trained model.
        folder: run folder; made if it does not exist.
        tokenizer: folder to copy the tokenizer from, if any.
        arm: arm of the run's spec.
        teacher: run folder of a local arm's teacher, whose sha256 is recorded.
        write_tokenizer: writes the tokenizer of generated data into a folder, if there is no `tokenizer`.

    Raises:
        OSError, SafetensorError: a file cannot be written.
    """
    to_vanilla(model)
    folder.mkdir(parents=True, exist_ok=True)
    for leftover in folder.glob(".export-*"):  # of a killed process; this one holds the run's lock
        shutil.rmtree(leftover)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".export-") as name:
        temporary = Path(name)
        model.save_pretrained(temporary)
        if tokenizer is not None:
            for file in Path(tokenizer).iterdir():
                if (file.is_file() and "token" in file.name) or file.name in ("vocab.json", "merges.txt"):
                    shutil.copy(file, temporary / file.name)
        elif write_tokenizer is not None:
            write_tokenizer(temporary)
        if arm["kind"] in ("local", "bigram"):
            record = {"arm": arm}
            if teacher is not None:
                record["teacher_sha256"] = sha256_file(Path(teacher) / "model.safetensors")
            write_json(temporary / "myopia.json", record)
        language = not isinstance(model, RegressionModel)
        card = model_card(folder.parent.name, arm, language, tokenizer=bool(tokenizer or write_tokenizer))
        (temporary / "README.md").write_text(card, encoding="utf-8")
        for file in sorted(temporary.iterdir()):
            os.chmod(file, 0o644)
            with open(file, "rb+") as handle:
                os.fsync(handle.fileno())
            os.replace(file, folder / file.name)
