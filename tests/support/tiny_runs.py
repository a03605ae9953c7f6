"""Run specs and a corpus so small that a run takes a second."""

import json
import random
from contextlib import contextmanager
from pathlib import Path

from myopia.config.runs import ARMS

OPTIM = {
    "lr": 3e-3, "weight_decay": 0.01, "betas": [0.9, 0.999], "eps": 1e-8, "schedule": "cosine", "warmup": 0.1,
    "grad_clip": None,
}  # fmt: skip
T = 16
VOCABULARY = 300
WORDS = "apple river stone window garden yellow paper train silver cloud letter music the of and a".split()


def dp_spec(arm="vanilla", dropout=0.0, optim=None, **changes):
    """A D_p run: 2 layers, d_model 16, T 8, 20 steps of 8 sequences."""
    model = {"kind": "regression", "n_layers": 2, "n_heads": 2, "d_model": 16, "activation": "relu", "n_positions": 8}
    return {
        "name": f"dp-{arm}", "arm": ARMS[arm], "arm_name": arm, "purpose": "test", "optim": {**OPTIM, **(optim or {})},
        "steps": 20, "batch_size": 8, "micro_batch": 8, "precision": "fp32", "eval": {"every": 10, "sequences": 16},
        "model": {**model, "dropout": dropout}, "data": {"kind": "dp", "p": 0.5, "a": 2, "b": 2, "T": 8, "shift": 1},
        **changes,
    }  # fmt: skip


def text_spec(arm="vanilla", dropout=0.0, optim=None, **changes):
    """A GPT-2-shaped language run on `make_tokens`: 2 layers, d_model 16, T 16, 20 steps of 8 windows."""
    config = {
        "n_layer": 2, "n_head": 2, "n_embd": 16, "n_positions": T,
        "attn_pdrop": 0.0, "embd_pdrop": dropout, "resid_pdrop": dropout,
    }  # fmt: skip
    return {
        **dp_spec(arm, optim=optim),
        "name": f"text-{arm}",
        "model": {"kind": "language", "model_type": "gpt2", "config": config},
        "data": {"kind": "tokens", "corpus": "tiny", "T": T},
        **changes,
    }


def make_tokens(folder):
    """Harvest, tokenize and encode 40 small documents; returns (token folder, tokenizer folder) as strings."""
    from myopia.data.encode import encode_corpus
    from myopia.data.harvest import harvest
    from myopia.data.tokenizer import make_tokenizer

    draw = random.Random(0)
    rows = [
        {"id": f"{n:02d}", "dir": f"group{n % 20:02d}", "text": " ".join(draw.choices(WORDS, k=60))} for n in range(40)
    ]
    lines = folder / "all.jsonl"
    lines.write_text("".join(json.dumps(row) + "\n" for row in rows))
    source = {"kind": "files", "path": str(lines), "id_column": "id", "group_column": "dir"}
    splits = {"fractions": {"train": 0.5, "validation": 0.3, "test": 0.2}}
    docs = folder / "docs.jsonl.zst"
    harvest(source, splits, docs, folder / "docs.manifest.json")
    make_tokenizer(docs, {"kind": "bpe", "vocab_size": VOCABULARY}, folder / "tokenizer")
    encode_corpus(docs, folder / "tokenizer", {"T": T, "ngram": 12}, folder / "tokens")
    return str(folder / "tokens"), str(folder / "tokenizer")


def place(root, corpus=None, **changes):
    """Where a run of these tests lives: `root`/run and `root`/state."""
    from myopia.train.trainer import RunContext

    tokens, tokenizer = corpus or (None, None)
    return RunContext(
        folder=Path(root, "run"), state=Path(root, "state"), tokens=tokens, tokenizer=tokenizer, **changes
    )


@contextmanager
def open_run(spec, seed, where):
    """A `_Run` before its first step, for tests that look inside."""
    from myopia.train.batches import build_task
    from myopia.train.memory import lay_out
    from myopia.train.process_group import ProcessGroup
    from myopia.train.state import StateDirectory
    from myopia.train.trainer import _Run

    task, process_group = build_task(spec, where.tokens), ProcessGroup()
    with StateDirectory(where.state, "test", spec["name"]) as state:
        placement = lay_out(spec, task, process_group.size, process_group.device, where.sharding)
        run = _Run(spec, seed, where, task, state, process_group, placement)
        run.build()
        run.parallelize()
        yield run


def results(folder):
    """The bytes by which two runs are compared, by file name."""
    return {name: Path(folder, name).read_bytes() for name in ("model.safetensors", "metrics.json", "curve.csv")}
