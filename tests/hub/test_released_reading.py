"""Released checkpoints are read as data: equal logits, nothing run, and one sentence for whatever is not as it should be."""

import itertools
import json
import os
import re
import subprocess

import pytest
import torch

from lightning_files import (
    FUNCTION,
    file_name,
    importable,
    imports_of,
    lightning_dict,
    namespace,
    save_released,
    tiny_model,
)
from myopia.common.errors import MyopiaError
from myopia.experiments.released.convert import build_released, convert_released, open_released, read_checkpoint

IDS = torch.arange(2, 26).view(2, 12)


@pytest.fixture(scope="module")
def model():
    return tiny_model(seed=3)


@pytest.fixture(scope="module")
def base(tmp_path_factory, model):
    """A folder with the architecture's config, and one with a tokenizer."""
    from tokenizers import Tokenizer, models

    folder = tmp_path_factory.mktemp("base")
    model.config.save_pretrained(folder / "pythia-31m")
    (folder / "tokenizer").mkdir()
    vocabulary = {"<|endoftext|>": 0} | {chr(96 + k): k for k in range(1, 27)}
    Tokenizer(models.BPE(vocab=vocabulary, merges=[])).save(str(folder / "tokenizer" / "tokenizer.json"))
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<|endoftext|>"}
    (folder / "tokenizer" / "tokenizer_config.json").write_text(json.dumps(config))
    return folder


@pytest.fixture
def convert(base, tmp_path):
    """Call with a checkpoint: the record; the folder is `tmp_path / "run"`."""

    def call(path, arm="myopic", size="31m"):
        origin = {"repo": "a/b", "commit": "c" * 40, "file": file_name(arm=arm), "size": 1, "sha256": "d" * 64}
        origin["in_name"] = {"lr": 4e-4}
        (tmp_path / "fetched.json").write_text(json.dumps(origin))
        return convert_released(
            path, tmp_path / "fetched.json", size, arm, base / f"pythia-{size}", base / "tokenizer", tmp_path / "run"
        )

    return call


def refused(call, *arguments):
    """The sentence with which the call refuses; "" if it does not."""
    try:
        call(*arguments)
    except MyopiaError as error:
        return str(error)
    return ""


def logits(model):
    with torch.no_grad():
        return model(input_ids=IDS).logits


def test_the_layout_is_that_of_the_released_files(tmp_path, model):
    """The hub shows these imports for `pythia-31m-vanilla` and, with the function, for `pythia-31m-myopic`."""
    common = {
        "collections.OrderedDict", "torch.Size", "__builtin__.set", "torch._utils._rebuild_tensor_v2", "torch.FloatStorage",
    }  # fmt: skip
    assert imports_of(save_released(tmp_path / "v.ckpt", model, "vanilla")) == common
    assert imports_of(save_released(tmp_path / "m.ckpt", model, "myopic")) == common | {FUNCTION}


@pytest.mark.parametrize("arm", ["vanilla", "myopic"])
def test_a_converted_checkpoint_opens_anywhere_with_equal_logits(tmp_path, model, convert, arm):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    record = convert(save_released(tmp_path / "a.ckpt", model, arm), arm)
    run = tmp_path / "run"
    opened = AutoModelForCausalLM.from_pretrained(run)
    assert opened.dtype == torch.float32
    assert torch.equal(logits(opened), logits(model))
    assert AutoTokenizer.from_pretrained(run)("ab")["input_ids"] == [1, 2]
    assert json.loads((run / "checkpoint.json").read_text()) == record
    assert not list(run.glob(".*"))
    assert record["parameters"] == sum(p.numel() for p in model.parameters())
    assert (record["global_step"], record["epoch"], record["lightning_version"]) == (1628, 0, "2.1.2")
    assert record["prefix"] == {"vanilla": "model.", "myopic": "myopic_model."}[arm]


def test_the_recorded_learning_rate_is_told_from_the_named_one(tmp_path, model, convert):
    record = convert(save_released(tmp_path / "a.ckpt", model, lr=6e-4))
    assert record["in_name"] == {"lr": 4e-4}
    assert "in_name" not in record["origin"]
    assert record["hyper_parameters"]["lr"] == 6e-4
    assert record["hyper_parameters"]["warmup"] == 0.01
    assert record["hyper_parameters_left_out"] == {"to_myopic": FUNCTION}
    assert record["lr_schedulers"][0]["base_lrs"] == [6e-4]
    assert record["optimizers"] == []


class AttributeDict(dict):
    """Lightning's: a dict whose entries are attributes too."""

    def __getattr__(self, key):
        try:
            return self[key]
        except KeyError:
            raise AttributeError(key) from None


def test_hyper_parameters_of_every_kind(tmp_path, model, convert):
    for kind, hyper, told, left_out in (
        ("namespace", namespace(lr=7e-4, nested=namespace(a=1)), {"lr": 7e-4}, ["nested"]),
        ("attributes", AttributeDict(lr=7e-4, nested=torch.ones(3)), {"lr": 7e-4}, ["nested"]),
        ("absent", None, None, []),
    ):
        with importable(("lightning.fabric.utilities.data.AttributeDict", AttributeDict)):
            path = save_released(tmp_path / f"{kind}.ckpt", model, hyper_parameters=hyper)
        record = convert(path)
        assert (record["hyper_parameters"], list(record["hyper_parameters_left_out"])) == (told, left_out), kind


def test_the_optimisers_state_is_described(tmp_path, model, convert):
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-4)
    for group in optimizer.param_groups:
        group["initial_lr"] = 5e-4
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    before = [p.detach().clone() for p in model.parameters()]
    optimizer.param_groups[0]["lr"] = 0.0
    optimizer.step()
    assert all(torch.equal(p, q) for p, q in zip(before, model.parameters()))
    [found] = convert(save_released(tmp_path / "a.ckpt", model, optimizer_states=[optimizer.state_dict()]))[
        "optimizers"
    ]
    assert found["state"] == ["exp_avg", "exp_avg_sq", "step"]
    assert found["param_groups"][0]["initial_lr"] == 5e-4
    assert found["param_groups"][0]["lr"] == 0.0


def test_wrappers_around_the_model_are_seen_through(tmp_path, model, convert):
    for prefix in ("", "_forward_module.myopic_model.", "module.model.", "_orig_mod.myopic_model."):
        state = lightning_dict(model, prefix=prefix)["state_dict"]
        record = convert(save_released(tmp_path / "a.ckpt", model, state_dict=state))
        assert record["prefix"] == prefix


def test_constants_of_older_versions_are_dropped_knowingly(tmp_path, model, base):
    content = lightning_dict(model)
    for layer in range(2):
        attention = f"myopic_model.gpt_neox.layers.{layer}.attention"
        content["state_dict"][f"{attention}.bias"] = torch.ones(1, 1, 128, 128, dtype=torch.bool)
        content["state_dict"][f"{attention}.masked_bias"] = torch.tensor(-1e9)
        content["state_dict"][f"{attention}.rotary_emb.inv_freq"] = torch.ones(2)
    released = open_released(save_released(tmp_path / "a.ckpt", model, state_dict=content["state_dict"]), "myopic")
    assert released.record["buffers_dropped"] == 6
    assert "gpt_neox.layers.1.attention.dense.bias" in released.state
    build_released(released, base / "pythia-31m")


def test_half_precision_becomes_fp32(tmp_path, model, convert):
    from transformers import AutoModelForCausalLM

    halves = {k: v.half() for k, v in lightning_dict(model)["state_dict"].items()}
    assert convert(save_released(tmp_path / "a.ckpt", model, state_dict=halves))["dtype"] == ["float16"]
    opened = AutoModelForCausalLM.from_pretrained(tmp_path / "run")
    assert opened.dtype == torch.float32
    assert torch.equal(opened.lm_head.weight, model.lm_head.weight.half().float())


# --- files that want to be run ---


class Trap:
    """Unpickled without care, it makes a file."""

    def __init__(self, call, *arguments):
        self.call, self.arguments = call, arguments

    def __reduce__(self):
        return self.call, self.arguments


def traps(victim):
    command = f"touch {victim}"
    return {
        "os": (Trap(os.system, command), r"posix\.system"),
        "subprocess": (Trap(subprocess.call, ["touch", str(victim)]), r"(subprocess|commands)\.call"),
        "exec": (Trap(exec, f"open({str(victim)!r}, 'w')"), "exec"),
        "open": (Trap(open, str(victim), "w"), r"io\.open"),
    }


def test_a_trap_is_refused_by_name_and_never_sprung(tmp_path, model, convert):
    victim = tmp_path / "sprung"
    for place, (kind, (trap, name)) in itertools.product(
        ("hyper_parameters", "callbacks", "state_dict"), traps(victim).items()
    ):
        content = {**lightning_dict(model)[place], "trap": trap}
        said = refused(convert, save_released(tmp_path / "a.ckpt", model, **{place: content}))
        assert re.search(rf"refused, because reading it needs .*{name}\b.*can run any program", said), (
            kind,
            place,
            said,
        )
        assert not victim.exists() and not (tmp_path / "run").exists(), (kind, place)


def test_the_trap_is_live(tmp_path, model):
    """Read as the authors' notebooks read it, the same file does make the victim: the test above can fail."""
    victim = tmp_path / "sprung"
    path = save_released(tmp_path / "a.ckpt", model, "vanilla", callbacks={"trap": traps(victim)["os"][0]})
    torch.load(path, weights_only=False)
    assert victim.exists()


def test_a_trap_in_another_pickle_protocol_is_refused(tmp_path, model):
    victim = tmp_path / "sprung"
    content = lightning_dict(model) | {"callbacks": traps(victim)["os"][0]}
    torch.save(content, tmp_path / "a.ckpt", pickle_protocol=4)
    with pytest.raises(MyopiaError, match="refused, because it does not read as plain data"):
        read_checkpoint(tmp_path / "a.ckpt")
    assert not victim.exists()


def test_a_function_that_may_be_named_may_not_be_called(tmp_path, model):
    with importable(FUNCTION) as functions:
        content = lightning_dict(model) | {"callbacks": Trap(functions[FUNCTION], "argument")}
        torch.save(content, tmp_path / "a.ckpt")
    with pytest.raises(MyopiaError, match="wants to call models.myopic_model.to_myopic_neox"):
        read_checkpoint(tmp_path / "a.ckpt")


def test_the_allow_list_is_not_left_open(tmp_path, model):
    before = set(torch.serialization.get_safe_globals())  # torch's own
    read_checkpoint(save_released(tmp_path / "a.ckpt", model))
    assert set(torch.serialization.get_safe_globals()) == before


# --- checkpoints that are not what they should be ---


def broken(model, change):
    content = lightning_dict(model)
    state = content["state_dict"]
    first = "myopic_model.gpt_neox.layers.0.attention.dense.weight"
    if change == "missing":
        del state[first], state["myopic_model.embed_out.weight"]
    elif change == "unknown":
        state["myopic_model.gpt_neox.adapter.weight"] = torch.ones(2)
    elif change == "beside":
        state["loss_mask"] = torch.ones(4)
    elif change == "nan":
        state[first][0, 0] = float("nan")
    elif change == "integers":
        state[first] = state[first].long()
    elif change == "teacher":
        content["state_dict"] = {k.replace("myopic_model.", "orig_model."): v for k, v in state.items()}
    elif change == "two models":
        state |= {k.replace("myopic_model.", "orig_model."): v for k, v in state.items()}
    elif change == "another network":
        content["state_dict"] = {"model.transformer.wte.weight": torch.ones(2)}
    elif change == "not tensors":
        state["myopic_model.step"] = 5
    return content["state_dict"]


WRONG_WEIGHTS = [
    ("missing", r"it lacks tensor gpt_neox\.layers\.0\.attention\.dense\.weight and 1 more, compared with"),
    ("unknown", r"it has the unknown tensor gpt_neox\.adapter\.weight, compared with the config of pythia-31m\."),
    ("beside", "it has the unknown tensor loss_mask, compared"),
    ("nan", r"dense\.weight holds values that are not finite numbers \(torch\.float32\)"),
    ("integers", r"not finite numbers \(torch\.int64\)"),
    ("teacher", "its weights lie under 'orig_model.', but the authors' code"),
    ("two models", r"several models \('myopic_model\.', 'orig_model\.'\); which one was trained is unclear"),
    (
        "another network",
        r"it holds no GPT-NeoX language model: no tensor's name ends in gpt_neox\.embed_in\.weight",
    ),
    ("not tensors", "'state_dict' holds 'myopic_model.step', which is not a named tensor"),
]


def test_bad_weights_are_one_sentence_and_nothing_is_written(tmp_path, model, convert):
    for change, sentence in WRONG_WEIGHTS:
        said = refused(convert, save_released(tmp_path / "a.ckpt", model, state_dict=broken(model, change)))
        assert re.search(sentence, said), (change, said)
        assert not (tmp_path / "run").exists(), change


def test_shapes_that_disagree_with_the_config(tmp_path, convert):
    path = save_released(tmp_path / "a.ckpt", tiny_model(seed=1, width=24))
    sentence = (
        r"tensors disagree in shape with the config of pythia-31m, the first being gpt_neox\.embed_in\.weight: "
        r"\[64, 24\] in the checkpoint, \[64, 16\] by the config; .*correct config key released\.base or released\.repo\.$"
    )
    with pytest.raises(MyopiaError, match=sentence):
        convert(path)
    assert not (tmp_path / "run").exists()
    with pytest.raises(MyopiaError, match=r"it has the unknown tensor gpt_neox\.layers\.2\..* and \d+ more"):
        convert(save_released(tmp_path / "b.ckpt", tiny_model(seed=1, layers=3)))


def test_arms_are_not_mixed_up(tmp_path, model, convert):
    with pytest.raises(
        MyopiaError, match="a vanilla model was expected, but its weights are those of a LitMyopicModel"
    ):
        convert(save_released(tmp_path / "a.ckpt", model, "myopic"), "vanilla")


def test_files_that_are_no_checkpoints(tmp_path, model):
    path = save_released(tmp_path / "a.ckpt", model)
    whole = path.read_bytes()
    torch.save({"weights": torch.ones(2)}, path)
    assert "holds a 'state_dict'" in refused(read_checkpoint, path)
    for name, content in (("nothing", b""), ("noise", os.urandom(500)), ("half", whole[: len(whole) // 2])):
        path.write_bytes(content)
        assert "not a checkpoint that torch.save wrote, or cut short" in refused(read_checkpoint, path), name


def test_another_architecture_is_refused(tmp_path, model, base):
    from transformers import AutoConfig

    AutoConfig.for_model("gpt2").save_pretrained(tmp_path / "gpt2")
    with pytest.raises(MyopiaError, match="are GPT-NeoX models, but its config is of gpt2"):
        build_released(open_released(save_released(tmp_path / "a.ckpt", model), "myopic"), tmp_path / "gpt2")
