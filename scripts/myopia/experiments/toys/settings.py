"""Settings of the toys: how many seeds, and whether an optimum can be found by looking at every function f.

The toys train inside their measuring job, so they declare no runs.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import count, islice
from typing import TYPE_CHECKING, Annotated, Any, Literal

from annotated_types import Ge, Len
from pydantic import Strict

from myopia.common.errors import MyopiaError
from myopia.config.runs import Spec
from myopia.config.schema import Count, Distinct, NotNegative, Positive, Rates, Section, Share, Whole, key

if TYPE_CHECKING:
    from myopia.config.dag import Dag

MOST_PARTITIONS = 200_000
"""Largest number of functions f that is looked through: a second and 150 MB per task."""

AtLeastTwo = Annotated[int, Strict(), Ge(2)]
Shares = Annotated[list[Share], Len(1), Distinct]


class Descent(Section):
    """Gradient descent, the same in both arms."""

    kind: Literal["adam", "sgd"] = key("Adam, or plain gradient descent.")
    lr: Positive = key("Peak learning rate, of both arms.")
    schedule: Literal["cosine", "constant"] = key("After warm-up: cosine to 0, or constant.")
    warmup: Share = key("Linear warm-up.", unit="share of all steps")


class TableDescent(Descent):
    """Descent of tables of logits from a random start."""

    start: NotNegative = key("Standard deviation of initial logits.")


class Grid(Section):
    """What the target `tuned` tries in both arms, on tuning seeds; chosen is the least regret of both together."""

    lr: Annotated[Rates, Len(1)] = key("Learning rates.")
    start: Annotated[Rates, Len(1)] = key("Standard deviations of initial logits.")
    seeds: Count = key("How many seeds, from the first of tuning_seeds upwards; none of them is judged.")


class Shared(Section):
    """Shared computation: x = (a, b); z1 tells of a, z2 of a or b; y = f(x), z1 = g1(y), z2 = g2(y, z1)."""

    alphabet: AtLeastTwo = key("Letters a and b are drawn from; f has alphabet^2 inputs.")
    balance: Shares = key("Reliability of z2's channel; that of z1's is one minus it.")
    overlap: Shares = key("Chance that z2 tells of a, like z1, instead of b.")
    capacity: Annotated[list[Count], Len(1), Distinct] = key("Values f may give; with alphabet^2 nothing competes.")
    steps: Count = key("Training steps, on exact expectations.")
    optim: TableDescent = key("How tables are trained.")
    grid: Grid = key(
        "What the target `tuned` tries in both arms, on tuning seeds; chosen is the least regret of both together."
    )


class Hidden(Section):
    """Hidden bits: z1 is real, z2 a parity that g1 can compute and g2 cannot."""

    noise: Positive = key("Standard deviation of z1 given x.", unit="standard deviations of its mean over x")
    precision: Positive = key(
        "Standard deviation of what blurs a prediction before g2 and the probe read it.", unit="as noise"
    )
    width: Count = key("Hidden units of g1.")
    batch_size: Count = key("Fresh samples a step.")
    steps: AtLeastTwo = key("Training steps.")
    optim: Descent = key("How networks are trained.")
    probe_samples: Annotated[int, Strict(), Ge(32)] = key("Samples of the probe; half fit it, half score it.")


class Offline(Section):
    """Teacher forcing on true triplets."""

    batch_size: AtLeastTwo = key("Fresh samples a step.")
    steps: Count = key("Training steps.")
    optim: TableDescent = key("How tables are trained.")


class Closed(Section):
    """Training on the network's own samples or rollouts, from where offline training ended."""

    batch_size: AtLeastTwo = key("Fresh samples a step.")
    steps: Count = key("Training steps.")
    optim: Descent = key("How tables are trained.")


class Consequence(Section):
    """Consequence-blindness: z1 is fair, z2 easy after z1 = 0 and hard after z1 = 1."""

    letters: AtLeastTwo = key("Values of x and of z2.")
    reveal: Share = key("Reliability with which z2 repeats x after z1 = 1.")
    capacity: Whole = key("Values of y.")
    offline: Offline = key("Teacher forcing on true triplets.")
    closed: Closed = key("Training on the network's own samples or rollouts, from where offline training ended.")


class Toys(Section):
    """Three tasks small enough to be solved by other means: shared computation, hidden bits, consequence-blindness."""

    seeds: AtLeastTwo = key(
        "How many seeds shared computation and hidden bits have: 0, 1, 2, ..., tuning seeds left out.", 10
    )
    chains: AtLeastTwo = key("The same for consequence-blindness; a mean that must not drift needs many.", 256)
    points: Count = key("Points along training at which the last two are measured, besides the start.", 20)
    shared: Shared = key(
        "Shared computation: does f, which has K values, serve z1 or z2?",
        {
            "alphabet": 3,
            "balance": [0.1, 0.3, 0.4, 0.6, 0.7, 0.9],
            "overlap": [0.0, 0.5, 1.0],
            "capacity": [2, 3, 4, 6, 9],
            "steps": 500,
            # Both arms alike: least regret of both together on seeds 100-111 (docs/results/laptop/tuning-toys.csv)
            "optim": {"kind": "adam", "lr": 0.1, "schedule": "cosine", "warmup": 0.0, "start": 0.1},
            "grid": {"lr": [0.05, 0.1, 0.3, 1.0], "start": [0.1, 0.5, 1.0], "seeds": 12},
        },
    )
    hidden: Hidden = key(
        "Hidden bits: does g1 hide bits about z2 in its output?",
        {
            "noise": 0.5,
            "precision": 0.1,
            "width": 32,
            "batch_size": 128,
            "steps": 1200,
            "optim": {"kind": "adam", "lr": 1.0e-2, "schedule": "cosine", "warmup": 0.0},
            "probe_samples": 8192,
        },
    )
    consequence: Consequence = key(
        "Consequence-blindness: does training make the easy future likelier?",
        {
            "letters": 4,
            "reveal": 0.8,
            "capacity": 2,
            "offline": {
                "batch_size": 256,
                "steps": 600,
                "optim": {"kind": "adam", "lr": 5.0e-2, "schedule": "cosine", "warmup": 0.0, "start": 0.1},
            },
            "closed": {
                "batch_size": 64,
                "steps": 400,
                "optim": {"kind": "sgd", "lr": 0.1, "schedule": "constant", "warmup": 0.0},
            },
        },
    )


def units(dag: Dag) -> dict[str, list[Spec]]:
    """One unit, which trains what it measures."""
    return {"toys": [{"folder": "", "trained": False}]}


def measuring(settings: dict[str, Any]) -> Spec:
    """The whole section, and the seeds that are left out."""
    return {"toys": settings["toys"], "tuning_seeds": settings["tuning_seeds"]}


def judged_seeds(number: int, tuning_seeds: Iterable[int]) -> list[int]:
    """The first `number` whole numbers that no tuning has seen."""
    spent = set(tuning_seeds)
    return list(islice((seed for seed in count() if seed not in spent), number))


def grid_seeds(settings: dict[str, Any]) -> list[int]:
    """Seeds of the toys' own grid, which is cheap enough for more of them than `tuning_seeds` has."""
    first = min(settings["tuning_seeds"])
    return list(range(first, first + settings["toys"]["shared"]["grid"]["seeds"]))


def partition_count(inputs: int, classes: int) -> int:
    """Ways to sort `inputs` things into at most `classes` unnamed classes: the sum of Stirling's S(n, 1..k)."""
    into = [1] + [0] * classes  # into[k]: ways into exactly k classes, of the things so far
    for _ in range(inputs):
        into = [0] + [k * into[k] + into[k - 1] for k in range(1, classes + 1)]
    return sum(into)


def check_search(inputs: int, capacities: Sequence[int]) -> None:
    """Raise MyopiaError for a search through every f that would not end; capacities: values f may give."""
    widest = min(max(capacities), inputs)
    found = partition_count(inputs, widest)
    if found > MOST_PARTITIONS:
        raise MyopiaError(
            f"config key toys.shared.capacity: {inputs} inputs can be sorted into at most {widest} classes in {found:,} "
            f"ways, and only {MOST_PARTITIONS:,} are looked through; lower the capacity or the alphabet"
        )


def check(settings: dict[str, Any]) -> None:
    """Refuse searches that would not end, seeds tuned on and judged, and points that do not fit, naming the key."""
    section = settings["toys"]
    check_search(section["shared"]["alphabet"] ** 2, section["shared"]["capacity"])
    both = sorted({*judged_seeds(section["seeds"], settings["tuning_seeds"])} & {*grid_seeds(settings)})
    if both:
        raise MyopiaError(
            f"config key toys.shared.grid.seeds: seed {both[0]} would be tuned on and judged too; lower toys.seeds "
            f"({section['seeds']}) or toys.shared.grid.seeds, or move tuning_seeds up"
        )
    consequence = section["consequence"]
    if not 1 <= consequence["capacity"] <= consequence["letters"]:
        raise MyopiaError(
            f"config key toys.consequence.capacity: it must be between 1 and toys.consequence.letters "
            f"({consequence['letters']}), not {consequence['capacity']}"
        )
    phases = {"hidden": section["hidden"]} | {
        f"consequence.{name}": consequence[name] for name in ("offline", "closed")
    }
    for name, phase in phases.items():
        if phase["steps"] < section["points"]:
            raise MyopiaError(
                f"config key toys.points: {section['points']} points do not fit into {phase['steps']} steps of "
                f"toys.{name}"
            )


def capacity_caption(settings: dict[str, Any]) -> str:
    """What the caption of `toy_capacity` says about this scale."""
    shared = settings["toys"]["shared"]
    return f"Scale {settings['scale']}: {shared['alphabet']} x {shared['alphabet']} inputs, {shared['steps']} steps."


def hidden_caption(settings: dict[str, Any]) -> str:
    """What the caption of `toy_hidden_bits` says about this scale."""
    hidden = settings["toys"]["hidden"]
    return (
        f"Scale {settings['scale']}: noise {hidden['noise']}, precision {hidden['precision']}, {hidden['steps']} steps of"
        f" {hidden['batch_size']}."
    )


def myopias_caption(settings: dict[str, Any]) -> str:
    """What the caption of `three_myopias` says about this scale."""
    letters, closed = settings["toys"]["shared"]["alphabet"], settings["toys"]["consequence"]["closed"]
    return (
        f"Scale {settings['scale']}: {letters} x {letters} inputs; closed loops of {closed['steps']} steps of"
        f" {closed['batch_size']}."
    )
