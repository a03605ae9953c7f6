"""`snakemake released` from end to end at smoke scale: a loopback hub holds the two arms of two tiny Pythias."""

import csv
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from harness import checkout, plan, snakemake
from lightning_files import file_name, save_released, tiny_model
from standin import HubStandIn

SIZES = {"14m": 16, "31m": 24}  # name: width
NAMED, USED = 4e-4, {"vanilla": 4e-4, "myopic": 6e-4}
VOCABULARY = 300


@pytest.fixture(scope="module")
def released(tmp_path_factory):
    """The target, run once: its results, the original networks, what the hub was asked."""
    folder = tmp_path_factory.mktemp("released")
    models = {}
    repositories = folder / "hub" / "models"
    for k, (size, width) in enumerate(SIZES.items()):
        for arm in USED:
            model = models[size, arm] = tiny_model(seed=10 * k + len(arm), width=width, vocab=VOCABULARY)
            path = repositories / "wiwu2390" / f"pythia-{size}-{arm}" / file_name(size, arm, NAMED)
            save_released(path, model, arm, USED[arm])
        base = repositories / "EleutherAI" / f"pythia-{size}"
        model.config.save_pretrained(base)
        save_tokenizer(base)
    project = checkout(folder / "project")
    with HubStandIn(folder / "hub") as hub:
        env = {
            "HF_ENDPOINT": hub.url, "HF_HOME": str(folder / "hf"), "HF_HUB_DISABLE_XET": "1", "HF_HUB_OFFLINE": "0",
            "NO_PROXY": "127.0.0.1",
        }  # fmt: skip
        done = snakemake(project, "--", "released", env=env)
        yield SimpleNamespace(
            project=project, results=project / "results/smoke/released", models=models, hub=hub, env=env, done=done
        )


def save_tokenizer(folder):
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    end = "<|endoftext|>"  # as Pythia's own: what stands before a text without a prompt
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY, initial_alphabet=sorted(alphabet), special_tokens=[end], show_progress=False
    )
    tokenizer.train_from_iterator([Path(__file__).read_text()], trainer)
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": end, "eos_token": end})
    )


def table(released, name):
    with open(released.results / "tables" / f"{name}.csv") as handle:
        return list(csv.DictReader(handle))


def test_the_audit_tells_recorded_rates_from_named_ones(released):
    rows = {(row["size"], row["arm"]): row for row in table(released, "released_audit")}
    assert set(rows) == {(size, arm) for size in SIZES for arm in USED}
    for (size, arm), row in rows.items():
        assert float(row["lr_in_name"]) == NAMED
        assert float(row["lr_in_hyper_parameters"]) == float(row["lr_in_schedule"]) == USED[arm]
        assert row["lr_in_optimizer"] == row["optimizer_state"] == "absent"
        assert row["lr_as_named"] == {"vanilla": "yes", "myopic": "no"}[arm]
        assert row["commit"] == released.hub.commit("models", f"wiwu2390/pythia-{size}-{arm}")
        assert row["file"] == file_name(size, arm, NAMED)


def test_losses_are_those_of_the_original_networks(released):
    """Download, conversion, encoding, measuring and judging change nothing: recomputed from the networks themselves."""
    import torch

    from myopia.data.tokens import TokenFile
    from myopia.measure.text import choose_windows

    file = TokenFile.open(released.results / "tokens" / "docstrings", "test")
    ids = torch.from_numpy(np.asarray(file.tokens[choose_windows(file.docs, 64)]).astype(np.int64))
    assert ids.shape == (64, 64)
    assert file.vocab_size <= VOCABULARY
    expected = {}
    for key, model in released.models.items():
        with torch.no_grad():
            expected[key] = float(model(input_ids=ids, labels=ids).loss)
    rows = [r for r in table(released, "fig7_released") if r["kind"] == "ours"]
    assert {r["corpus"] for r in rows} == {"docstrings", "unseen-docs"}
    ours = {(r["size"], r["series"]): r for r in rows if r["corpus"] == "docstrings"}
    for size in SIZES:
        gap = ours[size, "gap"]
        assert float(gap["value"]) == pytest.approx(expected[size, "myopic"] - expected[size, "vanilla"], abs=2e-5)
        assert float(gap["ci_low"]) < float(gap["value"]) < float(gap["ci_high"])
        assert float(gap["seeds"]) == 1
        for arm in USED:
            assert float(ours[size, arm]["value"]) == pytest.approx(expected[size, arm], abs=2e-5)
            count = sum(p.numel() for p in released.models[size, arm].parameters())
            assert float(ours[size, arm]["parameters"]) == count


def test_the_gap_by_position_averages_to_the_gap(released):
    positions = [r for r in table(released, "released_position") if r["kind"] == "ours"]
    gaps = [r for r in table(released, "fig7_released") if r["kind"] == "ours" and r["series"] == "gap"]
    assert len(positions) == len(gaps) * 63 == len(SIZES) * 2 * 63
    for gap in gaps:
        same = [float(r["value"]) for r in positions if (r["size"], r["corpus"]) == (gap["size"], gap["corpus"])]
        assert np.mean(same) == pytest.approx(float(gap["value"]), abs=1e-6)


def test_every_pair_is_scored_on_the_same_items(released):
    rows = [r for r in table(released, "fig5_released") if r["kind"] == "ours"]
    assert {(r["task"], r["model"], r["arm"]) for r in rows} == {
        ("cloze-docstrings", size, arm) for size in SIZES for arm in USED
    }
    assert all(int(r["items"]) == 32 for r in rows)
    assert {r["test"] for r in rows if r["arm"] == "myopic"} <= {"mcnemar", "clusters"}


def test_what_is_left_behind(released):
    for figure in ("fig7_released", "released_position", "fig5_released"):
        for suffix in ("svg", "png"):
            assert (released.results / "figures" / f"{figure}.{suffix}").stat().st_size > 10_000
    assert not list(released.results.rglob("*.ckpt")), "a converted checkpoint is not kept twice"
    assert not (released.project / "results/smoke/.state/released").exists() or not list(
        (released.project / "results/smoke/.state/released").iterdir()
    )
    run = {path.name for path in (released.results / "runs" / "pythia-14m-myopic").iterdir()}
    assert run >= {"model.safetensors", "config.json", "tokenizer.json", "checkpoint.json", "README.md"}
    for path in released.results.rglob("*.csv"):
        assert str(released.project) not in path.read_text()


def test_again_there_is_nothing_to_do_and_all_never_asks_for_it(released):
    before = len(released.hub.requests)
    assert "Nothing to be done" in snakemake(released.project, "--", "released", env=released.env).output
    assert len(released.hub.requests) == before
    assert not [rule for rule in plan(released.project) if "released" in rule]
