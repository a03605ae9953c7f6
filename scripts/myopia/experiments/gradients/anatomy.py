"""Gradient anatomy (paper D.4, Fig 11): what of the parameter gradient comes from a position's own loss.

The *total* gradient is that of the ordinary loss (mean nats per predicted token), the *myopic* part that of the same
loss with the library's operator attached (cut at hidden states), the *future* part their difference: what reaches the
parameters through losses of later positions.

Text is taken in K disjoint blocks of windows. With block gradients g_k, of either part,

    raw:       |sum_k g_k|^2 / K^2                     (the paper's form; inflated by the sampling noise of the text)
    unbiased:  sum_{k != l} g_k . g_l / (K (K - 1))    (the mean, over all ways to split the blocks into halves,
                                                        of the halves' inner product; its mean is |E g|^2)

and likewise for the inner product of the parts. Rows hold, for each block, its products with itself and with the sum
over all blocks, from which `judge` makes both forms and, leaving out one block at a time, their standard errors.

AdamW. Given second moments v, AdamW's step is linear in the gradient: -lr (m / (sqrt(v) + eps) + decay), so the step
that the mean gradient causes splits into the steps of its two parts. v is the mean square of the *total* gradient over
batches as large as training's, of other text (the validation split): what AdamW's average settles at while the
weights stay put. Step sizes are per unit of learning rate, without decay.

Groups of parameters. The authors leave out those with "embed" in their name, which in Pythia are both token tables. Here
`no-embeddings` leaves out every weight of an embedding module or output head besides, so that GPT-2's tables, which
are called wte and wpe, are out as well; `embeddings` are the rest. Products add up: all = no-embeddings + embeddings.

Shape suffixes: N windows, T tokens, p parameters.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from myopia.common.errors import MyopiaError
from myopia.data.tokens import TokenFile
from myopia.experiments.gradients import ANATOMY
from myopia.measure.text import spread_windows
from myopia.model.attach import find_decoder, to_myopic
from myopia.model.build import open_plain

WINDOWS_AT_ONCE = 64
KEEP_BYTES = 4 << 30
"""Block gradients are kept between the two passes over them if they fit in this; else they are computed twice."""


@dataclass(frozen=True)
class AnatomyRun:
    """A series of checkpoints of one network, and the text its gradients are taken on."""

    run: str
    arm: str
    seed: int
    corpus: str
    folder: Path  # a Hugging Face folder: the last checkpoint, and the architecture of all
    tokens: Path
    checkpoints: dict[int, Path]  # step -> folder with weights
    eps: float  # AdamW's
    batch_size: int  # windows of a training batch


@dataclass(frozen=True)
class Text:
    """Blocks of windows gradients are taken on, and other ones for AdamW's second moments; [K][N, T] each."""

    blocks: list[Tensor]
    moments: list[Tensor]

    @classmethod
    def draw(cls, tokens: Path, blocks: int, windows: int, moment_blocks: int, moment_windows: int) -> Text:
        """Test windows for the blocks, validation windows for the moments, spread over documents."""
        return cls(
            _blocks(tokens, "test", blocks, windows), _blocks(tokens, "validation", moment_blocks, moment_windows)
        )


def _blocks(tokens: Path, split: str, count: int, windows: int) -> list[Tensor]:
    file = TokenFile.open(tokens, split)
    if len(file) < count * windows:
        raise MyopiaError(
            f"{tokens}: {count} blocks of {windows} windows are wanted from the split '{split}', which has {len(file)}; "
            "lower gradients.blocks or gradients.block_windows, or take more text"
        )
    chosen = spread_windows(file.docs, count * windows)
    # Neighbours in the file are often of one source: every block takes windows from all over it.
    return [torch.from_numpy(np.asarray(file.tokens[chosen[k::count]]).astype(np.int64)) for k in range(count)]


# --- gradients of one network ---


def is_embedding(model: nn.Module) -> dict[str, bool]:
    """For each parameter, whether it belongs to a token or position table or to the output head."""
    decoder = find_decoder(model)
    tables = [module for module in model.modules() if isinstance(module, nn.Embedding)]
    tables += [module for module in (decoder.get_input_embeddings(), decoder.get_output_embeddings()) if module]
    weights = {id(p) for module in tables for p in module.parameters()}
    return {name: id(p) in weights or "embed" in name for name, p in model.named_parameters()}


class Gradients:
    """Gradients of a model as flat vectors [p], embeddings first; `split` is where the other parameters begin."""

    def __init__(self, model: nn.Module) -> None:
        table = is_embedding(model)
        self.names = sorted(table, key=lambda name: not table[name])
        sizes = {name: p.numel() for name, p in model.named_parameters()}
        self.split = sum(sizes[name] for name in self.names if table[name])

    def __call__(self, model: nn.Module, ids_NT: Tensor) -> tuple[Tensor, float]:
        """(gradient of the mean loss over the windows' predictions, that loss)."""
        parameters = dict(model.named_parameters())
        device = next(iter(parameters.values())).device
        model.zero_grad()
        total = 0.0
        for ids_BT in ids_NT.split(WINDOWS_AT_ONCE):
            ids_BT = ids_BT.to(device)
            loss = mean_loss(model, ids_BT) * (len(ids_BT) / len(ids_NT))
            loss.backward()
            total += float(loss.detach())
        # A parameter may have no part in the loss, such as an unused bias: its gradient is 0.
        pieces = [parameters[n].grad for n in self.names]
        pieces = [torch.zeros_like(parameters[n]) if g is None else g for n, g in zip(self.names, pieces, strict=True)]
        return torch.cat([g.flatten() for g in pieces]), total

    def products(self, a: Tensor, b: Tensor) -> tuple[float, float]:
        """(inner product over embeddings, over all other parameters), summed in float64."""
        product = a * b
        return tuple(float(part.sum(dtype=torch.float64)) for part in (product[: self.split], product[self.split :]))


def mean_loss(model: nn.Module, ids_BT: Tensor) -> Tensor:
    """Mean cross-entropy in nats of the T - 1 predictions of every window."""
    predicting = torch.arange(ids_BT.shape[1] - 1, device=ids_BT.device)
    logits = model(input_ids=ids_BT, use_cache=False, logits_to_keep=predicting).logits
    return nn.functional.cross_entropy(logits.flatten(0, 1).float(), ids_BT[:, 1:].flatten())


class Anatomy:
    """A network and a copy of it that is cut, with the same weights, whose gradients are taken block by block."""

    def __init__(self, model: nn.Module) -> None:
        self.plain = model.eval()
        self.cut = to_myopic(copy.deepcopy(model)).eval()
        self.gradients = Gradients(model)

    def load(self, folder: Path) -> None:
        """Take over the weights of another checkpoint."""
        state = read_weights(folder)
        for model in (self.plain, self.cut):
            try:
                model.load_state_dict(state)
            except RuntimeError as error:
                detail = str(error).strip().splitlines()[-1].strip()
                raise MyopiaError(f"{folder} does not fit the network ({detail}); train or fetch it again") from error

    def parts(self, ids_NT: Tensor) -> tuple[Tensor, Tensor, float]:
        """(myopic part, future part, loss) of the gradient on some windows; the parts add up to the total gradient."""
        total, loss = self.gradients(self.plain, ids_NT)
        myopic, _ = self.gradients(self.cut, ids_NT)
        return myopic, total - myopic, loss

    def adamw_scale(self, batches: Sequence[Tensor], eps: float) -> Tensor:
        """1 / (sqrt(v) + eps), v the mean square of the total gradient over `batches`; [p]."""
        moment = torch.zeros_like(self.gradients(self.plain, batches[0])[0])
        for ids_NT in batches:
            moment += self.gradients(self.plain, ids_NT)[0].square_().div_(len(batches))
        return moment.sqrt_().add_(eps).reciprocal_()

    def measure(self, text: Text, eps: float) -> list[dict[str, Any]]:
        """Rows of one checkpoint, without what names it."""
        scale = self.adamw_scale(text.moments, eps)
        again = self._passes(text.blocks, len(scale))
        sums = [torch.zeros_like(scale) for _ in range(2)]
        losses = []
        for myopic, future, loss in again():
            sums[0] += myopic
            sums[1] += future
            losses.append(loss)
        rows = []
        for k, (myopic, future, _) in enumerate(again()):
            for of, factor in (("gradient", 1.0), ("adamw", scale)):
                m, f, M, F = (part * factor for part in (myopic, future, *sums))
                pairs = {"m_m": (m, m), "f_f": (f, f), "m_f": (m, f), "m_M": (m, M), "f_F": (f, F), "m_F": (m, F),
                         "f_M": (f, M)}  # fmt: skip
                found = {name: self.gradients.products(*pair) for name, pair in pairs.items()}
                for j, group in enumerate(("embeddings", "no-embeddings")):
                    fields = {"of": of, "group": group, "block": k, "windows": len(text.blocks[k]), "loss": losses[k]}
                    rows.append(fields | {name: values[j] for name, values in found.items()})
        return rows

    def _passes(self, blocks: Sequence[Tensor], size: int) -> Callable[[], Iterator[tuple[Tensor, Tensor, float]]]:
        """What gives all blocks' parts, as often as asked; remembered if there is room."""
        if 2 * 4 * size * len(blocks) > KEEP_BYTES:
            return lambda: (self.parts(ids_NT) for ids_NT in blocks)
        kept = [self.parts(ids_NT) for ids_NT in blocks]
        return lambda: iter(kept)


# --- checkpoints ---


def open_model(folder: Path) -> nn.Module:
    """A causal language model from a Hugging Face folder, fp32; weights as safetensors or as a pickle of tensors alone."""
    from transformers import AutoConfig

    if not (folder / "config.json").is_file():
        raise MyopiaError(f"{folder} is no model folder: config.json is missing; train or fetch it again")
    try:
        # Without attention dropout: this is evaluation all the same, but the operator refuses it.
        model = open_plain(AutoConfig.from_pretrained(folder), pretrained_model_name_or_path=folder)
    except (OSError, ValueError, RuntimeError) as error:
        raise MyopiaError(f"{folder}: the model cannot be loaded ({str(error).splitlines()[0]})") from error
    return model.eval()


def read_weights(folder: Path) -> dict[str, Tensor]:
    """The weights in `folder`: a snapshot of a run (weights alone) or a model folder."""
    if (folder / "config.json").is_file():
        return open_model(folder).state_dict()
    weights = folder / "model.safetensors"
    if not weights.is_file():
        raise MyopiaError(
            f"{weights} is missing: the run was trained without keeping its weights at this step; delete its folder and "
            "its state under .state and train it again"
        )
    return load_file(weights)


def gradient_anatomy(
    runs: Sequence[AnatomyRun],
    *,
    blocks: int,
    block_windows: int,
    moment_blocks: int,
    device: torch.device | str = "cpu",
) -> pd.DataFrame:
    """`ANATOMY`: every checkpoint of every run."""
    columns = [*ANATOMY.columns]
    frames = [pd.DataFrame(columns=columns)]
    texts: dict[tuple[Path, int], Text] = {}
    for run in runs:
        key = (run.tokens, run.batch_size)
        if key not in texts:
            texts[key] = Text.draw(run.tokens, blocks, block_windows, moment_blocks, run.batch_size)
        anatomy = Anatomy(open_model(run.folder).to(device))
        fields = {"corpus": run.corpus, "run": run.run, "arm": run.arm, "seed": run.seed}
        for step, folder in sorted(run.checkpoints.items()):
            anatomy.load(folder)
            frames.append(pd.DataFrame(anatomy.measure(texts[key], run.eps)).assign(**fields, step=step)[columns])
    frame = pd.concat([f for f in frames if len(f)] or frames)
    return frame.sort_values(["corpus", "run", "seed", "step", "of", "group", "block"], kind="stable")
