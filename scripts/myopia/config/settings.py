"""The core's settings: what every experiment shares. Experiments describe their own sections in their packages."""

from __future__ import annotations

from typing import Annotated, Literal

from annotated_types import Gt, Len, Lt
from pydantic import Strict, StringConstraints

from myopia.config.schema import (
    Count,
    Distinct,
    Flag,
    Natural,
    NotNegative,
    Positive,
    Section,
    Seeds,
    Share,
    Split,
    Text,
    key,
)

CorpusName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9-]+$", strict=True)]
BySplit = dict[Literal["train", "validation", "test", "held_out"], Text | list[Text]]


class Plan(Section):
    """What the target `plan` reckons with."""

    device_memory_gb: Positive = key("Memory of one device.", 8, unit="GB")
    device_tflops: Positive = key(
        "Its peak arithmetic at the scale's precision (a CPU: of one core).", 0.2, unit="TFLOP/s"
    )
    mfu: Annotated[Share, Gt(0)] = key("Share of the peak that training reaches.", 0.35)
    min_step_ms: NotNegative = key("Least time of a micro-batch, however small the network.", 4, unit="ms")
    device_watts: Positive = key("Power of one device at work (a CPU: of one core).", 10, unit="W")


class Source(Section):
    """Where a corpus's text comes from; which keys belong to which kind, and their defaults: docs/data.md."""

    kind: Literal["docstrings", "files", "hub"] = key(
        "Documentation of installed packages, local files, or a Hugging Face dataset."
    )
    packages: Annotated[list[Text], Len(1), Distinct] | None = key(
        "docstrings: import names of the packages read.", None
    )
    path: Text | None = key("files: a file, folder or glob; {data_root} stands for data_root.", None)
    split_files: BySplit | None = key("files: file names or globs of each split inside path.", None)
    dataset: Text | None = key("hub: dataset id.", None)
    name: Text | None = key("hub: configuration of the dataset.", None)
    revision: Text | None = key("hub: branch, tag or commit; the commit read is recorded.", None)
    split: Text | None = key("hub: the one split read, divided here.", None)
    splits: BySplit | None = key("hub: the dataset's split for each of ours.", None)
    shuffle_buffer: Natural | None = key(
        "hub: documents in the seeded shuffle buffer; 0 keeps the order of the files.", None, unit="documents"
    )
    seed: Natural | None = key("hub: seed of the shuffle buffer.", None)
    expected_rows: dict[str, Annotated[int, Strict()]] | None = key(
        "hub: rows each split must have, where they are known before the first fetch.", None
    )
    text_column: Text | None = key("files, hub: column of the text; dots reach into nested columns.", None)
    group_column: Text | None = key("files, hub: column whose equal values stay in one split.", None)
    component_column: Text | None = key(
        "files, hub: column that names the part of a mixture a document comes from; losses are then also tabulated by it.",
        None,
    )
    component_required: Flag | None = key("files, hub: whether a text without the component column is an error.", None)
    id_column: Text | None = key("files, hub: column that names a document.", None)
    min_chars: Count | None = key("Shorter documents are left out.", None, unit="characters")
    max_chars: Count | None = key("files, hub: text of a document beyond this is cut off.", None, unit="characters")
    max_documents: Count | None = key("files, hub: most documents of each split.", None)


class Published(Section):
    """What the publisher states of a dataset, for the target `plan` alone."""

    documents: Count = key("Documents of all splits.")
    text_gb: Positive = key("Size of the text.", unit="GB")
    download_gb: Positive = key("Size of the files.", unit="GB")


class Tokenizer(Section):
    """One tokenizer per corpus."""

    kind: Literal["bpe", "pretrained"] = key("Byte-level BPE trained on the train split, or a fixed tokenizer.")
    vocab_size: Annotated[int, Strict(), Gt(256)] | None = key("bpe: size of the vocabulary.", None, unit="tokens")
    max_chars: Count | None = key("bpe: most text it is trained on.", None, unit="characters")
    seed: Natural | None = key("bpe: which text is taken when there is more.", None)
    path_or_id: Text | None = key("pretrained: a folder or a hub id.", None)
    revision: Text | None = key("pretrained: branch, tag or commit on the hub.", None)


class Windows(Section):
    """How documents are cut into windows of context_length tokens."""

    window: Literal["chunks", "first"] | None = key(
        "Every non-overlapping window of a document, or its first context_length tokens.", None
    )
    max_tokens: dict[Split, Count] | None = key("Most tokens of a split.", None, unit="tokens")
    max_windows_per_document: Count | None = key(
        "chunks: most windows of one document, in a row.", None, unit="windows"
    )
    seed: Natural | None = key("Which documents and windows are taken when there are more.", None)
    ngram: Count | None = key(
        "A held-out window that shares this many tokens in a row with training text is dropped.", None, unit="tokens"
    )


class Splits(Section):
    """How a source that does not come split is divided."""

    fractions: dict[Split, Annotated[float, Strict(), Gt(0), Lt(1)]] | None = key(
        "Shares of characters; they add up to 1.", None
    )
    seed: Natural | None = key("Seed of the split.", None)
    by: Literal["group", "document"] | None = key("What is never torn apart.", None)


class Corpus(Section):
    """A text corpus."""

    source: Source = key("Where the text comes from.")
    published: Published | None = key("hub: what the publisher states of the dataset, for the target `plan`.", None)
    tokenizer: Tokenizer = key("One tokenizer per corpus.")
    windows: Windows = key("How documents are cut into windows.")
    splits: Splits = key("How a source that does not come split is divided.")


class Repeat(Section):
    """How the target `repeat` asks whether other seeds would give the same verdicts."""

    seeds: Count = key("Seeds of a draw: as many as the scale judges from.")
    draws: Count = key("Draws.")


class Core(Section):
    """Settings that every experiment shares."""

    seeds: Seeds = key("Training seeds; the unit of replication. Arms share them.", [0, 1, 2])
    tuning_seeds: Seeds = key("Seeds learning rates are chosen on; never judged.", [100, 101, 102])
    context_length: Annotated[int, Strict(), Gt(1)] = key(
        "Tokens in a window of text, for every corpus and every network that reads one.", 64, unit="tokens"
    )
    share_process: Flag = key(
        "Train all seeds of a run, and measure all runs of an experiment, in one process: starting torch costs more than "
        "a small run's minute. Otherwise each run and seed is a job of its own.",
        True,
    )
    device: Literal["cpu", "cuda"] = key("Where runs train and are measured.", "cpu")
    devices: Count = key(
        "Processes that train one run together, each on a GPU (device: cuda) or a core (cpu) of its own; it must divide "
        "every batch_size. Results do not depend on it, but for rounding.",
        1,
        unit="processes",
    )
    sharding: Literal["auto", "replicate", "shard", "shard-recompute"] = key(
        "How several devices hold a network: each all of it (DDP), sharded (FSDP2), or sharded with activations "
        "recomputed; auto: the first of these that fits.",
        "auto",
    )
    precision: Literal["fp32", "bf16"] = key("bf16 means bf16 autocast over fp32 weights.", "fp32")
    compile: Flag = key("Compile the network with torch.compile.", False)
    repeat: Repeat = key(
        "The target `repeat`, on a scale run with many seeds: verdicts from few of them, drawn again and again.",
        {"seeds": 3, "draws": 400},
    )
    judged: Flag = key("Whether this scale's runs are meant to be judged.", True)
    plan: Plan = key(
        "What the target `plan` reckons with.",
        {"device_memory_gb": 8, "device_tflops": 0.2, "mfu": 0.35, "min_step_ms": 4, "device_watts": 10},
    )
    corpora: dict[CorpusName, Corpus] = key(
        "Text corpora by name (lower-case letters, digits, hyphens); those of workflow/corpora.yaml are known.", {}
    )


class User(Section):
    """What stands in config.yaml beside changes to the settings of the scale."""

    scale: Text = key("Which file of workflow/scales runs: smoke, laptop, cpu, gpu or paper.")
    experiments: Annotated[list[Text], Len(1), Distinct] | None = key(
        "Which experiments run; null means all that the scale names.", None
    )
    data_root: Text | None = key(
        "Folder with local real text; it replaces {data_root} in paths; the corpora whose folders it holds join the "
        "laptop and cpu scales, and the zero-shot tasks that have `local` join every scale but smoke.",
        None,
    )
    results: Text | None = key("Folder for all results; null means results/<scale>.", None)
