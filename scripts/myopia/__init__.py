"""myopia: how much of what a language model computes now is only there for later tokens?

The public API, stable names:

- `to_myopic(model, *, cut="hidden", beta=0.0)`, `to_vanilla(model)`: cut, scale or restore the off-diagonal
  gradients of any Hugging Face decoder, in place, without touching its forward pass;
- `to_local(model, teacher, *, form="hidden")`, `to_bigram(model, *, form="zeroed")`: the paper's two other arms;
- `myopic_attention(q, k_live, v_live, k_past, v_past, ...)`: the operator itself;
- `influence(model, input_ids)`: who plans for whom, as a [T, T] picture.

Names are loaded on first use, so that `import myopia` (and drawing a figure) does not import torch.
"""

from typing import Any

__version__ = "0.1.0"

_HOMES = {
    "to_myopic": "myopia.model.attach",
    "to_vanilla": "myopia.model.attach",
    "to_local": "myopia.model.attach",
    "to_bigram": "myopia.model.attach",
    "myopic_attention": "myopia.model.operator",
    "influence": "myopia.model.influence",
    "MyopiaError": "myopia.common.errors",
}

__all__ = [*_HOMES]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'myopia' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
