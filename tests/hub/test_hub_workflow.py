"""Text and networks from the hub through Snakemake: downloads first, then everything else with the hub gone."""

import csv
import hashlib
import json
import shutil
import socket
from types import SimpleNamespace

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


pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def project(hub, tmp_path_factory):
    """Networks of one's own, one from the hub and one in a folder, with attention dropout: `fetch`, then `gap`."""
    home = tmp_path_factory.mktemp("home")
    folder = checkout(home / "project")
    network("gpt2", n_embd=16, n_layer=1, n_head=2).save_pretrained(home / "mine")
    networks = {
        "theirs": {"pretrained": "someone/llama", "revision": "main", "lr_grid": [1e-2]},
        "mine": {"pretrained": str(home / "mine"), "lr_grid": [1e-3, 1e-2]},
    }
    part = {
        "corpus": "words-hub", "sizes": ["theirs", "mine"], "seeds": [0, 1], "networks": networks,
        "recipes": {"matched": ["checkpoint"], "best": [], "as_run": []}, "finetune": {"sequences": 40},
        "eval": {"sequences": 8},
    }  # fmt: skip
    own = {"experiments": ["size_sweep"], "size_sweep": part, "corpora": {"words-hub": CORPUS}}
    (folder / "own.yaml").write_text(yaml.safe_dump(own))
    environment = {
        "HF_ENDPOINT": hub.url, "HF_HOME": str(home / "hf"), "HF_HUB_DISABLE_XET": "1", "HF_HUB_OFFLINE": "0",
        "NO_PROXY": "127.0.0.1",
    }  # fmt: skip

    def call(*words, online=True, **more):
        with socket.socket() as free:  # bound and not listening: nobody answers there
            free.bind(("127.0.0.1", 0))
            gone = {"HF_ENDPOINT": f"http://127.0.0.1:{free.getsockname()[1]}", "HF_HUB_DOWNLOAD_TIMEOUT": "1"}
            env = {**environment, **({} if online else gone), **more.pop("env", {})}
            return snakemake(folder, "--configfile", "own.yaml", "--quiet", "rules", *words, env=env, **more)

    results = folder / "results/smoke"
    call("--", "fetch")
    fetched = sorted(path.name for path in (results / "data/words-hub").iterdir())
    before = len(hub.requests)
    done = call("--", "gap")
    return SimpleNamespace(
        folder=folder, results=results, call=call, fetched=fetched, asked=len(hub.requests) - before, output=done.output
    )


def test_networks_of_ones_own(project):
    """Trained in both arms, and nothing asked of the hub after the downloads."""
    results = project.results
    record = json.loads((results / "networks/theirs/revision.json").read_text())
    assert record["repo"] == "someone/llama" and set(record["files"]) == {"config.json", "model.safetensors"}
    assert project.asked == 0
    for name, rates in (("theirs", "0.01 and 0.01"), ("mine", "0.0")):
        told = project.output[project.output.index(f"{name}, fine-tuned, each arm at its best rate:") :].splitlines()
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


def test_downloads_are_rules_of_their_own(project):
    assert project.fetched == ["docs.jsonl.zst", "docs.manifest.json", "tokenizer"]
    data = project.results / "data/words-hub"
    assert json.loads((data / "tokens/tokens.manifest.json").read_text())["splits"]["train"]["n_documents"] > 20

    # The lock is written when asked for, and makes nothing be fetched again.
    project.call("--", "lock_hub", online=False)
    lock = json.loads((project.folder / "workflow/reference/hub.lock.json").read_text())
    counts = {"train": 36, "validation": 12, "test": 12}
    assert lock["datasets"]["someone/words@main"]["texts"][0]["counts"] == counts
    assert set(lock["models"]) == {"someone/model@main", "someone/llama@main"}
    assert "fetch_" not in project.call("--dry-run", "--", "gap", online=False).output

    shutil.rmtree(data)
    switched_off = {"HF_HUB_OFFLINE": "1"}
    done = project.call("--retries", "0", "--", "fetch", online=False, env=switched_off, rc=1)
    assert done.seconds < 60
    [sentence] = (project.results / "logs/fetch_text/words-hub.log").read_text().splitlines()
    assert "the hub is switched off (HF_HUB_OFFLINE) and nothing is in the cache" in sentence
    assert not (data / "docs.jsonl.zst").exists()
