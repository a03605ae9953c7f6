"""The fingerprint of a training run: equal fingerprints mean equal results."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from myopia.common.errors import MyopiaError
from myopia.common.files import canonical_json, sha256_file, sha256_text
from myopia.config.runs import CODE_VERSION


def fingerprint(
    spec: dict[str, Any], seed: int, data_fingerprint: str, teacher: str | None = None, initial: str | None = None
) -> str:
    """16 hex digits of a sha256 over everything that determines a run's result, and nothing else.

    Args:
        spec: run spec; its `purpose` is left out.
        seed: seed of the run.
        data_fingerprint: `Task.fingerprint`.
        teacher: run folder of the model that the local arm learns from; its weights are hashed.
        initial: identity of the weights before step 0; None if the seed alone determines them.

    Raises:
        MyopiaError: the teacher's weights are missing.
    """
    decisive = {key: value for key, value in spec.items() if key != "purpose"}
    parts = [CODE_VERSION["train"], decisive, seed, data_fingerprint]
    if spec["arm"]["kind"] == "local" and teacher is not None:
        weights = Path(teacher, "model.safetensors")
        if not weights.is_file():
            raise MyopiaError(f"run {spec['name']}: its teacher {weights} is missing; train the vanilla run first")
        parts.append(sha256_file(weights))
    if initial is not None:
        parts.append({"initial": initial})
    return sha256_text(canonical_json(parts))[:16]
