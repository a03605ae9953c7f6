"""Matched pairs: a vanilla and a myopic run of one seed, read on the same windows.

Shape suffixes: N windows, T tokens, P = T - 1 predictions, B windows of a batch, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from myopia.common.errors import MyopiaError
from myopia.config.runs import PAIR
from myopia.measure.text import TextRun

BATCH = 16
"""Windows per forward pass; small, because all probabilities of both models are held at once."""


@dataclass(frozen=True)
class MatchedPair:
    """A vanilla and a myopic run of one seed on one corpus."""

    corpus: str
    seed: int
    vanilla: TextRun
    myopic: TextRun

    def runs(self) -> tuple[TextRun, TextRun]:
        """Both runs, in the order of `PAIR`."""
        return self.vanilla, self.myopic


def pair_up(runs: Sequence[TextRun]) -> dict[str, list[MatchedPair]]:
    """Matched pairs by corpus, in the order of their seeds; a run without its other arm is refused."""
    found: dict[tuple[str, int], dict[str, TextRun]] = {}
    for run in runs:
        if run.arm in PAIR:
            found.setdefault((run.corpus, run.seed), {})[run.arm] = run
    corpora: dict[str, list[MatchedPair]] = {}
    for (corpus, seed), arms in sorted(found.items()):
        if len(arms) < len(PAIR):
            raise MyopiaError(f"corpus {corpus}, seed {seed}: the vanilla and the myopic run are both needed")
        corpora.setdefault(corpus, []).append(MatchedPair(corpus, seed, **arms))
    return corpora


def log_probabilities(model: nn.Module, ids_BT: Tensor) -> Tensor:
    """log p(. | x_<=p) of every prediction, fp32 [B, P, V]."""
    predicting = torch.arange(ids_BT.shape[1] - 1, device=ids_BT.device)
    logits = model(input_ids=ids_BT, use_cache=False, logits_to_keep=predicting).logits
    return logits.float().log_softmax(-1)


def token_batches(tokens_NT: np.ndarray, device: torch.device | str = "cpu") -> Iterator[Tensor]:
    """The windows as int64 batches on a device."""
    for first in range(0, len(tokens_NT), BATCH):
        yield torch.from_numpy(tokens_NT[first : first + BATCH].astype(np.int64)).to(device)


@torch.no_grad()
def pair_losses(
    vanilla: nn.Module, myopic: nn.Module, tokens_NT: np.ndarray, device: torch.device | str = "cpu"
) -> tuple[np.ndarray, np.ndarray]:
    """Losses of both models [2, N, P] in the order of `PAIR`, and KL(vanilla || myopic) [N, P]; nats, float64."""
    losses, divergences = [], []
    for ids_BT in token_batches(tokens_NT, device):
        first, second = log_probabilities(vanilla, ids_BT), log_probabilities(myopic, ids_BT)
        picked = [-each.gather(-1, ids_BT[:, 1:, None])[..., 0] for each in (first, second)]
        losses.append(torch.stack(picked).double().cpu().numpy())
        kl = nn.functional.kl_div(second, first, reduction="none", log_target=True).sum(-1)
        divergences.append(kl.double().cpu().numpy())
    return np.concatenate(losses, axis=1), np.concatenate(divergences)


def count_tokens(tokens_NT: np.ndarray, vocabulary: int, block: int = 65536) -> np.ndarray:
    """Occurrences of every token, int64 [V]; the file is read in blocks of windows."""
    counts = np.zeros(vocabulary, dtype=np.int64)
    for first in range(0, len(tokens_NT), block):
        counts += np.bincount(tokens_NT[first : first + block].ravel(), minlength=vocabulary)
    return counts
