"""Every run once, with what became of it: `tables/seeds.csv`."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from myopia.common.errors import MyopiaError

SEEDS = ["run", "arm", "seed", "purpose", "status", "steps", "tokens", "final_train_loss", "final_validation_loss"]


def seeds_table(runs: Iterable[str | Path]) -> pd.DataFrame:
    """Every run once, from `metrics.json` in each run folder (tuning runs too, with their purpose)."""
    rows = []
    for folder in runs:
        path = Path(folder) / "metrics.json"
        try:
            metrics = json.loads(path.read_text())
        except (OSError, ValueError) as error:
            raise MyopiaError(f"{path} cannot be read ({error}); train this run again.") from None
        missing = [key for key in ("run", "arm", "seed", "steps") if key not in metrics]
        if missing:
            raise MyopiaError(f"{path} lacks {', '.join(missing)}; train this run again.")
        rows.append({key: metrics.get(key) for key in SEEDS})
    frame = pd.DataFrame(rows).reindex(columns=SEEDS)
    return frame.sort_values(["run", "seed"], kind="stable").reset_index(drop=True)
