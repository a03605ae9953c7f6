"""What `snakemake gap` prints; its numbers are tested with those of the figure (test_judge.py)."""

import math

import pandas as pd

from myopia.experiments.size_sweep import GAP
from myopia.experiments.size_sweep.gap_console import render

SENTENCES = ("lies at the end of its grid", "still rises")


def row(**changes):
    plain = {
        "size": "mine", "start": "checkpoint", "choice": "best", "gap": 0.12, "ci_low": 0.1, "ci_high": 0.14, "seeds": 3,
        "documents": 50, "vanilla": 3.0, "myopic": 3.12, "lr_vanilla": 1e-3, "lr_myopic": 3e-3,
        "selected_on": "tuning seeds", "edge": 0, "hollow": 0,
    }  # fmt: skip
    return {**plain, **changes}


def told(*rows):
    return render(pd.DataFrame(rows, columns=GAP.columns))


def test_a_gap_is_told_with_what_speaks_against_it():
    text = told(row())
    assert "mine, fine-tuned, each arm at its best rate:" in text
    assert "myopia gap 0.120 [0.100, 0.140] nats per token, 3 seeds x 50 documents" in text
    assert "loss 3.000 vanilla, 3.120 myopic; learning rates 0.001 and 0.003, chosen on tuning seeds" in text
    assert not any(sentence in text for sentence in SENTENCES)
    doubtful = told(row(edge=1, hollow=1))
    assert all(sentence in doubtful for sentence in SENTENCES)


def test_one_seed_has_no_interval_and_nothing_is_said_twice():
    assert "0.120 (one seed: no interval)" in told(row(ci_low=math.nan, ci_high=math.nan, seeds=1))
    assert told(row(), row(choice="matched")) == told(row())
    assert "both at vanilla's best rate" in told(row(), row(choice="matched", lr_myopic=1e-3, gap=0.2))
    assert told() == "no pair of a vanilla and a myopic run is there to compare"
