"""Encoding a corpus against the bare `tokenizers` library on the same text, and memory against corpus size.

    python benchmarks/bench_tokenize.py --out results/bench/tokenize.csv [--megabytes 20 80] [--tokenizer DIR]

The text is the documentation of installed packages, cut into passages as short as MS MARCO's (window "first") or books
(window "chunks") and repeated, numbered, to the size asked for. The bare side holds it in memory and calls
`encode_batch_fast` in batches as large as ours; our side is `encode_corpus`, from `docs.jsonl.zst` to token files with
overlap removed and checksums. Both are processes of their own and take turns.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from itertools import cycle, islice
from pathlib import Path

import pandas as pd
import tokenizers

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scripts"))

from myopia.common.files import write_csv, write_json
from myopia.data.documents import Document, manifest_path, open_writer, read_documents, read_manifest
from myopia.data.encode import encode_corpus
from myopia.data.harvest import harvest
from myopia.data.tokenizer import load_tokenizer, make_tokenizer

T = 64
BATCH_CHARACTERS = 1_000_000
KINDS = {"passages": (350, {"T": T, "window": "first"}), "books": (50_000, {"T": T, "window": "chunks"})}
"""Name -> (characters in a document, how it is cut into windows)."""
PAPER_WINDOWS = 10_000_000


def main() -> None:
    """Make the text, let both sides take turns, write one row per window kind and size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", required=True, metavar="FILE", help="csv")
    parser.add_argument("--megabytes", nargs="+", type=int, default=[20, 80], help="sizes of the corpus")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--tokenizer", metavar="DIR", help="a tokenizer folder; default: a BPE of 4,096 tokens")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        child(*args.child)
        return
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        text, tokenizer = make_text(folder, args.tokenizer)
        for kind in args.kinds:
            for megabytes in args.megabytes:
                docs = make_corpus(folder, text, kind, megabytes)
                rows.append(compare(docs, tokenizer, kind, args.turns))
                docs.unlink()
                save(rows, args.out)  # after every row: a benchmark that is stopped keeps what it measured


def make_text(folder: Path, tokenizer: str | None) -> tuple[str, Path]:
    """All documentation as one text, and a tokenizer's folder."""
    source = folder / "source.jsonl.zst"
    splits = {"fractions": {"train": 0.9, "validation": 0.05, "test": 0.05}, "seed": 0}
    harvest({"kind": "docstrings"}, splits, source, folder / "source.manifest.json")
    text = "\n\n".join(document.text for document in read_documents(source))
    if tokenizer is not None:
        return text, Path(tokenizer)
    make_tokenizer(source, {"kind": "bpe", "vocab_size": 4096}, folder / "tokenizer")
    return text, folder / "tokenizer"


def make_corpus(folder: Path, text: str, kind: str, megabytes: int) -> Path:
    """`docs.jsonl.zst` of one kind and size; nine tenths train."""
    length = KINDS[kind][0]
    docs = folder / f"{kind}{megabytes}.jsonl.zst"
    starts = cycle(range(0, len(text) - length, length))
    with open_writer(docs, 1) as writer:
        for number, start in enumerate(islice(starts, 1_000_000 * megabytes // length)):
            split = ("validation", "test")[number % 2] if number % 20 < 2 else "train"
            piece = text[start : start + length]
            if split != "train":
                # Held-out text with words of its own every few tokens: or it would all be dropped as overlap.
                piece = f" {number:x} ".join(piece[k : k + 30] for k in range(0, length, 30))
            writer.write(Document(f"{number}", f"{number}", piece, split))
    write_json(manifest_path(docs), {"counts": writer.counts, "text_sha256": writer.text_sha256})
    return docs


def compare(docs: Path, tokenizer: Path, kind: str, turns: int) -> dict[str, object]:
    """Both sides in turn; medians."""
    documents = sum(count["documents"] for count in read_manifest(docs)["counts"].values())
    sides: dict[str, list[dict[str, float]]] = {"bare": [], "ours": []}
    for _ in range(turns):
        for side, results in sides.items():
            results.append(run_child(side if side == "bare" else kind, docs, tokenizer))
    seconds = {side: statistics.median(result["seconds"] for result in results) for side, results in sides.items()}
    ratios = [b["seconds"] / o["seconds"] for b, o in zip(sides["bare"], sides["ours"], strict=True)]
    megabytes = sides["bare"][0]["megabytes"]
    row: dict[str, object] = {
        "kind": kind,
        "documents": documents,
        "megabytes": megabytes,
        **{f"{side}_docs_per_s": documents / seconds[side] for side in sides},
        **{f"{side}_mb_per_s": megabytes / seconds[side] for side in sides},
        "ratio": statistics.median(ratios),
        "ratio_low": min(ratios),
        "ratio_high": max(ratios),
        # On a machine that others use too, time on the clock says less than the work done.
        "cpu_ratio": statistics.median(
            b["cpu_s"] / o["cpu_s"] for b, o in zip(sides["bare"], sides["ours"], strict=True)
        ),
        "bare_cpu_s": statistics.median(result["cpu_s"] for result in sides["bare"]),
        "ours_cpu_s": statistics.median(result["cpu_s"] for result in sides["ours"]),
        "windows": sides["ours"][0]["windows"],
        "ours_peak_mb": max(result["peak_mb"] for result in sides["ours"]),
    }
    sys.stderr.write(" ".join(f"{k}={v:.4g}" if isinstance(v, float) else f"{k}={v}" for k, v in row.items()) + "\n")
    return row


def run_child(side: str, docs: Path, tokenizer: Path) -> dict[str, float]:
    """One turn in a process of its own: what it measured, with its peak resident memory in MB."""
    command = [sys.executable, __file__, "--out", "-", "--child", side, str(docs), str(tokenizer)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    output = process.stdout.read() if process.stdout else ""
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"the {side} side failed")
    return {**json.loads(output), "peak_mb": usage.ru_maxrss / 1000}


def child(side: str, docs: str, tokenizer: str) -> None:
    """Time one side and print it as JSON; reading the bare side's text into memory is not timed."""
    windows = 0
    if side == "bare":
        coder = load_tokenizer(tokenizer)
        batches, batch, characters, n_bytes = [], [], 0, 0
        for document in read_documents(docs):
            batch.append(document.text)
            characters += len(document.text)
            n_bytes += len(document.text.encode())
            if characters >= BATCH_CHARACTERS:
                batches.append(batch)
                batch, characters = [], 0
        batches.append(batch)
        start, cpu = time.perf_counter(), time.process_time()
        for batch in batches:
            coder.encode_batch_fast(batch, add_special_tokens=False)
    else:
        n_bytes = 0
        with tempfile.TemporaryDirectory(dir=Path(docs).parent) as out:
            start, cpu = time.perf_counter(), time.process_time()
            manifest = encode_corpus(docs, tokenizer, KINDS[side][1], out)
            windows = sum(entry["n_windows"] for entry in manifest["splits"].values())
    result = {
        "seconds": time.perf_counter() - start,
        "cpu_s": time.process_time() - cpu,
        "megabytes": n_bytes / 1e6,
        "windows": windows,
    }
    sys.stdout.write(json.dumps(result))


def save(rows: list[dict[str, object]], out: str) -> None:
    """Write the rows measured so far, and what memory they foretell for the paper's 10 million windows."""
    frame = pd.DataFrame(rows)
    for kind, part in frame.groupby("kind"):
        if len(part) > 1:
            small, large = part.iloc[0], part.iloc[-1]
            slope = (large["ours_peak_mb"] - small["ours_peak_mb"]) / (large["windows"] - small["windows"])
            frame.loc[frame["kind"] == kind, "bytes_per_window"] = 1e6 * slope
            more = PAPER_WINDOWS - large["windows"]
            frame.loc[frame["kind"] == kind, "gb_at_10m_windows"] = (large["ours_peak_mb"] + slope * more) / 1000
    frame["cores"] = os.cpu_count()
    frame["machine"], frame["tokenizers"] = platform.machine(), tokenizers.__version__
    write_csv(out, frame)


if __name__ == "__main__":
    main()
