"""Commands of the data rules: harvest, fetch, tokenize, encode, lock."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from myopia.cli.start import Settings, open_dag, start

Corpus = Annotated[str, typer.Argument(help="name of a corpus")]
Docs = Annotated[Path, typer.Option(help="docs.jsonl.zst")]
Out = Annotated[Path, typer.Option()]
Lock = Annotated[Path | None, typer.Option(help="hub.lock.json: what earlier fetches got")]
Attempts = Annotated[int | None, typer.Option(help="in a row without progress; default: the library's")]
Wait = Annotated[float | None, typer.Option(help="seconds before the second attempt")]


def _corpus(settings: Path, name: str) -> dict:
    corpora = open_dag(settings).settings["corpora"]
    if name not in corpora:
        raise typer.BadParameter(f"{name} is not a corpus of {settings}: it has {', '.join(corpora)}")
    return corpora[name]


def _retries(attempts: int | None, wait: float | None) -> dict[str, float]:
    from myopia.data.hub_client import ATTEMPTS, WAIT_S

    return {"attempts": attempts or ATTEMPTS, "wait_s": WAIT_S if wait is None else wait}


def harvest_text(corpus: Corpus, settings: Settings, out: Out, manifest: Out) -> None:
    """Collect a corpus from installed packages or local files, and divide it."""
    start()
    from myopia.data.harvest import harvest

    spec = _corpus(settings, corpus)
    harvest(spec["source"], spec["splits"], str(out), str(manifest))


def fetch_text(
    corpus: Corpus,
    settings: Settings,
    state: Annotated[Path, typer.Option(help="where a download that is killed goes on")],
    out: Out,
    manifest: Out,
    lock: Lock = None,
    attempts: Attempts = None,
    wait: Wait = None,
    chunk_documents: Annotated[int | None, typer.Option(help="documents in a piece of state")] = None,
) -> None:
    """Download a corpus from the hub, and divide it."""
    start(network=True)
    from myopia.data.fetch import CHUNK_DOCUMENTS, fetch_corpus

    spec = _corpus(settings, corpus)
    fetch_corpus(
        spec["source"], spec["splits"], str(out), str(manifest), state=str(state), lock=lock and str(lock),
        **_retries(attempts, wait), chunk_documents=chunk_documents or CHUNK_DOCUMENTS,
    )  # fmt: skip


def fetch_tokenizer(
    corpus: Corpus, settings: Settings, out: Out, lock: Lock = None, attempts: Attempts = None, wait: Wait = None
) -> None:
    """Download a corpus's tokenizer from the hub."""
    start(network=True)
    from myopia.data import hub_tokenizer

    spec = _corpus(settings, corpus)["tokenizer"]
    hub_tokenizer.fetch_tokenizer(spec, str(out), lock=lock and str(lock), **_retries(attempts, wait))


def train_tokenizer(corpus: Corpus, settings: Settings, docs: Docs, out: Out) -> None:
    """Train a corpus's byte-level BPE tokenizer, or copy the fixed one it names."""
    start()
    from myopia.data.tokenizer import make_tokenizer

    make_tokenizer(str(docs), _corpus(settings, corpus)["tokenizer"], str(out))


def encode(
    corpus: Corpus,
    settings: Settings,
    docs: Docs,
    tokenizer: Annotated[Path, typer.Option(help="folder of the tokenizer")],
    out: Out,
) -> None:
    """Cut a corpus into windows of tokens, held-out windows that share text with training left out."""
    start()
    from myopia.data.encode import encode_corpus

    dag = open_dag(settings)
    windows = _corpus(settings, corpus)["windows"]
    encode_corpus(str(docs), str(tokenizer), {**windows, "T": dag.settings["context_length"]}, str(out))


def fetch_revision(
    repo: Annotated[str, typer.Option(help="model repository on the hub")],
    revision: Annotated[str, typer.Option(help="branch, tag or commit, such as step256")],
    state: Annotated[Path, typer.Option(help="where a download that is killed goes on")],
    out: Out,
    lock: Lock = None,
) -> None:
    """Download one revision of a model, weights checked by their sha256."""
    start(network=True)
    from myopia.data import revisions

    revisions.fetch_revision(repo, revision, str(state), str(out), lock and str(lock))


def lock_hub(
    lock: Annotated[Path, typer.Option(help="hub.lock.json")],
    texts: Annotated[list[Path], typer.Option(help="docs.manifest.json files")] = [],  # noqa: B006
    tokenizers: Annotated[list[Path], typer.Option(help="tokenizer.manifest.json files")] = [],  # noqa: B006
    checkpoints: Annotated[list[Path], typer.Option(help="revision.json files")] = [],  # noqa: B006
) -> None:
    """Add what was fetched to the lock: commits, counts, sha256; an entry that contradicts it is an error."""
    import json
    import logging

    start()
    from myopia.common.files import write_json
    from myopia.data.lock import locked_with, read_lock

    before = read_lock(str(lock))
    found = [[json.loads(path.read_text()) for path in paths] for paths in (texts, tokenizers, checkpoints)]
    after = locked_with(before, *found)
    if after != before:
        write_json(lock, after)
    logging.info("%s: %d datasets, %d models", lock, len(after["datasets"]), len(after["models"]))


def add_to(app: typer.Typer) -> None:
    """Register these commands."""
    for command in (
        harvest_text, fetch_text, fetch_tokenizer, train_tokenizer, encode, fetch_revision, lock_hub,
    ):  # fmt: skip
        app.command(rich_help_panel="What the workflow's rules call: data")(command)
