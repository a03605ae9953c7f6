"""Aggregated tables, the list of runs, the command lines and the text table."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

import judge_claims
import print_verdicts
import tabulate_seeds
from experiments.simulate import measure_folder
from myopia.common.errors import MyopiaError
from myopia.common.files import write_csv
from myopia.judge.claims import read_claims
from myopia.judge.console import label, render
from myopia.judge.measures import Measures, Paper
from myopia.judge.registry import Context
from myopia.judge.tables import FIGURES, LISTS, write_tables

REFERENCE = Path(__file__).resolve().parents[3] / "workflow" / "reference"


def command(measure: Path, *rest: str) -> list[str]:
    return ["--measure", str(measure), "--claims", str(REFERENCE / "claims.yaml"), "--paper",
            str(REFERENCE / "paper_values.csv"), *rest]  # fmt: skip


def tables(measure: Path, folder: Path, *names: str) -> None:
    measures = Measures(measure, read_claims(REFERENCE / "claims.yaml").tuning_seeds)
    write_tables(Context(measures, Paper.read(REFERENCE / "paper_values.csv")), folder, names or None)


@pytest.fixture(scope="module")
def written(world: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("written")
    judge_claims.main(
        command(world, "--scale", "laptop", "--out", str(out / "verdicts.csv"), "--tables", str(out / "tables"))
    )
    return out


def test_every_table_is_written_and_repeats_byte_by_byte(written: Path, world: Path, tmp_path: Path) -> None:
    tables(world, tmp_path)
    for name, (_, columns) in (FIGURES | LISTS).items():
        path = written / "tables" / f"{name}.csv"
        frame = pd.read_csv(path)
        assert len(frame)
        assert list(frame.columns) == columns
        assert path.read_bytes() == (tmp_path / f"{name}.csv").read_bytes()


def test_the_tables_hold_what_the_figures_need(written: Path, world: Path) -> None:
    table1 = pd.read_csv(written / "tables/table1_loss_by_p.csv")
    raw = pd.read_csv(world / "synthetic_loss.csv")
    mean = raw[(raw["arm"] == "myopic") & (raw["p"] == 0.3) & (raw["shift"] == 1)].groupby("seed")["loss"].mean()
    row = table1[(table1["series"] == "myopic") & (table1["p"] == 0.3) & (table1["on"] == "all")]
    ours = row[row["kind"] == "ours"].iloc[0]
    assert ours["value"] == pytest.approx(mean.mean() / 0.3)
    assert row[row["kind"] == "paper"]["value"].item() == 1.03
    assert set(table1["series"]) >= {
        "vanilla",
        "myopic",
        "myopic-kv",
        "beta1",
        "trivial",
        "zero",
        "present only",
    }
    fig2 = pd.read_csv(written / "tables/fig2_probe_r2.csv")
    assert set(fig2["weights"]) == {"trained", "untrained", "shuffled"}
    assert (fig2["kind"] == "paper").sum() == 120
    fig4 = pd.read_csv(written / "tables/fig4_position.csv")
    gap = fig4[(fig4["kind"] == "ours") & (fig4["series"] == "gap")]
    assert len(gap) == 63
    assert (gap["band_low"] <= gap["ci_low"]).all()
    steps = pd.read_csv(written / "tables/text_gap_by_step.csv")
    assert set(steps["series"]) == {"vanilla", "myopic", "gap"}
    edit = pd.read_csv(written / "tables/intervention.csv")
    assert edit.loc[(edit["direction"] == "pattern") & (edit["lag"] == 2), "expected"].eq(1).all()
    table2 = pd.read_csv(written / "tables/table2_text_loss.csv")
    assert table2.loc[(table2["kind"] == "paper") & (table2["arm"] == "myopic"), "gap"].item() == pytest.approx(0.12)


def test_missing_measurements_give_tables_with_a_header(tmp_path: Path) -> None:
    tables(tmp_path, tmp_path / "tables")
    for name, (_, columns) in (FIGURES | LISTS).items():
        frame = pd.read_csv(tmp_path / "tables" / f"{name}.csv")
        assert len(frame) == 0
        assert list(frame.columns) == columns


def test_the_last_quarter_decides_whether_a_gap_still_rises(tmp_path: Path) -> None:
    folder = measure_folder(tmp_path, noise=0.1)
    curve = pd.read_csv(folder / "text_curve.csv")
    late = curve["arm"].eq("myopic") * curve["step"] * 0.001
    for extra, expected in ((0.0, 0), (late, 1)):
        changed = curve.assign(validation_loss=curve["validation_loss"] + extra)
        write_csv(folder / "text_curve.csv", changed)
        tables(folder, tmp_path / "t", "text_gap_by_step")
        table = pd.read_csv(tmp_path / "t" / "text_gap_by_step.csv")
        assert table.loc[table["series"] == "gap", "still_rising"].eq(expected).all()


def test_seeds_table(tmp_path: Path) -> None:
    for seed in (1, 0):
        folder = tmp_path / f"seed{seed}"
        folder.mkdir()
        metrics = {
            "run": "dp",
            "arm": "vanilla",
            "seed": seed,
            "steps": 10,
            "final_train_loss": 0.5,
            "extra": 1,
        }
        (folder / "metrics.json").write_text(json.dumps(metrics))
    runs = [str(tmp_path / "seed1"), str(tmp_path / "seed0")]
    tabulate_seeds.main(["--out", str(tmp_path / "seeds.csv"), "--runs", *runs])
    table = pd.read_csv(tmp_path / "seeds.csv")
    assert table["seed"].tolist() == [0, 1]
    assert "extra" not in table
    with pytest.raises(MyopiaError, match="train this run again"):
        tabulate_seeds.main(["--out", str(tmp_path / "seeds.csv"), "--runs", str(tmp_path)])


def test_console(written: Path, capsys: pytest.CaptureFixture[str]) -> None:
    print_verdicts.main(["--verdicts", str(written / "verdicts.csv")])
    text = capsys.readouterr().out
    assert "replicated (direction only)" in text
    for line in text.splitlines():
        assert len(line) <= 120
        if "  replicated" in line:
            assert "(direction only)" in line
    assert "table1-gap-p0.3" in text
    assert label("replicated", "value") == "replicated"
    assert label("partly", "direction") == "partly (direction only)"
    frame = pd.read_csv(written / "verdicts.csv", dtype={"reason": str, "control": str})
    nothing = frame.assign(verdict="not run at this scale", ours=float("nan"))
    assert "nothing is judged at this scale" in render(nothing)
    with pytest.raises(MyopiaError, match="cannot be read"):
        print_verdicts.main(["--verdicts", str(written / "none.csv")])
