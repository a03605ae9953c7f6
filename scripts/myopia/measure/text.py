"""Language runs on held-out text: loss by document and position, learning curves, components of mixtures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from myopia.common.errors import MyopiaError
from myopia.config.runs import ARMS
from myopia.data.tokens import TokenFile
from myopia.model.build import load_trained

BATCH = 64  # windows per forward pass; no result depends on it beyond rounding


@dataclass(frozen=True)
class TextRun:
    """One trained language model and the corpus it is measured on."""

    run: str
    arm: str
    seed: int
    corpus: str
    folder: Path
    tokens: Path
    teacher: Path | None = None  # run folder, for a local arm


def choose_windows(docs: Sequence[str], limit: int) -> np.ndarray:
    """At most `limit` window indices, spread evenly over the documents: a round takes one window of each.

    More documents are worth more than more windows of one, since windows of a document are not independent. Within a
    document they come in an order drawn from a fixed seed: the first pages of a book are not like the rest of it.
    """
    place = np.random.Generator(np.random.Philox(key=[0, 0])).random(len(docs))
    rank: dict[str, int] = {}
    order = []
    for index in np.argsort(place, kind="stable"):
        doc = docs[index]
        order.append((rank.get(doc, 0), int(index)))
        rank[doc] = rank.get(doc, 0) + 1
    return np.sort([index for _, index in sorted(order)[:limit]])


def spread_windows(docs: Sequence[str], limit: int) -> np.ndarray:
    """`choose_windows`, but documents evenly spaced in the file if there are more of them than windows.

    Files are sorted by source, so the first documents alone would be the text of a few sources.
    """
    documents = len(set(docs))
    if documents <= limit:
        return choose_windows(docs, limit)
    one_of_each = choose_windows(docs, documents)
    return one_of_each[np.linspace(0, documents - 1, limit).round().astype(int)]


@torch.no_grad()
def position_losses(model: nn.Module, tokens_NT: np.ndarray) -> np.ndarray:
    """-log p(x_{t+1} | x_<=t) in nats, [N, T-1], computed in fp32, returned as float64."""
    rows = []
    device = next(model.parameters()).device
    for first in range(0, len(tokens_NT), BATCH):
        ids_BT = torch.from_numpy(tokens_NT[first : first + BATCH].astype(np.int64)).to(device)
        predicting = torch.arange(ids_BT.shape[1] - 1, device=device)
        logits: Tensor = model(input_ids=ids_BT, use_cache=False, logits_to_keep=predicting).logits
        nll = nn.functional.cross_entropy(logits.flatten(0, 1), ids_BT[:, 1:].flatten(), reduction="none")
        rows.append(nll.view(len(ids_BT), -1).double().cpu().numpy())
    return np.concatenate(rows)


def text_loss(runs: Sequence[TextRun], max_windows: int, device: str = "cpu") -> pd.DataFrame:
    """One row per (run, seed, document, position): mean loss over the document's chosen test windows.

    Every run of a corpus is measured on the same windows, so that arms are paired by document and position.
    """
    frames = []
    for run in runs:
        file = TokenFile.open(run.tokens, "test")
        chosen = choose_windows(file.docs, max_windows)
        if not len(chosen):
            raise MyopiaError(f"{run.tokens}: the test split is empty; take more text or larger test fractions")
        model = load_trained(run.folder, ARMS[run.arm], run.teacher, device)
        loss_NP = position_losses(model, np.asarray(file.tokens[chosen]))
        docs = np.array(file.docs, dtype=object)[chosen]
        groups = np.array(file.groups, dtype=object)[chosen]
        names, first, inverse = np.unique(docs, return_index=True, return_inverse=True)
        count = np.bincount(inverse)
        mean_DP = np.zeros((len(names), loss_NP.shape[1]))
        np.add.at(mean_DP, inverse, loss_NP)
        mean_DP /= count[:, None]
        D, P = mean_DP.shape
        frames.append(
            pd.DataFrame(
                {
                    "corpus": run.corpus, "run": run.run, "arm": run.arm, "seed": run.seed,
                    "doc": np.repeat(names, P), "group": np.repeat(groups[first], P),
                    "position": np.tile(np.arange(P), D), "n": np.repeat(count, P), "loss": mean_DP.ravel(),
                }
            )
        )  # fmt: skip
    frame = pd.concat(frames)
    return frame.sort_values(["corpus", "run", "seed", "doc", "position"], kind="stable")


def text_components(runs: Sequence[TextRun]) -> pd.DataFrame:
    """One row per held-out document of a mixture: the component it comes from. Empty without mixtures."""
    frames = [pd.DataFrame(columns=["corpus", "doc", "component"])]
    for corpus, tokens in sorted({run.corpus: run.tokens for run in runs}.items()):
        file = TokenFile.open(tokens, "test", verify=False)
        if file.components is not None:
            rows = pd.DataFrame({"corpus": corpus, "doc": file.docs, "component": file.components})
            frames.append(rows.drop_duplicates().sort_values("doc", kind="stable"))
    return pd.concat(frames)


def text_curve(runs: Sequence[TextRun]) -> pd.DataFrame:
    """Validation loss against training step, from each run's own curve."""
    frames = []
    for run in runs:
        curve = pd.read_csv(run.folder / "curve.csv")[["step", "tokens", "validation_loss"]]
        frames.append(curve.assign(corpus=run.corpus, run=run.run, arm=run.arm, seed=run.seed))
    columns = ["corpus", "run", "arm", "seed", "step", "tokens", "validation_loss"]
    return pd.concat(frames)[columns].sort_values(["corpus", "run", "seed", "step"], kind="stable")
