"""A results folder in miniature: published verdicts, two real figures, runs with records and state folders."""

from __future__ import annotations

import json
import shutil
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

import pandas as pd

from myopia.common.files import write_csv
from myopia.config.dag import Dag
from myopia.config.experiment import Figure, figure_named, known
from myopia.config.load import ROOT, load_config
from myopia.show.render import draw_figure

REFERENCE, TEXTS = ROOT / "workflow" / "reference", ROOT / "workflow" / "report"
DRAWN = ("table1_loss_by_p", "audit_gap_by_lr")
JOBS = ("measure/synthetic", "train/dp-p1-vanilla", "judge/synthetic")


def results_folder(folder: Path) -> Path:
    """A run that finished, with the laptop's published verdicts; `DRAWN` is all it was meant to draw."""
    (folder / "tables").mkdir(parents=True)
    shutil.copyfile(ROOT / "docs/results/laptop/verdicts.csv", folder / "tables/verdicts.csv")
    (folder / "tables/seeds.csv").write_text("run,arm,seed\ndp-p1-vanilla,vanilla,0\n")
    for name, frame in (("table1_loss_by_p", loss_by_p()), ("audit_gap_by_lr", gap_by_lr())):
        write_csv(folder / f"tables/{name}.csv", frame)
    one, figure = figure_named(DRAWN[0])
    draw_figure(one, figure, folder / f"tables/{DRAWN[0]}.csv", folder / "figures")
    for ending in ("svg", "png"):  # one real picture, twice: the page looks at none of them
        shutil.copyfile(folder / f"figures/{DRAWN[0]}.{ending}", folder / f"figures/{DRAWN[1]}.{ending}")
    for seed in (0, 1):
        add_run(folder, "dp-p1-vanilla", seed, ["start", "end"])
    add_run(folder, "dp-p1-myopic", 0, ["start", "start", "preempted", "start", "end"])
    done = pd.DataFrame([{"s": 12.5, "max_rss": 100.0}])
    for job in JOBS:
        for kind, ending in (("logs", "log"), ("benchmarks", "tsv")):
            path = folder / kind / f"{job}.{ending}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("fine\n")
        done.to_csv(path, sep="\t", index=False)
    return folder


def dag_of(folder: Path, drawn: Collection[str] = DRAWN, further: Collection[Figure] = ()) -> Dag:
    """The jobs of that run: the laptop's, of whose figures only these are drawn; `further` ones are the first experiment's."""
    dag = Dag(load_config({"scale": "laptop", "experiments": list(known()), "results": str(folder)}))
    kept = [
        replace(one, figures=tuple(f for f in one.figures if f.name in drawn or one.optional))
        for one in dag.experiments
    ]
    kept[0] = replace(kept[0], figures=(*kept[0].figures, *further))
    dag.experiments, dag.running = kept, [one for one in kept if not one.optional]
    return dag


def loss_by_p() -> pd.DataFrame:
    """tables/table1_loss_by_p.csv of one p: two arms and the paper's."""
    columns = "kind,series,shift,on,p,a,b,value,ci_low,ci_high,seeds,documents".split(",")
    rows = [
        ("ours", "myopic", 1, "share", 1.0, 3, 4, 0.33, 0.28, 0.38, 3, 128),
        ("ours", "vanilla", 1, "share", 1.0, 3, 4, 0.13, 0.06, 0.19, 3, 128),
        ("ours", "myopic", 1, "z1", 1.0, 3, 4, 0.33, 0.28, 0.38, 3, 128),
        ("ours", "vanilla", 1, "z1", 1.0, 3, 4, 0.13, 0.06, 0.19, 3, 128),
        ("paper", "myopic", 1, "share", 1.0, 10, 10, 1.26, None, None, 1, 0),
    ]
    return pd.DataFrame(rows, columns=columns)


def gap_by_lr() -> pd.DataFrame:
    """tables/audit_gap_by_lr.csv of one size."""
    columns = (
        "panel,start,size,n_params,choice,arm,lr,value,ci_low,ci_high,best,edge,selected_on,seeds,documents".split(",")
    )
    told = ("checkpoint", "d64", 100096)
    rows = [
        ("choice", *told, "as_run", None, 0.06, 0.379, None, None, None, None, None, 1, 512),
        ("choice", *told, "best", None, 0.0064, 0.026, 0.021, 0.031, None, 0, "tuning seeds", 5, 512),
        ("loss", *told, "matched", "vanilla", 0.0064, 4.1, None, None, 1, 0, "tuning seeds", 5, 512),
        ("loss", *told, "matched", "myopic", 0.0064, 4.2, None, None, 1, 0, "tuning seeds", 5, 512),
        ("gap", *told, "equal rates", None, 0.0064, 0.03, None, None, None, None, None, 5, 512),
    ]
    return pd.DataFrame(rows, columns=columns)


def add_run(
    folder: Path, run: str, seed: int, events: list[str], finished: bool = True, fingerprint: str = "f1"
) -> Path:
    """A run folder (if finished) and its state folder with these events; returns the state folder."""
    arm = run.rpartition("-")[2]
    if finished:
        place = folder / "runs" / run / f"seed{seed}"
        place.mkdir(parents=True)
        metrics = {
            "run": run, "arm": arm, "seed": seed, "purpose": "judged", "status": "finished", "steps": 1000,
            "tokens": 1_536_000, "flops": 9.8e11, "final_train_loss": 0.11, "final_validation_loss": 0.12,
        }  # fmt: skip
        provenance = {
            "fingerprint": fingerprint, "attempts": events.count("start"), "seconds": 26.7, "tokens_per_s": 57569.6,
            "peak_memory_bytes": 508_000_000, "tokens": 1_536_000, "flops": 9.8e11,
            "git": {"commit": "c108e431266d0e5709c8bb2f1e66ec40c1498c8b", "dirty": False},
            "versions": {"python": "3.11.7", "torch": "2.13.0"},
            "hardware": {"host": "secret-host", "machine": "x86_64", "cpu_count": 2, "device": "cpu", "threads": 1},
        }  # fmt: skip
        (place / "metrics.json").write_text(json.dumps(metrics))
        (place / "provenance.json").write_text(json.dumps(provenance))
    state = folder / ".state" / run / f"seed{seed}" / fingerprint
    state.mkdir(parents=True)
    (state / "lock").touch()
    lines = [
        json.dumps({"event": e, "step": 0, "pid": 1, "host": "h", "time": 1000.0 + k}) for k, e in enumerate(events)
    ]
    (state / "attempts.jsonl").write_text("".join(line + "\n" for line in lines))
    (state / "progress.json").write_text(
        json.dumps({"run": run, "seed": seed, "step": 400, "steps": 1000, "loss": 0.5, "tokens_per_s": 9e3, "eta_s": 66.0, "time": 1003.0})
    )  # fmt: skip
    return state
