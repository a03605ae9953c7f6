"""Tiny checkpoints of the authors' layout: Lightning's merged ZeRO-2 files, for tests of what reads them.

The layout is that of `convert_zero_checkpoint_to_fp32_state_dict` applied to the authors' two classes; the hub's
scan of the released files lists the same pickle imports as `imports_of` finds in these.
"""

import argparse
import contextlib
import pickletools
import sys
import types
import zipfile
from collections import OrderedDict

import torch

NAME = (
    "PYTHIA-PILE10M64-{ARM}-fp16_model_name_pythia-{size}_lr_{lr:.2e}_warmup_5.00e-02_global_step=1627.0"
    "_train_loss={loss:.2f}.ckpt"
)
FUNCTION = "models.myopic_model.to_myopic_neox"


def tiny_model(seed, width=16, layers=2, vocab=64):
    """A GPT-NeoX of Pythia's kind (untied head, partial rotary) with weights far from their initial scale."""
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.for_model(
        "gpt_neox", hidden_size=width, num_hidden_layers=layers, num_attention_heads=2, intermediate_size=2 * width,
        vocab_size=vocab, max_position_embeddings=128, tie_word_embeddings=False, rotary_pct=0.25, bos_token_id=0,
        eos_token_id=0,
    )  # fmt: skip
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_config(config).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter.data, std=0.2)
    return model


def file_name(size="31m", arm="myopic", lr=4e-4, loss=3.84):
    return NAME.format(ARM=arm.upper(), size=size, lr=lr, loss=loss)


def weights(model, prefix):
    """The state dict under the names that transformers 4 used, which is what the authors ran."""
    names = {"lm_head.weight": "embed_out.weight"}
    return OrderedDict((prefix + names.get(k, k), v.detach().clone()) for k, v in model.state_dict().items())


def lightning_dict(model, arm="myopic", lr=6e-4, prefix=None, function=None):
    """A whole checkpoint as a dictionary; change what a test wants changed."""
    state = weights(model, prefix if prefix is not None else {"vanilla": "model.", "myopic": "myopic_model."}[arm])
    if arm == "myopic":
        hyper = {
            "layer_past": [None, None], "to_myopic": function, "loss_type": "myopic_loss", "from_kv": False, "lr": lr,
            "warmup": 0.01, "decay": 0.01, "deepspeed": False,
        }  # fmt: skip
    else:
        hyper = {
            "model_name": "EleutherAI/pythia-31m", "pretrain": True, "lr": lr, "warmup": 0.05, "decay": 0.01,
            "deepspeed": False, "loss_mask": None, "acc_cutoff": None,
        }  # fmt: skip
    return {
        "buffer_names": [],
        "param_shapes": [OrderedDict((name, tensor.shape) for name, tensor in state.items())],
        "sparse_tensor_module_names": set(),
        "global_samples": 10_002_432,
        "ds_config": {"train_micro_batch_size_per_gpu": 1024, "zero_optimization": {"stage": 2}},
        "ds_version": "0.13.1",
        "epoch": 0,
        "global_step": 1628,
        "pytorch-lightning_version": "2.1.2",
        "loops": {"fit_loop": {"state_dict": {}, "epoch_progress": {"total": {"ready": 1, "completed": 0}}}},
        "callbacks": {"ModelCheckpoint": {"best_model_score": torch.tensor(3.84), "best_k_models": {}}},
        "lr_schedulers": [{"base_lrs": [lr], "last_epoch": 1628, "_last_lr": [0.0], "lr_lambdas": [{}]}],
        "hparams_name": "kwargs",
        "hyper_parameters": hyper,
        "state_dict": state,
    }


@contextlib.contextmanager
def importable(*names):
    """Modules that hold functions or classes of these full names while something is pickled; gone afterwards.

    A name may come with its object: ("a.b.C", C). Yields the objects by full name.
    """
    before, made = set(sys.modules), {}
    for entry in names:
        name, thing = entry if isinstance(entry, tuple) else (entry, lambda *_: None)
        module, _, last = name.rpartition(".")
        parts = module.split(".")
        for k in range(1, len(parts) + 1):
            sys.modules.setdefault(".".join(parts[:k]), types.ModuleType(".".join(parts[:k])))
        thing.__module__, thing.__qualname__, thing.__name__ = module, last, last
        setattr(sys.modules[module], last, thing)
        made[name] = thing
    try:
        yield made
    finally:
        for module in set(sys.modules) - before:
            if any(name.startswith(f"{module}.") for name in made):
                del sys.modules[module]


def save_released(path, model, arm="myopic", lr=6e-4, **changes):
    """Write a checkpoint as the authors released it: the myopic one names their function."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with importable(FUNCTION) as functions:
        content = lightning_dict(model, arm, lr, function=functions[FUNCTION]) | changes
        torch.save({k: v for k, v in content.items() if v is not None}, path)
    return path


def imports_of(path):
    """The globals a checkpoint's pickle names, as the hub's scan shows them."""
    with zipfile.ZipFile(path) as archive:
        data = next(name for name in archive.namelist() if name.endswith("data.pkl"))
        operations = pickletools.genops(archive.read(data))
        return {argument.replace(" ", ".") for code, argument, _ in operations if code.name == "GLOBAL"}


def namespace(**values):
    return argparse.Namespace(**values)
