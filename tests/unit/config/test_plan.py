"""The plan of every scale: jobs and tokens are those of the run specs, and what is not known is said."""

import pytest

from myopia.common.errors import MyopiaError
from myopia.config.load import load_config
from myopia.config.plan import COLUMNS, plan, render
from myopia.config.runs import run_specs, tuning_specs
from myopia.experiments.size_sweep.settings import family, frozen_rate_specs

SCALES = ["smoke", "laptop", "cpu", "gpu", "paper"]


def rows_of(config, scale):
    settings = load_config({**config, "scale": scale})
    return settings, plan(settings)


@pytest.mark.parametrize("scale", SCALES)
def test_every_run_is_in_the_plan_once(config, scale):
    settings, rows = rows_of(config, scale)
    assert all(tuple(row) == tuple(COLUMNS) for row in rows)
    total = next(k for k, row in enumerate(rows) if row["experiment"] == "total")
    training = [row for row in rows[:total] if row["runs"] is not None]
    specs, tuning, sizes = run_specs(settings), tuning_specs(settings), family(settings)
    tuning |= frozen_rate_specs(settings)
    part = settings["family"]
    grid = sizes.tuning_runs() if part["tuning_seeds"] else []
    assert sum(row["runs"] for row in training) == len(specs) + len(sizes.specs) + len(grid)
    assert sum(row["runs"] for row in rows[total + 1 :]) == len(tuning)
    if settings["share_process"]:
        jobs = len(specs) + len(part["sizes"])
    else:
        jobs = len(specs) * len(settings["seeds"]) + len(sizes.specs) * len(part["seeds"])
        jobs += len(grid) * len(part["tuning_seeds"])
    assert sum(row["jobs"] for row in training) == jobs
    T = settings["text"]["T"]
    tokens = sum(s["steps"] * s["batch_size"] * s["data"]["T"] for s in specs.values()) * len(settings["seeds"])
    tokens += sum(s["steps"] * s["batch_size"] * T for s in sizes.specs.values()) * len(part["seeds"])
    tokens += (
        sum(sizes.specs[name]["steps"] * sizes.specs[name]["batch_size"] for name in grid)
        * T
        * len(part["tuning_seeds"])
    )
    assert rows[total]["tokens"] == tokens
    for row in training:
        assert (
            row["flops"] > 6 * row["tokens"] * min(1000, row["parameters"] / 3)
            and row["device_hours"] > 0
            and row["memory_gb"] > 0
        )
        assert row["fits"] == 1 and row["note"] == ""
    assert {row["experiment"] for row in rows[:total]} >= {f"data: {name}" for name in settings["corpora"]}


def test_flops_by_hand(config):
    config["scales"]["smoke"]["text"].update(arms=["vanilla", "myopic"], corpora=["docstrings"], evaluate_on={})
    _, rows = rows_of(config, "smoke")
    row = next(row for row in rows if row["experiment"] == "text: docstrings")
    # 2 layers of width 16, 512 tokens, T = 64: 20 steps of 8 windows, validation at 0, 10 and 20 on 32; 2 runs, 2 seeds.
    M, attention = 2 * 12 * 16**2 + 512 * 16, 12 * 2 * 64 * 16
    per_token = 6 * M + attention
    assert row["flops"] == pytest.approx(4 * per_token * 64 * (20 * 8 + 3 * 32 / 3))
    assert row["parameters"] == 2 * (12 * 16**2 + 13 * 16) + 2 * 16 + 512 * 16 + 64 * 16


def test_hours_follow_from_the_stated_utilisation_and_never_beat_the_shortest_step(config):
    config["scales"]["paper"]["plan"] = {"device_memory_gb": 80, "device_tflops": 100, "mfu": 0.5, "min_step_ms": 0}
    _, rows = rows_of(config, "paper")
    for row in rows:
        if row["flops"] and row["runs"]:
            assert row["device_hours"] == pytest.approx(row["flops"] / 50e12 / 3600)
    config["scales"]["paper"]["plan"]["min_step_ms"] = 10
    _, slow = rows_of(config, "paper")
    synthetic = next(row for row in slow if row["experiment"] == "synthetic (D_p)")
    assert synthetic["device_hours"] == pytest.approx(synthetic["jobs"] * 58594 * 0.010 / 3600)


def test_a_network_that_does_not_fit_is_named_with_what_would(config):
    config["scales"]["paper"]["text"]["model"] = {"model_type": "gpt_neox", "config": {
        "num_hidden_layers": 36, "hidden_size": 5120, "num_attention_heads": 40, "intermediate_size": 20480}}  # fmt: skip
    # Keys of base's GPT-2 would be laid under it.
    config["base"]["text"]["model"]["config"] = {}
    settings, rows = rows_of(config, "paper")
    row = next(row for row in rows if row["experiment"] == "text: msmarco-hub")
    assert row["fits"] == 0 and row["memory_gb"] > 150
    assert "GB of 80.0 GB, and no micro_batch fits; of the Pythia sizes 2.8b and smaller fit" in row["note"]
    assert row["note"] in render(rows, settings)


def test_an_architecture_without_a_formula_is_not_guessed(config):
    config["base"]["text"]["model"] = {"model_type": "llama", "config": {"hidden_size": 64, "num_attention_heads": 4}}
    config["scales"]["smoke"]["text"].pop("model")
    _, rows = rows_of(config, "smoke")
    row = next(row for row in rows if row["experiment"] == "text: docstrings")
    assert row["flops"] is None and row["parameters"] is None and "no formula" in row["note"]
    assert row["jobs"] and row["tokens"]


def test_downloads_come_from_what_is_published(config):
    settings, rows = rows_of(config, "paper")
    by_name = {row["experiment"]: row for row in rows}
    assert by_name["data: msmarco-hub"]["download_gb"] == settings["corpora"]["msmarco-hub"]["published"]["download_gb"]
    config["base"]["corpora"]["msmarco-hub"]["source"]["max_documents"] = 874_182  # with its buffer: a tenth
    _, rows = rows_of(config, "paper")
    row = next(row for row in rows if row["experiment"] == "data: msmarco-hub")
    assert row["download_gb"] == pytest.approx(
        0.1 * settings["corpora"]["msmarco-hub"]["published"]["download_gb"], rel=1e-3
    )
    del config["base"]["corpora"]["msmarco-hub"]["published"]
    _, rows = rows_of(config, "paper")
    row = next(row for row in rows if row["experiment"] == "data: msmarco-hub")
    assert row["download_gb"] is None and "published" in row["note"]


def test_released_networks_are_downloads_once(config):
    """In half precision; whatever is trained from them, and on however many seeds."""
    _, rows = rows_of(config, "paper")
    family = [row for row in rows if row["experiment"].startswith("family, ")]
    assert len(family) == len({row["model"] for row in family}) == 8
    for row in family:
        assert row["download_gb"] == 2 * row["parameters"] / 1e9 and row["disk_gb"] > row["download_gb"]
    others = [row for row in rows if "choice of rates" in row["experiment"] or row["experiment"].startswith("tuning")]
    assert others and not any(row["download_gb"] for row in others)
    _, rows = rows_of(config, "cpu")
    assert not any(row["download_gb"] for row in rows)


def test_the_pile_at_the_papers_size(config):
    """10 million windows of 64 tokens, from 11 million documents cut at 2,000 characters."""
    config["scales"]["paper"]["text"].update(corpora=["pile-hub"], evaluate_on={})
    _, rows = rows_of(config, "paper")
    row = next(row for row in rows if row["experiment"] == "data: pile-hub")
    assert 30 < row["download_gb"] < 45 and 15 < row["disk_gb"] < 30


def test_the_printed_plan_is_a_table(config):
    settings, rows = rows_of(config, "paper")
    lines = render(rows, settings).splitlines()
    assert lines[0].split()[:3] == ["experiment", "model", "parameters"]
    assert [line.split("  ")[0].rstrip() for line in lines[1 : len(rows) + 1]] == [row["experiment"] for row in rows]
    assert "30% utilisation" in lines[-1] and max(map(len, lines[: len(rows)])) < 160


def test_several_devices_are_laid_out_and_hours_are_of_all_of_them(config):
    _, one = rows_of(config, "paper")
    config["scales"]["paper"]["devices"] = 8
    settings, eight = rows_of(config, "paper")
    for a, b in zip(one, eight, strict=True):
        if a["parameters"]:
            assert b["flops"] == a["flops"] and b["device_hours"] >= a["device_hours"]
            assert (b["devices"], b["fits"]) == (8, 1) and "on each of 8 devices" in b["note"]
            assert b["micro_batch"] <= a["micro_batch"]
    assert one[-1]["devices"] in (1, None)
    total = next(row for row in eight if row["experiment"] == "total")
    assert total["kwh"] == pytest.approx(total["device_hours"] * settings["plan"]["device_watts"] / 1000)
    assert f"{total['kwh']:.3g} kWh in all" in render(eight, settings)


def test_devices_that_cannot_share_a_batch_are_refused(config):
    config["base"]["devices"] = 3
    with pytest.raises(MyopiaError, match="config key devices: 3 processes cannot share the batches of 16 of run"):
        load_config(config)
