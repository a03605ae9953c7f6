"""Where planning pays: the gap token by token, influence sent forward, and probes of tokens to come."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from myopia.common import cli
from myopia.common.files import write_csv
from myopia.common.gpus import claim_gpus


def main(argv: Sequence[str] | None = None) -> None:
    """Measure every vanilla and myopic twin named in the JSON `--spec` and write five tables."""
    parser = cli.parser(__doc__, "out-gap", "out-top", "out-map", "out-influence", "out-probes")
    parser.add_argument("--spec", required=True, help="JSON: runs, and the section `tokens` of the settings")
    parser.add_argument("--device", default="cpu", help="where the models run: cpu or cuda")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args(argv)
    claim_gpus(int(args.device == "cuda"))

    import torch

    from myopia.experiments.tokens import future_probes
    from myopia.experiments.tokens import influence as token_influence
    from myopia.experiments.tokens import measure as token_gap
    from myopia.measure.text import TextRun

    torch.set_num_threads(args.threads)
    spec = json.loads(args.spec)
    settings, places = spec["tokens"], ("folder", "tokens")
    runs = [TextRun(**{k: Path(v) if k in places else v for k, v in run.items()}) for run in spec["runs"]]
    columns = {
        "gap": token_gap.GAP_COLUMNS,
        "top": token_gap.TOP_COLUMNS,
        "map": token_gap.MAP_COLUMNS,
        "influence": token_influence.COLUMNS,
        "probes": future_probes.COLUMNS,
    }
    tables: dict[str, list[pd.DataFrame]] = {name: [] for name in columns}
    for twins in token_gap.pair_up(runs).values():
        by_token = token_gap.measure_corpus(twins, settings["windows"], settings["top_tokens"], args.device)
        for name, frame in zip(("gap", "top", "map"), by_token, strict=True):
            tables[name].append(frame)
        tables["influence"].append(token_influence.influence_sent(twins, settings["influence_windows"], args.device))
        tables["probes"].append(
            future_probes.probe_models(
                twins,
                max_tau=settings["max_tau"],
                windows=settings["probe_windows"],
                named=settings["probe_tokens"],
                table_windows=settings["table_windows"],
                device=args.device,
            )
        )
    for name, frames in tables.items():
        frame = pd.concat(frames) if frames else pd.DataFrame(columns=columns[name])
        write_csv(getattr(args, f"out_{name}"), frame)


if __name__ == "__main__":
    cli.run(main)
