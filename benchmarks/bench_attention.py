"""Training step of the myopic twin against the vanilla model: time, memory, and against the dense formulation.

Times are medians over interleaved pairs (vanilla, myopic, vanilla again: the last gives the A/A ratio that says how
far this machine can tell two equal things apart). Memory is the peak that torch allocated above the state before the
step, from the profiler's allocation events. Run through `make bench` on an otherwise idle machine.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from transformers import MODEL_FOR_CAUSAL_LM_MAPPING, AutoConfig, AutoModelForCausalLM

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scripts"))
from myopia import myopic_attention, to_myopic
from myopia.common.files import write_csv
from myopia.common.process import use_huge_pages

D_MODEL, N_HEADS, N_LAYERS, VOCAB, TOKENS = 256, 8, 4, 4096, 4096
LENGTHS = (64, 256, 1024, 4096)
FEWER_LENGTHS = (64, 1024)  # of architectures without the strict limit
ARCHITECTURES = ("gpt2", "gpt_neox", "llama", "mistral", "qwen2", "qwen3", "olmo2", "gemma2", "phi", "opt")
COLUMNS = [
    "architecture", "T", "vanilla_s", "myopic_s", "ratio", "aa_ratio", "aa_half_width", "limit", "within",
    "peak_ratio", "dense_over_fused", "operator_dense_over_fused",
]  # fmt: skip
LIMIT = {"gpt2": 1.05, "gpt_neox": 1.05}


def build(name: str, T: int) -> torch.nn.Module:
    """The benchmark's model: 4 layers, d_model 256, 8 heads, SDPA attention (eager where transformers offers no other)."""
    common = dict(
        vocab_size=VOCAB, hidden_size=D_MODEL, num_hidden_layers=N_LAYERS, num_attention_heads=N_HEADS,
        num_key_value_heads=N_HEADS, head_dim=D_MODEL // N_HEADS, intermediate_size=4 * D_MODEL,
        max_position_embeddings=T, pad_token_id=None, bos_token_id=None, eos_token_id=None, attention_dropout=0.0,
    )  # fmt: skip
    special = {
        "gpt2": dict(
            n_embd=D_MODEL, n_layer=N_LAYERS, n_head=N_HEADS, n_positions=T, vocab_size=VOCAB, attn_pdrop=0.0,
            embd_pdrop=0.0, resid_pdrop=0.0, bos_token_id=None, eos_token_id=None,
        ),
        "opt": {**common, "ffn_dim": 4 * D_MODEL, "dropout": 0.0, "word_embed_proj_dim": D_MODEL},
        "gemma2": {**common, "attn_logit_softcapping": None, "sliding_window": T},
        "mistral": {**common, "sliding_window": None},
    }  # fmt: skip
    torch.manual_seed(0)
    config = AutoConfig.for_model(name, **special.get(name, common))
    fast = MODEL_FOR_CAUSAL_LM_MAPPING[type(config)]._supports_sdpa  # Gemma 2's does not, soft-capped or not
    return AutoModelForCausalLM.from_config(config, attn_implementation="sdpa" if fast else "eager")


class Step:
    """One training step (forward, backward, AdamW) of one model on fixed tokens."""

    def __init__(self, name: str, T: int, arm: str) -> None:
        self.model = build(name, T)
        if arm == "eager":
            self.model.set_attn_implementation("eager")
        elif arm != "vanilla":
            to_myopic(self.model, impl="dense" if arm == "dense" else "fused")
        self.optimiser = torch.optim.AdamW(self.model.parameters(), lr=1e-4, fused=True)
        self.ids = torch.randint(0, VOCAB, (TOKENS // T, T), generator=torch.Generator().manual_seed(1))

    def __call__(self) -> float:
        start = time.perf_counter()
        loss = self.model(input_ids=self.ids, labels=self.ids, use_cache=False).loss
        loss.backward()
        self.optimiser.step()
        self.optimiser.zero_grad()
        return time.perf_counter() - start

    def peak_bytes(self) -> int:
        """Largest sum of torch allocations minus frees since the start of a step."""
        self()
        with torch.profiler.profile(profile_memory=True) as profile:
            self()
        running = np.cumsum([e.nbytes() for e in profile.profiler.kineto_results.events() if e.name() == "[memory]"])
        return int(running.max())


def paired(name: str, T: int, pairs: int) -> dict[str, float]:
    """Ratio of step times, myopic over vanilla, beside vanilla over vanilla."""
    vanilla, myopic = Step(name, T, "vanilla"), Step(name, T, "myopic")
    for step in (vanilla, myopic):
        step(), step()
    times = np.array([(vanilla(), myopic(), vanilla()) for _ in range(pairs)])
    # Half-width of the 95 % interval of the median A/A ratio, by the order statistics' bootstrap.
    aa = times[:, 2] / times[:, 0]
    rng = np.random.default_rng(0)
    medians = np.median(rng.choice(aa, (2000, len(aa))), axis=1)
    low, high = np.quantile(medians, [0.025, 0.975])
    return {
        "vanilla_s": float(np.median(times[:, [0, 2]])),
        "myopic_s": float(np.median(times[:, 1])),
        "ratio": float(np.median(times[:, 1] / times[:, [0, 2]].mean(1))),
        "aa_ratio": float(np.median(aa)),
        "aa_half_width": float((high - low) / 2),
    }


def operator_ratio(T: int, pairs: int) -> float:
    """Forward and backward of `myopic_attention` alone, dense over fused, all five inputs receiving gradient."""
    shape = (TOKENS // T, N_HEADS, T, D_MODEL // N_HEADS)
    torch.manual_seed(0)
    inputs = [torch.randn(shape).requires_grad_() for _ in range(5)]
    times: dict[str, list[float]] = {"dense": [], "fused": []}
    for _ in range(pairs + 1):
        for impl, seconds in times.items():
            start = time.perf_counter()
            myopic_attention(*inputs, scale=shape[-1] ** -0.5, impl=impl).sum().backward()
            seconds.append(time.perf_counter() - start)
            for x in inputs:
                x.grad = None
    return float(np.median(np.array(times["dense"][1:]) / np.array(times["fused"][1:])))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", required=True, metavar="CSV")
    parser.add_argument("--pairs", type=int, default=15)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--architectures", nargs="+", default=list(ARCHITECTURES))
    parser.add_argument("--lengths", nargs="+", type=int, help="default: 64 to 4096, fewer for most architectures")
    parser.add_argument("--go-on", action="store_true", help="keep the rows that a stopped benchmark left in --out")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    rows: list[dict[str, object]] = []
    if args.go_on and Path(args.out).exists():
        rows = pd.read_csv(args.out)[COLUMNS].to_dict("records")
    measured = {(row["architecture"], row["T"]) for row in rows}
    for name in args.architectures:
        for T in args.lengths or (LENGTHS if name in LIMIT else FEWER_LENGTHS):
            if (name, T) in measured:
                continue
            row = {"architecture": name, "T": T, **paired(name, T, args.pairs)}
            row["limit"] = LIMIT.get(name, 1.15)
            row["within"] = row["ratio"] <= row["limit"] + row["aa_half_width"]
            if max(LENGTHS) == T:
                row["peak_ratio"] = Step(name, T, "myopic").peak_bytes() / Step(name, T, "vanilla").peak_bytes()
            if name in LIMIT and T >= 1024:
                dense = Step(name, T, "dense")
                dense()
                row["dense_over_fused"] = min(dense() for _ in range(2)) / row["myopic_s"]
                row["operator_dense_over_fused"] = operator_ratio(T, args.pairs)
            sys.stderr.write(
                " ".join(f"{k}={v:.4g}" if isinstance(v, float) else f"{k}={v}" for k, v in row.items()) + "\n"
            )
            rows.append(row)
            save(rows, args)  # after every row: a benchmark that is stopped keeps what it measured


def save(rows: list[dict[str, object]], args: argparse.Namespace) -> None:
    """Write the rows measured so far, with what they were measured on."""
    frame = pd.DataFrame(rows).reindex(columns=COLUMNS)
    frame["pairs"], frame["threads"] = args.pairs, args.threads
    frame["machine"], frame["instructions"] = platform.machine(), torch.backends.cpu.get_cpu_capability()
    frame["torch"] = torch.__version__
    write_csv(args.out, frame)


if __name__ == "__main__":
    use_huge_pages()  # page faults cost both sides the same and drown the difference
    main()
