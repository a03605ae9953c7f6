"""Settings of the text experiment: its runs, what is measured apart, which corpora are read, and refusals."""

import copy
import re

import pytest

from configuring import SCALES
from myopia.common.errors import MyopiaError
from myopia.config.dag import Dag
from myopia.config.load import load_config
from myopia.config.runs import ARMS, BETA_SWEEP, PAIR
from myopia.experiments.text import EXPERIMENT
from myopia.experiments.text.settings import corpora, runs, snapshot_steps, tuning_runs

RATES = {"vanilla": 1e-3, "myopic": 7e-3}


def load(scale="smoke", data_root=None, **section):
    config = {"scale": scale, "experiments": ["text"], "text": section}
    return load_config(config | ({"data_root": str(data_root)} if data_root else {}))


def units(settings):
    (measurement,) = EXPERIMENT.measurements
    return measurement.units(Dag(settings))


# --- runs ---


def check_pairs(scale):
    settings = load(scale)
    found, tuning = runs(settings), tuning_runs(settings)
    assert not set(found) & set(tuning)
    for name, spec in {**found, **tuning}.items():
        assert spec["name"] == name and re.fullmatch(r"text-[a-z0-9.e-]+", name)
    for name in (name for name in found if name.endswith("-vanilla")):
        vanilla, myopic = copy.deepcopy(found[name]), copy.deepcopy(found[name.replace("vanilla", "myopic")])
        assert (vanilla.pop("arm"), myopic.pop("arm")) == (ARMS["vanilla"], ARMS["myopic"])
        for spec in (vanilla, myopic):
            del spec["arm_name"], spec["name"], spec["optim"]["lr"]
        assert vanilla == myopic and vanilla["purpose"] == ("smoke" if scale == "smoke" else "judged")
        assert vanilla["data"]["T"] == settings["context_length"]
    assert {s["purpose"] for s in found.values() if s["arm_name"] not in PAIR} <= {"control"}
    for arm in PAIR:
        grid = [spec["optim"]["lr"] for spec in tuning.values() if spec["arm_name"] == arm]
        assert grid == settings["text"]["lr_grid"] * len(settings["text"]["corpora"])


def test_a_pair_differs_in_its_arm_alone():
    for scale in SCALES:
        check_pairs(scale)


def test_arms_that_vary_or_control_another_run_at_its_rate_and_local_ones_have_a_teacher():
    settings = load(arms=[arm for arm in ARMS if arm not in BETA_SWEEP], optim={"lr": RATES})
    found = {spec["arm_name"]: spec for spec in runs(settings).values()}
    assert found["beta1"]["optim"]["lr"] == found["bigram-true"]["optim"]["lr"] == RATES["vanilla"]
    assert found["myopic-kv"]["optim"]["lr"] == RATES["myopic"]
    taught = {arm: spec["teacher"] for arm, spec in found.items() if "teacher" in spec}
    assert taught == dict.fromkeys(("local-hidden", "local-kv"), "text-docstrings-vanilla")


def test_a_corpus_has_steps_and_rates_of_its_own(tmp_path):
    for name in ("msmarco", "pile_like"):
        (tmp_path / name).mkdir()
    own = {"msmarco": {"steps": 7, "lr": {"myopic": 5e-4}}, "pg19": {"steps": 9}}
    settings = load("laptop", tmp_path, at_corpus=own, optim={"lr": RATES})
    assert list(settings["text"]["at_corpus"]) == ["msmarco"]  # pg19 is not trained on
    found = {name: (spec["steps"], spec["optim"]["lr"]) for name, spec in runs(settings).items()}
    assert found["text-msmarco-vanilla"] == (7, 1e-3) and found["text-msmarco-myopic"] == (7, 5e-4)
    assert found["text-pile-like-myopic"] == (1500, 7e-3)
    assert (
        EXPERIMENT.figure("influence").caption(settings).endswith("1500 steps (msmarco 7) of 32 x 64 tokens, 3 seeds.")
    )


def test_snapshots_grow_by_the_ratio_and_end_before_the_last_step():
    assert snapshot_steps(20, 4) == [0, 1, 4, 16]
    assert snapshot_steps(1200, 2) == [0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024]
    assert snapshot_steps(8, 1.3) == [0, 1, 2, 3, 4, 5, 6]
    assert snapshot_steps(1, 2) == [0]


def test_the_arms_asked_for_keep_their_weights_and_no_others():
    def kept(**section):
        settings = load(**section)
        assert not any("snapshots" in spec for spec in tuning_runs(settings).values())
        return {name: spec["snapshots"] for name, spec in runs(settings).items() if "snapshots" in spec}

    assert kept() == {f"text-docstrings-{arm}": [0, 1, 4, 16] for arm in PAIR}
    assert kept(snapshots={"arms": ["myopic"], "ratio": 2}) == {"text-docstrings-myopic": [0, 1, 2, 4, 8, 16]}


# --- what is measured apart ---


def test_each_run_and_seed_is_a_unit():
    found = units(load())
    assert len(found) == 4 * 2
    own, further = found["text-docstrings-vanilla-seed0"]
    assert own == {
        "run": "text-docstrings-vanilla", "arm": "vanilla", "seed": 0, "corpus": "docstrings", "teacher": None,
        "folder": "results/smoke/runs/text-docstrings-vanilla/seed0", "tokens": "results/smoke/data/docstrings/tokens",
        "tables": ["loss", "components", "curve", "influence"],
    }  # fmt: skip
    elsewhere = {"corpus": "unseen-docs", "tokens": "results/smoke/data/docstrings/on/unseen-docs"}
    assert further == own | elsewhere | {"tables": ["loss", "components"]}
    assert [entry["tables"] for entry in found["text-docstrings-myopic-seed0"]] == [
        ["loss", "curve", "influence"],
        ["loss"],
    ]
    assert [entry["tables"] for entry in found["text-docstrings-myopic-seed1"]] == [["loss", "curve"], ["loss"]]
    teacher = "results/smoke/runs/text-docstrings-vanilla/seed1"
    for entry in found["text-docstrings-local-hidden-seed1"]:
        assert entry["folder"] == "results/smoke/arms/text-docstrings-local-hidden/seed1"
        assert entry["teacher"] == teacher and entry["also"] == [f"{teacher}/model.safetensors"]


def test_further_corpora_are_encoded_in_the_tokenizer_of_the_trained_one():
    (measurement,) = EXPERIMENT.measurements
    wanted = ["results/smoke/data/docstrings/on/unseen-docs/tokens.manifest.json"]
    assert measurement.needs(Dag(load())) == wanted
    assert measurement.needs(Dag(load(evaluate_on={"docstrings": []}))) == []


# --- corpora ---


def test_corpora_that_data_root_holds_join(tmp_path):
    for k, (scale, held, trained, read) in enumerate((
        ("laptop", ["msmarco", "pg19"], ["docstrings", "msmarco"], ["pg19"]),
        ("cpu", ["msmarco", "pg19"], ["docstrings", "msmarco"], ["pg19"]),
        ("laptop", ["msmarco"], ["docstrings", "msmarco"], []),
        ("laptop", ["pg19"], ["docstrings", "pg19"], []),
        ("laptop", ["evals"], ["docstrings"], []),
    )):  # fmt: skip
        root = tmp_path / str(k)
        for name in held:
            (root / name).mkdir(parents=True)
        settings = load(scale, root)
        assert settings["text"]["corpora"] == trained, (scale, held)
        assert [name for names in settings["text"]["evaluate_on"].values() for name in names] == read, (scale, held)
        assert list(settings["corpora"]) == list(corpora(settings)) == [*trained, *read], (scale, held)
        if "msmarco" in held:
            assert settings["corpora"]["msmarco"]["source"]["path"] == f"{root}/msmarco"


def test_data_root_leaves_what_other_scales_train_as_it_is(tmp_path):
    (tmp_path / "msmarco").mkdir()
    for scale in ("smoke", "gpu", "paper"):
        assert load(scale, tmp_path)["text"] == load(scale)["text"], scale


def test_a_data_root_that_holds_nothing_is_a_mistake(tmp_path):
    with pytest.raises(
        MyopiaError, match=r"config key data_root: .* holds no folder of a local corpus \(msmarco, pg19"
    ):
        load("laptop", tmp_path)


# --- refusals ---


@pytest.mark.parametrize(
    ("section", "sentence"),
    [
        ({"arms": ["myopic", "local-kv"]}, r"text\.arms: local-kv reads the past of the vanilla arm; add vanilla"),
        ({"arms": [*PAIR, "beta0.5"], "optim": {"lr": RATES}}, r"text\.optim\.lr: beta0\.5 stands between vanilla"),
        (
            {"arms": [*PAIR, "beta0.5"], "at_corpus": {"docstrings": {"lr": {"myopic": 1e-3}}}},
            r"text\.at_corpus\.docstrings\.lr: beta0\.5 stands between",
        ),
        ({"at_corpus": {"msmarko": {"steps": 7}}}, r"text\.at_corpus: corpus 'msmarko' is not described"),
        ({"corpora": ["pg19"]}, r"data_root: corpus 'pg19' reads local files; .*data_root=FOLDER"),
        ({"evaluate_on": {"docstrings": ["docstrings"]}}, r"text\.evaluate_on: corpus 'docstrings' is also trained on"),
        ({"model": {"config": {"n_head": 3}}}, r"text\.model\.config: width 16 is not divisible by 3 heads"),
        ({"model": {"config": {"n_embd": True}}}, r"text\.model\.config\.n_embd: True is not a whole number"),
        ({"model": {"config": {"n_positions": 32}}}, r"context_length: windows of 64 tokens do not fit into the 32"),
        ({"model": {"config": {"vocab_size": 511}}}, r"vocab_size: 511 rows are too few for the 512 tokens .*docstrings"),
    ],
)  # fmt: skip
def test_refusals_name_the_key(section, sentence):
    with pytest.raises(MyopiaError, match=sentence):
        load(**section)
