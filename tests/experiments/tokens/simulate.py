"""Simulated measurements of single tokens with known answers (protocol section 8)."""

from __future__ import annotations

import numpy as np
import pandas as pd

from myopia.experiments.tokens import GAP, INFLUENCE, MAP, PROBES, TOP

BINS = {
    "position": ["0", "1", "2-3", "4-7"],
    "frequency": ["1/5", "2/5", "3/5", "4/5", "5/5"],
    "ease": ["1/5", "2/5", "3/5", "4/5", "5/5"],
    "ease-own": ["1/5", "2/5", "3/5", "4/5", "5/5"],
    "ease-both": ["1/5", "2/5", "3/5", "4/5", "5/5"],
    "ease-before": ["1/5", "2/5", "3/5", "4/5", "5/5"],
    "copied": ["new", "token seen", "pair seen"],
    "part": ["beginning", "middle", "end", "short document"],
    "copied-matched": ["pair seen - token seen", "seen - new"],
}
COPY_GAP = 0.08
"""Nats per token: what both copying contrasts show when gap = 1."""


def tokens(rng: np.random.Generator, seeds: int, gap: float, noise: float, docs=20) -> dict[str, pd.DataFrame]:
    """All tables, of one corpus."""
    return {
        GAP.name: _gaps(rng, seeds, gap, noise, docs),
        TOP.name: _top(rng, seeds, gap),
        MAP.name: _map(seeds, gap),
        INFLUENCE.name: _influence(rng, seeds, gap),
        PROBES.name: _probes(rng, seeds, gap, noise, docs),
    }


def _who(arm: str, seed: int) -> tuple[str, str, str, int]:
    return "docstrings", f"text-docstrings-{arm}", arm, seed


def _gaps(rng: np.random.Generator, seeds: int, gap: float, noise: float, docs: int) -> pd.DataFrame:
    rows = []
    for seed in range(seeds):
        for doc in range(docs):
            for by, bins in BINS.items():
                for k, name in enumerate(bins):
                    if by == "part" and (doc % 4 == 0) != (name == "short document"):
                        continue
                    n = 3.0 + (doc + k) % 4
                    # Documents differ in level, and their noise is shared by both arms but for a little.
                    base = n * (0.0 if by == "copied-matched" else 3.0 + rng.normal(0, 0.5))
                    level = COPY_GAP if by == "copied-matched" else 0.05 * (k + 1)
                    extra = n * (gap * level + rng.normal(0, 0.03 * noise))
                    where = (f"doc{doc:03d}", f"pkg{doc // 5}", by, name, n, n * k)
                    rows.append((*_who("vanilla", seed), *where, base, 0.0))
                    rows.append((*_who("myopic", seed), *where, base + extra, n * 0.2))
    return pd.DataFrame(rows, columns=GAP.columns)


def _top(rng: np.random.Generator, seeds: int, gap: float) -> pd.DataFrame:
    rows = []
    for token in range(30):
        where = (f"doc{token:03d}", "pkg0", token, 4 + token % 7, f"tok{token}", "some words before", "new", 12.5)
        for seed in range(seeds):
            loss = 3 + rng.normal(0, 0.1)
            rows.append((*_who("vanilla", seed), *where, loss, 0.0))
            rows.append((*_who("myopic", seed), *where, loss + gap * (token - 10) / 5, (token % 17) / 10))
    return pd.DataFrame(rows, columns=TOP.columns)


def _map(seeds: int, gap: float, windows=2, tokens=5) -> pd.DataFrame:
    """The gap of token k is gap x k / 10 plus the seed's distance from the middle one."""
    rows = []
    for seed in range(seeds):
        for window in range(windows):
            for k in range(-1, tokens - 1):
                where = (f"doc{window:03d}", "pkg0", 7 * window, k, "null" if k == 2 else f"tok{k}")
                lost = np.nan if k < 0 else 2.0
                rows.append((*_who("vanilla", seed), *where, lost))
                rows.append((*_who("myopic", seed), *where, lost + gap * k / 10 + (seed - (seeds - 1) / 2) / 100))
    return pd.DataFrame(rows, columns=MAP.columns)


def _influence(rng: np.random.Generator, seeds: int, gap: float, windows=16, positions=20) -> pd.DataFrame:
    rows = []
    for seed in range(seeds):
        for arm, strength in (("vanilla", 0.5 * gap), ("myopic", 0.0)):
            for window in range(windows):
                for s in range(positions):
                    loss = rng.gamma(2, 1.5)
                    sent = np.exp(-strength * loss / 2 + rng.normal(0, 0.5)) * (positions - s)
                    where = (f"doc{window:03d}", f"pkg{window // 4}", window, s)
                    rows.append((*_who(arm, seed), *where, loss, sent, sent / (1 + sent)))
    return pd.DataFrame(rows, columns=INFLUENCE.columns)


def _probes(rng: np.random.Generator, seeds: int, gap: float, noise: float, docs: int) -> pd.DataFrame:
    rows = []
    for seed in range(seeds):
        table = {tau: rng.normal(2 - 1 / tau, 0.2, docs) for tau in range(1, 5)}
        for arm, gain in (("vanilla", 0.06), ("myopic", 0.06 - 0.03 * gap), ("untrained", 0.0)):
            for layer in range(3):
                for tau in range(1, 5):
                    for doc in range(docs):
                        n = 40 + doc
                        told = gain * layer / tau + rng.normal(0, 0.002 * noise)
                        bigram = table[tau][doc]
                        row = (
                            layer,
                            tau,
                            f"doc{doc:03d}",
                            "pkg0",
                            n,
                            n * (bigram - told),
                            n * bigram,
                            n * 2.6,
                            n * (0.2 + told),
                            n * 0.2,
                        )
                        rows.append((*_who(arm, seed), *row))
    return pd.DataFrame(rows, columns=PROBES.columns)
