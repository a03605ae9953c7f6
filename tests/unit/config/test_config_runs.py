"""Settings -> run specs: names, pairs, controls, tuning."""

import copy
import re

import pytest
import yaml

from myopia.common.errors import MyopiaError
from myopia.config.load import ROOT, load_config
from myopia.config.runs import ARMS, DOSES, run_specs, tuning_specs

KINDS = {"synthetic": "dp", "text": "tokens", "multiplication": "multiplication"}  # settings -> data
SCALES = ["smoke", "laptop", "cpu", "gpu", "paper"]
# The wildcard constraint of the workflow: a name that does not match it cannot be a target.
RUN = re.search(r'run=r"(.+)"', (ROOT / "workflow/rules/common.smk").read_text()).group(1)


def load(config, scale, **more):
    return load_config({**config, "scale": scale, **more})


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("local", [False, True])
def test_names_are_unique_and_fit_the_wildcard(config, scale, local, tmp_path):
    for name in ("msmarco", "pg19", "pile_like"):
        (tmp_path / name).mkdir()
    settings = load(config, scale, data_root=str(tmp_path) if local else None)
    runs, tuning = run_specs(settings), tuning_specs(settings)
    assert not set(runs) & set(tuning)
    for name, spec in {**runs, **tuning}.items():
        assert spec["name"] == name and re.fullmatch(RUN, name), name


def test_small_p_still_gives_a_name(config):
    config["scales"]["smoke"]["synthetic"]["p"] = [1e-5, 1.0]
    names = list(run_specs(load(config, "smoke")))
    assert "dp-p1e-05-vanilla" in names and all(re.fullmatch(RUN, name) for name in names)


def test_two_runs_never_share_a_name(config):
    config["scales"]["smoke"]["synthetic"]["p"] = [0.1, 0.1000000001, 1.0]
    with pytest.raises(MyopiaError, match=r"two runs would be called dp-p0\.1-vanilla"):
        run_specs(load(config, "smoke"))


@pytest.mark.parametrize("scale", SCALES)
def test_each_pair_differs_in_its_arm_alone(config, scale):
    settings = load(config, scale)
    rooms = {"synthetic": len(settings["synthetic"]["p"]), "text": len(settings["text"]["corpora"])}
    tuned = sum(count for room, count in rooms.items() if settings[room]["lr_grid"])
    for specs, least in ((run_specs(settings), sum(rooms.values())), (tuning_specs(settings), tuned)):
        pairs = 0
        for name, vanilla in specs.items():
            if vanilla["arm_name"] != "vanilla":
                continue
            twin = specs.get(name.replace("vanilla", "myopic"))
            if twin is None:  # a control of one arm only
                assert vanilla["purpose"] == "control"
                continue
            pairs += 1
            assert _without_arm(vanilla) == _without_arm(twin)
            assert vanilla["arm"] == ARMS["vanilla"] and twin["arm"] == ARMS["myopic"]
        assert pairs >= least


def _without_arm(spec):
    spec = copy.deepcopy(spec)
    for key in ("arm", "arm_name", "name"):
        del spec[key]
    del spec["optim"]["lr"]
    return spec


@pytest.mark.parametrize(("arm", "like"), [("beta1", "vanilla"), ("myopic-kv", "myopic")])
@pytest.mark.parametrize("room", ["synthetic", "text"])
def test_a_varied_arm_runs_at_the_rate_of_the_arm_it_varies(config, arm, like, room):
    rates = {"vanilla": 1e-3, "myopic": 7e-3}
    config["base"][room]["optim"]["lr"] = rates
    config["scales"]["smoke"]["synthetic"]["controls"] = ["myopic-kv", "beta1"]
    config["scales"]["smoke"]["text"]["arms"] = [a for a in ARMS if a not in DOSES]
    prefix = {"synthetic": "dp-p1", "text": "text-docstrings"}[room]
    spec = run_specs(load(config, "smoke"))[f"{prefix}-{arm}"]
    assert spec["optim"]["lr"] == rates[like] and spec["purpose"] == "control"
    rates[arm] = 5e-4  # named: its own
    assert run_specs(load(config, "smoke"))[f"{prefix}-{arm}"]["optim"]["lr"] == 5e-4


def test_a_rate_for_one_p_replaces_the_arms_rate_there_alone(config):
    config["scales"]["smoke"]["synthetic"].update(
        p=[0.3, 1.0], controls=["beta1", "myopic-kv"], lr_at_p={"1": {"vanilla": 5e-3}}
    )
    config["base"]["synthetic"]["optim"]["lr"] = {"vanilla": 1e-3, "myopic": 2e-3}
    runs = run_specs(load(config, "smoke"))
    rates = {name: spec["optim"]["lr"] for name, spec in runs.items() if name.startswith("dp")}
    assert rates == {
        "dp-p0.3-vanilla": 1e-3, "dp-p0.3-myopic": 2e-3, "dp-p1-vanilla": 5e-3, "dp-p1-myopic": 2e-3,
        "dp-p1-beta1": 5e-3, "dp-p1-myopic-kv": 2e-3,
    }  # fmt: skip


def test_controls_run_at_control_p_and_shift0_puts_the_present_into_the_window(config):
    config["scales"]["smoke"]["synthetic"]["controls"] = ["shift0-vanilla", "shift0-myopic", "myopic-kv", "beta1"]
    runs = run_specs(load(config, "smoke"))
    controls = {n: s for n, s in runs.items() if n.startswith("dp") and s["purpose"] == "control"}
    assert set(controls) == {"dp-p1-shift0-vanilla", "dp-p1-shift0-myopic", "dp-p1-myopic-kv", "dp-p1-beta1"}
    for name, spec in controls.items():
        assert spec["data"]["p"] == 1.0 and spec["data"]["shift"] == (0 if "shift0" in name else 1)


def test_beta1_is_the_myopic_operator_with_nothing_cut():
    assert ARMS["beta1"] == {**ARMS["myopic"], "beta": 1.0}


@pytest.mark.parametrize("scale", SCALES)
def test_judged_runs_say_so(config, scale):
    settings = load(config, scale)
    purposes = {s["purpose"] for s in run_specs(settings).values()}
    assert purposes == ({"smoke", "control"} if scale == "smoke" else {"judged", "control"})
    assert {s["purpose"] for s in tuning_specs(settings).values()} <= {"tuning"}


@pytest.mark.parametrize("scale", SCALES)
def test_both_arms_are_tuned_over_one_grid(config, scale):
    settings = load(config, scale)
    rooms = {
        "dp": settings["synthetic"],
        "text": settings["text"],
        "bias": settings["anatomy"]["bias"],
        "mult": settings["multiplication"],
    }
    tuned = tuning_specs(settings)
    for prefix, room in rooms.items():
        for arm in ("vanilla", "myopic"):
            specs = [s for s in tuned.values() if s["name"].startswith(f"{prefix}-")]
            assert {s["optim"]["lr"] for s in specs if s["arm_name"] == arm} == set(room["lr_grid"])


def test_specs_share_nothing(config):
    """Changing one spec (tuning sets its learning rate) must leave the settings and all others alone."""
    settings = load(config, "laptop")
    before = copy.deepcopy(settings)
    tuning_specs(settings)
    assert settings == before


def test_the_claims_file_leaves_out_the_tuning_seeds(config):
    claims = yaml.safe_load((ROOT / "workflow/reference/claims.yaml").read_text())
    for scale in SCALES:
        assert set(load(config, scale)["tuning_seeds"]) <= set(claims["tuning_seeds"])


def test_a_corpus_has_steps_and_rates_of_its_own(config, tmp_path):
    for name in ("msmarco", "pile_like"):
        (tmp_path / name).mkdir()
    text = config["base"]["text"]
    text["at_corpus"] = {"msmarco": {"steps": 7, "lr": {"myopic": 5e-4}}, "pg19": {"steps": 9}}
    settings = load(config, "laptop", data_root=str(tmp_path))
    assert list(settings["text"]["at_corpus"]) == ["msmarco"]  # pg19 is not trained on
    runs = run_specs(settings)
    own, other = runs["text-msmarco-myopic"], runs["text-pile-like-myopic"]
    assert (own["steps"], own["optim"]["lr"]) == (7, 5e-4)
    assert (other["steps"], other["optim"]["lr"]) == (text["steps"], text["optim"]["lr"]["myopic"])
    assert runs["text-msmarco-vanilla"]["optim"]["lr"] == text["optim"]["lr"]["vanilla"]
    assert runs["text-msmarco-vanilla"]["steps"] == 7
