"""Verdicts from few of many seeds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import myopia.experiments.synthetic.judge  # noqa: F401  registers what is asked here
from experiments.synthetic.simulate import losses
from myopia.common.errors import MyopiaError
from myopia.common.files import write_csv
from myopia.experiments.synthetic import LOSS
from myopia.judge.claims import Claim, ClaimSet
from myopia.judge.measures import Measures
from myopia.judge.repeat import repeat
from myopia.judge.verdicts import NO, UNDECIDED, YES


def asked(tmp_path: Path, paper, gap: float, noise: float):
    write_csv(tmp_path / LOSS.name, losses(np.random.default_rng(1), 12, gap, noise, ps=(1.0,)))
    claim = Claim(
        id="one", claim="c", where="w", family="f", scales=("cpu",), delta=0.2,
        estimand={"name": "dp_gap", "args": {"p": 1, "arms": ["myopic", "vanilla"]}},
    )  # fmt: skip
    (row,) = repeat(
        Measures(tmp_path), ClaimSet((claim,), "0"), paper, "cpu", {"one"}, range(12), seeds=3, draws=40
    ).itertuples()
    return row


def test_a_clear_effect_repeats_and_a_noisy_one_is_told_by_its_share(tmp_path: Path, paper) -> None:
    clear = asked(tmp_path, paper, 1.0, 1.0)
    assert (clear.answer, clear.repeats, clear.pool, clear.seeds) == (YES, 1.0, 12, 3)
    none = asked(tmp_path, paper, 0.0, 1.0)
    assert (none.answer, none.repeats) == (NO, 1.0)
    noisy = asked(tmp_path, paper, 0.5, 12.0)
    shares = [getattr(noisy, f"share_{one}") for one in (YES, NO, UNDECIDED)]
    assert noisy.repeats == max(shares) < 1 and sum(shares) == pytest.approx(1)


def test_too_few_seeds_to_draw_from(tmp_path: Path, paper) -> None:
    with pytest.raises(MyopiaError, match="at least 6"):
        repeat(Measures(tmp_path), ClaimSet((), "0"), paper, "cpu", set(), range(5), seeds=3, draws=2)
