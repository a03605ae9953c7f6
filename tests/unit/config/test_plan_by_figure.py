"""What figures cost before anything has run: every run counted once, in the experiment it belongs to."""

from __future__ import annotations

import pytest
import yaml

from myopia.config.figures import FIGURES_OF, experiment_of, plan_by_experiment
from myopia.config.load import ROOT, load_config
from myopia.config.plan import plan
from myopia.config.runs import run_specs
from myopia.experiments.size_sweep.settings import family
from myopia.show.render import FIGURES

CONFIG = yaml.safe_load((ROOT / "config.yaml").read_text())


@pytest.mark.parametrize("scale", CONFIG["scales"])
def test_experiments_add_up_to_the_plan(scale):
    settings = load_config({**CONFIG, "scale": scale})
    rows = plan_by_experiment(settings)
    total = next(row for row in plan(settings) if row["experiment"] == "total")
    for key in ("device_hours", "disk_gb", "download_gb"):
        assert sum(row[key] for row in rows) == pytest.approx(total[key] or 0.0, rel=1e-9), key
    assert max(row["memory_gb"] for row in rows) == pytest.approx(total["memory_gb"])
    sizes, part = family(settings), settings["family"]
    trained = len(run_specs(settings)) * len(settings["seeds"]) + len(sizes.specs) * len(part["seeds"])
    assert sum(row["runs"] for row in rows) == trained + len(sizes.tuning_runs()) * len(part["tuning_seeds"])


def test_every_run_belongs_to_an_experiment_and_every_figure_exists():
    for scale in CONFIG["scales"]:
        runs = run_specs(load_config({**CONFIG, "scale": scale}))
        assert {experiment_of(run) for run in runs} <= set(FIGURES_OF)
    figures = {figure for group in FIGURES_OF.values() for figure in group}
    assert figures <= set(FIGURES)
    # Toys and theory train no network that is kept, and released checkpoints none at all.
    assert {name for name in set(FIGURES) - figures if "released" not in name} == {
        "theory", "three_myopias", "toy_capacity", "toy_hidden_bits",
    }  # fmt: skip
