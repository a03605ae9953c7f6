"""Formulas against real networks: parameters on the meta device, memory against the tensors autograd keeps."""

from contextlib import nullcontext

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.pytorch_utils import Conv1D

from myopia.common.errors import MyopiaError
from myopia.config.corpora import tokenizer_vocab
from myopia.config.shapes import GPT2, PYTHIA, memory_sentence, pythia, shape_of
from myopia.model.build import apply_arm, build_model
from myopia.train.memory import require_memory
from myopia.train.provenance import parameter_counts

ARMS = {
    "vanilla": {"kind": "vanilla"},
    "myopic": {"kind": "myopic", "cut": "hidden", "beta": 0.0},
    "myopic-kv": {"kind": "myopic", "cut": "kv", "beta": 0.0},
    "bigram": {"kind": "bigram", "form": "zeroed"},
}
NETWORKS = {
    "gpt2": ("gpt2", {"n_layer": 3, "n_embd": 48, "n_head": 4, "n_positions": 64, "vocab_size": 96}),
    "gpt2-inner": ("gpt2", {"n_layer": 2, "n_embd": 32, "n_head": 2, "n_inner": 80, "vocab_size": 96}),
    "gpt2-untied": ("gpt2", {"n_layer": 2, "n_embd": 32, "n_head": 2, "vocab_size": 96, "tie_word_embeddings": False}),
    "gpt_neox": (
        "gpt_neox",
        {"num_hidden_layers": 3, "hidden_size": 48, "num_attention_heads": 4, "intermediate_size": 100, "vocab_size": 96},
    ),
    "gpt_neox-tied": (
        "gpt_neox",
        {
            "num_hidden_layers": 2, "hidden_size": 32, "num_attention_heads": 4, "intermediate_size": 128,
            "vocab_size": 96, "tie_word_embeddings": True,
        },
    ),
}  # fmt: skip


def language(model_type, config):
    return {"kind": "language", "model_type": model_type, "config": config}


def on_meta(model_type, config):
    """The real network without its numbers."""
    with torch.device("meta"):
        return AutoModelForCausalLM.from_config(AutoConfig.for_model(model_type, **config))


def matrix_entries(model):
    """Entries of every weight a token is multiplied by; a tied head counts once here, as it does there."""
    kinds = (torch.nn.Linear, Conv1D)
    return sum(m.weight.numel() for m in model.modules() if isinstance(m, kinds))


def test_parameters_are_the_real_networks():
    for name, network in NETWORKS.items():
        model, shape = on_meta(*network), shape_of(language(*network), None)
        counts = parameter_counts(model)
        assert shape.parameters == counts["parameters"], name
        assert shape.matrices == matrix_entries(model), name
        assert shape.body == counts["parameters_without_embeddings"], name


def test_pythia_sizes():
    for size, (layers, width, heads, rows) in PYTHIA.items():
        config = {
            "num_hidden_layers": layers, "hidden_size": width, "num_attention_heads": heads,
            "intermediate_size": 4 * width, "vocab_size": rows,
        }  # fmt: skip
        shape = pythia(size)
        assert shape.parameters == parameter_counts(on_meta("gpt_neox", config))["parameters"]
        assert shape == shape_of(language("gpt_neox", config), 5)
        assert shape == shape_of({"kind": "language", "pretrained": {"id": f"EleutherAI/pythia-{size}-deduped"}}, 5)


def test_published_sizes_have_their_published_parameters():
    """What the authors of Pythia and GPT-2 print."""
    assert pythia("70m").parameters == 70_426_624
    assert pythia("12b").parameters == 11_846_072_320
    assert shape_of({"kind": "language", "pretrained": {"id": "openai-community/gpt2"}}, None).parameters == 124_439_808
    assert set(GPT2) == {"gpt2", "gpt2-medium", "gpt2-large", "gpt2-xl"}


def test_the_network_of_the_synthetic_task():
    model = {"kind": "regression", "n_layers": 2, "n_heads": 2, "d_model": 32, "activation": "relu", "n_positions": 24}
    shape, real = shape_of(model, None), build_model({"model": model}, 0)
    assert shape.parameters == sum(p.numel() for p in real.parameters())
    assert shape.matrices == matrix_entries(real)


def test_what_has_no_formula_has_no_shape():
    assert shape_of(language("llama", {}), 100) is None
    assert shape_of({"kind": "language", "pretrained": {"id": "someone/else"}}, 100) is None
    assert shape_of(language("gpt2", {}), None) is None  # nobody says how many tokens there are


def test_vocabularies_of_tokenizers():
    assert tokenizer_vocab({"kind": "bpe", "vocab_size": 512}) == 512
    assert tokenizer_vocab({"kind": "pretrained", "path_or_id": "openai-community/gpt2"}) == 50257
    assert tokenizer_vocab({"kind": "pretrained", "path_or_id": "EleutherAI/pythia-70m"}) == 50277
    assert tokenizer_vocab({"kind": "pretrained", "path_or_id": "someone/else"}) is None


# --- memory ---


def kept_bytes(model, arm, half, batch=4, T=64):
    """Bytes of all tensors that autograd saves on the way to the loss, weights left out."""
    network = apply_arm(build_model({"model": model}, 0).train(), arm)
    weights = {p.untyped_storage().data_ptr() for p in network.parameters()}
    saved = {}

    def pack(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            saved[storage.data_ptr()] = (storage.nbytes(), tensor)  # held, so that no address is used twice
        return tensor

    ids = torch.zeros((batch, T), dtype=torch.long)
    hooks = torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor)
    with hooks, torch.autocast("cpu", torch.bfloat16) if half else nullcontext():
        network(input_ids=ids, use_cache=False).logits.float().sum()
    return sum(size for size, _ in saved.values())


DROPOUT = {"embd_pdrop": 0.1, "resid_pdrop": 0.1}
PLAIN = {"embd_pdrop": 0.0, "resid_pdrop": 0.0}


TANH = {**PLAIN, "activation_function": "gelu_pytorch_tanh"}
# Activation and dropout add to any arm, so they are counted in one.
CASES = [("gpt2", PLAIN, "vanilla"), ("gpt2", DROPOUT, "vanilla")]
CASES += [(model_type, extra, arm) for model_type, extra in (("gpt2", TANH), ("gpt_neox", {})) for arm in ARMS]


@pytest.mark.parametrize(("model_type", "extra", "arm"), CASES)
def test_a_layer_keeps_what_the_formula_says(model_type, extra, arm):
    def model(layers, d=64):
        sizes = (
            {"n_layer": layers, "n_embd": d, "n_head": 4, "n_positions": 64, "attn_pdrop": 0.0}
            if model_type == "gpt2"
            else {"num_hidden_layers": layers, "hidden_size": d, "num_attention_heads": 4, "intermediate_size": 4 * d}
        )
        return language(model_type, {**sizes, "vocab_size": 64, **extra})

    two, one = (shape_of(model(layers), None) for layers in (2, 1))
    weights = 16 * (two.parameters - one.parameters)  # and moments and gradients: not among the saved tensors
    for half, precision in ((False, "fp32"), (True, "bf16")):
        counted = kept_bytes(model(2), ARMS[arm], half) - kept_bytes(model(1), ARMS[arm], half)
        formula = sum(sign * s.training_bytes(4 * 64, precision, ARMS[arm], False) for s, sign in ((two, 1), (one, -1)))
        assert 0.98 * counted <= formula - weights <= 1.06 * counted, precision


def spec(**changes):
    return {
        "name": "big", "model": language("gpt_neox", {}), "arm": ARMS["vanilla"], "precision": "bf16",
        "batch_size": 512, "micro_batch": 512, **changes,
    }  # fmt: skip


def test_what_fits_is_said_with_what_does_not():
    assert memory_sentence(pythia("160m"), spec(), 64, 80e9, True) is None
    sentence = memory_sentence(pythia("2.8b"), spec(), 64, 80e9, True)
    assert sentence.startswith("needs about 1") and "GB of 80.0 GB; micro_batch " in sentence
    micro = int(sentence.split("micro_batch ")[1].split()[0])
    assert 512 % micro == 0 and memory_sentence(pythia("2.8b"), spec(micro_batch=micro), 64, 80e9, True) is None
    assert memory_sentence(pythia("2.8b"), spec(micro_batch=2 * micro), 64, 80e9, True) is not None
    none = memory_sentence(pythia("12b"), spec(), 64, 80e9, True)
    assert none.endswith("and no micro_batch fits; of the Pythia sizes 2.8b and smaller fit")
    tiny = memory_sentence(pythia("70m"), spec(), 64, 1e8, True)
    assert tiny.endswith("and no micro_batch fits; take a smaller model")


def test_a_run_that_cannot_fit_is_refused_before_it_starts():
    class Task:
        tokens_per_sample, vocab_size = 64, 50277

    big = spec(model={"kind": "language", "model_type": "gpt_neox", "config": {
        "num_hidden_layers": 36, "hidden_size": 5120, "num_attention_heads": 40, "intermediate_size": 20480}})  # fmt: skip
    with pytest.raises(
        MyopiaError, match=r"run big: one training step needs about \d+\.\d GB of 80\.0 GB, and no micro"
    ):
        require_memory(big, Task(), 80_000_000_000)
    require_memory(big, Task(), None)  # a CPU
    require_memory(spec(model=language("llama", {})), Task(), 1)  # nobody knows
