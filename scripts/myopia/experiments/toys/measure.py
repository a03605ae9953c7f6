"""The toys, trained and measured: four tables, one row per run (and point in training).

Training is inside, because a toy's network is worth no folder: the whole grid trains in less time than a folder of
runs takes to be written and read. Bits everywhere.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
import torch
from scipy.optimize import minimize_scalar
from scipy.special import ndtri
from torch import Tensor
from torch.func import vmap

from myopia.data.random import uniforms
from myopia.experiments.toys import CONSEQUENCE, HIDDEN, OPTIMUM, SHARED, TUNING, consequence, hidden_bits
from myopia.experiments.toys.data import consequence_joint, shared_joint
from myopia.experiments.toys.partitions import optima, partition_losses
from myopia.experiments.toys.settings import grid_seeds, judged_seeds
from myopia.experiments.toys.shared_computation import THROUGH, SharedRun, train_shared
from myopia.experiments.toys.training import Tables, teacher_forced

BINS = 16
"""Equally filled bins the probe sorts residuals into: enough for any code of a few levels, at a cost of .003 bits."""


def measure(runs: Sequence[dict[str, Any]], options: dict[str, Any], device: str) -> dict[str, pd.DataFrame]:
    """Train and measure all toys, on the CPU whatever the device: their tables are too small for a GPU.

    runs: nothing to open. options: as `settings.measuring` gives them.
    """
    section = options["toys"]
    seeds, chains = (judged_seeds(section[name], options["tuning_seeds"]) for name in ("seeds", "chains"))
    shared, optimum = measure_shared(section["shared"], seeds)
    return {
        SHARED.name: shared,
        OPTIMUM.name: optimum,
        HIDDEN.name: measure_hidden(section["hidden"], seeds, section["points"]),
        CONSEQUENCE.name: measure_consequence(section["consequence"], chains, section["points"]),
    }


def tune(settings: dict[str, Any]) -> pd.DataFrame:
    """The grid of the target `tuned`, the columns of `TUNING`; settings: those of the scale."""
    return tune_shared(settings["toys"]["shared"], grid_seeds(settings))


def measure_shared(section: dict[str, Any], seeds: Sequence[int]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """(trained runs, exact optima) of the toy of shared computation on its whole grid; section: `toys.shared`."""
    tasks = list(product(section["overlap"], section["balance"]))
    runs = [SharedRun(*task, *rest) for task in tasks for rest in product(section["capacity"], THROUGH, seeds)]
    found = train_shared(runs, section["alphabet"], section["optim"], section["steps"])
    trained = pd.DataFrame(runs, columns=SharedRun._fields).assign(**found._asdict())
    exact = []
    for overlap, balance in tasks:
        joint_XZW = shared_joint(section["alphabet"], balance, overlap)
        # What there is to tell: from the losses of an f that says nothing to those of one that says everything.
        extremes = np.array([np.zeros(len(joint_XZW)), np.arange(len(joint_XZW))], dtype=np.uint8)
        (entropy1, floor1), (entropy2, floor2) = partition_losses(extremes, joint_XZW)
        of_task = {"overlap": overlap, "balance": balance, "entropy1": entropy1, "entropy2": entropy2}
        exact.append(optima(joint_XZW, section["capacity"]).assign(**of_task, floor1=floor1, floor2=floor2))
    return trained[[*SHARED.columns]], pd.concat(exact)[[*OPTIMUM.columns]]


def tune_shared(section: dict[str, Any], seeds: Sequence[int]) -> pd.DataFrame:
    """The columns of `TUNING` over `section["grid"]`; regret: bits above the exact optimum of the arm's own aim,
    mean over all tasks and capacities."""
    cell, aims = ["overlap", "balance", "capacity"], {"vanilla": ["loss1", "loss2"], "myopic": ["loss1"]}
    rows = []
    for lr, start in product(section["grid"]["lr"], section["grid"]["start"]):
        recipe = section["optim"] | {"lr": lr, "start": start}
        trained, exact = measure_shared(section | {"optim": recipe}, seeds)
        for arm, aim in aims.items():
            best = exact[(exact["aim"] == arm) & (exact["ties"] == "best")].set_index(cell)[aim].sum(axis=1)
            runs = trained[trained["arm"] == arm].set_index(cell)
            regret = runs[aim].sum(axis=1) - best.reindex(runs.index)
            by_seed = regret.groupby(runs["seed"].to_numpy()).mean()
            rows += [(lr, start, arm, seed, value) for seed, value in by_seed.items()]
    return pd.DataFrame(rows, columns=TUNING.columns)


def measure_hidden(section: dict[str, Any], seeds: Sequence[int], points: int) -> pd.DataFrame:
    """Bits about z2 in the residual of g1's prediction, along training; section: `toys.hidden`."""
    runs = list(product(hidden_bits.TRAININGS, seeds))
    amplitude, bits = best_code(section["noise"], section["precision"])
    at, rows = checkpoints(section["steps"], points), []

    def watch(step: int, params: Tables) -> None:
        if step not in at:
            return
        residual_RN = hidden_bits.residuals(params).double().numpy()
        parity_N = hidden_bits.PARITY_N.double().numpy()
        for (training, seed), residual_N in zip(runs, residual_RN, strict=True):
            fields, by_chance = probe_residual(
                residual_N, parity_N, section["precision"], section["probe_samples"], seed
            )
            rows.append((training, seed, step, fields, by_chance, float(residual_N @ parity_N) / len(parity_N),
                         float(np.sqrt(np.mean(residual_N**2))), bits, amplitude))  # fmt: skip

    hidden_bits.train_hidden(runs, section, watch)
    return pd.DataFrame(rows, columns=HIDDEN.columns).sort_values(["training", "seed", "step"], kind="stable")


def probe_residual(
    residual_N: np.ndarray, sign_N: np.ndarray, precision: float, samples: int, seed: int
) -> tuple[float, float]:
    """Bits about a fair sign in residuals read at a precision, on held-out samples; and the same for permuted signs.

    A histogram, so that any code is found, not only a linear one. Its bins and counts come from one half of the
    samples, the bits from the other: 1 - cross-entropy. The permuted baseline shows what the probe finds in nothing.
    """
    u = uniforms(seed, "toy hidden probe", 0, 4 * samples).reshape(4, samples)
    x = (u[0] * len(residual_N)).astype(np.int64)
    read = residual_N[x] + precision * ndtri(u[1])
    half = samples // 2
    edges = np.quantile(read[:half], np.arange(1, BINS) / BINS)
    bins = np.searchsorted(edges, read)
    found = []
    for one in (sign_N[x] > 0, (sign_N[x] > 0)[np.argsort(u[2])]):
        counts = np.zeros((BINS, 2)) + 1  # Laplace's rule: an empty bin says nothing
        np.add.at(counts, (bins[:half], one[:half].astype(int)), 1)
        p = counts[bins[half:], one[half:].astype(int)] / counts[bins[half:]].sum(1)
        found.append(1 + float(np.mean(np.log2(p))))
    return found[0], found[1]


def best_code(noise: float, precision: float) -> tuple[float, float]:
    """(amplitude, bits) of the code that pays best if g1 adds +-amplitude to an unbiased prediction.

    The code costs amplitude^2 / (2 noise^2) nats of loss1 and leaves z2 the entropy of a sign read through Gaussian
    noise of size `precision`. Two levels are what a sign needs, and a linear g2 reads them without loss.
    """
    nodes, weights = np.polynomial.hermite_e.hermegauss(101)
    weights = weights / weights.sum()

    def left(rho: float) -> float:
        return float(weights @ np.logaddexp(0, -2 * rho * (rho + nodes)))

    found = minimize_scalar(
        lambda rho: (rho * precision) ** 2 / (2 * noise**2) + left(rho), bounds=(0, 20), method="bounded"
    )
    return float(found.x) * precision, 1 - left(found.x) / math.log(2)


def measure_consequence(section: dict[str, Any], seeds: Sequence[int], points: int) -> pd.DataFrame:
    """P(z1 = 0), the easy future, along offline training and three closed loops; section: `toys.consequence`."""
    runs = list(product(THROUGH, seeds))
    chains, through_R = [seed for _, seed in runs], torch.tensor([THROUGH[arm] for arm, _ in runs])
    joint_XZW = torch.from_numpy(consequence_joint(section["letters"], section["reveal"])).float()
    closed, frames = section["closed"], []

    def course(phase: dict[str, Any], kept: list[dict[str, Any]]) -> consequence.Watch:
        at = checkpoints(phase["steps"], points)

        def watch(step: int, params: Tables) -> None:
            if step in at:
                kept.append({"step": step, **_state(params, joint_XZW, through_R)})

        return watch

    def add(training: str, kept: list[dict[str, Any]], expected: Sequence[np.ndarray], spread: Sequence[Any]) -> None:
        for point, p_expected, sd in zip(kept, expected, spread, strict=True):
            columns = {"p_expected": p_expected, "spread_expected": sd, **point}
            frames.append(pd.DataFrame(runs, columns=["arm", "seed"]).assign(training=training, **columns))

    offline: list[dict[str, Any]] = []
    start = consequence.train_offline(chains, through_R, joint_XZW, section, course(section["offline"], offline))
    add("offline", offline, [np.full(len(runs), 0.5)] * len(offline), [np.nan] * len(offline))
    once_R = consequence.own_samples_spread(start, joint_XZW, closed["optim"]["lr"], closed["batch_size"]).numpy()
    for loop in consequence.LOOPS:
        kept: list[dict[str, Any]] = []
        consequence.train_closed(loop, start, chains, through_R, joint_XZW, section, course(closed, kept))
        if loop == "own":  # a martingale: it is expected where it is
            add(loop, kept, [kept[0]["p_easy"]] * len(kept), [once_R * math.sqrt(point["step"]) for point in kept])
            continue
        foreseen: list[dict[str, Any]] = []
        consequence.expected_course(loop, start, through_R, joint_XZW, section, course(closed, foreseen))
        add(loop, kept, [point["p_easy"] for point in foreseen], [np.nan] * len(kept))
    frame = pd.concat(frames)[[*CONSEQUENCE.columns]]
    return frame.sort_values(["training", "arm", "seed", "step"], kind="stable")


def _state(params: Tables, joint_XZW: Tensor, through_R: Tensor) -> dict[str, np.ndarray]:
    """P(z1 = 0), the loss on the true z1, and the loss on z2 after the network's own z1; bits, [R] each."""
    joint_RXZW = joint_XZW.expand(len(through_R), *joint_XZW.shape)
    loss1_R, _ = vmap(teacher_forced)(params, joint_RXZW, through_R)
    rollout_R = vmap(consequence.expected_future)(params, joint_RXZW, through_R)
    found = {"loss1": loss1_R / math.log(2), "loss_rollout": rollout_R / math.log(2)}
    found["p_easy"] = consequence.easy_share(params, joint_XZW)
    return {name: value.double().numpy() for name, value in found.items()}


def checkpoints(steps: int, points: int) -> set[int]:
    """Steps at which something is measured: 0, the last, and `points` - 1 between, evenly."""
    return {round(steps * k / points) for k in range(points + 1)}
