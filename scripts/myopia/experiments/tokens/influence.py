"""How much a position does for later losses, against how hard its own prediction is.

The essay "How LLMs are and are not myopic" (2023) expects of models: "When predicting relatively easy tokens, they
will likely spend most of their computation budget preparing for the future." Two readings of what position s sends
forward, both from the influence matrix I(t, s) = ||d loss_t / d e_s|| (`model.influence`):

* `sent`: sum over t > s of I(t, s), in nats per unit of embedding;
* `share`: sum over t > s of I(t, s) / sum over s' <= t of I(t, s'). A loss that is large has large gradients towards
  every position, and hard stretches of text are hard for several tokens in a row, which alone makes `sent` grow with
  a position's own loss. In `share` each later loss has one unit to hand out.

The essay's prediction needs no share of the *own* gradient: that one shrinks with the own loss by arithmetic.
Both are measured with nothing cut, also in the model that was trained myopically: its weights had no reason to plan.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch

from myopia.data.tokens import TokenFile
from myopia.experiments.tokens import INFLUENCE
from myopia.experiments.tokens.pairs import MatchedPair, log_probabilities
from myopia.measure.text import spread_windows
from myopia.model.build import load_language_model
from myopia.model.influence import influence


def sent_forward(influence_TT: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(sent, share) of positions 0 .. T-3, the last one with a later loss; the matrix's last row is unknown."""
    known = influence_TT[:-1, :-1]
    ahead = np.tril(known, -1)
    total = known.sum(1, keepdims=True)
    shares = np.divide(ahead, total, out=np.zeros_like(ahead), where=total > 0)
    return ahead.sum(0)[:-1], shares.sum(0)[:-1]


def influence_sent(pairs: Sequence[MatchedPair], windows: int, device: torch.device | str = "cpu") -> pd.DataFrame:
    """Own loss and influence sent forward of every position of a few windows, for each run of a corpus's matched pairs."""
    file = TokenFile.open(pairs[0].vanilla.tokens, "test")
    chosen = spread_windows(file.docs, windows)
    frames = []
    for pair in pairs:
        for run in pair.runs():
            model = load_language_model(run.folder).to(device)
            for window in chosen:
                ids_T = torch.from_numpy(np.asarray(file.tokens[window]).astype(np.int64)).to(device)
                with torch.no_grad():
                    picked = log_probabilities(model, ids_T[None])[0].gather(-1, ids_T[1:, None])
                sent, share = sent_forward(influence(model, ids_T).double().cpu().numpy())
                frames.append(
                    pd.DataFrame(
                        {
                            "corpus": pair.corpus, "run": run.run, "arm": run.arm, "seed": pair.seed,
                            "doc": file.docs[window], "group": file.groups[window], "window": int(window),
                            "position": np.arange(len(sent)), "loss": -picked[:-1, 0].double().cpu().numpy(),
                            "sent": sent, "share": share,
                        },
                        columns=INFLUENCE.columns,
                    )
                )  # fmt: skip
    return pd.concat(frames).sort_values(["corpus", "run", "seed", "window", "position"], kind="stable")
