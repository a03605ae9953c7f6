"""Tables and figures of released checkpoints: what they record, one pair of runs, intervals over documents alone."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from experiments.zero_shot.simulate import zero_shot
from myopia.common.errors import MyopiaError
from myopia.common.files import write_csv
from myopia.config.runs import PAIR
from myopia.config.tables import TEXT_LOSS
from myopia.experiments.released import EXPERIMENT
from myopia.experiments.released.tables import Released, read_records, released_audit
from myopia.judge.tables import write_tables
from myopia.show import style
from myopia.show.render import draw_figure

PAPER = Path(__file__).resolve().parents[3] / "workflow" / "reference" / "paper_values.csv"
SIZES = {"31m": 30_494_720, "2.8b": 2_775_208_960}
POSITIONS = 20


def record(size: str, arm: str, **changes: object) -> dict:
    rate = 4e-4 if arm == "vanilla" else 6e-4
    return {
        "run": f"pythia-{size}-{arm}", "size": size, "arm": arm, "parameters": SIZES[size], "global_step": 1628,
        "lightning_version": "2.1.2", "hyper_parameters": {"lr": rate, "warmup": 0.05 if arm == "vanilla" else 0.01},
        "lr_schedulers": [{"base_lrs": [rate]}], "optimizers": [],
        "in_name": {"arm": arm, "size": size, "lr": 4e-4, "warmup": 0.05, "global_step": 1627.0, "train_loss": 3.84},
        "origin": {"repo": f"a/{size}-{arm}", "commit": "c" * 40, "file": "x.ckpt", "sha256": "5" * 64, "size": 1},
        **changes,
    }  # fmt: skip


def losses(size: str, arm: str, seed: int, corpora: tuple[str, ...] = ("docs",)) -> pd.DataFrame:
    """Documents of unequal size whose gap is .2 on average, spread over documents, .5 more at position 0."""
    rows = []
    for corpus in corpora:
        rng = np.random.default_rng(7)  # the same documents in both arms
        n = rng.integers(1, 4, 30)
        level = rng.normal(3, 0.5, 30)
        gap = 0.2 + np.random.default_rng(seed).normal(0, 0.1, 30) if arm == "myopic" else np.zeros(30)
        for d in range(30):
            for position in range(POSITIONS):
                extra = 0.5 if position == 0 and arm == "myopic" else 0.0
                rows.append(
                    [corpus, f"pythia-{size}-{arm}", arm, 0, f"d{d:02}", "g", position, n[d], level[d] + gap[d] + extra]
                )
    return pd.DataFrame(rows, columns="corpus,run,arm,seed,doc,group,position,n,loss".split(","))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Folders of converted and measured checkpoints."""
    for size in SIZES:
        for arm in PAIR:
            run = tmp_path / "runs" / f"pythia-{size}-{arm}"
            run.mkdir(parents=True)
            (run / "checkpoint.json").write_text(json.dumps(record(size, arm)))
            frame = losses(size, arm, len(size), ("docs", "books"))
            write_csv(tmp_path / "measure" / run.name / TEXT_LOSS.name, frame)
    for name, frame in zero_shot(np.random.default_rng(0), 1, 1.0, 80).items():
        write_csv(tmp_path / "scored" / name, frame)
    return tmp_path


def tables(folder: Path, only: str = "*") -> dict[str, pd.DataFrame]:
    """The tables of these checkpoints."""
    runs, measured = sorted((folder / "runs").glob(only)), sorted((folder / "measure").glob(only))
    write_tables(Released.read(runs, measured, folder / "scored", PAPER), EXPERIMENT, folder / "tables")
    read = {"keep_default_na": False, "na_values": [""]}
    return {path.stem: pd.read_csv(path, **read) for path in (folder / "tables").glob("*.csv")}


def test_the_audit_compares_named_and_recorded_rates(folder: Path) -> None:
    audit = tables(folder)["released_audit"].set_index(["size", "arm"])
    assert {name: tuple(frame.columns) for name, frame in tables(folder).items()} == {
        figure.name: figure.columns for figure in EXPERIMENT.figures
    }
    assert list(audit.index) == [("31m", "vanilla"), ("31m", "myopic"), ("2.8b", "vanilla"), ("2.8b", "myopic")]
    for (_, arm), row in audit.iterrows():
        assert float(row["lr_in_name"]) == 4e-4
        assert (
            float(row["lr_in_hyper_parameters"]) == float(row["lr_in_schedule"]) == (4e-4 if arm == "vanilla" else 6e-4)
        )
        assert row["lr_as_named"] == ("yes" if arm == "vanilla" else "no")
        assert float(row["warmup_in_hyper_parameters"]) == (0.05 if arm == "vanilla" else 0.01)


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({"hyper_parameters": None, "lr_schedulers": []}, ("absent", "absent", "absent", "unknown")),
        ({"hyper_parameters": {"warmup": 0.1}}, ("absent", "0.0006", "absent", "no")),
        ({"hyper_parameters": {"lr": "6e-4"}, "lr_schedulers": []}, ("absent", "absent", "absent", "unknown")),
        ({"hyper_parameters": {"lr": True}, "lr_schedulers": []}, ("absent", "absent", "absent", "unknown")),
        ({"lr_schedulers": [{"base_lrs": [1e-3, 2e-3]}]}, ("0.0006", "absent", "absent", "no")),
        (
            {
                "hyper_parameters": {}, "lr_schedulers": [{}],
                "optimizers": [{"state": ["exp_avg"], "param_groups": [{"lr": 0.0, "initial_lr": 4e-4}]}],
            },
            ("absent", "absent", "0.0004", "yes"),
        ),
        ({"in_name": {}}, ("0.0006", "0.0006", "absent", "unknown")),
        ({"hyper_parameters": {"lr": 4.004e-4}}, ("0.0004004", "0.0006", "absent", "yes")),  # names show three digits
    ],
)  # fmt: skip
def test_rates_that_are_not_there_are_called_absent(changes: dict, wanted: tuple) -> None:
    row = released_audit(Released(None, None, None, [record("31m", "myopic", **changes)])).iloc[0]
    places = ("lr_in_hyper_parameters", "lr_in_schedule", "lr_in_optimizer", "lr_as_named")
    assert tuple(row[place] for place in places) == wanted


def test_the_gap_and_its_interval_over_documents(folder: Path) -> None:
    table = tables(folder)["fig7_released"]
    ours = table[table["kind"] == "ours"]
    assert len(ours) == 2 * 2 * 3  # corpora, sizes, series
    assert set(ours["seeds"]) == {1}
    gap = ours[(ours["series"] == "gap") & (ours["corpus"] == "docs") & (ours["size"] == "31m")].iloc[0]
    both = losses("31m", "myopic", 3).merge(losses("31m", "vanilla", 3), on=["doc", "position", "n"])
    both["gap"] = both["loss_x"] - both["loss_y"]
    by_doc = both.groupby("doc").agg(n=("n", "first"), gap=("gap", "mean"))
    value = float(np.average(by_doc["gap"], weights=by_doc["n"]))
    assert gap["value"] == pytest.approx(value, abs=1e-9)
    # The ratio estimator's linearised standard error: what a bootstrap over documents comes to.
    residual = by_doc["n"] * (by_doc["gap"] - value)
    se = math.sqrt((residual**2).sum()) / by_doc["n"].sum()
    half = stats.t.ppf(0.975, 29) * se
    assert gap["value"] - gap["ci_low"] == pytest.approx(half, rel=0.1)
    assert gap["ci_high"] - gap["value"] == pytest.approx(half, rel=0.1)
    assert gap["documents"] == 30


def test_the_papers_values_and_the_rates_stand_beside(folder: Path) -> None:
    table = tables(folder)["fig7_released"]
    cells = table.set_index(["kind", "size", "series"])["value"]
    assert cells["paper", "2.8b", "gap"] == 0.23
    assert cells["paper", "70m", "vanilla"] == 3.44
    assert cells["authors", "2.8b", "gap"] == pytest.approx(0.249)
    assert len(table[table["kind"] == "paper"]) == len(table[table["kind"] == "authors"]) == 24
    assert cells["rate in name", "31m", "myopic"] == 4e-4
    assert cells["rate recorded", "31m", "myopic"] == 6e-4
    size = table[table["kind"] == "paper"].groupby("size")["parameters"].first()
    assert size["2.8b"] == SIZES["2.8b"] and size["70m"] == 7e7  # ours where we have it, else what the name says


def test_positions(folder: Path) -> None:
    table = tables(folder)["released_position"]
    ours = table[(table["kind"] == "ours") & (table["corpus"] == "books") & (table["size"] == "2.8b")]
    assert ours["position"].tolist() == list(range(POSITIONS))
    first, later = ours.iloc[0], ours.iloc[1]
    assert first["value"] - later["value"] == pytest.approx(0.5)
    assert first["band_low"] <= first["ci_low"] < first["value"] < first["ci_high"] <= first["band_high"]
    authors = table[table["kind"] == "authors"].set_index("position")["value"]
    assert authors[0] == 1.07 and authors[63] == 0.36


def test_a_size_with_one_arm_has_no_gap(folder: Path) -> None:
    table = tables(folder, "*vanilla")["fig7_released"]
    assert not (table["kind"] == "ours").any()
    assert (table["kind"] == "rate recorded").sum() == 2


def test_arms_on_different_tokens_are_refused(folder: Path) -> None:
    path = folder / "measure" / "pythia-31m-myopic" / "text_loss.csv.gz"
    frame = pd.read_csv(path)
    frame.loc[frame["doc"] == "d03", "n"] += 1
    write_csv(path, frame)
    with pytest.raises(MyopiaError, match="saw different tokens; measure them again"):
        tables(folder)


def test_a_folder_that_was_not_converted(folder: Path) -> None:
    path = folder / "runs" / "pythia-31m-myopic" / "checkpoint.json"
    path.write_text("{}")
    with pytest.raises(MyopiaError, match=r"checkpoint\.json is no record of a converted checkpoint; convert it again"):
        read_records([path.parent])


# --- the figures ---


def written(figure) -> str:
    found = [t.get_text() for t in figure.texts]
    for axis in figure.axes:
        found += [axis.get_title(), axis.get_xlabel(), axis.get_ylabel()]
    found += [t.get_text() for legend in figure.legends for t in legend.get_texts()]
    return " ".join(found).replace("\n", " ").replace("\u00a0", " ")


@pytest.mark.parametrize("name", [figure.name for figure in EXPERIMENT.drawn])
def test_figures_draw_their_table_alone(folder: Path, name: str) -> None:
    tables(folder)
    path, figure = folder / "tables" / f"{name}.csv", EXPERIMENT.figure(name)
    made = []
    for k in range(2):
        draw_figure(EXPERIMENT, figure, path, folder / str(k))
        made.append([(folder / str(k) / f"{name}.{suffix}").read_bytes() for suffix in ("svg", "png")])
    assert made[0] == made[1]
    frame = style.read_table(str(path), list(figure.columns))
    drawn = EXPERIMENT.load(figure.draw)(frame)
    text = written(drawn)
    for word in ("paper", "LAMBADA" if name == "fig5_released" else "gap"):
        assert word in text
    drawn.draw_without_rendering()
    numbers = [column for column in ("value", "gap") if column in frame.columns]
    frame.assign(**{column: frame[column] * 1.1 for column in numbers}).to_csv(path, index=False)
    draw_figure(EXPERIMENT, figure, path, folder / "changed")
    assert (folder / "changed" / f"{name}.svg").read_bytes() != made[0][0]
    empty = EXPERIMENT.load(figure.draw)(frame[frame["kind"] != "ours"])
    told = [t.get_text() for t in empty.axes[0].texts] + [empty.axes[0].get_title()]
    assert any("not run at this scale" in one for one in told)


def test_one_pair_of_a_task_is_compared_item_by_item(folder: Path) -> None:
    table = tables(folder)["fig5_released"]
    pairs = table[(table["kind"] == "ours") & (table["arm"] == "myopic") & (table["task"] != "cloze-docstrings")]
    assert len(pairs) == 12 and set(pairs["test"]) == {"mcnemar"} and set(pairs["seeds"]) == {1}
