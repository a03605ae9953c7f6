"""Sizes of networks by formula: parameters, arithmetic, memory. No torch: a plan must not need a GPU or its libraries.

N parameters, of which M are entries of matrices that every token is multiplied by (all but embeddings, positions,
biases and norms; the output head counts, tied or not); L layers of width d; windows of T tokens; V rows of the
vocabulary.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from myopia.config.corpora import TOKENIZERS

GB = 1e9
CUDA_OVERHEAD = 1.5 * GB
"""Context, kernels' work space and fragmentation, as a round sum."""

# Published Pythia sizes (their config.json): layers, width, heads, rows of the embedding.
PYTHIA = {
    "14m": (6, 128, 4, 50304),
    "31m": (6, 256, 8, 50304),
    "70m": (6, 512, 8, 50304),
    "160m": (12, 768, 12, 50304),
    "410m": (24, 1024, 16, 50304),
    "1b": (16, 2048, 8, 50304),
    "1.4b": (24, 2048, 16, 50304),
    "2.8b": (32, 2560, 32, 50304),
    "6.9b": (32, 4096, 32, 50432),
    "12b": (36, 5120, 40, 50688),
}
GPT2 = {"gpt2": (12, 768), "gpt2-medium": (24, 1024), "gpt2-large": (36, 1280), "gpt2-xl": (48, 1600)}

# Bytes that one layer keeps for its backward pass, per token and unit of width: (fp32, bf16 autocast). Counted from
# the tensors autograd saves (tests/unit/config/test_shapes.py counts them again); compiled networks keep less.
_KEPT = {"gpt2": (64, 36), "gpt_neox": (72, 38), "regression": (64, 36)}
_COMPOSED_GELU = (48, 24)  # GPT-2's gelu_new is several operations, gelu_pytorch_tanh is one
_DROPOUT = (8, 4)
_ARM = {"vanilla": (0, 0), "hidden": (16, 10), "kv": (0, 0), "bigram": (12, 6), "local": (16, 10)}


@dataclass(frozen=True)
class Shape:
    """A network of GPT-2's or GPT-NeoX's architecture; `kind` says which."""

    kind: str
    layers: int
    width: int
    inner: int
    vocab: int
    positions: int  # rows of a learned position table; 0: rotary
    tied: bool
    composed_gelu: bool = False
    dropout: bool = False

    @property
    def matrices(self) -> int:
        """M: entries of the matrices a token is multiplied by."""
        block = 4 * self.width**2 + 2 * self.width * self.inner
        head = self.width if self.kind == "regression" else self.width * self.vocab
        inputs = 2 * self.width if self.kind == "regression" else 0
        return self.layers * block + head + inputs

    @property
    def parameters(self) -> int:
        """N: all of them."""
        d = self.width
        # Per block: two norms, and the biases of the four projections.
        small = self.layers * (9 * d + self.inner) + 2 * d + self.positions * d
        if self.kind == "regression":
            return self.matrices + small + d + 1  # biases of the maps in and out
        return self.matrices + small + (0 if self.tied else self.vocab * d)

    @property
    def body(self) -> int:
        """Parameters without embeddings: what sizes are compared by."""
        tables = self.vocab * self.width * (1 if self.tied else 2)
        return self.parameters - (0 if self.kind == "regression" else tables) - self.positions * self.width

    def training_flops(self, tokens: float, T: int) -> float:
        """6 M per token, and 12 L T d for attention scores and sums (no discount for causality)."""
        return tokens * (6 * self.matrices + 12 * self.layers * T * self.width)

    def forward_flops(self, tokens: float, T: int) -> float:
        """A third of training."""
        return self.training_flops(tokens, T) / 3

    @property
    def block(self) -> int:
        """Parameters of one layer."""
        return 4 * self.width**2 + 2 * self.width * self.inner + 9 * self.width + self.inner

    def training_bytes(
        self, tokens: int, precision: str, arm: Mapping[str, Any], cuda: bool, devices: int = 1,
        strategy: str = "replicate",
    ) -> float:  # fmt: skip
        """Peak memory per device of a training step on `tokens` (one micro-batch of one device), in bytes.

        fp32 weights, gradients and AdamW's two moments: 16 N; bf16 copies of the matrices: 2 M; what the backward
        pass keeps; logits with their fp32 copy, log-softmax and gradients; a local arm's teacher.

        `strategy`: `replicate` (each of `devices` holds all of it), `shard` (the 16 N are divided; what lies outside
        the layers is gathered for the whole step, layers one at a time and the next ahead of it), `shard-recompute`
        (besides, of a layer only its input is kept for the backward pass).
        """
        half = precision == "bf16"
        kept = _KEPT[self.kind][half]
        kept += _COMPOSED_GELU[half] if self.composed_gelu else 0
        kept += _DROPOUT[half] if self.dropout else 0
        kept += _ARM[arm["cut"] if arm["kind"] == "myopic" else arm["kind"]][half]
        layers = kept * self.layers if strategy != "shard-recompute" else kept + 4 * self.layers
        total = tokens * self.width * (layers + 8)
        logits = tokens * self.vocab * (16 if half else 12)
        if strategy == "replicate":
            total += 16.0 * self.parameters + (2 * self.matrices if half else 0) + logits
        else:
            outside, wide = self.parameters - self.layers * self.block, 2 if half else 4
            # Two moments compete: the loss, and the backward pass of the last layer, when two layers' weights are
            # gathered, and one's gradient with its fp32 copy on the way to being summed.
            layer = (3 * wide + 4) * self.block
            total += 16.0 * self.parameters / devices + 4.0 * outside + max(logits, 4.0 * outside + layer)
        if arm["kind"] == "local":
            total += 4.0 * self.parameters + 4.0 * tokens * self.width * (self.layers + 1)
        return total + (CUDA_OVERHEAD if cuda else 0)


def shape_of(model: Mapping[str, Any], vocab: int | None) -> Shape | None:
    """The shape of a run spec's `model`; None for an architecture these formulas do not cover.

    `vocab` is that of the tokenizer, used where the model does not name its own.
    """
    if model["kind"] == "regression":
        d = model["d_model"]
        return Shape(
            "regression", model["n_layers"], d, model.get("d_mlp") or 4 * d, 0, model["n_positions"], True,
            composed_gelu=model["activation"] == "gelu_new",
        )  # fmt: skip
    if model.get("pretrained"):
        return _published(model["pretrained"]["id"])
    config = model["config"]

    def get(default: Any, *names: str) -> Any:
        return next((config[name] for name in names if config.get(name) is not None), default)

    rows = get(vocab, "vocab_size")
    if rows is None:
        return None
    if model["model_type"] == "gpt2":
        d = get(768, "n_embd", "hidden_size")
        dropout = any(get(0.1, name) for name in ("embd_pdrop", "resid_pdrop"))
        return Shape(
            "gpt2", get(12, "n_layer", "num_hidden_layers"), d, get(4 * d, "n_inner"), rows,
            get(1024, "n_positions", "max_position_embeddings"), get(True, "tie_word_embeddings"),
            get("gelu_new", "activation_function") == "gelu_new", dropout,
        )  # fmt: skip
    if model["model_type"] == "gpt_neox":
        d = get(6144, "hidden_size")
        return Shape(
            "gpt_neox", get(44, "num_hidden_layers"), d, get(24576, "intermediate_size"), rows, 0,
            get(False, "tie_word_embeddings"), False, bool(get(0.0, "hidden_dropout")),
        )  # fmt: skip
    return None


def _published(name: str) -> Shape | None:
    last = name.rsplit("/", 1)[-1].removesuffix("-deduped")
    if last in GPT2:
        layers, d = GPT2[last]
        return Shape("gpt2", layers, d, 4 * d, TOKENIZERS["gpt2"], 1024, True, True, True)
    size = last.removeprefix("pythia-")
    return pythia(size) if size in PYTHIA else None


def pythia(size: str) -> Shape:
    """The shape of a published Pythia size ("70m" ... "12b")."""
    layers, d, _, rows = PYTHIA[size]
    return Shape("gpt_neox", layers, d, 4 * d, rows, 0, False)


def memory_sentence(shape: Shape, spec: Mapping[str, Any], T: int, device_bytes: float, cuda: bool) -> str | None:
    """None if a run's training step fits the device; else what it needs and what would fit."""

    def needed(shape: Shape, micro: int) -> float:
        return shape.training_bytes(micro * T, spec["precision"], spec["arm"], cuda)

    asked = spec["micro_batch"]
    if needed(shape, asked) <= device_bytes:
        return None
    text = f"needs about {needed(shape, asked) / GB:.1f} GB of {device_bytes / GB:.1f} GB"
    fits = [m for m in range(asked - 1, 0, -1) if spec["batch_size"] % m == 0 and needed(shape, m) <= device_bytes]
    if fits:
        return f"{text}; micro_batch {fits[0]} fits"
    smaller = [size for size in PYTHIA if needed(pythia(size), 1) <= device_bytes]
    if shape.kind == "gpt_neox" and smaller:
        return f"{text}, and no micro_batch fits; of the Pythia sizes {smaller[-1]} and smaller fit"
    return f"{text}, and no micro_batch fits; take a smaller model"
