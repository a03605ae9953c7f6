"""Tables of all experiments, the list of runs, and the text a person sees when the workflow ends."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from myopia.cli import results
from myopia.common.errors import MyopiaError
from myopia.config.dag import Dag
from myopia.config.experiment import experiment, known
from myopia.config.load import load_config, write_settings
from myopia.judge.console import read_verdicts, render
from myopia.judge.measures import Measures, Paper
from myopia.judge.questions import answers, combined, questions
from myopia.judge.registry import Context
from myopia.judge.seeds import seeds_table
from myopia.judge.tables import make_table, write_tables
from myopia.judge.verdicts import NO, NOT_JUDGED, PARTLY, UNDECIDED, YES
from own_claims import REFERENCE

RUNNING = [one for one in map(experiment, known()) if not one.optional]


@pytest.fixture(scope="module")
def written(world: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A results folder whose experiments were judged one by one, as the workflow's rules do."""
    out = tmp_path_factory.mktemp("written")
    dag = Dag(load_config({"scale": "cpu", "results": str(out)}))
    settings = write_settings(dag.settings)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(results, "start", lambda: None)  # it changes the process: no hub, other garbage collection
        for one in dag.running:
            results.judge(one.name, settings, REFERENCE, measured=world, tables=None)
        parts = [out / "tables/verdicts" / f"{one.name}.csv" for one in dag.running]
        results.verdicts(parts, out / "tables/verdicts.csv")
    return out


def test_every_declared_table_is_written_and_repeats_byte_by_byte(written: Path, world: Path, tmp_path: Path) -> None:
    measures = Measures(world, (100, 101, 102))
    for one in RUNNING:
        write_tables(Context(measures, Paper.read(REFERENCE / "paper_values.csv")), one, tmp_path)
        for figure in one.figures:
            path = written / "tables" / f"{figure.name}.csv"
            frame = pd.read_csv(path)
            assert len(frame) and tuple(frame.columns) == figure.columns
            assert path.read_bytes() == (tmp_path / path.name).read_bytes()
    made = {path.stem for path in (written / "tables").glob("*.csv")}
    assert made == {figure.name for one in RUNNING for figure in one.figures} | {"verdicts"}


def test_verdicts_put_together_keep_every_digit(written: Path, claims) -> None:
    assert set(read_verdicts(written / "tables/verdicts.csv")["id"]) == set(claims.by_id())
    lines = [
        line for one in RUNNING for line in (written / f"tables/verdicts/{one.name}.csv").read_text().splitlines()[1:]
    ]
    assert (written / "tables/verdicts.csv").read_text().splitlines()[1:] == lines


def test_missing_measurements_give_tables_with_a_header(tmp_path: Path) -> None:
    context = Context(Measures(tmp_path), Paper.read(REFERENCE / "paper_values.csv"))
    for one in RUNNING:
        for figure in one.figures:
            frame = make_table(context, one, figure.name)
            assert len(frame) == 0 and tuple(frame.columns) == figure.columns


def test_seeds_table(tmp_path: Path) -> None:
    for seed in (1, 0):
        metrics = {"run": "dp", "arm": "vanilla", "seed": seed, "steps": 10, "final_train_loss": 0.5, "extra": 1}
        (tmp_path / f"seed{seed}").mkdir()
        (tmp_path / f"seed{seed}" / "metrics.json").write_text(json.dumps(metrics))
    table = seeds_table([tmp_path / "seed1", tmp_path / "seed0"])
    assert table["seed"].tolist() == [0, 1] and "extra" not in table
    with pytest.raises(MyopiaError, match="train this run again"):
        seeds_table([tmp_path])


def test_the_end_of_a_run_fits_a_screen(written: Path, tmp_path: Path) -> None:
    frame = read_verdicts(written / "tables/verdicts.csv")
    asked = answers(RUNNING, frame)
    lines = render(asked, frame, "laptop").splitlines()
    assert len(lines) <= 40 and max(map(len, lines)) <= 110
    judged = [row for one in asked for row in one.rows.values() if row.answer != NOT_JUDGED]
    assert len(judged) >= 6
    assert sum(line.endswith(("  yes", "  no", "  undecided")) for line in lines) == len(judged)
    assert not any("replicated" in line or "not run" in line for line in lines)
    assert "an answer is a direction" not in render(asked, frame, "paper")
    failing = frame.assign(answer=frame["answer"].where(frame["id"] != "control-aa-dp", UNDECIDED))
    assert "control-aa-dp (undecided)" in " ".join(render(asked, failing, "laptop").split())
    nothing = frame.assign(answer=NOT_JUDGED)
    assert "Nothing is judged" in render(answers(RUNNING, nothing), nothing, "laptop")
    with pytest.raises(MyopiaError, match="cannot be read"):
        read_verdicts(tmp_path / "none.csv")


def test_every_question_names_claims_that_exist_and_has_a_sentence_for_every_answer(claims) -> None:
    asked = questions(RUNNING)
    assert {name for one in asked for name in one.claims.values()} <= set(claims.by_id())
    told = [one for one in asked if one.say]
    assert len(told) == 3 and all(set(one.say) == {YES, PARTLY, UNDECIDED, NO} for one in told)


def test_several_answers_come_to_one() -> None:
    assert combined([YES, NOT_JUDGED, YES]) == YES
    assert combined([YES, UNDECIDED]) == combined([YES, NO]) == PARTLY
    assert combined([NO, UNDECIDED]) == UNDECIDED
    assert combined([NOT_JUDGED]) == combined([]) == NOT_JUDGED
