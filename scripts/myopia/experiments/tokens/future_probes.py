"""Linear probes of tokens to come in hidden states: x_{t+tau} from h_t, tau = 1 .. 8, at every layer.

The probe is a softmax over the K most frequent tokens and one class for the rest, and it is *given* the table
P(x_{t+tau} | x_t) of `skip_tables`: its logits are log P plus a linear map of the hidden state. It learns only what
the state adds to knowing the current token; with a zero map it is the table. Its held-out gain, cross-entropy of the
table minus its own, is therefore information beyond the bigram that a linear map can read, and the arms are not
compared by how well a state of width D happens to spell out x_t.

The map is fitted by L-BFGS along a path of weaker and weaker priors, each started from the last, and the prior (or no
map at all) is chosen for every tau on windows set aside: at tau = 8 there is little to learn and much to overfit.
States are whitened with a floor under small variances (`NOISE`), so that directions far below the state's own size are
not blown up.

Three texts: the table counts training windows; maps are fitted on validation windows, which the models never saw; all
scores are on test windows. Controls: the same network before training, and the table itself (gain 0).
Shape suffixes: W windows, T tokens, N samples, D width, K named tokens, C = K + 1 classes, A values of tau.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from myopia.common.errors import MyopiaError
from myopia.data.tokens import TokenFile
from myopia.experiments.tokens import PROBES
from myopia.experiments.tokens.pairs import MatchedPair, count_tokens, token_batches
from myopia.experiments.tokens.skip_tables import SkipTable, count_pairs, frequent_classes, skip_table
from myopia.measure.text import spread_windows
from myopia.model.build import load_language_model, load_untrained

NOISE = 0.1
"""Noise that a probe must read through, as a share of a state's root mean square size: the variances that whitening
divides by are raised by NOISE^2 times their mean. Probes of the synthetic experiment read through the same share."""

PRIORS = (0.03, 0.06, 0.12)
"""Standard deviations of a weight under the prior, in logits per unit of a whitened coordinate."""

ITERATIONS = 5
"""L-BFGS iterations under each prior. Three times five gain more than forty to the end under each of five priors
(.021 against .017 nats, tau 2 to 8, vanilla, laptop text, tuning seed 100): stopping early is a prior as well."""

TUNING_SHARE = 4
"""One window in so many of the validation windows chooses the prior instead of fitting."""


@dataclass(frozen=True)
class Samples:
    """What probes see and predict on some windows: positions t = 0 .. T - 1 - max tau of each, window by window."""

    tokens_WT: np.ndarray
    later_NA: Tensor  # class of x_{t + tau}
    offset_NAC: Tensor  # log P(class | x_t)


@dataclass(frozen=True)
class ProbeTask:
    """What probes of one corpus are to predict, from which windows; the same for all its models."""

    taus: Sequence[int]
    tables: Sequence[SkipTable]
    fit: Samples
    tune: Samples
    test: Samples
    docs_W: np.ndarray  # of the test windows
    groups_W: np.ndarray


def build_task(
    pairs: Sequence[MatchedPair], max_tau: int, windows: int, named: int, table_windows: int, device: torch.device | str
) -> ProbeTask:
    """Count the tables and choose the windows of a corpus."""
    folder = pairs[0].vanilla.tokens
    train, validation, test = (TokenFile.open(folder, split) for split in ("train", "validation", "test"))
    fitting, scoring = spread_windows(validation.docs, windows), spread_windows(test.docs, windows)
    if len(fitting) < TUNING_SHARE or not len(scoring):
        raise MyopiaError(
            f"{folder}: {len(fitting)} validation and {len(scoring)} test windows are too few for probes; take more "
            "text or larger fractions"
        )
    classes_V = frequent_classes(count_tokens(train.tokens, train.vocab_size), named)
    # Whole sources stand together in the file, so the last windows are also those of other sources.
    cut = len(fitting) - len(fitting) // TUNING_SHARE
    parts = [np.asarray(validation.tokens[fitting[:cut]]), np.asarray(validation.tokens[fitting[cut:]]),
             np.asarray(test.tokens[scoring])]  # fmt: skip
    parts = [part.astype(np.int64) for part in parts]
    counted = np.unique(np.linspace(0, len(train) - 1, min(len(train), table_windows)).round().astype(int))
    text = train.tokens if len(counted) == len(train) else train.tokens[counted]
    taus = list(range(1, max_tau + 1))
    now = [part[:, :-max_tau].ravel() for part in parts]
    later = [np.stack([classes_V[_shifted(part, tau, max_tau)].ravel() for tau in taus], axis=1) for part in parts]
    tables = [skip_table(count_pairs(text, classes_V, tau), now[0], later[0][:, a]) for a, tau in enumerate(taus)]
    samples = [
        Samples(
            tokens_WT=part,
            later_NA=torch.from_numpy(classes).to(device),
            offset_NAC=torch.from_numpy(np.stack([table.bigram_VC[tokens] for table in tables], axis=1)).to(device),
        )
        for part, tokens, classes in zip(parts, now, later, strict=True)
    ]
    docs, groups = (np.array(names, dtype=object)[scoring] for names in (test.docs, test.groups))
    return ProbeTask(taus, tables, *samples, docs, groups)


def _shifted(tokens_WT: np.ndarray, tau: int, max_tau: int) -> np.ndarray:
    """x_{t + tau} for t = 0 .. T - 1 - max_tau."""
    return tokens_WT[:, tau : tokens_WT.shape[1] - max_tau + tau]


@torch.no_grad()
def hidden_states(model: nn.Module, tokens_WT: np.ndarray, positions: int, device: torch.device | str) -> list[Tensor]:
    """h_t of positions 0 .. positions - 1, fp32 [N, D] for the embeddings and after every block (the last normed)."""
    layers: list[list[Tensor]] = []
    for ids_BT in token_batches(tokens_WT, device):
        states = model(input_ids=ids_BT, use_cache=False, output_hidden_states=True, logits_to_keep=1).hidden_states
        if not layers:
            layers = [[] for _ in states]
        for kept, state_BTD in zip(layers, states, strict=True):
            kept.append(state_BTD[:, :positions].flatten(0, 1).float())
    return [torch.cat(kept) for kept in layers]


class Whitening:
    """Centres states and scales them to unit variance, with a floor under small variances; appends a constant 1."""

    def __init__(self, h_ND: Tensor) -> None:
        """Learn mean and covariance from the fitting samples."""
        h = h_ND.double()
        self.mean_D = h.mean(0)
        centred = h - self.mean_D
        values, vectors = torch.linalg.eigh(centred.T @ centred / len(h))
        values = values.clamp(min=0)
        self.map_DD = vectors / (values + NOISE**2 * values.mean()).sqrt()

    def __call__(self, h_ND: Tensor) -> Tensor:
        """Whitened samples with their constant, fp32 [N, D + 1]."""
        white = ((h_ND.double() - self.mean_D) @ self.map_DD).float()
        return torch.cat([white, torch.ones_like(white[:, :1])], dim=1)


def probe_logits(features_NF: Tensor, weight_FAC: Tensor, offset_NAC: Tensor) -> Tensor:
    """Logits [N, A, C] of the maps on top of the tables."""
    return offset_NAC + (features_NF @ weight_FAC.flatten(1)).view_as(offset_NAC)


def cross_entropies(logits_NAC: Tensor, later_NA: Tensor) -> Tensor:
    """-log p of the true class, nats [N, A]."""
    loss = nn.functional.cross_entropy(logits_NAC.flatten(0, 1), later_NA.flatten(), reduction="none")
    return loss.view_as(later_NA)


def fit_map(fit_NF: Tensor, fit: Samples, tune_NF: Tensor, tune: Samples) -> Tensor:
    """The map [F, A, C] whose prior suits the tuning samples best, for each tau on its own; zero if none helps."""
    probability_AC = fit.offset_NAC.exp().mean(0)
    curvature_AC = probability_AC * (1 - probability_AC)  # of the loss per whitened coordinate, at the zero map
    weight = torch.zeros(fit_NF.shape[1], *probability_AC.shape, device=fit_NF.device)
    best = weight.clone()
    lowest_A = cross_entropies(tune.offset_NAC, tune.later_NA).mean(0)
    for prior in PRIORS:
        penalty = 1 / (len(fit_NF) * prior**2)
        # In these units every class bends the objective about equally; in the weights' own, rare ones hardly do.
        unit_AC = (curvature_AC + penalty).rsqrt()
        scaled = (weight / unit_AC).requires_grad_()
        optimizer = torch.optim.LBFGS([scaled], max_iter=ITERATIONS, line_search_fn="strong_wolfe")
        optimizer.step(partial(_objective, optimizer, scaled, unit_AC, penalty, fit_NF, fit))
        weight = (scaled * unit_AC).detach()
        loss_A = cross_entropies(probe_logits(tune_NF, weight, tune.offset_NAC), tune.later_NA).mean(0)
        better_A = loss_A < lowest_A
        best[:, better_A] = weight[:, better_A]
        lowest_A = torch.minimum(lowest_A, loss_A)
    return best


def _objective(
    optimizer: torch.optim.Optimizer, scaled: Tensor, unit_AC: Tensor, penalty: float, fit_NF: Tensor, fit: Samples
) -> Tensor:
    """Mean cross-entropy summed over tau, plus the prior on every weight but the constant's; leaves its gradient."""
    optimizer.zero_grad()
    weight = scaled * unit_AC
    loss = cross_entropies(probe_logits(fit_NF, weight, fit.offset_NAC), fit.later_NA).mean(0).sum()
    loss = loss + penalty / 2 * weight[:-1].square().sum()
    loss.backward()
    return loss


@torch.no_grad()
def score(test_NF: Tensor, weight_FAC: Tensor, test: Samples) -> tuple[np.ndarray, np.ndarray]:
    """Cross-entropy and hits of every test sample, float64 [N, A] each.

    A hit: the most probable *named* token is the true one. The class of all others is no guess.
    """
    logits = probe_logits(test_NF, weight_FAC, test.offset_NAC)
    hits = logits[..., :-1].argmax(-1) == test.later_NA
    return cross_entropies(logits, test.later_NA).double().cpu().numpy(), hits.double().cpu().numpy()


def probe_models(
    pairs: Sequence[MatchedPair],
    *,
    max_tau: int,
    windows: int,
    named: int,
    table_windows: int,
    device: torch.device | str = "cpu",
) -> pd.DataFrame:
    """Probe scores of every run, and of its network before training, by layer, tau and test document (`PROBES`).

    ce and hits are sums over the n test tokens of a document, and so are those of the tables.
    """
    task = build_task(pairs, max_tau, windows, named, table_windows, device)
    tables = _table_scores(task)
    frames = []
    for pair in pairs:
        untrained = (f"{pair.vanilla.run}-untrained", "untrained", load_untrained(pair.vanilla.folder, pair.seed))
        trained = ((run.run, run.arm, load_language_model(run.folder)) for run in pair.runs())
        for run, arm, model in (untrained, *trained):
            frame = _probe(model.to(device), task, tables, device)
            frames.append(frame.assign(corpus=pair.corpus, run=run, arm=arm, seed=pair.seed))
    frame = pd.concat(frames)[[*PROBES.columns]]
    return frame.sort_values(["corpus", "run", "seed", "layer", "tau", "doc"], kind="stable")


def _probe(
    model: nn.Module, task: ProbeTask, tables: dict[str, np.ndarray], device: torch.device | str
) -> pd.DataFrame:
    positions = task.fit.tokens_WT.shape[1] - max(task.taus)
    parts = (task.fit, task.tune, task.test)
    states = [hidden_states(model, part.tokens_WT, positions, device) for part in parts]
    documents, first, doc_W = np.unique(task.docs_W, return_index=True, return_inverse=True)
    doc_N = np.repeat(doc_W, positions)
    frames = []
    for layer, layer_states in enumerate(zip(*states, strict=True)):
        white = Whitening(layer_states[0])
        fit, tune, test = (white(h_ND) for h_ND in layer_states)
        ce_NA, hits_NA = score(test, fit_map(fit, task.fit, tune, task.tune), task.test)
        for a, tau in enumerate(task.taus):
            columns = {"ce": ce_NA, "hits": hits_NA} | tables
            sums = {name: np.bincount(doc_N, values[:, a]) for name, values in columns.items()}
            frames.append(
                pd.DataFrame(
                    {"layer": layer, "tau": tau, "doc": documents, "group": task.groups_W[first],
                     "n": np.bincount(doc_N), **sums}
                )
            )  # fmt: skip
    return pd.concat(frames)


def _table_scores(task: ProbeTask) -> dict[str, np.ndarray]:
    """Cross-entropies and hits of the tables alone on the test samples, float64 [N, A] each."""
    later = task.test.later_NA.cpu().numpy()
    bigram = task.test.offset_NAC.cpu().numpy()
    unigram = np.stack([table.unigram_C for table in task.tables])
    return {
        "ce_bigram": -np.take_along_axis(bigram, later[..., None], 2)[..., 0].astype(float),
        "ce_unigram": -unigram[np.arange(later.shape[1]), later].astype(float),
        "hits_bigram": (bigram[..., :-1].argmax(-1) == later).astype(float),
    }
