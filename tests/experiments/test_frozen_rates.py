"""Rates that were frozen after tuning are those the published tables of the tuning runs say."""

from pathlib import Path

import pandas as pd

from myopia.config.load import ROOT, load_config
from myopia.config.runs import PAIR

PUBLISHED = ROOT / "docs" / "results"
RATE = rf"-(?:{'|'.join(PAIR)})-lr([\d.e-]+)$"


def best_rates(path: Path, name: str) -> tuple[dict[tuple[str, str], float], pd.DataFrame]:
    """{(what the pattern's first group says, arm): the rate of lowest mean validation loss}, and the table's runs."""
    frame = pd.read_csv(path)
    found = frame["run"].str.extract(name + RATE)
    frame = frame.assign(what=found[0], lr=found[1].astype(float)).dropna(subset=["lr"])
    assert set(frame["seed"]) == {100, 101, 102} and set(frame["purpose"]) == {"tuning"}
    mean = frame.groupby(["what", "arm", "lr"])["final_validation_loss"].mean()
    return {key: rates.idxmin()[-1] for key, rates in mean.groupby(level=[0, 1])}, frame


def test_fine_tuning_rates_of_the_size_sweep():
    from myopia.experiments.size_sweep.runs import finetune_grid

    section = load_config({"scale": "cpu", "experiments": ["size_sweep"]})["size_sweep"]
    best, frame = best_rates(PUBLISHED / "cpu/tuning-family.csv", r"family-(\w+)-tuning")
    sizes = {size for size, _ in best}  # d20 is tuned, and left to those who ask for it
    assert sizes >= set(section["sizes"])
    frozen = {(s, arm): lr for s in sizes for arm, lr in section["networks"][s]["finetune_lr"].items()}
    assert frozen == best
    for size in sizes:
        grid = finetune_grid(section, size)
        for arm in PAIR:
            rows = frame[(frame["what"] == size) & (frame["arm"] == arm)]
            assert set(rows["lr"]) >= set(grid) and len(rows) == 3 * rows["lr"].nunique()
            assert min(grid) < frozen[size, arm] < max(grid)  # no best rate at an edge


def test_rates_of_both_arms():
    for table, name, scale, keys in (
        ("cpu/tuning-multiplication.csv", r"(mult-\S+)", "cpu", ["multiplication"]),
        ("laptop/tuning-bias.csv", r"(bias)", "laptop", ["gradients", "bias"]),
        ("laptop/tuning-induction.csv", r"(induction)", "laptop", ["induction"]),
    ):
        best, _ = best_rates(PUBLISHED / table, name)
        section = load_config({"scale": scale})
        for key in keys:
            section = section[key]
        assert best and all(section["optim"]["lr"][arm] == lr for (_, arm), lr in best.items()), table
