"""Provenance and cost of a result. None of it may enter a file that results are compared by."""

from __future__ import annotations

import os
import platform
import resource
import socket
import subprocess
import sys
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from torch import nn

PACKAGES = ("torch", "transformers", "numpy", "safetensors", "tokenizers", "snakemake")


@cache
def environment(device: torch.device) -> dict[str, Any]:
    """Git commit, package versions and hardware of this process: the same for all runs it trains."""
    return {
        "git": git_state(),
        "versions": {"python": platform.python_version(), **{p: _version(p) for p in PACKAGES}},
        "hardware": {
            "host": socket.gethostname(),
            "machine": platform.machine(),
            "cpu_count": os.cpu_count(),
            # The instruction set torch uses: another one rounds differently, and training amplifies that.
            "instructions": torch.backends.cpu.get_cpu_capability(),
            "threads": torch.get_num_threads(),
            "device": torch.cuda.get_device_name(device) if device.type == "cuda" else str(device),
        },
    }


def git_state() -> dict[str, Any]:
    """Commit of the checkout this file is in (not the current directory), and whether it is dirty; None without git."""
    root = Path(__file__).resolve().parents[3]
    try:
        run = dict(cwd=root, capture_output=True, text=True, check=True, timeout=20)
        commit = subprocess.run(["git", "rev-parse", "HEAD"], **run).stdout.strip()
        dirty = bool(subprocess.run(["git", "status", "--porcelain", "-uno"], **run).stdout.strip())
    except (OSError, subprocess.SubprocessError):
        return {"commit": None, "dirty": None}
    return {"commit": commit, "dirty": dirty}


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def parameter_counts(model: nn.Module) -> dict[str, int]:
    """All parameters, and those without token and position embeddings (the N of scaling laws).

    An untied output head (Pythia's) counts as an embedding, as in the Pythia suite's own figures.
    """
    total = sum(p.numel() for p in model.parameters())
    tables = {id(m.weight): m.weight for m in model.modules() if isinstance(m, nn.Embedding)}
    head = model.get_output_embeddings() if hasattr(model, "get_output_embeddings") else None
    if head is not None:
        tables[id(head.weight)] = head.weight
    return {
        "parameters": total,
        "parameters_without_embeddings": total - sum(table.numel() for table in tables.values()),
    }


def training_flops(model: nn.Module, tokens: int, T: int) -> float:
    """FLOPs of training on `tokens` tokens in sequences of T: (6 N + 12 L d T) per token (Chowdhery et al. 2022, App. B).

    N: parameters without embeddings, L: layers, d: d_model; attention is counted without its causal half.
    """
    config = model.config
    n = parameter_counts(model)["parameters_without_embeddings"]
    return float(tokens) * (6 * n + 12 * config.num_hidden_layers * config.hidden_size * T)


def peak_memory_bytes(device: torch.device) -> int:
    """Peak resident memory of this process, or peak allocated memory of its GPU, in bytes."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # macOS counts bytes, Linux KiB
