"""What is measured: the small networks, the language runs that are followed, public revisions, and the theory's toys."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from myopia.config.runs import Spec

if TYPE_CHECKING:
    from myopia.config.dag import Dag


def units(dag: Dag) -> dict[str, list[Spec]]:
    """What can be measured alone: the small networks; each followed run and seed; the public revisions; the toys.

    `what` says how an entry is measured: `spectrum` (forward bias), `gradients` (a series of checkpoints) or `toys`.
    """
    section = dag.settings["gradients"]
    found = {"bias": [_small(dag, run, seed) for run in dag.of("gradients") for seed in dag.seeds(run)]}
    for run in followed(dag):
        for seed in dag.seeds(run):
            found[f"{run}-seed{seed}"] = [_series(dag, run, seed)]
            if seed in dag.seeds(run)[: section["lanczos"]["seeds"]]:
                found[f"{run}-seed{seed}"].append(_large(dag, run, seed))
    if section["revisions"]["steps"]:
        found["revisions"] = [_public(dag)]
    found["toys"] = [{"what": "toys", "folder": "", "trained": False}]
    return found


def followed(dag: Dag) -> list[str]:
    """Language runs whose gradients are followed; they keep weights along training (`settings.check`)."""
    arms = dag.settings["gradients"]["arms"]
    return [run for run in dag.of("text") if dag.runs[run]["arm_name"] in arms]


def _small(dag: Dag, run: str, seed: int) -> Spec:
    data = {key: value for key, value in dag.runs[run]["data"].items() if key != "kind"}
    return {"what": "spectrum", "task": "bias-dp", **_named(dag, run, seed), "data": data}


def _large(dag: Dag, run: str, seed: int) -> Spec:
    corpus = dag.runs[run]["data"]["corpus"]
    return {"what": "spectrum", "task": corpus, **_named(dag, run, seed), "tokens": dag.tokens(corpus)}


def _series(dag: Dag, run: str, seed: int) -> Spec:
    """A run's checkpoints: snapshots on the way (undeclared, like a run's state), and the finished run."""
    spec, folder = dag.runs[run], dag.folder(run, seed)
    on_the_way = {step: f"{folder}/snapshots/step{step}" for step in spec["snapshots"] if step < spec["steps"]}
    return {
        "what": "gradients",
        **_named(dag, run, seed),
        "corpus": spec["data"]["corpus"],
        "tokens": dag.tokens(spec["data"]["corpus"]),
        "checkpoints": on_the_way | {spec["steps"]: folder},
        "eps": spec["optim"]["eps"],
        "batch_size": spec["batch_size"],
    }


def _named(dag: Dag, run: str, seed: int) -> Spec:
    return {"run": run, "arm": dag.runs[run]["arm_name"], "seed": seed, "folder": dag.folder(run, seed)}


def _public(dag: Dag) -> Spec:
    """Public checkpoints; AdamW's eps is that of the Pythia suite, second moments are of our batches."""
    section, folders = dag.settings["gradients"], revision_folders(dag)
    corpus = section["revisions"]["corpus"]
    return {
        "what": "gradients",
        "run": revision_name(dag.settings),
        "arm": "public",
        "seed": 0,
        "folder": folders[max(folders)],
        "trained": False,
        "also": [*checkpoints(dag), dag.manifest(corpus)],
        "corpus": corpus,
        "tokens": dag.tokens(corpus),
        "checkpoints": folders,
        "eps": 1.0e-8,
        "batch_size": section["block_windows"],
    }


def revision_name(settings: dict[str, Any]) -> str:
    """What names the public model's folder and its rows in tables."""
    return settings["gradients"]["revisions"]["repo"].rsplit("/", 1)[-1]


def revision_folders(dag: Dag) -> dict[int, str]:
    """Where public revisions are fetched to, by training step."""
    steps = dag.settings["gradients"]["revisions"]["steps"]
    return {step: f"{dag.results}/revisions/{revision_name(dag.settings)}/step{step}" for step in steps}


def checkpoints(dag: Dag) -> list[str]:
    """What says that the public revisions are here."""
    return [f"{folder}/revision.json" for folder in revision_folders(dag).values()]
