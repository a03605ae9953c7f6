"""A corpus from the hub through Snakemake: downloads first, then everything else with the hub gone."""

import hashlib
import json
import shutil
import socket
import sys
from pathlib import Path

import pytest
import yaml
from fetching import make_hub, parquet
from standin import HubStandIn

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "workflow"))
from harness import checkout, snakemake


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
    with HubStandIn(root) as server:
        yield server


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_downloads_are_rules_of_their_own(hub, tmp_path):
    folder = checkout(tmp_path / "project")
    source = {"kind": "hub", "dataset": "someone/words", "revision": "main", "split": "train", "id_column": "url"}
    corpus = {
        "source": source,
        "tokenizer": {"kind": "pretrained", "path_or_id": "someone/model", "revision": "main"},
        "windows": {"window": "first"},
        "splits": {"fractions": {"train": 0.6, "validation": 0.2, "test": 0.2}, "by": "document"},
    }
    smoke = {"text": {"corpora": ["words-hub"], "evaluate_on": {}}, "corpora": {"words-hub": corpus}}
    (folder / "own.yaml").write_text(yaml.safe_dump({"scales": {"smoke": smoke}}))
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
