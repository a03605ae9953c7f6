"""From a spec's model to a network: any type of transformers, weights from a folder, no attention dropout."""

import json

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoConfig, AutoModelForCausalLM

from myopia import MyopiaError
from myopia.model.build import apply_arm, build_language_model


def test_a_misspelt_setting_of_a_language_model_is_named():
    good = {"kind": "language", "model_type": "gpt2", "config": {"n_layer": 1, "n_embd": 8, "n_head": 2}}
    assert build_language_model(good, 0, 32).config.n_layer == 1
    for config, message in (({"n_layerr": 1}, "model.config.n_layerr is not a setting of gpt2"),
                            ({"n_embd": 9, "n_head": 2}, "does not describe a gpt2")):  # fmt: skip
        with pytest.raises(MyopiaError, match=message):
            build_language_model({**good, "config": config}, 0, 32)
    with pytest.raises(MyopiaError, match="unknown to transformers"):
        build_language_model({**good, "model_type": "gpt9"}, 0, 32)
    with pytest.raises(MyopiaError, match="the tokenizer knows 32 tokens but the model only 8"):
        build_language_model({**good, "config": {**good["config"], "vocab_size": 8}}, 0, 32)


@pytest.mark.parametrize(
    ("model_type", "sizes", "dropout"),
    [
        ("gpt2", {"n_embd": 16, "n_layer": 1, "n_head": 2}, "attn_pdrop"),
        ("gpt_bigcode", {"n_embd": 16, "n_layer": 1, "n_head": 2}, "attn_pdrop"),
        (
            "gemma2",
            {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 1},
            "attention_dropout",
        ),
    ],
)
def test_any_type_is_built_without_attention_dropout_and_trains_in_both_arms(model_type, sizes, dropout):
    """Specs name it attention_dropout whatever the type calls it; one has no SDPA attention."""
    model = {"model_type": model_type, "config": {**sizes, "attention_dropout": 0.0}}
    built = build_language_model(model, 0, 32).train()
    assert getattr(built.config, dropout) == 0
    ids, losses = torch.arange(12)[None], []
    for arm in ({"kind": "vanilla"}, {"kind": "myopic"}):
        torch.manual_seed(0)  # dropout outside attention stays
        losses.append(apply_arm(built, arm)(input_ids=ids, labels=ids).loss)
    losses[1].backward()
    torch.testing.assert_close(*losses)


def test_released_weights_lose_their_attention_dropout(tmp_path):
    config = AutoConfig.for_model("gpt2", n_embd=16, n_layer=1, n_head=2, vocab_size=32, n_positions=16)
    torch.manual_seed(5)
    AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["attn_pdrop"] == 0.1
    source = {"id": "someone/model", "revision": "main", "network": "theirs"}
    for weights in ("pretrained", "random"):
        built = build_language_model({"pretrained": source, "weights": weights}, 0, 32, tmp_path)
        assert built.config.attn_pdrop == 0
        same = torch.equal(
            built.transformer.wte.weight, load_file(tmp_path / "model.safetensors")["transformer.wte.weight"]
        )
        assert same == (weights == "pretrained")
