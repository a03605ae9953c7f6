"""Formats and settings of the multiplication experiment: what is trained once, what is refused, what is measured apart."""

import re

import pytest

from configuring import SCALES
from myopia.common.errors import MyopiaError
from myopia.config.dag import Dag
from myopia.config.load import load_config
from myopia.experiments.multiplication import EXPERIMENT
from myopia.experiments.multiplication.formats import Format, formats, roles_of
from myopia.experiments.multiplication.settings import runs, tuning_runs


def load(scale="smoke", **section):
    return load_config({"scale": scale, "experiments": ["multiplication"], "multiplication": section})


def check_formats(scale):
    settings = load(scale)
    found = {role: one.format for one in formats(settings["multiplication"]) for role in one.roles}
    assert {"grid", "short", "long", "lead"} <= set(found) <= {"grid", "short", "long", "after", "lead"}
    assert {found[role].T for role in set(found) - {"grid", "short"}} == {found["long"].T}
    assert found["long"].T > found["short"].T
    assert len({(f.digits, f.answer) for role, f in found.items() if role != "grid"}) == 1
    for name, spec in (runs(settings) | tuning_runs(settings)).items():
        assert name == spec["name"] and name.startswith(EXPERIMENT.prefix)
        assert spec["data"]["T"] == spec["model"]["config"]["n_positions"]
        assert spec["model"]["config"]["vocab_size"] == 13 and spec["model"]["config"]["attn_pdrop"] == 0
        assert spec["batch_size"] % spec["micro_batch"] == 0


def test_every_scale_trains_all_formats_with_positions_and_symbols_to_fit():
    for scale in SCALES:
        check_formats(scale)


def test_the_papers_formats():
    settings = load("paper")
    grid, short, long, after, lead = formats(settings["multiplication"])
    assert (grid.format.T, short.format.T, long.format.T) == (34, 22, 32)  # authors' code, 4.1
    assert (grid.batch_size, short.batch_size) == (512, 1024)
    assert runs(settings)["mult-d5-pad5-vanilla"]["steps"] == 9766  # authors' code, 4.2
    assert runs(settings)["mult-d8-pad8-myopic"]["steps"] == 19532
    assert after.control and lead.control and not long.control


def test_a_format_both_figures_ask_for_is_trained_once():
    section = load()["multiplication"]
    assert [one.roles for one in formats(section)] == [("grid", "short"), ("long",), ("after",), ("lead",)]
    assert roles_of(section, "mult-d2-pad2-myopic") == ["grid", "short"]
    assert roles_of(section, "mult-d2-pad2-lead2-vanilla") == ["lead"]
    with pytest.raises(MyopiaError, match="grid and filler both train mult-d2-pad2, in batches of 16 and 32"):
        load(grid={"batch_size": 16})


def test_controls_are_not_tuned_and_not_judged_runs():
    settings = load("cpu")
    purposes = {name: spec["purpose"] for name, spec in runs(settings).items()}
    assert all(
        purpose == ("control" if re.search("after|lead", name) else "judged") for name, purpose in purposes.items()
    )
    assert {name.rsplit("-", 2)[0] for name in tuning_runs(settings)} == {"mult-d3-pad3"}


def test_every_run_and_seed_can_be_measured_alone():
    dag = Dag(load())
    (measurement,) = EXPERIMENT.measurements
    units = measurement.units(dag)
    assert len(units) == 4 * 2 * 2  # formats, arms, seeds
    (one,) = units["mult-d2-pad2-myopic-seed1"]
    assert one["folder"] == "results/smoke/runs/mult-d2-pad2-myopic/seed1"
    assert (one["arm"], one["seed"], one["roles"], one["examples"]) == ("myopic", 1, ["grid", "short"], 640)
    assert measurement.options(dag.settings) == {"problems": 64}


def test_digits_and_padding_out_of_range_are_one_sentence():
    for values, sentence in (
        ({"digits": 0, "pad": 3}, "digits must be a whole number of at least 1"),
        ({"digits": 10, "pad": 10}, "do not fit 64 bits"),
        ({"digits": 4, "pad": 3}, "pad 3 is too short for operands of 4 digits"),
        ({"digits": 2, "pad": 600}, "more than 1024"),
        ({"digits": 2, "pad": 2, "loss_on": "question"}, "loss_on must be answer or all"),
    ):
        with pytest.raises(MyopiaError, match=sentence) as caught:
            Format(**values)
        assert "\n" not in str(caught.value), values


@pytest.mark.parametrize(
    ("section", "key"),
    [
        ({"grid": {"pad": 1}}, "pad 1 is too short for operands of 2 digits"),
        ({"filler": {"pads": [3, 2]}}, "multiplication.filler.pads"),
        ({"model": {"n_positions": 8}}, "multiplication.model.n_positions"),
    ],
)
def test_bad_settings_name_their_key(section, key):
    with pytest.raises(MyopiaError, match=key) as caught:
        load(**section)
    assert "\n" not in str(caught.value)
