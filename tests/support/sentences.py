"""A small encoded corpus of sentences with full stops, from which a cloze can be made."""

import json
import random
from pathlib import Path

from myopia.data.encode import encode_corpus
from myopia.data.harvest import harvest
from myopia.data.tokenizer import make_tokenizer

WORDS = (
    "apple river stone window garden yellow paper train silver cloud letter music harbour candle forest bridge".split()
)
LAST = "table chair basket lantern feather mirror bottle hammer ribbon kettle blanket saddle".split()
RARE = "quixotically zephyrlike jackdawish vexillology".split()  # many tokens each
T = 32


def sentence(draw: random.Random) -> str:
    """Six to nine words and a full stop."""
    last = draw.choice(RARE if draw.random() < 0.02 else LAST)
    return " ".join(["The", *draw.choices(WORDS, k=draw.randint(5, 8)), last]) + "."


def make_corpus(folder: Path, documents: int = 120, sentences: int = 9) -> Path:
    """`docs.jsonl.zst`, `tokenizer/` and `tokens/` in `folder`; a sixth of the documents is test."""
    draw = random.Random(0)
    rows = [
        {"id": f"{n:03d}", "dir": f"group{n % 30:02d}", "text": "\n".join(sentence(draw) for _ in range(sentences))}
        for n in range(documents)
    ]
    folder.mkdir(parents=True, exist_ok=True)
    lines = folder / "all.jsonl"
    lines.write_text("".join(json.dumps(row) + "\n" for row in rows))
    source = {"kind": "files", "path": str(lines), "id_column": "id", "group_column": "dir"}
    splits = {"fractions": {"train": 0.6, "validation": 0.2, "test": 0.2}}
    docs = folder / "docs.jsonl.zst"
    harvest(source, splits, docs, folder / "docs.manifest.json")
    make_tokenizer(docs, {"kind": "bpe", "vocab_size": 400}, folder / "tokenizer")
    encode_corpus(docs, folder / "tokenizer", {"T": T}, folder / "tokens")
    return folder


def cloze_source(**changes) -> dict:
    """The source of `zero_shot.tasks.cloze-<corpus>` after `load_config`."""
    return {
        "kind": "cloze",
        "corpus": "tiny",
        "split": "test",
        "items": 40,
        "min_tokens": 13,
        "max_tokens": T,
        **changes,
    }
