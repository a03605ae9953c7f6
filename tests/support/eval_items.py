"""Simulated items of every task in the columns lm-eval reads, and a tiny model that can be scored on them."""

import json
import random
import shutil
from pathlib import Path

from myopia.experiments.zero_shot.tasks import make_task
from sentences import LAST, WORDS, T, cloze_source, make_corpus

DEFINITIONS = {
    "lambada_openai": ("lambada/lambada_openai.yaml", "test"),
    "piqa": ("piqa/piqa.yaml", "validation"),
    "sciq": ("sciq/sciq.yaml", "validation"),
    "arc_easy": ("arc/arc_easy.yaml", "test"),
    "winogrande": ("winogrande/default.yaml", "validation"),
    "wsc": ("super_glue/wsc/default.yaml", "validation"),
    "arc_challenge": ("arc/arc_challenge.yaml", "test"),
    "logiqa": ("logiqa/logiqa.yaml", "test"),
}


def rows(task: str, count: int = 12) -> list[dict]:
    """`count` items with two to five different choices; the right one stands in every place."""
    draw = random.Random(task)

    def words(n):
        return " ".join(draw.choices(WORDS, k=n))

    def one(n):
        if task == "lambada_openai":
            return {"text": f"{words(8)} {draw.choice(LAST[:3])}"}
        if task == "piqa":
            return {"goal": words(4), "sol1": words(3), "sol2": words(2), "label": n % 2}
        if task == "sciq":
            wrong = dict(zip(("distractor1", "distractor2", "distractor3"), draw.sample(WORDS, k=3), strict=True))
            return {"support": words(9), "question": words(4), "correct_answer": LAST[n % 9], **wrong}
        if task in ("arc_easy", "arc_challenge"):
            labels = list("ABCDE")[: 3 + n % 3]
            choices = {"text": draw.sample(WORDS, k=len(labels)), "label": labels}
            return {"question": words(5), "choices": choices, "answerKey": labels[n % len(labels)]}
        if task == "winogrande":
            text = f"{words(3)} _ {words(2)}"
            return {"sentence": text, "option1": WORDS[n % 9], "option2": LAST[n % 9], "answer": str(1 + n % 2)}
        if task == "wsc":
            span = {"span1_text": WORDS[0], "span2_index": 3, "span2_text": "it"}
            return {"text": f"{words(3)} it {words(2)}", **span, "label": n % 2}
        options = [words(1 + k) for k in range(4)]
        return {"context": words(6), "question": words(3), "options": options, "label": "abcd"[n % 4]}

    return [one(n) for n in range(count)]


def local_task(folder: Path, task: str, items: list[dict] | None = None) -> Path:
    """The task folder of simulated (or given) items, through `make_task`."""
    items = rows(task) if items is None else items
    path = folder / f"{task}.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in items))
    definition, split = DEFINITIONS[task]
    source = {"kind": "files", "path": str(path), "split": split, "items": None}
    make_task(task, {"definition": definition, "columns": list(items[0]), "source": source}, folder / task)
    return folder / task


def cloze_task(folder: Path) -> tuple[Path, Path]:
    """(task folder, tokenizer folder) of a small corpus's cloze."""
    corpus = make_corpus(folder / "corpus")
    spec = {"definition": None, "columns": ["context", "choices", "answer"], "source": cloze_source(items=48)}
    make_task("cloze-tiny", spec, folder / "cloze-tiny", corpus)
    return folder / "cloze-tiny", corpus / "tokenizer"


def tiny_model(folder: Path, tokenizer: Path, seed: int, positions: int = T) -> Path:
    """A run folder: an untrained GPT-2 shape whose next-token preferences are strong enough to differ by item."""
    from myopia.model.build import build_language_model

    config = {"n_layer": 1, "n_embd": 16, "n_head": 2, "n_positions": positions, "initializer_range": 0.4}
    model = build_language_model({"model_type": "gpt2", "config": config}, seed, 400)
    model.save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copyfile(tokenizer / name, folder / name)
    return folder
