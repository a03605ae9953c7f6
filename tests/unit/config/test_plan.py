"""The plan of every scale: jobs and tokens are those of the run specs, and what is not known is said."""

import pytest

from configuring import SCALES
from myopia.config.experiment import chosen
from myopia.config.load import load_config
from myopia.config.plan import COLUMNS, plan, plan_by_experiment, render

MSMARCO = "data: msmarco-hub"


def rows_of(scale="smoke", **changes):
    settings = load_config({"scale": scale, **changes})
    return settings, plan(settings)


def named(rows, name):
    return next(row for row in rows if row["experiment"] == name)


def check_plan(scale):
    settings, rows = rows_of(scale)
    assert all(tuple(row) == tuple(COLUMNS) for row in rows)
    total = next(k for k, row in enumerate(rows) if row["experiment"] == "total")
    training = [row for row in rows[:total] if row["runs"] is not None]
    runs = jobs = tokens = tuned = 0
    for one in chosen(settings["experiments"]):
        specs, seeds = one.runs(settings), one.seeds(settings)
        grid, grid_seeds = one.grid(settings)
        tuned += len(one.tuning(settings))
        for names, group in ((list(specs), seeds), (grid if grid_seeds else [], grid_seeds)):
            runs += len(names)
            jobs += len(names) * (1 if settings["share_process"] else len(group))
            for spec in (specs[name] for name in names):
                T = spec["data"].get("T") or settings["context_length"]
                tokens += spec["steps"] * spec["batch_size"] * T * len(group)
    assert sum(row["runs"] for row in training) == runs
    assert sum(row["jobs"] for row in training) == jobs
    assert rows[total]["tokens"] == tokens and sum(row["runs"] for row in rows[total + 1 :]) == tuned
    for row in training:
        assert row["flops"] > 6 * row["tokens"] * min(1000, row["parameters"] / 3)
        assert row["device_hours"] > 0 and row["memory_gb"] > 0 and (row["fits"], row["note"]) == (1, "")
    assert {row["experiment"] for row in rows[:total]} >= {f"data: {name}" for name in settings["corpora"]}
    # What experiments cost, a row each, is the same.
    by_experiment = plan_by_experiment(settings)
    for key in ("device_hours", "disk_gb", "download_gb"):
        assert sum(row[key] for row in by_experiment) == pytest.approx(rows[total][key], rel=1e-9), key
    assert max(row["memory_gb"] for row in by_experiment) == pytest.approx(rows[total]["memory_gb"])
    assert sum(row["runs"] for row in by_experiment) == sum(row["runs"] * row["seeds"] for row in training)
    text = render(rows, settings).splitlines()
    assert [line.split("  ")[0].rstrip() for line in text[1 : len(rows) + 1]] == [row["experiment"] for row in rows]


def test_every_run_is_in_the_plan_once():
    for scale in SCALES:
        check_plan(scale)


def test_flops_by_hand():
    text = {"arms": ["vanilla", "myopic"], "corpora": ["docstrings"], "evaluate_on": {"docstrings": []}}
    _, rows = rows_of(experiments=["text"], text=text)
    row = named(rows, "text: docstrings")
    # 2 layers of width 16, 512 tokens, T = 64: 20 steps of 8 windows, validation at 0, 10 and 20 on 32; 2 runs, 2 seeds.
    M, attention = 2 * 12 * 16**2 + 512 * 16, 12 * 2 * 64 * 16
    per_token = 6 * M + attention
    assert row["flops"] == pytest.approx(4 * per_token * 64 * (20 * 8 + 3 * 32 / 3))
    assert row["parameters"] == 2 * (12 * 16**2 + 13 * 16) + 2 * 16 + 512 * 16 + 64 * 16


def test_hours_follow_from_the_stated_utilisation_and_never_beat_the_shortest_step():
    device = {"device_memory_gb": 80, "device_tflops": 100, "mfu": 0.5, "min_step_ms": 0}
    _, rows = rows_of("paper", plan=device)
    for row in rows:
        if row["flops"] and row["runs"]:
            assert row["device_hours"] == pytest.approx(row["flops"] / 50e12 / 3600)
    settings, slow = rows_of("paper", plan={**device, "min_step_ms": 10})
    synthetic, steps = named(slow, "synthetic"), settings["synthetic"]["steps"]
    assert synthetic["device_hours"] == pytest.approx(synthetic["runs"] * synthetic["seeds"] * steps * 0.010 / 3600)


def test_a_network_that_does_not_fit_is_named_with_what_would():
    network = {"num_hidden_layers": 36, "hidden_size": 5120, "num_attention_heads": 40, "intermediate_size": 20480}
    settings, rows = rows_of("paper", text={"model": {"model_type": "gpt_neox", "config": network}})
    row = named(rows, "text: msmarco-hub")
    assert row["fits"] == 0 and row["memory_gb"] > 150
    assert "and no micro_batch fits; of the Pythia sizes 2.8b and smaller fit" in row["note"]
    assert row["note"] in render(rows, settings)


def test_what_is_not_known_is_not_guessed():
    network = {"model_type": "llama", "config": {"hidden_size": 64, "num_attention_heads": 4}}
    _, rows = rows_of(experiments=["text"], text={"model": network})
    row = named(rows, "text: docstrings")
    assert row["flops"] is None and row["parameters"] is None and "no formula" in row["note"]
    assert row["jobs"] and row["tokens"]
    _, rows = rows_of("paper", corpora={"msmarco-hub": {"published": None}})
    row = named(rows, MSMARCO)
    assert row["download_gb"] is None and "published" in row["note"]


def test_downloads_come_from_what_is_published():
    settings, rows = rows_of("paper")
    published = settings["corpora"]["msmarco-hub"]["published"]["download_gb"]
    assert named(rows, MSMARCO)["download_gb"] == published
    _, rows = rows_of(
        "paper", corpora={"msmarco-hub": {"source": {"max_documents": 874_182}}}
    )  # a tenth, with its buffer
    assert named(rows, MSMARCO)["download_gb"] == pytest.approx(0.1 * published, rel=1e-3)
    # The Pile: 10 million windows of 64 tokens, from 11 million documents cut at 2,000 characters.
    _, rows = rows_of("paper", text={"corpora": ["pile-hub"], "evaluate_on": {"pile-hub": []}})
    row = named(rows, "data: pile-hub")
    assert 30 < row["download_gb"] < 45 and 15 < row["disk_gb"] < 30


def test_released_networks_are_downloads_once():
    """In half precision; whatever is trained from them, and on however many seeds."""
    _, rows = rows_of("paper")
    sweep = [row for row in rows if row["experiment"].startswith("size_sweep")]
    assert len(sweep) == len({row["model"] for row in sweep}) == 8
    for row in sweep:
        assert row["download_gb"] == 2 * row["parameters"] / 1e9 and row["disk_gb"] > row["download_gb"]
    others = [row for row in rows if row["experiment"].startswith(("choice of rates", "tuning"))]
    assert others and not any(row["download_gb"] for row in others)
    _, rows = rows_of("cpu")
    assert not any(row["download_gb"] for row in rows)


def test_several_devices_are_laid_out_and_hours_are_of_all_of_them():
    _, one = rows_of("paper")
    settings, eight = rows_of("paper", devices=8)
    for a, b in zip(one, eight, strict=True):
        if a["parameters"]:
            assert b["flops"] == a["flops"] and b["device_hours"] >= a["device_hours"]
            assert (b["devices"], b["fits"]) == (8, 1) and b["micro_batch"] <= a["micro_batch"]
    total = named(eight, "total")
    assert total["kwh"] == pytest.approx(total["device_hours"] * settings["plan"]["device_watts"] / 1000)
    assert f"{total['kwh']:.3g} kWh in all" in render(eight, settings)
