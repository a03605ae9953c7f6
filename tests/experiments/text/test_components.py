"""Losses by the part of a mixture: the right documents in each part, intervals where there can be any."""

import numpy as np
import pandas as pd
import pytest

from experiments.text.simulate import text
from myopia.common.files import write_csv
from myopia.config.tables import TEXT_COMPONENTS, TEXT_LOSS
from myopia.experiments.text import EXPERIMENT
from myopia.experiments.text.component import text_by_component
from myopia.judge.measures import Measures, NotRun, Paper
from myopia.judge.registry import Context
from myopia.judge.stats import holm

PAPER = Paper(pd.DataFrame({"id": ["x"], "value": [0.0], "reading_error": [0.0]}))


def table(folder):
    return text_by_component(Context(Measures(folder), PAPER))


@pytest.fixture
def folder(tmp_path):
    """Five seeds, 24 documents in three parts; the gap is .3 larger in part 0."""
    tables = text(np.random.default_rng(0), 5, 1.0, 1.0, arms=["vanilla", "myopic", "bigram-true"])
    loss = tables[TEXT_LOSS.name].reset_index(drop=True)
    part = loss["doc"].str.removeprefix("doc").astype(int) % 3
    loss.loc[(part == 0) & (loss["arm"] == "myopic"), "loss"] += 0.3
    for name, frame in {**tables, TEXT_LOSS.name: loss}.items():
        write_csv(tmp_path / name, frame)
    return tmp_path


def test_each_part_is_the_mean_of_its_own_documents(folder):
    frame = table(folder)
    assert tuple(frame.columns) == EXPERIMENT.figure("text_by_component").columns
    loss = pd.read_csv(folder / TEXT_LOSS.name)
    part = "part " + (loss["doc"].str.removeprefix("doc").astype(int) % 3).astype(str)
    for component in ("part 0", "part 1", "part 2"):
        rows = frame[frame["component"] == component].set_index("series")
        here = loss[part == component]
        means = {
            arm: np.average(cells["loss"], weights=cells["n"]) for arm, cells in here.groupby("arm")
        }  # every seed has the same tokens
        for arm in ("vanilla", "myopic", "bigram-true"):
            assert rows.loc[arm, "value"] == pytest.approx(means[arm])
        assert rows.loc["gap", "value"] == pytest.approx(means["myopic"] - means["vanilla"])
        assert rows["documents"].eq(8).all() and rows["seeds"].eq(5).all()


def test_intervals_find_the_part_that_differs(folder):
    gap = table(folder).query("series == 'gap'").set_index("component")
    assert gap.loc["part 0", "ci_low"] > gap.loc[["part 1", "part 2"], "ci_high"].max()
    assert (gap["ci_low"] < gap["value"]).all() and (gap["value"] < gap["ci_high"]).all()
    assert gap["p_holm"].lt(0.01).all()
    assert table(folder).query("series != 'gap'")["p_holm"].isna().all()


def test_holm_is_over_the_parts_of_a_corpus(folder, monkeypatch):
    seen = []
    monkeypatch.setattr("myopia.experiments.text.component.holm", lambda p: seen.append(list(p)) or holm(p))
    table(folder)
    assert sorted(map(len, seen)) == [0] * (len(seen) - 1) + [3]


def test_one_document_has_a_value_and_no_interval(folder):
    named = pd.read_csv(folder / TEXT_COMPONENTS.name)
    named.loc[named["doc"] == "doc005", "component"] = "rare"
    write_csv(folder / TEXT_COMPONENTS.name, named)
    frame = table(folder)
    rare = frame[(frame["component"] == "rare") & (frame["series"] == "gap")].iloc[0]
    assert (
        np.isfinite(rare["value"]) and np.isnan(rare["ci_low"]) and np.isnan(rare["p_holm"]) and rare["documents"] == 1
    )
    other = frame[(frame["component"] == "part 0") & (frame["series"] == "gap")].iloc[0]
    assert np.isfinite(other["p_holm"])


def test_documents_without_a_name_are_a_part_of_their_own(folder):
    named = pd.read_csv(folder / TEXT_COMPONENTS.name).iloc[:-3]
    write_csv(folder / TEXT_COMPONENTS.name, named)
    assert set(table(folder)["component"]) == {"part 0", "part 1", "part 2", "(none given)"}


def test_no_mixture_no_table(folder):
    write_csv(folder / TEXT_COMPONENTS.name, pd.DataFrame(columns=TEXT_COMPONENTS.columns))
    with pytest.raises(NotRun):
        table(folder)
