"""Tasks: batches as functions of (seed, global sample index), and the loss of a model on them.

There is no data loader state to save, and nothing depends on the number of processes. Suffixes of tensors: B samples,
T positions, C channels, P positions with a prediction that counts.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from myopia.common.errors import MyopiaError
from myopia.common.files import canonical_json, sha256_text
from myopia.data.streams import build_stream
from myopia.data.tokens import TokenFile


class Task(Protocol):
    """The data and loss of a run, as the trainer sees them."""

    tokens_per_sample: int
    fingerprint: str  # of the data; part of the run's

    def batch(self, seed: int, first: int, count: int, split: str) -> tuple[dict[str, Tensor], Tensor]:
        """Inputs of global samples first, ..., first + count - 1 of a split, and their indices, int64 [count]."""

    def loss(self, model: nn.Module, inputs: dict[str, Tensor]) -> Tensor:
        """Mean loss over the batch's predictions, a scalar of at least fp32."""


def _at_least_fp32(x: Tensor) -> Tensor:
    """`x` in fp32, or fp64 if it is: losses of bf16 predictions are not computed in bf16."""
    return x if x.dtype == torch.float64 else x.float()


class DpRegression:
    """The synthetic task D_p: Huber loss (delta 1) on y, averaged over all positions (authors' code, 1.3).

    Inputs: inputs_BTC fp32 [B, T, 2] (x and z), y_BT fp32 [B, T].
    """

    def __init__(self, data: dict[str, Any]) -> None:
        parameters = {key: value for key, value in data.items() if key != "kind"}
        self.task = build_stream(data)
        self.tokens_per_sample = self.task.T
        self.fingerprint = sha256_text(canonical_json(parameters))

    def batch(self, seed: int, first: int, count: int, split: str) -> tuple[dict[str, Tensor], Tensor]:
        x_BT, z_BT, y_BT = self.task.sample(seed, first, count, split)
        inputs = {
            "inputs_BTC": torch.from_numpy(np.stack([x_BT, z_BT], axis=-1)),
            "y_BT": torch.from_numpy(np.ascontiguousarray(y_BT)),
        }
        return inputs, torch.arange(first, first + count)

    def loss(self, model: nn.Module, inputs: dict[str, Tensor]) -> Tensor:
        return nn.functional.huber_loss(_at_least_fp32(model(inputs["inputs_BTC"])), inputs["y_BT"])


class LanguageModelling:
    """Next-token cross-entropy in nats over the T - 1 predictions of each window of a corpus.

    Inputs: input_ids int64 [B, T]. `data.first_sample` is the run's first index in the endless order of windows: a
    fine-tuning run goes on where its pretraining run of the same seed stopped.
    """

    def __init__(self, data: dict[str, Any], folder: str, needed: int, held_out: int = 0) -> None:
        """Open the token files; at least `needed` training and `held_out` validation windows must be there."""
        self.splits = {split: TokenFile.open(folder, split) for split in ("train", "validation")}
        self.splits["train"].require_windows(needed)
        if len(self.splits["validation"]) < held_out:
            raise MyopiaError(
                f"{folder}: the split 'validation' has {len(self.splits['validation'])} windows but eval.sequences is "
                f"{held_out}; lower eval.sequences or take more text"
            )
        self.tokens_per_sample = int(self.splits["train"].tokens.shape[1])
        if data.get("T") not in (None, self.tokens_per_sample):
            raise MyopiaError(
                f"{folder} holds windows of {self.tokens_per_sample} tokens but the run wants T = {data['T']}: "
                "encode the corpus again"
            )
        self.fingerprint = sha256_text("".join(self.splits[s].sha256 for s in ("train", "validation")))
        self.vocab_size = int(self.splits["train"].manifest["vocab_size"])
        self.first_sample = int(data.get("first_sample", 0))
        self._order: tuple[tuple[int, int], np.ndarray] | None = None

    def batch(self, seed: int, first: int, count: int, split: str) -> tuple[dict[str, Tensor], Tensor]:
        tokens = self.splits[split].tokens
        index = np.arange(first, first + count) + (self.first_sample if split == "train" else 0)
        if split == "train":
            windows = np.array([self._permutation(seed, i // len(tokens))[i % len(tokens)] for i in index])
        else:
            windows = index
        ids_BT = torch.from_numpy(tokens[windows].astype(np.int64))
        return {"input_ids": ids_BT}, torch.from_numpy(index)

    def _permutation(self, seed: int, epoch: int) -> np.ndarray:
        """The order of windows in one epoch, int64 [number of windows]; a function of (seed, epoch)."""
        if self._order is None or self._order[0] != (seed, epoch):
            generator = np.random.Generator(np.random.Philox(key=[seed, epoch]))
            self._order = ((seed, epoch), generator.permutation(len(self.splits["train"].tokens)))
        return self._order[1]

    def loss(self, model: nn.Module, inputs: dict[str, Tensor]) -> Tensor:
        ids = inputs["input_ids"]
        # Not asking for the last logits saves a copy of all of them in each pass: they are a small model's largest tensor.
        predicting = torch.arange(ids.shape[1] - 1, device=ids.device)
        logits = model(input_ids=ids, use_cache=False, logits_to_keep=predicting).logits
        if logits.shape[1] == ids.shape[1]:  # an architecture that knows no logits_to_keep
            logits = logits[:, :-1]
        return nn.functional.cross_entropy(_at_least_fp32(logits.flatten(0, 1)), ids[:, 1:].flatten())


class GeneratedLanguage:
    """Next-token cross-entropy in nats on generated sequences, over the tokens that their stream marks as predicted.

    Inputs: input_ids int64 [B, T], predicted bool [B, T]. The mean over a sequence's predicted tokens, then over
    sequences.
    """

    def __init__(self, data: dict[str, Any]) -> None:
        self.stream = build_stream(data)
        self.tokens_per_sample, self.vocab_size = self.stream.T, self.stream.vocab_size
        self.fingerprint = sha256_text(canonical_json(data))
        self.write_tokenizer = getattr(self.stream, "write_tokenizer", None)  # (folder) -> None, if it has one

    def batch(self, seed: int, first: int, count: int, split: str) -> tuple[dict[str, Tensor], Tensor]:
        ids_BT, predicted_BT = self.stream.sample(seed, first, count, split)
        inputs = {"input_ids": torch.from_numpy(ids_BT), "predicted": torch.from_numpy(predicted_BT)}
        return inputs, torch.arange(first, first + count)

    def loss(self, model: nn.Module, inputs: dict[str, Tensor]) -> Tensor:
        ids, wanted_BP = inputs["input_ids"], inputs["predicted"][:, 1:]  # P: predicting positions
        predicting = wanted_BP.any(0).nonzero().squeeze(1)
        logits = model(input_ids=ids, use_cache=False, logits_to_keep=predicting).logits
        if logits.shape[1] != len(predicting):  # an architecture that knows no logits_to_keep
            logits = logits[:, predicting]
        targets_BP, weight_BP = ids[:, 1:][:, predicting], wanted_BP[:, predicting].float()
        nats_BP = nn.functional.cross_entropy(_at_least_fp32(logits.transpose(1, 2)), targets_BP, reduction="none")
        return ((nats_BP * weight_BP).sum(1) / weight_BP.sum(1)).mean()


def build_task(spec: dict[str, Any], folder: str | None) -> DpRegression | LanguageModelling | GeneratedLanguage:
    """The task of a run spec; `folder` holds the token files of a language run.

    Raises MyopiaError if the folder is missing, has too few windows or windows of another length.
    """
    kind = spec["data"]["kind"]
    if kind == "dp":
        return DpRegression(spec["data"])
    if kind == "tokens":
        if folder is None:
            raise MyopiaError(f"run {spec['name']} reads text but no token folder was given")
        return LanguageModelling(spec["data"], folder, spec["batch_size"], spec["eval"]["sequences"])
    return GeneratedLanguage(spec["data"])
