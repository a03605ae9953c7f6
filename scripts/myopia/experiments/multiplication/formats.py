"""Formats of the multiplication experiment (paper D.3, Figs 8-10): which sequences are trained on, and what for.

    lead x filler | x, `pad` digits | * | y, `pad` digits | = | after x filler | x y, 2 `digits` digits

Digits stand least significant first, zeros fill up. A format plays one or several roles:

    grid   Fig 9: operands padded to one length, exact match over digit counts
    short  Fig 10: the shorter padding
    long   Fig 10: the longer padding; its further zeros are positions at which a model can compute
    after  control: as many content-free symbols between "=" and the answer, where a model can compute as well
    lead   control: as many symbols before the operands, which see nothing of the problem: only the distance grows
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from myopia.common.errors import MyopiaError

SYMBOLS = (*"0123456789", "*", "=", ".")
"""One token each; the last is the filler of the controls."""

MAX_DIGITS = 9  # the product of two numbers of 9 digits fits 64 bits
MAX_TOKENS = 1024
LOSSES = ("answer", "all")


@dataclass(frozen=True)
class Format:
    """One way of writing a problem down.

    digits: most digits of an operand; pad: digits an operand is padded to; after, lead: filler symbols before the
    answer and before the operands; loss_on: `answer`, or `all` tokens but the first.
    Raises MyopiaError for a value outside these domains.
    """

    digits: int
    pad: int
    after: int = 0
    lead: int = 0
    loss_on: str = "answer"

    def __post_init__(self) -> None:
        for key in ("digits", "pad", "after", "lead"):
            value, least = getattr(self, key), 1 if key in ("digits", "pad") else 0
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise MyopiaError(f"multiplication: {key} must be a whole number of at least {least}, not {value!r}")
        if self.digits > MAX_DIGITS:
            raise MyopiaError(
                f"multiplication: digits is {self.digits}, but products of operands of more than {MAX_DIGITS} digits "
                f"do not fit 64 bits; take at most {MAX_DIGITS}"
            )
        if self.pad < self.digits:
            raise MyopiaError(
                f"multiplication: pad {self.pad} is too short for operands of {self.digits} digits; pad to at least "
                f"{self.digits}"
            )
        if self.T > MAX_TOKENS:
            raise MyopiaError(
                f"multiplication: padding to {self.pad} makes sequences of {self.T} tokens, more than {MAX_TOKENS}; "
                "pad less"
            )
        if self.loss_on not in LOSSES:
            raise MyopiaError(f"multiplication: loss_on must be {' or '.join(LOSSES)}, not {self.loss_on!r}")

    @property
    def prompt(self) -> int:
        """Tokens before the answer."""
        return self.lead + 2 * self.pad + 2 + self.after

    @property
    def answer(self) -> int:
        """Tokens of the answer."""
        return 2 * self.digits

    @property
    def T(self) -> int:
        """Tokens of a sequence."""
        return self.prompt + self.answer

    @property
    def name(self) -> str:
        """What names its runs."""
        extra = f"-after{self.after}" if self.after else ""
        extra += f"-lead{self.lead}" if self.lead else ""
        extra += "-all" if self.loss_on == "all" else ""
        return f"mult-d{self.digits}-pad{self.pad}{extra}"

    def data(self, tokenizer: str | None) -> dict[str, Any]:
        """The `data` of a run spec."""
        given = {} if tokenizer is None else {"tokenizer": tokenizer}
        return {"kind": "multiplication", "T": self.T, **asdict(self), **given}


@dataclass(frozen=True)
class Planned:
    """A format with its batch and every role it plays."""

    format: Format
    batch_size: int
    roles: tuple[str, ...]

    @property
    def control(self) -> bool:
        """Whether it is not in the paper."""
        return not {"grid", "short", "long"} & set(self.roles)

    @property
    def tuned(self) -> bool:
        """Whether learning rates are chosen on it; the other formats run at the same ones."""
        return bool({"grid", "short"} & set(self.roles))


def formats(section: Mapping[str, Any]) -> list[Planned]:
    """The formats that the section `multiplication` trains, each once, in the order grid, short, long, after, lead.

    Raises:
        MyopiaError: digits or padding out of range; two formats that would share a name but not a batch.
    """
    grid, filler = section["grid"], section["filler"]
    asked = [("grid", Format(grid["digits"], grid["pad"], loss_on=grid["loss_on"]), grid["batch_size"])]
    short, long = filler["pads"]
    if long <= short:
        raise MyopiaError(
            f"config key multiplication.filler.pads: {long} is not longer than {short}; give the shorter padding first"
        )
    extra = {"short": {}, "long": {}, "after": {"after": 2 * (long - short)}, "lead": {"lead": 2 * (long - short)}}
    for role in ("short", "long", *(r for r in ("after", "lead") if r in filler["controls"])):
        pad = long if role == "long" else short
        made = Format(filler["digits"], pad, loss_on=filler["loss_on"], **extra[role])
        asked.append((role, made, filler["batch_size"]))
    found: dict[str, Planned] = {}
    for role, made, batch in asked:
        known = found.get(made.name)
        if known is not None and known.batch_size != batch:
            raise MyopiaError(
                f"config key multiplication: grid and filler both train {made.name}, in batches of "
                f"{known.batch_size} and {batch}; give them one batch_size"
            )
        roles = (*known.roles, role) if known else (role,)
        found[made.name] = Planned(made, batch, roles)
    return list(found.values())


def roles_of(section: Mapping[str, Any], run: str) -> list[str]:
    """Roles of a run, by its name `<format>-<arm>`."""
    return [role for one in formats(section) if run.rsplit("-", 1)[0] == one.format.name for role in one.roles]
