"""Rates that were frozen after tuning are those the published tables of the tuning runs say."""

from pathlib import Path

import pandas as pd
import pytest

from myopia.config.load import ROOT, load_config
from myopia.experiments.size_sweep.settings import finetune_grid

PUBLISHED = ROOT / "docs" / "results"


def best_rates(path: Path, name: str) -> tuple[dict[tuple[str, str], float], pd.DataFrame]:
    """{(what the pattern's first group says, arm): the rate of lowest mean validation loss}, and the table's runs."""
    frame = pd.read_csv(path)
    found = frame["run"].str.extract(name)
    frame = frame.assign(what=found[0], lr=found[1].astype(float)).dropna(subset=["lr"])
    assert set(frame["seed"]) == {100, 101, 102} and set(frame["purpose"]) == {"tuning"}
    mean = frame.groupby(["what", "arm", "lr"])["final_validation_loss"].mean()
    return {key: rates.idxmin()[-1] for key, rates in mean.groupby(level=[0, 1])}, frame


def test_fine_tuning_rates_of_the_family(config):
    part = load_config({**config, "scale": "cpu"})["family"]
    best, frame = best_rates(
        PUBLISHED / "cpu/tuning-family.csv", r"family-(\w+)-tuning-(?:vanilla|myopic)-lr([\d.e-]+)$"
    )
    sizes = {size for size, _ in best}  # d20 is tuned, and left to those who ask for it
    assert sizes >= set(part["sizes"])
    frozen = {(s, arm): lr for s in sizes for arm, lr in part["networks"][s]["finetune_lr"].items()}
    assert frozen == best
    for size in sizes:
        grid = finetune_grid(part, size)
        for arm in ("vanilla", "myopic"):
            rows = frame[(frame["what"] == size) & (frame["arm"] == arm)]
            assert set(rows["lr"]) >= set(grid) and len(rows) == 3 * rows["lr"].nunique()
            assert min(grid) < frozen[size, arm] < max(grid)  # no best rate at an edge


def test_multiplication(config):
    best, _ = best_rates(PUBLISHED / "cpu/tuning-multiplication.csv", r"(mult-\S+)-(?:vanilla|myopic)-lr([\d.e-]+)$")
    rates = load_config({**config, "scale": "cpu"})["multiplication"]["optim"]["lr"]
    assert {arm: lr for (_, arm), lr in best.items()} == rates


@pytest.mark.parametrize("arm", ["vanilla", "myopic"])
def test_text(config, arm):
    best, _ = best_rates(PUBLISHED / "laptop/tuning-text.csv", r"(text-docstrings)-(?:vanilla|myopic)-lr([\d.e-]+)$")
    assert load_config({**config, "scale": "laptop"})["text"]["optim"]["lr"][arm] == best["text-docstrings", arm]
