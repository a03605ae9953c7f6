"""What the toys may be asked for: how many seeds, and whether an optimum can be found by looking at all of f."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import count, islice
from typing import Any

from myopia.common.errors import MyopiaError

MOST_PARTITIONS = 200_000
"""Largest number of functions f that is looked through: a second and 150 MB per world."""


def partition_count(inputs: int, classes: int) -> int:
    """Ways to sort `inputs` things into at most `classes` unnamed classes: the sum of Stirling's S(n, 1..k)."""
    into = [1] + [0] * classes  # into[k]: ways into exactly k classes, of the things so far
    for _ in range(inputs):
        into = [0] + [k * into[k] + into[k - 1] for k in range(1, classes + 1)]
    return sum(into)


def check_search(inputs: int, capacities: Sequence[int], key: str) -> None:
    """Refuse a capacity below one and a search that would not end; `key` is the config key to name."""
    for capacity in capacities:
        if capacity < 1:
            raise MyopiaError(
                f"config key {key}: a capacity of {capacity} leaves f no value to give; it must be at least 1"
            )
    widest = min(max(capacities), inputs)
    found = partition_count(inputs, widest)
    if found > MOST_PARTITIONS:
        raise MyopiaError(
            f"config key {key}: {inputs} inputs can be sorted into at most {widest} classes in {found:,} ways, and only "
            f"{MOST_PARTITIONS:,} are looked through; lower the capacity or the alphabet"
        )


def toy_seeds(number: int, tuning_seeds: Iterable[int]) -> list[int]:
    """The first `number` whole numbers that no tuning has seen."""
    spent = set(tuning_seeds)
    return list(islice((seed for seed in count() if seed not in spent), number))


def toy_tuning_seeds(settings: dict[str, Any]) -> list[int]:
    """Seeds of the toys' own grid, which is cheap enough for more of them than `tuning_seeds` has."""
    first = min(settings["tuning_seeds"])
    return list(range(first, first + settings["toys"]["shared"]["grid"]["seeds"]))


def check_toys(settings: dict[str, Any]) -> None:
    """Checks the schema cannot make."""
    part = settings["toys"]
    check_search(part["shared"]["alphabet"] ** 2, part["shared"]["capacity"], "toys.shared.capacity")
    shared = toy_seeds(part["seeds"], settings["tuning_seeds"])
    both = sorted({*shared} & {*toy_tuning_seeds(settings)})
    if both:
        raise MyopiaError(
            f"config key toys.shared.grid.seeds: seed {both[0]} would be tuned on and judged too; lower toys.seeds "
            f"({part['seeds']}) or toys.shared.grid.seeds, or move tuning_seeds up"
        )
    world = part["consequence"]
    if not 1 <= world["capacity"] <= world["letters"]:
        raise MyopiaError(
            f"config key toys.consequence.capacity: it must be between 1 and toys.consequence.letters "
            f"({world['letters']}), not {world['capacity']}"
        )
    for name, room in (("hidden", part["hidden"]), ("consequence", world)):
        for phase in [room] if name == "hidden" else [room["offline"], room["closed"]]:
            if phase["steps"] < part["points"]:
                raise MyopiaError(
                    f"config key toys.points: {part['points']} points do not fit into {phase['steps']} steps of "
                    f"toys.{name}"
                )
