"""Formats of the multiplication experiment: what is trained once, what is refused, and that pads only add filler."""

import pytest

from myopia.common.errors import MyopiaError
from myopia.config.load import load_config
from myopia.config.runs import run_specs, tuning_specs
from myopia.experiments.multiplication.settings import Format, formats, roles_of

SCALES = ["smoke", "laptop", "cpu", "gpu", "paper"]


def part_of(config, scale="smoke"):
    return load_config({**config, "scale": scale})["multiplication"]


@pytest.mark.parametrize("scale", SCALES)
def test_the_long_formats_are_equally_long(config, scale):
    found = {role: one.format for one in formats(part_of(config, scale)) for role in one.roles}
    assert set(found) == {"grid", "short", "long", "after", "lead"}
    assert found["long"].T == found["after"].T == found["lead"].T > found["short"].T
    assert len({(f.digits, f.answer) for r, f in found.items() if r != "grid"}) == 1


def test_the_papers_formats(config):
    grid, short, long, after, lead = formats(part_of(config, "paper"))
    assert (grid.format.T, short.format.T, long.format.T) == (34, 22, 32)  # authors' code, 4.1
    assert (grid.batch_size, short.batch_size) == (512, 1024)
    runs = run_specs(load_config({**config, "scale": "paper"}))
    assert runs["mult-d5-pad5-vanilla"]["steps"] == 9766  # authors' code, 4.2
    assert runs["mult-d8-pad8-myopic"]["steps"] == 19532
    assert after.control and lead.control and not long.control


def test_a_format_both_figures_ask_for_is_trained_once(config):
    found = formats(part_of(config, "smoke"))
    assert [one.roles for one in found] == [("grid", "short"), ("long",), ("after",), ("lead",)]
    assert roles_of(part_of(config, "smoke"), "mult-d2-pad2-myopic") == ["grid", "short"]
    assert roles_of(part_of(config, "smoke"), "mult-d2-pad2-lead2-vanilla") == ["lead"]
    config["scales"]["smoke"]["multiplication"]["grid"]["batch_size"] = 16
    with pytest.raises(MyopiaError, match="grid and filler both train mult-d2-pad2, in batches of 16 and 32"):
        part_of(config, "smoke")


def test_controls_are_not_tuned_and_not_judged_runs(config):
    settings = load_config({**config, "scale": "cpu"})
    runs = {n: s for n, s in run_specs(settings).items() if n.startswith("mult")}
    assert {s["purpose"] for n, s in runs.items() if "after" in n or "lead" in n} == {"control"}
    assert {s["purpose"] for n, s in runs.items() if "after" not in n and "lead" not in n} == {"judged"}
    assert {n.rsplit("-", 2)[0] for n in tuning_specs(settings) if n.startswith("mult")} == {"mult-d3-pad3"}


@pytest.mark.parametrize("scale", SCALES)
def test_specs_can_be_counted(config, scale):
    for name, spec in run_specs(load_config({**config, "scale": scale})).items():
        if name.startswith("mult"):
            assert spec["data"]["T"] == spec["model"]["config"]["n_positions"]
            assert spec["model"]["config"]["vocab_size"] == 13 and spec["model"]["config"]["attn_pdrop"] == 0
            assert spec["batch_size"] % spec["micro_batch"] == 0


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"digits": 0, "pad": 3}, "digits must be a whole number of at least 1, not 0"),
        ({"digits": 10, "pad": 10}, "do not fit 64 bits; take at most 9"),
        ({"digits": 4, "pad": 3}, "pad 3 is too short for operands of 4 digits; pad to at least 4"),
        ({"digits": 2, "pad": 600}, "more than 1024"),
        ({"digits": 2, "pad": 2, "after": -1}, "after must be a whole number of at least 0"),
        ({"digits": 2, "pad": 2, "loss_on": "question"}, "loss_on must be answer or all"),
    ],
)
def test_digits_and_padding_out_of_range_are_one_sentence(values, sentence):
    with pytest.raises(MyopiaError, match=sentence) as caught:
        Format(**values)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("path", "value", "sentence"),
    [
        ("grid.digits", 12, r"multiplication\.grid\.digits: 12 is greater than the maximum of 9"),
        ("grid.pad", 1, "pad 1 is too short for operands of 2 digits"),
        ("filler.pads", [3, 2], "filler.pads: 2 is not longer than 3"),
        ("filler.pads", [1, 4], "pad 1 is too short"),
        ("filler.controls", ["behind"], "'behind' is not one of"),
        ("micro_batch", 24, "multiplication.micro_batch: 24 does not divide the batch of 32"),
        ("model.n_positions", 8, "n_positions: mult-d2-pad2 has 10 tokens, more than 8"),
        ("model.n_head", 3, "n_embd 16 is not divisible by n_head 3"),
        ("optim", {"lr": {"vanilla": 0.0}}, "the arm vanilla needs a learning rate above 0"),
        ("test_problems", 8, "8 is less than the minimum"),
    ],
)
def test_bad_settings_name_their_key(put, path, value, sentence):
    with pytest.raises(MyopiaError, match=sentence) as caught:
        load_config(put(f"scales.smoke.multiplication.{path}", value))
    assert "\n" not in str(caught.value)
