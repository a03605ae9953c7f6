"""Commands for people, beside what experiments bring (gap): verify, influence, plan, watch, cost, settings, pages."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from myopia.cli.start import AsJson, scale_settings, start, write, write_json
from myopia.common.errors import MyopiaError

PEOPLE = "For people"

Model = Annotated[str, typer.Argument(help="a folder that save_pretrained wrote, or a hub id")]
Revision = Annotated[str | None, typer.Option(help="of a hub id: branch, tag or commit")]
Scale = Annotated[str, typer.Option(help="smoke, laptop, cpu, gpu or paper")]
Set = Annotated[list[str], typer.Option("--set", help="KEY=VALUE, such as text.steps=2400; may be repeated")]
Results = Annotated[Path, typer.Option(help="a results folder")]
LAPTOP = Path("results/laptop")


def verify(
    model: Model,
    revision: Revision = None,
    cut: Annotated[str, typer.Option(help="hidden (the paper's) or kv")] = "hidden",
    tokens: Annotated[int, typer.Option(help="length of the random text it is tried on")] = 12,
    as_json: AsJson = False,
) -> int:
    """Is the cut exact on this model? Attach it, and measure that no gradient reaches the past. Exit code 1 if not."""
    start(network=True, threads=1)
    import torch

    from myopia.model.verify import verify as measured

    network = _load(model, revision)
    vocabulary = network.get_input_embeddings().num_embeddings
    ids = torch.randint(vocabulary, (1, tokens), generator=torch.Generator().manual_seed(0))
    found = measured(network, ids, cut=cut)
    if as_json:
        write_json(found.record())
    else:
        write(
            f"{found.model}, cut {found.cut!r}: {'exact' if found.exact else 'NOT exact'}\n"
            f"  largest gradient of a loss at an earlier position: {found.leak:.3g} (at its own position: {found.diagonal:.3g})\n"
            f"  forward pass: logits differ by at most {found.forward:.3g}\n"
            f"  gradients of weights, fused operator against dense: within {found.weights:.1e} of the largest"
        )
    return 0 if found.exact else 1


def influence(
    model: Model,
    text: Annotated[str, typer.Option(help="a short text")],
    revision: Revision = None,
    as_json: AsJson = False,
) -> None:
    """Who plans for whom: row t, column s says how much the loss at token t shapes what is computed at token s."""
    start(network=True, threads=1)
    from transformers import AutoTokenizer

    from myopia.model.influence import influence as matrix

    network = _load(model, revision)
    tokenizer = AutoTokenizer.from_pretrained(model, revision=revision or "main")
    ids = tokenizer(text, return_tensors="pt").input_ids
    if ids.shape[1] < 2:
        raise MyopiaError("--text: at least two tokens are needed")
    picture_TT = matrix(network, ids)[:-1, :-1]
    words = [tokenizer.decode([token]).strip() or "·" for token in ids[0, :-1]]
    if as_json:
        write_json({"tokens": words, "influence": picture_TT.tolist()})
        return
    width = min(12, max(map(len, words)) + 1)
    write(" " * width + "".join(f"{word[:6]:>7}" for word in words))
    for t, word in enumerate(words):
        write(f"{word[: width - 1]:<{width}}" + "".join(f"{float(value):7.2f}" for value in picture_TT[t, : t + 1]))


def _load(model: str, revision: str | None) -> Any:
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()
    folder = Path(model).expanduser()
    if not folder.is_dir() and model[:1] in "/~.":
        raise MyopiaError(f"there is no folder {model}: give one that save_pretrained wrote, or a hub id")
    try:
        if folder.is_dir():
            return AutoModelForCausalLM.from_pretrained(folder)
        return AutoModelForCausalLM.from_pretrained(model, revision=revision or "main")
    except (OSError, ValueError) as error:
        first = str(error).splitlines()[0]
        raise MyopiaError(
            f"{model} cannot be opened ({first}): give a folder that save_pretrained wrote, or a hub id"
        ) from None


def plan(
    scale: Scale = "laptop",
    overrides: Set = [],  # noqa: B006
    settings_file: Annotated[Path | None, typer.Option("--settings", help="settings.json, in place of a scale")] = None,
    out: Annotated[Path | None, typer.Option(help="also write a csv")] = None,
    as_json: AsJson = False,
) -> None:
    """What a scale costs, before anything runs: jobs, tokens, FLOPs, device-hours, memory, disk, downloads."""
    start()
    from myopia.config.load import read_settings
    from myopia.config.plan import plan as planned
    from myopia.config.plan import render

    settings = read_settings(settings_file) if settings_file else scale_settings(scale, overrides)
    rows = planned(settings)
    if out:
        import pandas as pd

        from myopia.common.files import write_csv

        write_csv(out, pd.DataFrame(rows))
    if as_json:
        write_json(rows)
    else:
        write(render(rows, settings))


def settings(scale: Scale = "laptop", overrides: Set = []) -> None:  # noqa: B006
    """The resolved settings of a scale, checked, as JSON."""
    start()
    write_json(scale_settings(scale, overrides))


def watch(
    results: Results = LAPTOP,
    every: Annotated[float, typer.Option(help="seconds between pictures")] = 2.0,
    once: Annotated[bool, typer.Option("--once", help="draw once, every run, and end")] = False,
    as_json: AsJson = False,
) -> None:
    """Runs at work, live: step, loss, tokens/s, ETA."""
    start()
    import contextlib
    import sys
    import time
    from dataclasses import asdict

    from rich.console import Console

    from myopia.show import watch as watching
    from myopia.show.states import read_states

    if as_json:
        write_json([asdict(row) for row in watching.rows(read_states(results), time.time())])
    elif once:
        console = Console(file=sys.stdout)
        console.print(watching.picture(results, time.time(), 10**6, console.width))
    else:
        with contextlib.suppress(KeyboardInterrupt):
            watching.follow(results, every)


def cost(results: Results = LAPTOP, out: Path | None = None, as_json: AsJson = False) -> None:
    """What the runs behind each figure have cost, all attempts together: device-hours, energy, disk."""
    start()
    import json

    from myopia.cli.start import open_dag
    from myopia.common.files import write_csv
    from myopia.judge.cost import cost_of

    table = cost_of(open_dag(results / "settings.json"))
    if out:
        write_csv(out, table)
    if as_json:
        write_json(json.loads(table.to_json(orient="records")))
    else:
        write(table.to_string(index=False, float_format="%.3g"))


def pages(check: Annotated[bool, typer.Option("--check", help="only say which are out of date")] = False) -> int:
    """Write the generated pages of docs/ and README anew, from what is published in docs/results."""
    start()
    from myopia.show.pages import check_pages, write_pages

    if check:
        stale = check_pages()
        for name in stale:
            write(f"{name} is out of date: run myopia pages")
        return 1 if stale else 0
    write_pages()
    return 0


def config_reference(
    check: Annotated[bool, typer.Option("--check", help="only say whether it is out of date")] = False,
) -> int:
    """Write docs/config.md and docs/tables.md anew from what settings and experiments declare."""
    start()
    from myopia.common.files import atomic_path
    from myopia.config.load import ROOT
    from myopia.config.reference import render, render_tables

    pages = {ROOT / "docs" / "config.md": render(), ROOT / "docs" / "tables.md": render_tables()}
    stale = [path for path, text in pages.items() if not path.is_file() or path.read_text() != text]
    if check:
        return int(bool(stale))
    for path in stale:
        with atomic_path(path) as temporary:
            temporary.write_text(pages[path])
    return 0


def unlock(folder: Annotated[Path, typer.Option(help="where snakemake runs")] = Path(".")) -> None:
    """Remove Snakemake's lock on a folder if the process that took it is gone; leave a living one alone."""
    start()
    from myopia.common.snakemake_lock import unlock_if_dead

    unlock_if_dead(folder.resolve())


def add_to(app: typer.Typer) -> None:
    """Register these commands."""
    for command in (verify, influence, plan, watch, cost, settings):
        app.command(rich_help_panel=PEOPLE)(command)
    for command in (pages, config_reference, unlock):
        app.command(rich_help_panel="For those who work on the project")(command)
