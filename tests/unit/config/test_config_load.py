"""config.yaml -> settings: every scale resolves, and each bad entry ends in one sentence that names its key."""

import copy
import json

import pytest
import yaml

from myopia.common.errors import MyopiaError
from myopia.config.load import ROOT, load_config, merge

SCALES = ["smoke", "laptop", "cpu", "gpu", "paper"]


def sentence(config):
    """The message `load_config` refuses `config` with: one line, no traceback talk."""
    with pytest.raises(MyopiaError) as caught:
        load_config(config)
    message = str(caught.value)
    assert "\n" not in message and len(message) < 500
    return message


def test_the_file_names_five_scales_and_starts_at_laptop():
    config = yaml.safe_load((ROOT / "config.yaml").read_text())
    assert config["scale"] == "laptop" and list(config["scales"]) == SCALES


@pytest.mark.parametrize("scale", SCALES)
def test_every_scale_resolves(config, scale):
    settings = load_config({**config, "scale": scale})
    assert settings["scale"] == scale and settings["results"] == f"results/{scale}"
    further = settings["text"]["evaluate_on"]
    assert list(further) == settings["text"]["corpora"]
    read = {*further, *(name for names in further.values() for name in names), settings["family"]["corpus"]}
    assert set(settings["corpora"]) == read
    assert "{data_root}" not in json.dumps(settings)


@pytest.mark.parametrize(
    ("value", "part"),
    [
        ({"docstrings": ["docstrings"]}, "is also trained on"),
        ({"docstrings": ["nowhere"]}, "config key text.evaluate_on: corpus 'nowhere' is not described"),
    ],
)
def test_a_corpus_is_measured_by_the_models_of_one(config, value, part):
    config["scales"]["smoke"]["text"]["evaluate_on"] = value
    with pytest.raises(MyopiaError, match=part):
        load_config({**config, "scale": "smoke"})


def test_settings_of_an_unknown_corpus(config):
    config["base"]["text"]["at_corpus"] = {"msmarko": {"steps": 7}}
    with pytest.raises(MyopiaError, match="config key text.at_corpus: corpus 'msmarko' is not described"):
        load_config(config)


@pytest.mark.parametrize("scale", ["laptop", "cpu"])
def test_data_root_adds_the_local_corpora(config, scale, tmp_path):
    for name in ("msmarco", "pg19"):
        (tmp_path / name).mkdir()
    settings = load_config({**config, "scale": scale, "data_root": f"{tmp_path}/"})
    assert settings["text"]["corpora"] == ["docstrings", "msmarco"]
    assert settings["text"]["evaluate_on"] == {"docstrings": [], "msmarco": ["pg19"]}
    assert settings["corpora"]["pg19"]["source"]["path"] == f"{tmp_path}/pg19"


@pytest.mark.parametrize(
    ("held", "trained", "read"),
    [
        (["msmarco"], ["docstrings", "msmarco"], []),
        (["pg19"], ["docstrings", "pg19"], []),
        (["msmarco", "pg19", "pile_like"], ["docstrings", "msmarco", "pile-like"], ["pg19"]),
    ],
)
def test_only_corpora_that_data_root_holds_join(config, tmp_path, held, trained, read):
    for name in held:
        (tmp_path / name).mkdir()
    text = load_config({**config, "scale": "laptop", "data_root": str(tmp_path)})["text"]
    assert text["corpora"] == trained
    assert [name for names in text["evaluate_on"].values() for name in names] == read


def test_a_data_root_that_holds_nothing_is_a_mistake(config, tmp_path):
    message = sentence({**config, "scale": "laptop", "data_root": str(tmp_path / "typo")})
    assert message.startswith("config key data_root: ") and "(msmarco, pg19, pile_like, evals)" in message


def test_a_tokenizer_may_lie_in_data_root_too(put, tmp_path):
    put("scales.smoke.corpora.docstrings.tokenizer", {"kind": "pretrained", "path_or_id": "{data_root}/gpt2"})
    assert "data_root=FOLDER" in sentence(put("scale", "smoke"))
    settings = load_config(put("data_root", str(tmp_path)))
    assert settings["corpora"]["docstrings"]["tokenizer"]["path_or_id"] == f"{tmp_path}/gpt2"


@pytest.mark.parametrize("rows", [512, 511])
def test_the_model_must_know_every_token(put, rows):
    put("scales.smoke.text.model.config.vocab_size", rows)
    if rows == 512:
        load_config(put("scale", "smoke"))
        return
    message = sentence(put("scale", "smoke"))
    assert message.startswith("config key text.model.config.vocab_size: 511 rows") and "'docstrings'" in message


def test_every_hub_corpus_has_local_files_in_its_columns(config):
    """A user without the hub takes the other: same columns, same windows."""
    corpora = config["base"]["corpora"]
    hub = {name: corpus for name, corpus in corpora.items() if corpus["source"]["kind"] == "hub"}
    assert set(hub) == {"msmarco-hub", "pg19-hub", "pile-hub"}
    for name, local in [("msmarco-hub", "msmarco"), ("pg19-hub", "pg19"), ("pile-hub", "pile-like")]:
        ours, theirs = corpora[local]["source"], hub[name]["source"]
        assert ours["kind"] == "files"
        for key in ("text_column", "id_column", "component_column"):
            assert ours.get(key) == theirs.get(key), (name, key)
        assert corpora[local]["windows"]["window"] == hub[name]["windows"]["window"]
        assert theirs["revision"] == "main" and set(hub[name]["published"]) == {"documents", "text_gb", "download_gb"}


@pytest.mark.parametrize("scale", ["smoke", "gpu", "paper"])
def test_data_root_leaves_what_the_other_scales_train_as_it_is(config, scale):
    there, here = load_config({**config, "scale": scale, "data_root": "x"}), load_config({**config, "scale": scale})
    changed = {key for key in here if there[key] != here[key]}
    assert changed == (set() if scale == "smoke" else {"zero_shot"})


def test_results_can_go_elsewhere(config):
    assert load_config({**config, "results": "elsewhere"})["results"] == "elsewhere"


def test_loading_changes_nothing_in_its_argument(config):
    before = copy.deepcopy(config)
    load_config({**config, "scale": "laptop"})
    assert config == before


# --- merging ---


def test_mappings_are_merged_and_all_else_is_replaced():
    base = {"a": {"x": 1, "y": [1, 2]}, "b": 3, "c": {"z": 1}}
    over = {"a": {"y": [9]}, "b": None, "d": {"new": 1}}
    assert merge(base, over) == {"a": {"x": 1, "y": [9]}, "b": None, "c": {"z": 1}, "d": {"new": 1}}


def test_merging_shares_nothing_with_its_arguments():
    base, over = {"a": {"x": [1]}, "b": {"q": [1]}}, {"a": {"y": [2]}}
    merged = merge(base, over)
    merged["a"]["x"].append(5)
    merged["a"]["y"].append(5)
    merged["b"]["q"].append(5)
    assert base == {"a": {"x": [1]}, "b": {"q": [1]}} and over == {"a": {"y": [2]}}


def test_a_scale_lies_over_base(config):
    settings = load_config(config)
    base, smoke = config["base"], config["scales"]["smoke"]
    assert settings["seeds"] == smoke["seeds"]  # a list: replaced
    assert settings["synthetic"]["steps"] == smoke["synthetic"]["steps"]
    assert settings["synthetic"]["optim"] == base["synthetic"]["optim"]  # not named by the scale
    assert settings["corpora"]["docstrings"]["splits"] == base["corpora"]["docstrings"]["splits"]


# --- bad input ---


@pytest.mark.parametrize(
    ("path", "meant"),
    [
        ("scael", "scale"),
        ("base.sedes", "seeds"),
        ("base.synthetic.stpes", "steps"),
        ("base.synthetic.task.TT", "T"),
        ("base.synthetic.model.d_mdoel", "d_model"),
        ("base.synthetic.optim.weight_deacy", "weight_decay"),
        ("base.synthetic.eval.evry", "every"),
        ("scales.smoke.text.micro_bacth", "micro_batch"),
        ("scales.cpu.text.model.model_typ", "model_type"),
        ("base.corpora.docstrings.windws", "windows"),
        ("base.corpora.docstrings.source.pakages", "packages"),
        ("base.corpora.docstrings.tokenizer.vocabsize", "vocab_size"),
        ("base.corpora.docstrings.windows.max_token", "max_tokens"),
        ("base.corpora.docstrings.splits.fraction", "fractions"),
    ],
)
def test_a_misspelt_key_is_named_with_the_known_ones(put, path, meant):
    folder, _, key = path.rpartition(".")
    message = sentence(put(path, 1))
    assert f"unknown key '{key}' at {folder or 'the top level'}" in message
    known = message.split("known keys are ")[1].split(", ")
    assert meant in known and known == sorted(known)
    assert key == "TT" or f"did you mean '{meant}'?" in message


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("scale", 3),
        ("data_root", 5),
        ("base", None),
        ("scales", []),
        ("scales.smoke", "fast"),
        ("base.seeds", 3),
        ("base.seeds", []),
        ("base.seeds", [1, 1]),
        ("base.judged", "yes"),
        ("base.device", "tpu"),
        ("base.precision", "fp16"),
        ("base.synthetic.steps", 2.5),
        ("base.synthetic.steps", True),
        ("base.synthetic.steps", 0),
        ("base.synthetic.batch_size", "64"),
        ("base.synthetic.controls", ["shift1"]),
        ("base.synthetic.optim.schedule", "linear"),
        ("base.synthetic.optim.betas", [0.9]),
        ("base.synthetic.optim.grad_clip", 0),
        ("base.text.T", 1),
        ("base.text.arms", ["vanilla"]),
        ("base.text.arms", ["vanilla", "miopic"]),
        ("base.corpora.docstrings.source.kind", "web"),
        ("base.corpora.docstrings.tokenizer.vocab_size", 100),
        ("base.corpora.docstrings.windows.max_tokens", 10),
    ],
)
def test_a_wrong_type_or_value_names_its_key(put, path, value):
    assert sentence(put(path, value)).startswith(f"config key {path}")


def test_a_number_that_yaml_reads_as_text_says_how_to_write_it(put):
    message = sentence(put("base.text.optim.lr.vanilla", "1e-3"))
    assert message.startswith("config key base.text.optim.lr.vanilla: ") and "write 0.001" in message


def test_a_corpus_name_that_makes_no_run_name_is_refused(put):
    assert sentence(put("base.corpora.MS_Marco", {})).startswith("config key base.corpora: 'MS_Marco'")


@pytest.mark.parametrize("p", [-0.1, 1.5])
def test_p_must_be_a_probability(put, p):
    message = sentence(put("scales.smoke.synthetic.p", [p, 1.0]))
    assert message.startswith("config key scales.smoke.synthetic.p.0: ") and str(p) in message


@pytest.mark.parametrize("path", ["scale", "base", "scales"])
def test_a_missing_top_key_is_named(put, path):
    assert sentence(put(path)) == f"config: the key '{path}' is missing at the top level"


@pytest.mark.parametrize(
    ("path", "where"),
    [
        ("base.device", "scales.smoke"),
        ("base.synthetic.control_p", "scales.smoke.synthetic"),
        ("base.synthetic.optim.lr", "scales.smoke.synthetic.optim"),
        ("base.text.optim.warmup", "scales.smoke.text.optim"),
        ("base.text.model.model_type", "scales.smoke.text.model"),
        ("base.corpora.docstrings.windows", "scales.smoke.corpora.docstrings"),
        ("base.corpora.docstrings.tokenizer.kind", "scales.smoke.corpora.docstrings.tokenizer"),
    ],
)
def test_a_setting_that_neither_base_nor_the_scale_gives_is_named(put, path, where):
    key = path.rpartition(".")[2]
    assert sentence(put(path)) == f"config: the key '{key}' is missing at {where}"


def test_an_unknown_scale_lists_the_known_ones(put):
    message = sentence(put("scale", "smok"))
    assert message == f"config key scale: 'smok' is unknown; it must be one of {', '.join(SCALES)}"


def test_an_unknown_corpus_is_named(put):
    message = sentence(put("scales.smoke.text.corpora", ["docstring"]))
    assert message.startswith("config key text.corpora: ") and "'docstring'" in message


def test_a_local_corpus_without_data_root_says_what_to_give(put):
    message = sentence(put("scales.smoke.text.corpora", ["pg19"]))
    assert message.startswith("config key data_root: ") and "'pg19'" in message and "data_root=FOLDER" in message


@pytest.mark.parametrize("room", ["synthetic", "text"])
def test_the_batch_must_be_whole_micro_batches(put, room):
    put(f"scales.smoke.{room}.batch_size", 16)
    message = sentence(put(f"scales.smoke.{room}.micro_batch", 5))
    assert message.startswith(f"config key {room}.batch_size: 16 ") and f"{room}.micro_batch 5" in message


def test_the_width_must_divide_among_the_heads(put):
    message = sentence(put("scales.smoke.synthetic.model.n_heads", 3))
    assert message.startswith("config key synthetic.model.d_model: 16 ") and "n_heads 3" in message


@pytest.mark.parametrize(
    "network", [{"n_embd": 16, "n_head": 3}, {"hidden_size": 16, "num_attention_heads": 3, "n_embd": None}]
)
def test_so_must_a_language_models(put, network):
    put("base.text.model.config", {})
    put("scales.smoke.text.model.config", {k: v for k, v in network.items() if v})
    assert sentence(put("scale", "smoke")) == ("config key text.model.config: width 16 is not divisible by 3 heads")


@pytest.mark.parametrize("value", ["16", 0, 2.5, True])
def test_a_language_models_width_is_a_whole_number(put, value):
    message = sentence(put("scales.smoke.text.model.config.n_embd", value))
    assert message.startswith("config key text.model.config.n_embd: ")


def test_a_window_must_fit_the_position_table(put):
    message = sentence(put("scales.smoke.text.model.config.n_positions", 32))
    assert message.startswith("config key text.T: ") and "32" in message


@pytest.mark.parametrize("room", ["synthetic", "text"])
@pytest.mark.parametrize("rate", [0, -1e-3])
def test_a_learning_rate_must_be_positive(put, room, rate):
    message = sentence(put(f"base.{room}.optim.lr.myopic", rate))
    assert message.startswith(f"config key {room}.optim.lr.myopic: ") and "positive" in message


@pytest.mark.parametrize("room", ["synthetic", "text"])
def test_both_arms_need_a_learning_rate(put, room):
    message = sentence(put(f"base.{room}.optim.lr", {"vanilla": 1e-3}))
    assert message.startswith(f"config key {room}.optim.lr: ") and "myopic" in message


def test_a_learning_rate_of_an_unknown_arm_is_refused(put):
    message = sentence(put("base.text.optim.lr.miopic", 1e-3))
    assert message.startswith("config key base.text.optim.lr: 'miopic'") and "myopic" in message


def test_a_tuning_seed_is_never_judged(put):
    message = sentence(put("base.tuning_seeds", [1, 100]))
    assert message.startswith("config key tuning_seeds: seed 1 ")


@pytest.mark.parametrize(("key", "value"), [("lookback", 8), ("task.a", 8), ("lookback", 99)])
def test_lags_must_fit_into_the_sequence(put, key, value):
    message = sentence(put(f"scales.smoke.synthetic.{key}", value))
    assert message.startswith("config key synthetic.task.T: 8 ") and str(value) in message


def test_controls_run_at_one_of_the_ps(put):
    message = sentence(put("base.synthetic.control_p", 0.5))
    assert message.startswith("config key synthetic.control_p: 0.5 ")


@pytest.mark.parametrize(("key", "shown"), [(0.3, "0.3"), ("0.30", "0.3"), ("1.0", "1"), (1, "1"), ("p1", "0.3")])
def test_a_rate_for_one_p_names_the_p_as_runs_do(put, key, shown):
    message = sentence(put("scales.smoke.synthetic.lr_at_p", {key: {"vanilla": 1e-3}}))
    assert message.startswith(f"config key synthetic.lr_at_p: {key!r} ") and f'"{shown}"' in message


def test_probes_need_tokens_ahead_and_a_vocabulary_to_name_them_in(put):
    T = put("scales.smoke.tokens.max_tau", 3)["base"]["text"]["T"]
    assert "tokens.max_tau" in sentence(put("scales.smoke.tokens.max_tau", T - 1))
    put("scales.smoke.tokens.max_tau", T - 2)
    assert "tokens.probe_tokens" in sentence(put("scales.smoke.tokens.probe_tokens", 512))
