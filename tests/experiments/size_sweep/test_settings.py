"""The size sweep: recipes exactly as the protocol has them, equal pairs, shared runs, jobs and units, and refusals."""

import copy
import math
import re

import pandas as pd
import pytest
import yaml

from configuring import SCALES
from myopia.common.errors import MyopiaError
from myopia.config.dag import Dag
from myopia.config.load import ROOT, load_config
from myopia.config.runs import PAIR
from myopia.experiments.size_sweep import EXPERIMENT
from myopia.experiments.size_sweep.runs import sweep, tuning_runs

FROM_SCRATCH = ["laptop", "cpu", "gpu"]
FACTORS = (1.5, 2.5, 5, 7.5, 9.4)
"""Myopic over vanilla rate of as_run by rank of size (protocol section 2 with amendment 5)."""


def load(scale="smoke", top=None, **section):
    return load_config({"scale": scale, "experiments": ["size_sweep"], "size_sweep": section, **(top or {})})


@pytest.fixture(scope="module")
def paper():
    frame = pd.read_csv(ROOT / "workflow/reference/paper_values.csv", dtype={"id": str}).set_index("id")["value"]
    return lambda key: float(frame[key])


def members(made, recipe, start="checkpoint"):
    return [m for m in made.members if (m.recipe, m.start) == (recipe, start)]


# --- recipes ---


def check_as_run(scale):
    settings = load(scale)
    section, made = settings["size_sweep"], sweep(settings)
    five = section["sizes"] if scale != "cpu" else ["d16", "d20", "d24", "d32", "d48"]  # d20 is ranked, not run
    factors = dict(zip(five, FACTORS, strict=True))
    for size in section["sizes"]:
        rate = {m.arm: m.lr for m in members(made, "as_run") if m.size == size}
        assert rate["myopic"] / rate["vanilla"] == pytest.approx(factors[size])
        assert rate["vanilla"] == pytest.approx(0.4 * section["networks"][size]["scratch_lr"]["vanilla"])
    assert {(m.arm, m.warmup) for m in members(made, "as_run")} == {("vanilla", 0.05), ("myopic", 0.01)}


def test_as_run_of_networks_trained_here():
    for scale in FROM_SCRATCH:
        check_as_run(scale)


def test_the_papers_recipes_on_released_weights(paper):
    made = sweep(load("paper"))
    as_run, table5 = members(made, "as_run"), members(made, "paper_table5")
    assert len(as_run) == len(table5) == 16
    for m in as_run:
        name, spec = m.size.removeprefix("pythia-"), made.specs[m.run]
        key = f"code-pythia-lr-name-{name}" if m.arm == "vanilla" else f"code-pythia-lr-myopic-{name}"
        assert m.lr == paper(key) and m.warmup == {"vanilla": 0.05, "myopic": 0.01}[m.arm]
        assert (spec["batch_size"], spec["steps"]) == (6144, 1628) == (6144, paper("code-pythia-steps"))
        assert spec["model"]["pretrained"]["id"] == f"EleutherAI/{m.size}" and "init_from" not in spec
    for m in table5:
        name, spec = m.size.removeprefix("pythia-"), made.specs[m.run]
        assert m.lr == spec["optim"]["lr"] == paper(f"table5-lr-{name}")
        assert m.batch_size == spec["batch_size"] == paper(f"table5-batch-{name}")
        assert spec["steps"] == math.ceil(10_000_000 / m.batch_size)


def test_sizes_beyond_the_paper_can_be_added():
    made = sweep(load("paper", sizes=["pythia-6.9b", "pythia-12b"]))
    rates = {(m.size, m.arm): m.lr for m in members(made, "as_run")}
    for size in ("pythia-6.9b", "pythia-12b"):  # .4 x the authors' 1.2e-4
        assert rates[size, "vanilla"] == pytest.approx(4.8e-5) and rates[size, "myopic"] == 6e-4
    assert not members(made, "paper_table5")


def check_pairs(scale):
    settings = load(scale)
    made = sweep(settings)
    pairs = {}
    for m in members(made, "matched"):
        pairs.setdefault((m.size, m.lr), {})[m.arm] = made.specs[m.run]
    assert pairs
    for arms in pairs.values():
        assert set(arms) == set(PAIR)
        apart = ("arm", "arm_name", "name", "purpose")
        rest = [{key: value for key, value in spec.items() if key not in apart} for spec in arms.values()]
        assert rest[0] == rest[1]
    played = {m.run for m in made.members} | {s["init_from"] for s in made.specs.values() if "init_from" in s}
    assert played == set(made.specs)
    for name, spec in made.specs.items():
        assert spec["name"] == name and re.fullmatch(EXPERIMENT.prefix + r"[a-z0-9.e-]+", name)
    claims = yaml.safe_load((ROOT / "workflow/reference/claims.yaml").read_text())
    assert set(settings["size_sweep"]["tuning_seeds"]) <= set(claims["tuning_seeds"])  # which no verdict reads


def test_every_scale_has_equal_pairs_and_a_condition_for_every_run():
    for scale in SCALES:
        check_pairs(scale)


def check_grid(scale):
    """gap(lr) must show what the unequal rates did."""
    settings = load(scale)
    made = sweep(settings)
    for size in settings["size_sweep"]["sizes"]:
        grid = [m.lr for m in members(made, "matched") if m.size == size]
        rates = [m.lr for m in members(made, "as_run") if m.size == size]
        if len(set(grid)) > 1:
            assert min(grid) <= min(rates) * 1.01 and max(rates) <= max(grid) * 1.2, size


def test_the_grid_reaches_over_the_rates_as_run():
    for scale in [*FROM_SCRATCH, "paper"]:
        check_grid(scale)


# --- starts ---


def check_fine_tuning(scale):
    made = sweep(load(scale))
    names = list(made.specs)
    tuned = {name: spec for name, spec in made.specs.items() if "init_from" in spec}
    assert {m.run for m in made.members if m.start == "checkpoint"} == set(tuned)
    for name, spec in tuned.items():
        first = made.specs[spec["init_from"]]
        assert made.size_of[name] == made.size_of[first["name"]] and spec["model"] == first["model"]
        assert first["arm_name"] == "vanilla" and first["purpose"] == "pretraining"
        assert spec["data"]["first_sample"] == first["steps"] * first["batch_size"]
        assert names.index(first["name"]) < names.index(name)  # one process trains them in this order


def test_fine_tuning_goes_on_after_its_pretraining():
    for scale in FROM_SCRATCH:
        check_fine_tuning(scale)


def check_from_random(scale):
    settings = load(scale, networks={"d32": {"scratch_lr": {"vanilla": 7e-3, "myopic": 3e-3}}})
    section, made = settings["size_sweep"], sweep(settings)
    rows = members(made, "best", "random")
    assert len(rows) == 2 * len(section["sizes"])
    for m in rows:
        spec = made.specs[m.run]
        assert m.lr == section["networks"][m.size]["scratch_lr"][m.arm]
        assert "init_from" not in spec and "first_sample" not in spec["data"]
        assert spec["steps"] == section["scratch"]["steps"] >= 1200  # protocol section 3


def test_from_random_initialisation_each_arm_has_its_frozen_rate():
    for scale in ("cpu", "gpu"):
        check_from_random(scale)


def test_released_architectures_from_random_initialisation():
    made = sweep(load("paper", recipes={"best": ["random"]}))
    rows = members(made, "best", "random")
    assert len(rows) == 16 and {made.specs[m.run]["model"]["weights"] for m in rows} == {"random"}


def test_recipes_that_ask_for_the_same_training_share_a_run():
    made = sweep(load("cpu"))
    grid = {m.run for m in members(made, "matched")}
    shared = [m for m in members(made, "as_run") if m.arm == "vanilla"]
    assert shared and all(m.run in grid for m in shared)
    assert not {m.run for m in members(made, "as_run") if m.arm == "myopic"} & grid  # its warm-up is another
    # Pretraining as long as the runs from random initialisation serves as vanilla's.
    made = sweep(load(pretrain={"steps": 20, "batch_size": 8}))
    assert {m.run for m in members(made, "best", "random") if m.arm == "vanilla"} == {
        "family-d16-pretrain", "family-d24-pretrain"
    }  # fmt: skip


def test_settings_are_left_alone():
    settings = load("cpu")
    before = copy.deepcopy(settings)
    for spec in sweep(settings).specs.values():
        spec["optim"]["lr"] = 0
    assert settings == before


# --- tuning ---


def test_the_grid_that_freezes_rates_is_equal_and_on_tuning_seeds_only():
    settings = load("cpu")
    grid = tuning_runs(settings)
    rates = {}
    for name, spec in grid.items():
        assert spec["name"] == name and spec["purpose"] == "tuning"
        if "scratch" in name:
            rates.setdefault((name.split("-")[1], spec["arm_name"]), []).append(spec["optim"]["lr"])
    assert set(rates) == {(size, arm) for size in settings["size_sweep"]["sizes"] for arm in PAIR}
    assert all(tried == settings["size_sweep"]["scratch"]["lr_grid"] for tried in rates.values())
    assert not set(grid) & set(sweep(settings).specs)
    assert not tuning_runs(load("laptop"))


def test_only_grids_without_a_frozen_rate_are_trained_on_tuning_seeds():
    frozen = {"d16": {"finetune_lr": {"vanilla": 1.6e-2, "myopic": 6.4e-3}}}
    grid = [6.4e-3, 1.6e-2]
    settings = load(networks=frozen, finetune={"lr_grid": grid}, tuning_seeds=[100])
    made = sweep(settings)
    names, seeds = EXPERIMENT.grid(settings)
    assert seeds == [100] and {made.size_of[name] for name in names} == {"d24"}  # d16 has nothing to choose
    assert not [name for name in names if name.endswith("as-run") or "scratch" in name]
    assert {(m.size, m.arm): m.lr for m in made.members if m.frozen} == {
        ("d16", "vanilla"): 1.6e-2, ("d16", "myopic"): 6.4e-3
    }  # fmt: skip
    flags = {(c["recipe"], c["size"]): c["tuned"] for c in made.conditions()}
    assert [key for key, tuned in flags.items() if tuned] == [("matched", "d24")]
    assert EXPERIMENT.grid(load(networks=frozen, finetune={"lr_grid": grid}))[0] == []  # no tuning seeds
    # The grid that froze them can be trained again, on tuning seeds, in folders of its own.
    tuning = tuning_runs(settings)
    again = {name: spec for name, spec in tuning.items() if "init_from" in spec}
    assert set(again) == {f"family-d16-tuning-{arm}-lr{rate:g}" for arm in PAIR for rate in grid}

    def content(spec):
        return {key: value for key, value in spec.items() if key not in ("name", "purpose", "init_from")}

    for name, spec in again.items():
        same = made.specs[name.replace("-tuning", "")]
        assert spec["purpose"] == "tuning" and spec["name"] == name and content(spec) == content(same)
        assert content(tuning[spec["init_from"]]) == content(made.specs[same["init_from"]])


# --- jobs and units ---


def test_a_job_trains_a_size_and_at_smoke_all():
    settings = load("laptop")
    groups = EXPERIMENT.groups(settings)
    assert list(groups) == [f"size-sweep-{size}" for size in settings["size_sweep"]["sizes"]]
    assert [run for group in groups.values() for run in group] == list(sweep(settings).specs)
    assert EXPERIMENT.groups(load()) == {"size-sweep": list(sweep(load()).specs)}


def test_each_size_can_be_measured_alone():
    dag = Dag(load(tuning_seeds=[100], finetune={"lr_grid": [6.4e-3, 1.6e-2]}))
    (measurement,) = EXPERIMENT.measurements
    units = measurement.units(dag)
    assert list(units) == ["d16", "d24"]
    judged = {entry["run"] for entry in units["d16"] if entry["trained"]}
    assert judged == {m.run for m in sweep(dag.settings).members if m.size == "d16"}
    on_tuning = [entry for entry in units["d16"] if not entry["trained"]]
    assert {entry["run"] for entry in on_tuning} == {
        f"family-d16-{arm}-lr{rate}" for arm in PAIR for rate in ("0.0064", "0.016")
    }
    for entry in on_tuning:
        assert entry["also"] == [f"results/smoke/runs/{entry['run']}/seed100/metrics.json"]
        assert {condition["recipe"] for condition in entry["conditions"]} == {"matched"}


def test_no_sizes_are_allowed():
    settings = load(sizes=[])
    assert settings["corpora"] == {} and not EXPERIMENT.groups(settings) and not sweep(settings).specs
    assert EXPERIMENT.measurements[0].units(Dag(settings)) == {}


# --- refusals ---


@pytest.mark.parametrize(
    ("section", "sentence"),
    [
        ({"sizes": ["d17"]}, r"size_sweep\.sizes: 'd17' is not described"),
        ({"tuning_seeds": [0]}, r"size_sweep\.tuning_seeds: seed 0 is also judged"),
        ({"networks": {"d16": {"scratch_lr": None}}}, r"networks\.d16: the key 'scratch_lr' is missing"),
        ({"networks": {"d16": {"as_run": None}}}, r"'as_run' is missing; give it, or set size_sweep\.recipes\.as_run"),
        ({"networks": {"d16": {"pretrained": "x/y"}}}, r"networks\.d16: give either config .* or pretrained"),
        ({"networks": {"d16": {"config": {"num_attention_heads": 3}}}}, r"d16\.config: width 16 is not divisible by 3"),
        ({"config": {"max_position_embeddings": 32}}, r"do not fit into its 32 positions"),
        ({"finetune": {"micro_batch": 3}}, r"would cut its batch of 8 into micro-batches of 3"),
        ({"finetune": {"lr_grid": [8e-4, 8.0000001e-4]}}, r"two runs would be called family-d16-vanilla-lr0\.0008"),
        (
            {"networks": {"d16": {"finetune_lr": {"vanilla": 1e-3, "myopic": 6.4e-3}}}},
            r"networks\.d16\.finetune_lr\.vanilla: 0\.001 is not in the grid this size is fine-tuned over \(0\.0064\)",
        ),
    ],
)
def test_a_sweep_that_could_not_be_trained_is_refused(section, sentence):
    with pytest.raises(MyopiaError, match=sentence):
        load(**section)


# --- networks of one's own ---


@pytest.fixture
def own(tmp_path):
    """`own(network, **top)` loads settings whose one network is that; and a folder that can be one."""
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "config.json").write_text('{"model_type": "llama", "max_position_embeddings": 64}')
    (folder / "model.safetensors").touch()

    def load_own(recipes=None, top=None, **network):
        network = {"pretrained": str(folder), "lr_grid": [1e-3], **network}
        recipes = {"best": [], "as_run": [], **(recipes or {})}
        return load(sizes=["mine"], recipes=recipes, networks={"mine": network}, top=top)

    return load_own, folder


def test_a_folder_is_a_network_and_a_hub_id_is_fetched(own):
    load_own, folder = own
    settings = load_own()
    specs = sweep(settings).specs
    assert set(specs) == {"family-mine-vanilla-lr0.001", "family-mine-myopic-lr0.001"}
    assert all(spec["model"] == {"kind": "language", "pretrained": {"id": str(folder)}} for spec in specs.values())
    assert Dag(settings).networks() == {}
    fetched = {"mine": {"id": "someone/model", "revision": "v1", "network": "mine"}}
    assert Dag(load_own(pretrained="someone/model", revision="v1")).networks() == fetched


def test_a_folder_that_cannot_be_used_is_refused(own):
    load_own, folder = own
    with pytest.raises(MyopiaError, match=r"networks\.mine\.pretrained: .* is a folder here: leave out its revision"):
        load_own(revision="main")
    with pytest.raises(MyopiaError, match=r"windows of 65 tokens \(context_length\) do not fit into its 64 positions"):
        load_own(top={"context_length": 65})
    (folder / "model.safetensors").unlink()
    with pytest.raises(MyopiaError, match=r"holds no \.safetensors file; save the model with save_pretrained"):
        load_own()
    (folder / "config.json").unlink()
    with pytest.raises(MyopiaError, match=r"config\.json cannot be read"):
        load_own()
    with pytest.raises(MyopiaError, match=r"no folder someone/model; for a model on the hub give its revision"):
        load_own(pretrained="someone/model")
    with pytest.raises(MyopiaError, match=r"'as_run' is missing"):
        load_own(pretrained="someone/model", revision="main", recipes={"as_run": ["checkpoint"]})
