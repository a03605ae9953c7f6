"""Text and networks from the hub through Snakemake: downloads first, then everything else with the hub gone."""

import csv
import hashlib
import json
import shutil
import socket

import pytest
import yaml

from fetching import make_hub, parquet
from harness import checkout, snakemake
from standin import HubStandIn


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    """A dataset long enough for windows of 64 tokens, and a tokenizer."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    root = make_hub(tmp_path_factory.mktemp("hub"))
    # Letters that no two documents share thirteen of in a row: held-out windows that do are dropped.
    letters = [hashlib.sha512(str(n).encode()).hexdigest() for n in range(60)]
    text = [{"text": text, "url": f"u{n}"} for n, text in enumerate(letters)]
    parquet(root / "datasets/someone/words/data/train-00000-of-00001.parquet", text)
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={letter: k for k, letter in enumerate(alphabet)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.save(str(root / "models/someone/model/tokenizer.json"))
    network("llama", hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32).save_pretrained(
        root / "models/someone/llama"
    )
    with HubStandIn(root) as server:
        yield server


def network(model_type, **sizes):
    """A tiny random language model that knows 256 tokens and 64 positions."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(0)
    config = AutoConfig.for_model(model_type, vocab_size=256, max_position_embeddings=64, **sizes)
    return AutoModelForCausalLM.from_config(config)


CORPUS = {
    "source": {"kind": "hub", "dataset": "someone/words", "revision": "main", "split": "train", "id_column": "url"},
    "tokenizer": {"kind": "pretrained", "path_or_id": "someone/model", "revision": "main"},
    "windows": {"window": "first"},
    "splits": {"fractions": {"train": 0.6, "validation": 0.2, "test": 0.2}, "by": "document"},
}


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_networks_of_ones_own(hub, tmp_path):
    """One from the hub and one in a folder, with attention dropout: fetched, trained in both arms with the hub gone."""
    folder = checkout(tmp_path / "project")
    network("gpt2", n_embd=16, n_layer=1, n_head=2).save_pretrained(tmp_path / "mine")
    networks = {
        "theirs": {"pretrained": "someone/llama", "revision": "main", "lr_grid": [1e-2]},
        "mine": {"pretrained": str(tmp_path / "mine"), "lr_grid": [1e-3, 1e-2]},
    }
    part = {
        "corpus": "words-hub", "sizes": ["theirs", "mine"], "seeds": [0, 1], "networks": networks,
        "recipes": {"matched": ["checkpoint"], "best": [], "as_run": []}, "finetune": {"sequences": 40},
        "eval": {"sequences": 8},
    }  # fmt: skip
    own = {"experiments": ["size_sweep"], "size_sweep": part, "corpora": {"words-hub": CORPUS}}
    (folder / "own.yaml").write_text(yaml.safe_dump(own))
    own = ("--configfile", "own.yaml", "--quiet", "rules", "--")
    home = {"HF_HOME": str(tmp_path / "hf"), "HF_HUB_DISABLE_XET": "1", "HF_HUB_OFFLINE": "0", "NO_PROXY": "127.0.0.1"}
    snakemake(folder, *own, "fetch", env={**home, "HF_ENDPOINT": hub.url})
    results = folder / "results/smoke"
    record = json.loads((results / "networks/theirs/revision.json").read_text())
    assert record["repo"] == "someone/llama" and set(record["files"]) == {"config.json", "model.safetensors"}

    before = len(hub.requests)
    done = snakemake(folder, *own, "gap", env={**home, "HF_ENDPOINT": hub.url})
    assert len(hub.requests) == before
    for name, rates in (("theirs", "0.01 and 0.01"), ("mine", "0.0")):
        told = done.output[done.output.index(f"{name}, fine-tuned, each arm at its best rate:") :].splitlines()
        assert told[1].startswith("  myopia gap ") and "nats per token, 2 seeds x 12 documents" in told[1]
        assert f"learning rates {rates}" in told[2] and "validation text" in told[2]
    gaps = list(csv.DictReader((results / "tables/gap.csv").open()))
    assert {(row["size"], row["start"]) for row in gaps} == {("theirs", "checkpoint"), ("mine", "checkpoint")}
    for row in gaps:
        assert float(row["ci_low"]) <= float(row["gap"]) <= float(row["ci_high"])
        assert float(row["gap"]) == pytest.approx(float(row["myopic"]) - float(row["vanilla"]), abs=1e-6)
    assert (results / "figures/gap_by_lr.png").stat().st_size > 10_000
    # Both arms begin with the network as it is, and of the rest of the scale nothing was run.
    curves = [results / f"runs/family-mine-{arm}-lr0.01/seed1/curve.csv" for arm in ("vanilla", "myopic")]
    first, second = (next(iter(csv.DictReader(path.open())))["validation_loss"] for path in curves)
    assert first == second
    assert sorted(path.name for path in results.iterdir() if path.is_dir() and path.name[0] != ".") == [
        "benchmarks", "data", "figures", "logs", "measure", "networks", "runs", "tables"
    ]  # fmt: skip
    assert all(path.name.startswith("family-") for path in (results / "runs").iterdir())


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_downloads_are_rules_of_their_own(hub, tmp_path):
    folder = checkout(tmp_path / "project")
    own = {
        "experiments": ["text"],
        "text": {"corpora": ["words-hub"], "evaluate_on": {}},
        "corpora": {"words-hub": CORPUS},
    }
    (folder / "own.yaml").write_text(yaml.safe_dump(own))
    home = {"HF_HOME": str(tmp_path / "hf"), "HF_HUB_DISABLE_XET": "1", "HF_HUB_OFFLINE": "0", "NO_PROXY": "127.0.0.1"}
    own = ("--configfile", "own.yaml", "--quiet", "rules")
    online = {**home, "HF_ENDPOINT": hub.url}

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        gone = {**home, "HF_ENDPOINT": f"http://127.0.0.1:{free.getsockname()[1]}", "HF_HUB_DOWNLOAD_TIMEOUT": "1"}
        target = "results/smoke/data/words-hub/tokens/tokens.manifest.json"
        snakemake(folder, *own, "--", "fetch", env=online)
        data = folder / "results/smoke/data/words-hub"
        assert sorted(path.name for path in data.iterdir()) == ["docs.jsonl.zst", "docs.manifest.json", "tokenizer"]

        # Everything after the downloads runs with the hub gone.
        before = len(hub.requests)
        snakemake(folder, *own, "--", target, env=gone)
        assert json.loads((folder / target).read_text())["splits"]["train"]["n_documents"] > 20
        assert len(hub.requests) == before

        # The lock is written when asked for, each time, and makes nothing be fetched again.
        for _ in range(2):
            snakemake(folder, *own, "--", "lock_hub", env=gone)
        lock = json.loads((folder / "workflow/reference/hub.lock.json").read_text())
        assert lock["datasets"]["someone/words@main"]["texts"][0]["counts"] == {
            "train": 36,
            "validation": 12,
            "test": 12,
        }
        assert set(lock["models"]) == {"someone/model@main"}
        done = snakemake(folder, *own, "--dry-run", "--", target, env=gone)
        assert "fetch_" not in done.output

        shutil.rmtree(data)
        done = snakemake(folder, *own, "--retries", "0", "--", "fetch", env={**gone, "HF_HUB_OFFLINE": "1"}, rc=1)
        assert done.seconds < 60
        [sentence] = (folder / "results/smoke/logs/fetch_text/words-hub.log").read_text().splitlines()
        assert "the hub is switched off (HF_HUB_OFFLINE) and nothing is in the cache" in sentence
        assert not (data / "docs.jsonl.zst").exists()
