"""The model family: recipes exactly as the protocol has them, equal pairs, shared runs, and refusals."""

import copy
import math
import re

import pandas as pd
import pytest
import yaml
from snakemake.utils import update_config

from myopia.common.errors import MyopiaError
from myopia.config.load import ROOT, load_config
from myopia.experiments.size_sweep.settings import PAIR, family, fetched_networks, frozen_rate_specs

SCALES = ["smoke", "laptop", "cpu", "gpu", "paper"]
FROM_SCRATCH = ["laptop", "cpu", "gpu"]
FACTORS = (1.5, 2.5, 5, 7.5, 9.4)
"""Myopic over vanilla rate of as_run by rank of size (protocol section 2 with amendment 5)."""
RUN = re.search(r'run=r"(.+)"', (ROOT / "workflow/rules/common.smk").read_text()).group(1)


def load(config, scale, **more):
    return load_config({**config, "scale": scale, **more})


@pytest.fixture(scope="module")
def paper():
    frame = pd.read_csv(ROOT / "workflow/reference/paper_values.csv", dtype={"id": str}).set_index("id")["value"]
    return lambda key: float(frame[key])


def members(made, recipe, start="checkpoint"):
    return [m for m in made.members if (m.recipe, m.start) == (recipe, start)]


# --- recipes ---


@pytest.mark.parametrize("scale", FROM_SCRATCH)
def test_as_run_in_a_from_scratch_family(config, scale):
    settings = load(config, scale)
    part, made = settings["family"], family(settings)
    five = part["sizes"] if scale != "cpu" else ["d16", "d20", "d24", "d32", "d48"]  # d20 is ranked, not run
    factors = dict(zip(five, FACTORS, strict=True))
    for size in part["sizes"]:
        rate = {m.arm: m.lr for m in members(made, "as_run") if m.size == size}
        assert rate["myopic"] / rate["vanilla"] == pytest.approx(factors[size])
        assert rate["vanilla"] == pytest.approx(0.4 * part["networks"][size]["scratch_lr"]["vanilla"])
    assert {(m.arm, m.warmup) for m in members(made, "as_run")} == {("vanilla", 0.05), ("myopic", 0.01)}


def test_as_run_on_released_weights(config, paper):
    made = family(load(config, "paper"))
    rows = members(made, "as_run")
    assert len(rows) == 16
    for m in rows:
        name = m.size.removeprefix("pythia-")
        key = f"code-pythia-lr-name-{name}" if m.arm == "vanilla" else f"code-pythia-lr-myopic-{name}"
        assert m.lr == paper(key) and m.warmup == {"vanilla": 0.05, "myopic": 0.01}[m.arm]
        spec = made.specs[m.run]
        assert (spec["batch_size"], spec["steps"]) == (6144, 1628) == (6144, paper("code-pythia-steps"))
        assert spec["model"]["pretrained"]["id"] == f"EleutherAI/{m.size}" and "init_from" not in spec


def test_paper_table5_on_released_weights(config, paper):
    made = family(load(config, "paper"))
    rows = members(made, "paper_table5")
    assert len(rows) == 16
    for m in rows:
        name, spec = m.size.removeprefix("pythia-"), made.specs[m.run]
        assert m.lr == spec["optim"]["lr"] == paper(f"table5-lr-{name}")
        assert m.batch_size == spec["batch_size"] == paper(f"table5-batch-{name}")
        assert spec["steps"] == math.ceil(10_000_000 / m.batch_size)


def test_sizes_beyond_the_paper_can_be_added(config):
    config["scales"]["paper"]["family"]["sizes"] += ["pythia-6.9b", "pythia-12b"]
    made = family(load(config, "paper"))
    rates = {(m.size, m.arm): m.lr for m in members(made, "as_run")}
    for size in ("pythia-6.9b", "pythia-12b"):  # .4 x the authors' 1.2e-4
        assert rates[size, "vanilla"] == pytest.approx(4.8e-5) and rates[size, "myopic"] == 6e-4
    assert not [m for m in members(made, "paper_table5") if m.size in ("pythia-6.9b", "pythia-12b")]


@pytest.mark.parametrize("scale", SCALES)
def test_matched_arms_share_grid_schedule_batch_and_text(config, scale):
    made = family(load(config, scale))
    pairs = {}
    for m in members(made, "matched"):
        pairs.setdefault((m.size, m.lr), {})[m.arm] = made.specs[m.run]
    assert pairs
    for arms in pairs.values():
        assert set(arms) == set(PAIR)
        apart = ("arm", "arm_name", "name", "purpose")
        rest = [{key: value for key, value in spec.items() if key not in apart} for spec in arms.values()]
        assert rest[0] == rest[1]


def test_the_grid_reaches_over_the_rates_as_run(config):
    """gap(lr) must show what the unequal rates did."""
    for scale in (*FROM_SCRATCH, "paper"):
        settings = load(config, scale)
        made = family(settings)
        for size in settings["family"]["sizes"]:
            grid = [m.lr for m in members(made, "matched") if m.size == size]
            rates = [m.lr for m in members(made, "as_run") if m.size == size]
            if len(set(grid)) > 1:
                assert min(grid) <= min(rates) * 1.01 and max(rates) <= max(grid) * 1.2, (scale, size)


# --- starts ---


@pytest.mark.parametrize("scale", FROM_SCRATCH)
def test_fine_tuning_goes_on_after_its_pretraining(config, scale):
    made = family(load(config, scale))
    names = list(made.specs)
    tuned = {name: spec for name, spec in made.specs.items() if "init_from" in spec}
    assert {m.run for m in made.members if m.start == "checkpoint"} == set(tuned)
    for name, spec in tuned.items():
        first = made.specs[spec["init_from"]]
        assert made.size_of[name] == made.size_of[first["name"]] and spec["model"] == first["model"]
        assert first["arm_name"] == "vanilla" and first["purpose"] == "pretraining"
        assert spec["data"]["first_sample"] == first["steps"] * first["batch_size"]
        assert names.index(first["name"]) < names.index(name)  # one process trains them in this order


@pytest.mark.parametrize("scale", ["cpu", "gpu"])
def test_from_random_initialisation_each_arm_has_its_frozen_rate(config, scale):
    config["base"]["family"]["networks"]["d32"]["scratch_lr"] = {"vanilla": 7e-3, "myopic": 3e-3}
    settings = load(config, scale)
    part, made = settings["family"], family(settings)
    rows = members(made, "best", "random")
    assert len(rows) == 2 * len(part["sizes"])
    for m in rows:
        spec = made.specs[m.run]
        assert m.lr == part["networks"][m.size]["scratch_lr"][m.arm]
        assert "init_from" not in spec and "first_sample" not in spec["data"]
        assert spec["steps"] == part["scratch"]["steps"] >= 1200  # protocol section 3


def test_pretraining_as_long_as_the_runs_from_random_serves_as_vanillas(config):
    config["scales"]["smoke"]["family"]["pretrain"] = {"steps": 20, "batch_size": 8}
    made = family(load(config, "smoke"))
    assert {m.run for m in members(made, "best", "random") if m.arm == "vanilla"} == {
        "family-d16-pretrain", "family-d24-pretrain"
    }  # fmt: skip


def test_the_grid_that_freezes_rates_is_equal_and_on_tuning_seeds_only(config):
    settings = load(config, "cpu")
    grid = frozen_rate_specs(settings)
    rates = {}
    for name, spec in grid.items():
        assert spec["name"] == name and spec["purpose"] == "tuning" and re.fullmatch(RUN, name)
        if "scratch" in name:
            rates.setdefault((name.split("-")[1], spec["arm_name"]), []).append(spec["optim"]["lr"])
    assert set(rates) == {(size, arm) for size in settings["family"]["sizes"] for arm in PAIR}
    assert all(tried == settings["family"]["scratch"]["lr_grid"] for tried in rates.values())
    assert not set(grid) & set(family(settings).specs)
    assert not frozen_rate_specs(load(config, "laptop"))


def test_a_frozen_rate_of_the_fine_tuning_grid_needs_no_tuning_seeds(config):
    networks = config["scales"]["smoke"]["family"].setdefault("networks", {})
    networks["d16"] = {"finetune_lr": {"vanilla": 1.6e-2, "myopic": 6.4e-3}}
    config["scales"]["smoke"]["family"]["finetune"]["lr_grid"] = grid = [6.4e-3, 1.6e-2]
    config["scales"]["smoke"]["family"]["tuning_seeds"] = [100]
    settings = load(config, "smoke")
    made = family(settings)
    assert {made.size_of[name] for name in made.tuning_runs()} == {"d24"}  # d16 has nothing to choose
    frozen = {(m.size, m.arm): m.lr for m in made.members if m.frozen}
    assert frozen == {("d16", "vanilla"): 1.6e-2, ("d16", "myopic"): 6.4e-3}
    assert all(r["tuned"] == (r["size"] == "d24") for r in made.roles() if r["recipe"] == "matched")
    # The grid that froze them can be trained again, on tuning seeds, in folders of its own.
    tuning = frozen_rate_specs(settings)
    again = {name: spec for name, spec in tuning.items() if "init_from" in spec}
    assert set(again) == {f"family-d16-tuning-{arm}-lr{rate:g}" for arm in PAIR for rate in grid}

    def content(spec):
        return {key: value for key, value in spec.items() if key not in ("name", "purpose", "init_from")}

    for name, spec in again.items():
        same = made.specs[name.replace("-tuning", "")]
        assert spec["purpose"] == "tuning" and spec["name"] == name and content(spec) == content(same)
        assert content(tuning[spec["init_from"]]) == content(made.specs[same["init_from"]])


def test_released_architectures_from_random_initialisation(config):
    config["scales"]["paper"]["family"]["recipes"]["best"] = ["random"]
    made = family(load(config, "paper"))
    rows = members(made, "best", "random")
    assert len(rows) == 16 and {made.specs[m.run]["model"]["weights"] for m in rows} == {"random"}


# --- runs and roles ---


@pytest.mark.parametrize("scale", SCALES)
def test_names_fit_the_wildcard_and_every_run_plays_a_role(config, scale):
    made = family(load(config, scale))
    played = {m.run for m in made.members} | {s["init_from"] for s in made.specs.values() if "init_from" in s}
    assert played == set(made.specs)
    assert all(spec["name"] == name and re.fullmatch(RUN, name) for name, spec in made.specs.items())


def test_recipes_that_ask_for_the_same_training_share_a_run(config):
    settings = load(config, "cpu")
    made = family(settings)
    shared = [m for m in members(made, "as_run") if m.arm == "vanilla"]
    grid = {m.run for m in members(made, "matched")}
    assert shared and all(m.run in grid for m in shared)
    assert not {m.run for m in members(made, "as_run") if m.arm == "myopic"} & grid  # its warm-up is another


def test_only_grids_are_trained_on_tuning_seeds(config):
    for network in config["scales"]["cpu"]["family"]["networks"].values():
        network.pop("finetune_lr", None)
    made = family(load(config, "cpu"))
    tuned = made.tuning_runs()
    assert {made.size_of[name] for name in tuned} == set(load(config, "cpu")["family"]["sizes"])
    assert not [name for name in tuned if name.endswith("as-run") or "scratch" in name]
    flags = {(r["recipe"], r["start"]): r["tuned"] for r in made.roles()}
    assert flags == {("matched", "checkpoint"): True, ("best", "random"): False, ("as_run", "checkpoint"): False}


def test_settings_are_left_alone(config):
    settings = load(config, "cpu")
    before = copy.deepcopy(settings)
    for spec in family(settings).specs.values():
        spec["optim"]["lr"] = 0
    assert settings == before


def test_no_family_is_allowed(config):
    config["scales"]["smoke"]["family"]["sizes"] = []
    settings = load(config, "smoke")
    assert not family(settings).specs and "docstrings" in settings["corpora"]


def test_the_familys_corpus_is_made(config):
    config["scales"]["smoke"]["family"]["corpus"] = "docstrings-1k"
    assert "docstrings-1k" in load(config, "smoke")["corpora"]
    config["scales"]["smoke"]["family"]["corpus"] = "nowhere"
    with pytest.raises(MyopiaError, match=r"family\.corpus: corpus 'nowhere' is not described"):
        load(config, "smoke")


def test_the_claims_file_leaves_out_the_familys_tuning_seeds(config):
    claims = yaml.safe_load((ROOT / "workflow/reference/claims.yaml").read_text())
    for scale in SCALES:
        assert set(load(config, scale)["family"]["tuning_seeds"]) <= set(claims["tuning_seeds"])


# --- refusals ---


@pytest.mark.parametrize(
    ("path", "value", "sentence"),
    [
        ("sizes", ["d17"], r"family\.sizes: 'd17' is not described"),
        ("tuning_seeds", [0], r"family\.tuning_seeds: seed 0 is also judged"),
        ("base.family.networks.d16.scratch_lr", None, r"networks\.d16: the key 'scratch_lr' is missing"),
        ("base.family.networks.d16.as_run", None, r"networks\.d16: the key 'as_run' is missing"),
        ("base.family.networks.d16.pretrained", "x/y", r"networks\.d16: give either config .* or pretrained"),
        (
            "base.family.networks.d16.config.num_attention_heads",
            3,
            r"networks\.d16\.config: width 16 is not divisible by 3",
        ),
        ("base.family.config.max_position_embeddings", 32, r"do not fit into its 32 positions"),
        ("finetune.micro_batch", 3, r"would cut its batch of 8 into micro-batches of 3"),
        ("finetune.lr_grid", [8e-4, 8.0000001e-4], r"two runs would be called family-d16-vanilla-lr0\.0008"),
        ("recipes.best", ["checkpoint"], r"family\.recipes\.best"),
        ("finetune.lr_grid", [], r"family\.finetune\.lr_grid"),
        (
            "base.family.networks.d16.finetune_lr",
            {"vanilla": 1e-3, "myopic": 6.4e-3},
            r"networks\.d16\.finetune_lr\.vanilla: 0\.001 is not in the grid this size is fine-tuned over \(0\.0064\)",
        ),
        ("recipes.matched", ["beginning"], r"family\.recipes\.matched"),
        ("base.family.networks.d16.lr", 1e-3, r"unknown key 'lr' at base.*networks\.d16"),
    ],
)
def test_a_family_that_could_not_be_trained_is_refused(config, put, path, value, sentence):
    path = path if path.startswith("base.") else f"scales.smoke.family.{path}"
    put(path, *([] if value is None else [value]))
    with pytest.raises(MyopiaError, match=sentence):
        load(config, "smoke")


# --- networks of one's own ---


@pytest.fixture
def own(config, put, tmp_path):
    """A config whose one network is a folder, and the folder."""
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "config.json").write_text('{"model_type": "llama", "max_position_embeddings": 64}')
    (folder / "model.safetensors").touch()
    put("scales.smoke.family.sizes", ["mine"])
    put("scales.smoke.zero_shot.family_sizes", [])
    put("scales.smoke.family.recipes", {"best": [], "as_run": []})
    put("base.family.networks.mine", {"pretrained": str(folder), "lr_grid": [1e-3]})
    return config, folder


def test_a_folder_is_a_network(own):
    settings = load(own[0], "smoke")
    specs = family(settings).specs
    assert set(specs) == {"family-mine-vanilla-lr0.001", "family-mine-myopic-lr0.001"}
    assert all(spec["model"] == {"kind": "language", "pretrained": {"id": str(own[1])}} for spec in specs.values())
    assert fetched_networks(settings) == {}


def test_a_hub_id_is_fetched(own, put):
    put("base.family.networks.mine", {"pretrained": "someone/model", "revision": "v1", "lr_grid": [1e-3]})
    settings = load(own[0], "smoke")
    assert set(fetched_networks(settings)) == {"mine"}
    (source,) = {str(spec["model"]["pretrained"]) for spec in family(settings).specs.values()}
    assert source == "{'id': 'someone/model', 'revision': 'v1', 'network': 'mine'}"


def test_a_folder_that_cannot_be_used_is_refused(own, put):
    config, folder = own
    network = "base.family.networks.mine"
    put(f"{network}.revision", "main")
    with pytest.raises(MyopiaError, match=r"networks\.mine\.pretrained: .* is a folder here: leave out its revision"):
        load(config, "smoke")
    put(f"{network}.revision")
    put("base.text.T", 65)
    with pytest.raises(MyopiaError, match=r"windows of 65 tokens \(text\.T\) do not fit into the 64 positions"):
        load(config, "smoke")
    put("base.text.T", 64)
    (folder / "model.safetensors").unlink()
    with pytest.raises(MyopiaError, match=r"holds no \.safetensors file; save the model with save_pretrained"):
        load(config, "smoke")
    (folder / "config.json").unlink()
    with pytest.raises(MyopiaError, match=r"config\.json cannot be read"):
        load(config, "smoke")
    put(f"{network}.pretrained", "someone/model")
    with pytest.raises(MyopiaError, match=r"no folder someone/model; for a model on the hub give its revision"):
        load(config, "smoke")
    put("scales.smoke.family.recipes.as_run", ["checkpoint"])
    put(f"{network}.revision", "main")
    with pytest.raises(MyopiaError, match=r"'as_run' is missing; give it, or set family\.recipes\.as_run to \[\]"):
        load(config, "smoke")


def test_the_tutorials_config_is_one(own):
    text = (ROOT / "docs/tutorial.md").read_text()
    (block,) = re.findall(r"```yaml\n(results: results/mine\n.*?)```", text, re.DOTALL)
    written = yaml.safe_load(block.replace("~/models/mine", str(own[1])))
    config = yaml.safe_load((ROOT / "config.yaml").read_text())
    update_config(config, written)
    specs = family(load_config(config)).specs
    assert len(specs) == 8 and all(spec["data"]["corpus"] == "my-text" for spec in specs.values())
