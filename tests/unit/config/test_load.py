"""config.yaml -> settings: what lies over what, and every kind of bad entry as one sentence that names its key."""

import copy
import json

import pytest
import yaml

from configuring import SCALES
from myopia.common.errors import MyopiaError
from myopia.config.experiment import experiment, known
from myopia.config.load import CORPORA, ROOT, load_config, merge, read_settings, scales, settings_path, write_settings
from myopia.config.runs import ARMS, PAIR, common_spec
from myopia.config.settings import Core


def check_resolved(config, scale):
    settings = load_config({**config, "scale": scale})
    assert (settings["scale"], settings["results"]) == (scale, f"results/{scale}")
    running = settings["experiments"]
    assert len(running) >= 6 and set(running) <= set(known()) and (scale == "laptop") == (running != list(known()))
    assert set(settings) == {*Core.model_fields, *running, "scale", "results", "experiments"}
    wanted = set().union(*(one.corpora(settings) for one in map(experiment, running)))
    assert set(settings["corpora"]) == wanted and "{data_root}" not in json.dumps(settings)
    claims = yaml.safe_load((ROOT / "workflow/reference/claims.yaml").read_text())
    assert set(settings["tuning_seeds"]) <= set(claims["tuning_seeds"])  # which judging leaves out


def test_every_scale_resolves_and_keeps_the_corpora_in_use(config):
    before = copy.deepcopy(config)
    assert set(SCALES) == set(scales())
    for scale in SCALES:
        check_resolved(config, scale)
    assert config == before


def test_the_later_lies_over_the_earlier(config):
    default = load_config({**config, "scale": "gpu"})
    smoke = load_config(config)
    # A section's default, an experiment's entry for the scale, the scale's file, the user.
    assert smoke["synthetic"]["optim"] == default["synthetic"]["optim"]
    entry = yaml.safe_load((experiment("synthetic").folder / "scales.yaml").read_text())["smoke"]
    assert smoke["synthetic"]["steps"] == entry["steps"] != default["synthetic"]["steps"]
    assert (smoke["seeds"], default["seeds"]) == ([0, 1], [0, 1, 2, 3, 4])
    mine = {"seeds": [7], "synthetic": {"steps": 3}, "results": "elsewhere", "text": None}
    changed = load_config({**config, **mine})
    assert (changed["seeds"], changed["synthetic"]["steps"], changed["results"]) == ([7], 3, "elsewhere")
    assert changed["text"] == smoke["text"]  # null says nothing
    assert {key for key in smoke if smoke[key] != changed[key]} == {"seeds", "synthetic", "results"}


def test_only_the_experiments_asked_for_run(config):
    settings = load_config({**config, "experiments": ["induction", "synthetic"]})
    assert settings["experiments"] == ["synthetic", "induction"]  # in the order of reports
    assert not {"text", "toys"} & set(settings) and settings["corpora"] == {}


def test_mappings_are_merged_and_all_else_is_replaced():
    base = {"a": {"x": [1], "y": [1, 2]}, "b": 3, "c": {"z": [1]}}
    over = {"a": {"y": [9]}, "b": None, "d": {"new": 1}}
    before = copy.deepcopy([base, over])
    merged = merge(base, over)
    assert merged == {"a": {"x": [1], "y": [9]}, "b": None, "c": {"z": [1]}, "d": {"new": 1}}
    for values in (merged["a"]["x"], merged["a"]["y"], merged["c"]["z"]):
        values.append(5)
    assert [base, over] == before  # nothing is shared


def test_settings_are_written_once_and_read_again(config, tmp_path):
    settings = load_config({**config, "results": str(tmp_path / "r")})
    path = write_settings(settings)
    assert path == settings_path(settings) and read_settings(path) == settings
    path.touch()
    when = path.stat().st_mtime_ns
    write_settings(settings)
    assert path.stat().st_mtime_ns == when  # a newer file would make jobs that read it run again
    path.write_text("{")  # killed while it wrote
    with pytest.raises(MyopiaError, match="run snakemake on that folder first"):
        read_settings(path)
    write_settings(settings)
    assert read_settings(path) == settings


# --- bad input: once per kind; bounds and unknown keys of all sections: test_bounds.py ---


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"toys": {"sede": 1}, "experiments": ["induction"]}, r"'sede' at toys"),  # it does not run
        ({"text": {"optim": {"lr": {"vanilla": "1e-3"}}}}, r"text\.optim\.lr\.vanilla: .*as text, write 0\.001"),
        ({"text": 3}, r"config key text: "),
        ({"corpora": {"mine": {"source": {"kind": "files"}}}}, r"config: the key '\w+' is missing at corpora\.mine"),
        ({"scale": "smok"}, r"config key scale: 'smok' is unknown; it must be one of cpu, gpu, laptop, paper, smoke"),
        ({"experiments": ["inductoin"]}, r"config key experiments: 'inductoin' is unknown"),
        ({"experiments": ["dose_response", "text"]}, r"dose_response reads what synthetic made; add it"),
        ({"tuning_seeds": [1, 100]}, r"config key tuning_seeds: seed 1 is also judged"),
        ({"devices": 3}, r"config key devices: 3 processes cannot share the batches of 16 of run"),
    ],
)
def test_each_kind_of_mistake_is_one_sentence(config, changes, sentence):
    with pytest.raises(MyopiaError, match=sentence) as caught:
        load_config({**config, **changes})
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 700


def test_a_config_without_a_scale_says_so():
    with pytest.raises(MyopiaError, match="config: the key 'scale' is missing at the top level"):
        load_config({})


def test_a_tokenizer_may_lie_in_data_root_too(put, tmp_path):
    config = put("corpora.docstrings.tokenizer", {"kind": "pretrained", "path_or_id": "{data_root}/gpt2"})
    config["experiments"] = ["text"]
    with pytest.raises(MyopiaError, match="config key data_root: corpus 'docstrings' .*data_root=FOLDER"):
        load_config(config)
    (tmp_path / "evals").mkdir()
    settings = load_config({**config, "data_root": f"{tmp_path}/"})
    assert settings["corpora"]["docstrings"]["tokenizer"]["path_or_id"] == f"{tmp_path}/gpt2"


def test_every_hub_corpus_has_local_files_in_its_columns():
    """A user without the hub takes the other: same columns, same windows."""
    corpora = yaml.safe_load(CORPORA.read_text())
    hub = {name for name, corpus in corpora.items() if corpus["source"]["kind"] == "hub"}
    pairs = {"msmarco-hub": "msmarco", "pg19-hub": "pg19", "pile-hub": "pile-like"}
    assert hub == set(pairs)
    for name, local in pairs.items():
        ours, theirs = corpora[local], corpora[name]
        for key in ("text_column", "id_column", "component_column"):
            assert ours["source"].get(key) == theirs["source"].get(key), (name, key)
        assert ours["windows"]["window"] == theirs["windows"]["window"]


# --- what run specs of all experiments share ---


def test_an_arm_without_a_rate_runs_at_that_of_the_arm_it_varies():
    rates = {"vanilla": 1e-3, "myopic": 7e-3}
    section = {"optim": {"lr": rates}, "steps": 1, "batch_size": 1, "micro_batch": 1, "eval": {}}
    given = lambda arm: common_spec({"precision": "fp32"}, section, arm, "judged")["optim"]["lr"]  # noqa: E731
    expected = {arm: rates["myopic" if arm == "myopic-kv" else "vanilla"] for arm in ARMS} | rates
    assert {arm: given(arm) for arm in ARMS} == expected
    rates["beta1"] = 5e-4  # named: its own
    assert given("beta1") == 5e-4 and given(PAIR[0]) == 1e-3
    assert ARMS["beta1"] == {**ARMS["myopic"], "beta": 1.0}  # the myopic operator with nothing cut
