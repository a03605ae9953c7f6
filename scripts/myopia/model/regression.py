"""The network of the synthetic task: GPT-2 blocks between two linear maps (paper Table 3; authors_code 1.2)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import GPT2Config, GPT2Model

from myopia.common.errors import MyopiaError


class RegressionModel(nn.Module):
    """GPT-2 on vectors: a linear map in, learned positions, pre-norm blocks, a linear map out.

    Shapes: B sequences, T positions, C = 2 inputs (x_n, z_n), D = d_model.
    """

    def __init__(self, config: GPT2Config, n_inputs: int = 2) -> None:
        super().__init__()
        self.embed = nn.Linear(n_inputs, config.n_embd)
        self.transformer = GPT2Model(config)
        # The token table is never used; keeping a stub keeps GPT2Model's own code untouched.
        self.transformer.wte = nn.Identity()
        self.unembed = nn.Linear(config.n_embd, 1)

    @property
    def config(self) -> GPT2Config:
        return self.transformer.config

    @classmethod
    def from_spec(cls, spec: dict[str, Any], seed: int) -> RegressionModel:
        """The untrained network of a run: a pure function of (spec, seed), whichever arm it will be trained in.

        spec: d_model, n_layers, n_heads, d_mlp (None = 4 d_model), activation, n_positions.
        """
        config = GPT2Config(
            vocab_size=1, n_positions=spec["n_positions"], n_embd=spec["d_model"], n_layer=spec["n_layers"],
            n_head=spec["n_heads"], n_inner=spec.get("d_mlp"), activation_function=spec["activation"],
            attn_pdrop=0.0, embd_pdrop=spec.get("dropout", 0.0), resid_pdrop=spec.get("dropout", 0.0),
            bos_token_id=None, eos_token_id=None,
        )  # fmt: skip
        # The global generator is what initialisers draw from; fork it so that building a model leaves no trace.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return cls(config).eval()

    def forward(self, inputs_BTC: Tensor, hidden_states: bool = False) -> Tensor | tuple[Tensor, list[Tensor]]:
        """[B, T, 2] -> predictions [B, T]; with `hidden_states` also [B, T, D] x (n_layers + 1).

        Hidden states follow the Hugging Face convention: 0 is the input plus position embedding, the last is taken
        after the final layer norm.
        """
        output = self.transformer(
            inputs_embeds=self.embed(inputs_BTC), use_cache=False, output_hidden_states=hidden_states
        )
        y_BT = self.unembed(output.last_hidden_state)[..., 0]
        return (y_BT, list(output.hidden_states)) if hidden_states else y_BT

    def run_from(self, h_BTD: Tensor, layer: int) -> Tensor:
        """Continue the forward pass from hidden state `layer` [B, T, D] to the prediction [B, T].

        `layer` counts as in `forward`; the last one is already normalised, so only the output map is left.
        """
        blocks = self.transformer.h
        if layer == len(blocks):
            return self.unembed(h_BTD)[..., 0]
        for block in blocks[layer:]:
            output = block(h_BTD, attention_mask=None)
            h_BTD = output[0] if isinstance(output, tuple) else output
        return self.unembed(self.transformer.ln_f(h_BTD))[..., 0]

    def save_pretrained(self, folder: str | Path) -> None:
        """Write `config.json` and `model.safetensors`."""
        from safetensors.torch import save_file

        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        self.config.save_pretrained(folder)
        save_file({k: v.contiguous() for k, v in self.state_dict().items()}, folder / "model.safetensors")


def load_regression_model(folder: str | Path) -> RegressionModel:
    """Open a run folder written by `RegressionModel.save_pretrained`; eval mode, fp32, CPU.

    Raises:
        MyopiaError: a file is missing, or the weights do not fit the config.
    """
    folder = Path(folder)
    for name in ("config.json", "model.safetensors"):
        if not (folder / name).is_file():
            raise MyopiaError(
                f"{folder / name} is missing: train the run again (snakemake will, if you delete {folder})"
            )
    model = RegressionModel(GPT2Config.from_pretrained(folder))
    try:
        model.load_state_dict(load_file(folder / "model.safetensors"))
    except Exception as error:
        raise MyopiaError(f"{folder / 'model.safetensors'} does not fit {folder / 'config.json'}: {error}") from error
    return model.eval()
