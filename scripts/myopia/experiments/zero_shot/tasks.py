"""Zero-shot tasks put on disk (see task_folder.py): a cloze from a corpus, a local file, a dataset on the hub."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from myopia.common.errors import MyopiaError
from myopia.common.files import atomic_path, sha256_file, write_json
from myopia.data.documents import manifest_path, zstd_lines
from myopia.data.hub_client import resolve
from myopia.experiments.zero_shot.cloze import build_cloze
from myopia.experiments.zero_shot.task_folder import DEFINITION, ITEMS, MANIFEST

LOG = logging.getLogger(__name__)

CLUSTER = "doc"
"""Column of the cloze whose equal values are one cluster: passages of a document are not independent."""

_CLOZE = """\
output_type: multiple_choice
doc_to_text: context
doc_to_choice: choices
doc_to_target: answer
metric_list:
  - metric: acc
    aggregation: mean
    higher_is_better: true
metadata:
  version: 1.0
"""


def make_task(name: str, spec: Mapping[str, Any], out: str | Path, corpus: str | Path | None = None) -> dict[str, Any]:
    """Write the task folder `out` and return its manifest.

    `spec`: `definition` (a file inside lm-eval's `tasks` folder; null for the cloze), `columns` each item must have,
    and `source`: `{"kind": "cloze", ...}` (see cloze.py; `corpus` is the corpus's folder), `{"kind": "files",
    "path", "split", "items"}` or `{"kind": "hub", "dataset", "name", "revision", "split", "items"}`. `items`: most
    items kept, spread evenly; null keeps all.
    Raises MyopiaError when the items cannot be had or lack a column.
    """
    out, source = Path(out), spec["source"]
    if source["kind"] == "cloze":
        if corpus is None:
            raise MyopiaError(f"zero_shot task '{name}': the cloze is made from a corpus; give --corpus FOLDER.")
        rows, report = build_cloze(corpus, source)
        docs = manifest_path(Path(corpus) / "docs.jsonl.zst")
        provenance = {**source, **report, "docs_manifest_sha256": sha256_file(docs)}
    elif source["kind"] == "files":
        rows, provenance = _local(name, source)
    else:
        rows, provenance = _hub(name, source)
    _check_columns(name, rows, spec["columns"])
    if source["kind"] != "cloze" and source["items"] is not None and source["items"] < len(rows):
        provenance["of"] = len(rows)
        rows = [rows[k * len(rows) // source["items"]] for k in range(source["items"])]
    out.mkdir(parents=True, exist_ok=True)
    (out / MANIFEST).unlink(missing_ok=True)
    with atomic_path(out / ITEMS) as temporary:
        temporary.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    with atomic_path(out / DEFINITION) as temporary:
        text = definition(name, source["split"], out / ITEMS, whole=source["kind"] == "cloze")
        temporary.write_text(text, encoding="utf-8")
    manifest = {
        "format": 1,
        "task": name,
        "definition": spec["definition"],
        "split": source["split"],
        "cluster": CLUSTER if source["kind"] == "cloze" else None,
        "source": provenance,
        "items": len(rows),
        "sha256": sha256_file(out / ITEMS),
    }
    write_json(out / MANIFEST, manifest)
    LOG.info("%s: %d items of the %s split", name, len(rows), source["split"])
    return manifest


def definition(name: str, split: str, items: Path, *, whole: bool) -> str:
    """`task.yaml`: the items' place (as given, relative to where lm-eval is started), and the cloze's own rules."""
    names = {key: "null" for key in ("training_split", "validation_split", "test_split")}
    names[f"{split}_split"] = split
    place = "".join(f"{key}: {value}\n" for key, value in names.items())
    return (
        f"task: {name}\ndataset_path: json\ndataset_name: null\n"
        f"dataset_kwargs:\n  data_files:\n    {split}: {json.dumps(str(items))}\n{place}{_CLOZE if whole else ''}"
    )


def _check_columns(name: str, rows: list[dict[str, Any]], columns: list[str]) -> None:
    if not rows:
        raise MyopiaError(f"zero_shot task '{name}': there is not one item; check its source.")
    for number, row in enumerate(rows):
        missing = [column for column in columns if row.get(column) is None]
        if missing:
            raise MyopiaError(
                f"zero_shot task '{name}': item {number} lacks the column(s) {', '.join(missing)}; it has "
                f"{', '.join(sorted(row))}. lm-eval's {name} cannot be scored on these items."
            )


def _local(name: str, source: Mapping[str, Any]) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    path = Path(source["path"])
    if not path.is_file():
        raise MyopiaError(
            f"config key zero_shot.tasks.{name}.local.path: there is no file {path}; correct data_root, or remove "
            "'local' so that the task is fetched from the hub."
        )
    try:
        rows = list(_rows(path))
    except MyopiaError:
        raise
    except Exception as error:  # pyarrow and json have no common class
        raise MyopiaError(
            f"{path}: not readable as items ({str(error).splitlines()[0]}); fetch the file again."
        ) from None
    return rows, {"kind": "files", "file": path.name, "bytes": path.stat().st_size, "sha256": sha256_file(path)}


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    if path.suffix == ".parquet":
        import pyarrow.parquet

        yield from pyarrow.parquet.read_table(path).to_pylist()
    elif path.name.endswith((".jsonl", ".jsonl.zst")):
        lines = zstd_lines(path) if path.suffix == ".zst" else path.read_bytes().splitlines()
        for line in lines:
            row = json.loads(line)
            if not isinstance(row, dict):
                raise ValueError("a line is no JSON object")
            yield row
    else:
        raise MyopiaError(f"{path}: unknown format; give a .parquet, .jsonl or .jsonl.zst file.")


def _hub(name: str, source: Mapping[str, Any]) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    spec = {key: source[key] for key in ("dataset", "name", "revision", "split")}
    offline = [key for key in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE") if os.environ.get(key, "0") not in ("0", "")]
    try:
        if offline:
            raise MyopiaError(f"{offline[0]} is set")
        commit = resolve("dataset", spec["dataset"], spec["revision"], "source")
    except MyopiaError as error:
        raise MyopiaError(
            f"zero_shot task '{name}' needs the dataset '{spec['dataset']}' from the network: "
            f"{str(error).removeprefix('source: ').rstrip('.')}. Remove it from zero_shot.run, or give it a 'local' path."
        ) from None
    import datasets

    try:
        rows = datasets.load_dataset(spec["dataset"], spec["name"], split=spec["split"], revision=commit)
    except Exception as error:  # the client's errors have no common class
        raise MyopiaError(
            f"zero_shot task '{name}': the dataset '{spec['dataset']}' at {commit[:12]} cannot be read "
            f"({type(error).__name__}: {(str(error).splitlines() or [''])[0]})."
        ) from error
    return rows.to_list(), {"kind": "hub", **spec, "commit": commit}
