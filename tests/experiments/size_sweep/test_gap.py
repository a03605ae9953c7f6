"""The commands of the target `gap`, and what it prints; its numbers are tested with those of the figure (test_judge.py)."""

import math

import numpy as np
import pandas as pd

from experiments.size_sweep.simulate import family
from myopia.config.load import load_config, write_settings
from myopia.experiments.size_sweep import GAP, GAP_BY_LR, gap
from myopia.experiments.size_sweep.gap_console import render
from own_claims import write_tables

SENTENCES = ("lies at the end of its grid", "not shown to have settled")


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


def test_from_measurements_to_what_is_printed(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(gap, "start", lambda: None)  # which prepares a process of its own
    sizes = {"d16": 14_000, "d24": 25_000}
    write_tables(tmp_path / "measure", family(np.random.default_rng(0), 2, 1.0, 1.0, sizes=sizes))
    settings = load_config({"scale": "smoke", "experiments": ["size_sweep"], "results": str(tmp_path)})
    written = write_settings(settings)
    for command in (gap.tabulate_gap, gap.draw_gap, gap.print_gap):
        command(written)
    for figure in (GAP, GAP_BY_LR):
        assert tuple(pd.read_csv(tmp_path / "tables" / f"{figure.name}.csv").columns) == figure.columns
    assert (tmp_path / "figures/gap_by_lr.svg").stat().st_size > 10_000
    assert "d24, fine-tuned, each arm at its best rate:" in capsys.readouterr().out
