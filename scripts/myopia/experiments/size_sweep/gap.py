"""The command `gap` and those of the workflow's target behind it: the myopia gap of every network of the sizes on its own,
no slope, no paper, no verdict."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
import yaml

from myopia.cli.people import Model, Revision
from myopia.cli.start import AsJson, Settings, open_dag, start, write, write_json
from myopia.common.errors import MyopiaError
from myopia.config.load import ROOT
from myopia.experiments.size_sweep import EXPERIMENT, GAP, GAP_BY_LR

if TYPE_CHECKING:
    from myopia.config.dag import Dag

REFERENCE = Path("workflow/reference")


def gap(
    model: Model,
    text: Annotated[Path, typer.Option(help="a folder, file or glob of text (.txt, .jsonl, .parquet ...)")],
    revision: Revision = None,
    rates: Annotated[
        str, typer.Option(help="learning rates both arms are trained at, with commas")
    ] = "1e-5,3e-5,1e-4,3e-4",
    seeds: Annotated[int, typer.Option(help="training seeds, the unit of replication")] = 5,
    sequences: Annotated[int, typer.Option(help="windows of text each run trains on")] = 12_800,
    batch: Annotated[int, typer.Option(help="windows a step")] = 32,
    micro_batch: Annotated[int, typer.Option(help="windows a forward pass")] = 8,
    context_length: Annotated[int, typer.Option(help="tokens a window")] = 64,
    device: Annotated[str, typer.Option(help="cpu or cuda")] = "cpu",
    results: Annotated[Path, typer.Option(help="folder of all results")] = Path("results/gap"),
    cores: Annotated[str, typer.Option(help="of Snakemake")] = "all",
    as_json: AsJson = False,
) -> int:
    """Measure the myopia gap of a model: how much worse it learns a text when no loss reaches back into the past.

    Both arms start from the model's weights and read the same windows in the same order, vanilla and myopic, at every
    learning rate. The gap is loss(myopic) - loss(vanilla) on held-out text, in nats per token, with a 95 % interval over
    seeds and documents. Killed or stopped, the same command goes on where it was.
    """
    start()
    local = Path(model).expanduser().is_dir()
    if not local and revision is None:
        raise MyopiaError(f"there is no folder {model}; for a model on the hub give --revision, such as main")
    name = str(Path(model).expanduser().resolve()) if local else model
    pinned = {} if local else {"revision": revision}
    config = {
        "experiments": ["size_sweep"],
        "results": str(results.resolve()),
        "context_length": context_length,
        "device": device,
        "size_sweep": {
            "corpus": "own-text", "sizes": ["own"], "seeds": list(range(seeds)), "tuning_seeds": [],
            "recipes": {"matched": ["checkpoint"], "best": [], "as_run": [], "paper_table5": []},
            "finetune": {"sequences": sequences, "batch_size": batch, "micro_batch": micro_batch},
            "networks": {"own": {"pretrained": name, **pinned, "lr_grid": [float(rate) for rate in rates.split(",")]}},
        },
        "corpora": {
            "own-text": {
                "source": {"kind": "files", "path": str(text.expanduser().resolve())},
                "tokenizer": {"kind": "pretrained", "path_or_id": name, **pinned},
                "windows": {"window": "chunks"},
                "splits": {"fractions": {"train": 0.8, "validation": 0.1, "test": 0.1}, "seed": 0},
            }
        },
    }  # fmt: skip
    results.mkdir(parents=True, exist_ok=True)
    file = results.resolve() / "gap.yaml"
    file.write_text("# Written by `myopia gap`.\n" + yaml.safe_dump(config, sort_keys=False))
    command = [sys.executable, "-m", "snakemake", "--cores", cores, "--configfile", str(file), "--", "gap"]
    done = subprocess.run(command, cwd=ROOT, stdout=sys.stderr if as_json else None, check=False)
    if done.returncode == 0 and as_json:
        import pandas as pd

        write_json(json.loads(pd.read_csv(results / "tables" / "gap.csv").to_json(orient="records")))
    return done.returncode


def tabulate_gap(settings: Settings) -> None:
    """Tabulate the gap of every network (gap.csv) and the rates it was looked for at (gap_by_lr.csv)."""
    start()
    from myopia.common.files import write_csv
    from myopia.judge.claims import read_claims
    from myopia.judge.measures import Measures, Paper
    from myopia.judge.registry import Context

    dag = open_dag(settings)
    measures = Measures(f"{dag.results}/measure", read_claims([], REFERENCE / "claims.yaml").tuning_seeds)
    context = Context(measures, Paper.read(REFERENCE / "paper_values.csv"))
    for figure in (GAP, GAP_BY_LR):
        write_csv(_table(dag, figure.name), EXPERIMENT.load(figure.table)(context))


def draw_gap(settings: Settings) -> None:
    """Draw the gap of every network against learning rate."""
    start()
    from myopia.show.render import draw_figure

    dag = open_dag(settings)
    draw_figure(EXPERIMENT, GAP_BY_LR, _table(dag, GAP_BY_LR.name), f"{dag.results}/figures")


def print_gap(settings: Settings) -> None:
    """Print the gap of every network."""
    start()
    import pandas as pd

    from myopia.experiments.size_sweep.gap_console import render

    write(render(pd.read_csv(_table(open_dag(settings), GAP.name)).fillna({"selected_on": ""})))


def _table(dag: Dag, name: str) -> Path:
    return Path(dag.results, "tables", f"{name}.csv")
