"""What a scale costs, before anything runs: jobs, tokens, FLOPs, device-hours, memory, disk, downloads.

Formulas are in shapes.py; what they cannot know (an architecture, a size nobody has published) is said in `note`,
not guessed. Measuring (the toys train inside it), judging and drawing are left out: they are small beside training.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from myopia.config.corpora import from_hub, tokenizer_vocab
from myopia.config.experiment import Experiment, chosen
from myopia.config.placement import place
from myopia.config.shapes import GB, Shape, memory_sentence, shape_of

COLUMNS = (
    "experiment model parameters runs seeds jobs tokens flops device_hours kwh devices layout micro_batch memory_gb fits"
    " disk_gb download_gb note"
).split()
_BYTES_PER_TOKEN = 4.0  # of English text
_BYTES_PER_WEIGHT = 2.0  # on the hub: half precision
_COMPRESSED = 0.4  # share of its size that text has in docs.jsonl.zst


def plan(settings: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One row per experiment, network and corpus, one per corpus, and their total.

    `flops` include validation during training and a local arm's teacher; `device_hours` = flops / (tflops x mfu), but
    at least `min_step_ms` for each micro-batch: kernels of a small network are launched no faster; hours are those of
    all devices of a job together. `layout`, `micro_batch` and `memory_gb` are those of the row's run that needs most, per
    device. Runs of the target `tuned` have rows of their own and are not in the total: `all` does not run them. None
    stands where a number is not known.
    """
    rows, tuning = [], []
    for one in chosen(settings["experiments"]):
        specs = one.runs(settings)
        rows += experiment_rows(settings, one, specs, one.seeds(settings))
        names, seeds = one.grid(settings)
        rows += experiment_rows(settings, one, {n: specs[n] for n in names}, seeds, "choice of rates, ")
        tuning += experiment_rows(settings, one, one.tuning(settings), settings["tuning_seeds"], "tuning: ")
    rows += [_corpus(settings, name) for name in settings["corpora"]]
    total: dict[str, Any] = {"experiment": "total"}
    for key in ("runs", "jobs", "tokens", "flops", "device_hours", "kwh", "disk_gb", "download_gb"):
        total[key] = sum(row.get(key) or 0 for row in rows)
    total["memory_gb"] = max((row.get("memory_gb") or 0 for row in rows), default=0)
    return [{key: row.get(key) for key in COLUMNS} for row in [*rows, total, *tuning]]


def plan_by_experiment(settings: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One row per experiment that trains, and one for the text: figures, networks, runs, device-hours, memory, disk."""
    found = []
    for one in chosen(settings["experiments"]):
        specs = one.runs(settings)
        names, seeds = one.grid(settings)
        rows = experiment_rows(settings, one, specs, one.seeds(settings))
        rows += experiment_rows(settings, one, {name: specs[name] for name in names}, seeds, "choice of rates, ")
        if rows:
            found.append(
                {
                    "experiment": one.name,
                    "figures": [figure.name for figure in one.drawn],
                    "models": list(dict.fromkeys(row["model"] for row in rows)),
                    "runs": sum(row["runs"] * row["seeds"] for row in rows),
                    "memory_gb": max(row.get("memory_gb") or 0.0 for row in rows),
                    **{key: _sum(rows, key) for key in ("device_hours", "disk_gb", "download_gb")},
                }
            )
    texts = [_corpus(settings, name) for name in settings["corpora"]]
    text = {"experiment": "text corpora", "figures": [], "models": [], "runs": 0, "device_hours": 0.0, "memory_gb": 0.0}
    return [*found, text | {key: _sum(texts, key) for key in ("disk_gb", "download_gb")}]


def _sum(rows: Iterable[Mapping[str, Any]], key: str) -> float:
    return sum(row.get(key) or 0.0 for row in rows)


def experiment_rows(
    settings: Mapping[str, Any], one: Experiment, specs: Mapping[str, Mapping[str, Any]], seeds: list[int], prefix: str = ""
) -> list[dict[str, Any]]:  # fmt: skip
    """Rows of an experiment's runs, one for each network and corpus; without a prefix released weights count as a download,
    which choosing rates and tuning need not repeat."""
    if not seeds:
        return []
    groups: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for spec in specs.values():
        corpus = spec["data"].get("corpus")
        name = f"{one.name}: {corpus}" if corpus else one.name
        groups.setdefault((prefix + name, _model_name(spec["model"])), []).append(spec)
    rows = []
    for (name, model), group in groups.items():
        row = _experiment(settings, name, model, group, seeds)
        released = not prefix and any("network" in (spec["model"].get("pretrained") or {}) for spec in group)
        if released and row.get("parameters"):
            row["download_gb"] = _BYTES_PER_WEIGHT * row["parameters"] / GB
            row["disk_gb"] += row["download_gb"]
        rows.append(row)
    return rows


def _experiment(
    settings: Mapping[str, Any], name: str, model: str, group: list[Mapping[str, Any]], seeds: list[int]
) -> dict[str, Any]:
    row: dict[str, Any] = {"experiment": name, "model": model, "runs": len(group), "seeds": len(seeds)}
    row["jobs"] = len(group) * (1 if settings["share_process"] else len(seeds))  # short runs share one: fewer then
    row["tokens"] = sum(spec["steps"] * spec["batch_size"] * _T(settings, spec) for spec in group) * len(seeds)
    device, cuda, devices = settings["plan"], settings["device"] == "cuda", settings["devices"]
    largest = None
    flops, hours, memory, saved = 0.0, 0.0, 0.0, 0.0
    notes: list[str] = []
    shape, fits = None, True
    for spec in group:
        shape = run_shape(settings, spec)
        if shape is None:
            return row | {"note": "no formula for this network: parameters, FLOPs and memory are not known here"}
        T = _T(settings, spec)
        work = _flops(shape, spec, T)
        room = device["device_memory_gb"] * GB
        layout = place(spec, shape, T, devices, room, cuda, settings["sharding"])
        micro_batches = spec["steps"] * spec["batch_size"] // layout.micro_batch  # of all devices
        seconds = work / (device["device_tflops"] * 1e12 * device["mfu"])
        hours += max(seconds, micro_batches * device["min_step_ms"] / 1000) / 3600 * len(seeds)
        flops += work * len(seeds)
        assert layout.bytes is not None
        if layout.bytes > memory:
            memory, largest = layout.bytes, layout
        sentence = memory_sentence(shape, spec, T, room, cuda)
        if devices > 1:
            sentence = None if layout.fits else f"no layout on {devices} devices fits {room / GB:.1f} GB; raise devices"
        fits &= sentence is None
        if sentence and sentence not in notes:
            notes.append(sentence)
        # The trained model, its state's copy, snapshots.
        saved += 4.0 * shape.parameters * (2 + len(spec.get("snapshots", ()))) * len(seeds)
    assert shape is not None and largest is not None
    if devices > 1:
        notes.append(f"{largest.strategy}, micro-batches of {largest.micro_batch} on each of {devices} devices")
    return row | {
        "parameters": shape.parameters,
        "flops": flops,
        "device_hours": hours,
        "kwh": hours * device["device_watts"] / 1000,
        "devices": devices,
        "layout": largest.strategy,
        "micro_batch": largest.micro_batch,
        "memory_gb": memory / GB,
        "fits": int(fits),
        # A run at work keeps two states of weights and moments.
        "disk_gb": (saved + 24.0 * shape.parameters) / GB,
        "note": "; ".join(notes),
    }


def _T(settings: Mapping[str, Any], spec: Mapping[str, Any]) -> int:
    return spec["data"].get("T") or settings["context_length"]


def _flops(shape: Shape, spec: Mapping[str, Any], T: int) -> float:
    steps = spec["steps"]
    tokens = steps * spec["batch_size"] * T
    evaluations = steps // spec["eval"]["every"] + 1
    validation = evaluations * spec["eval"]["sequences"] * T
    teacher = tokens if spec["arm"]["kind"] == "local" else 0
    return shape.training_flops(tokens, T) + shape.forward_flops(validation + teacher, T)


def run_shape(settings: Mapping[str, Any], spec: Mapping[str, Any]) -> Shape | None:
    """The shape of a run's network, None if no formula covers it."""
    corpus = settings["corpora"].get(spec["data"].get("corpus"))
    return shape_of(spec["model"], tokenizer_vocab(corpus["tokenizer"]) if corpus else None)


def _model_name(model: Mapping[str, Any]) -> str:
    if model.get("pretrained"):
        return str(model["pretrained"]["id"])
    shape = shape_of(model, 0)
    if shape is None:
        return str(model.get("model_type", model["kind"]))
    return f"{shape.kind} {shape.layers} x {shape.width}"


def _corpus(settings: Mapping[str, Any], name: str) -> dict[str, Any]:
    corpus = settings["corpora"][name]
    trained = any(
        spec["data"].get("corpus") == name
        for one in chosen(settings["experiments"])
        for spec in one.runs(settings).values()
    )
    source, windows = corpus["source"], corpus["windows"]
    # Harvest or fetch, tokenizer, encode; a corpus that is only read has no tokenizer of its own.
    row: dict[str, Any] = {"experiment": f"data: {name}", "jobs": 3 if trained else 2}
    if source["kind"] != "hub":
        return row | {"note": "text of this machine: its size is known once it is harvested"}
    published = corpus.get("published")
    if published is None:
        return row | {"note": "download not known: describe it under 'published'"}
    parts = len(source.get("splits") or [None])
    limit = source.get("max_documents")
    wanted = published["documents"] if limit is None else parts * (limit + source.get("shuffle_buffer", 10_000))
    share = min(1.0, wanted / published["documents"])
    documents = share * published["documents"]
    text = share * published["text_gb"]
    if source.get("max_chars"):
        text = min(text, documents * source["max_chars"] / GB)
    per_document = 1 if windows["window"] == "first" else windows.get("max_windows_per_document")
    tokens = text * GB / _BYTES_PER_TOKEN
    if per_document is not None:
        tokens = min(tokens, documents * per_document * settings["context_length"])
    wide = 2 if (tokenizer_vocab(corpus["tokenizer"]) or 0) <= 1 << 16 else 4
    note = [f"about {documents:.3g} documents, {text:.3g} GB of text; sizes as published"]
    if from_hub(corpus["tokenizer"]) and trained:
        note.append(f"tokenizer {corpus['tokenizer']['path_or_id']}")
    return row | {
        # Text twice (as it came, and as a corpus), tokens twice (all, and those kept).
        "disk_gb": 2 * _COMPRESSED * text + 2 * wide * tokens / GB,
        "download_gb": share * published["download_gb"],
        "note": "; ".join(note),
    }


def render(rows: list[dict[str, Any]], settings: Mapping[str, Any]) -> str:
    """The plan for a person: aligned columns, notes below, assumptions last."""
    shown = ["experiment", "model", "parameters", "jobs", "tokens", "flops", "device_hours", "memory_gb", "disk_gb",
             "download_gb"]  # fmt: skip
    table = [shown] + [[_cell(row[key]) for key in shown] for row in rows]
    widths = [max(len(line[k]) for line in table) for k in range(len(shown))]
    lines = [
        "  ".join(
            cell.ljust(width) if k < 2 else cell.rjust(width)
            for k, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in table
    ]
    notes = [f"  {row['experiment']}: {row['note']}" for row in rows if row["note"]]
    device = settings["plan"]
    energy = next(row["kwh"] for row in rows if row["experiment"] == "total")
    lines += ["", *notes, ""] if notes else [""]
    lines.append(
        f"device: {settings['devices']} x {settings['device']}, {device['device_memory_gb']:g} GB, {device['device_tflops']:g} TFLOP/s at "
        f"{device['mfu']:.0%} utilisation, {device['min_step_ms']:g} ms a micro-batch at least, "
        f"{device['device_watts']:g} W: {energy:.3g} kWh in all (config key plan); memory: one training step."
    )
    return "\n".join(lines) + "\n"


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.3g}" if isinstance(value, float) else str(value)
