"""One model on several devices, with torch's own engines: DDP where every rank replicates it, FSDP2 where it is sharded.

Myopic gradients need nothing special here. DDP hooks the accumulation of each parameter's gradient, which the bridge
leaves to autograd; the nested vector-Jacobian product (model/bridge.py) ends at the projections' outputs and
accumulates nothing. FSDP2 all-gathers a block's parameters into storage that it frees and refills in place, so a weight
that a bridge saved for its backward is complete again by then, like one saved by a linear layer. Under activation
recomputation the operator itself falls back to two projections (model/interface.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel
from transformers.modeling_layers import GradientCheckpointingLayer

from myopia.common.errors import MyopiaError
from myopia.model.attach import find_decoder
from myopia.train.process_group import ProcessGroup


class ParallelModel:
    """A model wrapped for its process group.

    train_module: called by training; eval_module: called by evaluation, without gradient hooks.
    """

    def __init__(
        self, model: nn.Module, strategy: str, process_group: ProcessGroup, compile: bool, precision: str
    ) -> None:
        if strategy != "replicate":
            _shard(model, process_group, precision, recompute=strategy == "shard-recompute")
            compile = False  # hooks that gather and free parameters break the graph at every block
        self.train_module: nn.Module = torch.compile(model) if compile else model
        self.eval_module: nn.Module = self.train_module
        self._ddp: DistributedDataParallel | None = None
        if process_group.size > 1 and strategy == "replicate":
            # Arms may leave projections without gradient, which DDP must look for. It also keeps DDP from rearranging
            # its buckets after the first step, so that a resumed run adds in the same order.
            self._ddp = DistributedDataParallel(
                self.train_module, forward_sync_buffers=False, find_unused_parameters=True, gradient_as_bucket_view=True
            )
            self.train_module = self._ddp

    def accumulating(self, last: bool) -> AbstractContextManager:
        """Context of one micro-batch: with DDP, ranks exchange gradients after the `last` one of a batch only.

        FSDP reduces after each one, so that the gradients kept between micro-batches are sharded, too.
        """
        return nullcontext() if last or self._ddp is None else self._ddp.no_sync()


def _shard(model: nn.Module, process_group: ProcessGroup, precision: str, recompute: bool) -> None:
    """Shard parameters, gradients and optimizer moments over the process group, block by block.

    Under bf16 a block is gathered in bf16, which is what autocast would make of its matrices, and reduced in fp32.
    Norms and embeddings stay fp32, as under autocast: the result does not depend on the sharding.
    """
    if recompute:
        find_decoder(model).activation_checkpointing_enable({"use_reentrant": False, "preserve_rng_state": False})
    mesh = init_device_mesh(process_group.device.type, (process_group.size,))
    exact = MixedPrecisionPolicy(cast_forward_inputs=False)
    half = MixedPrecisionPolicy(torch.bfloat16, torch.float32, cast_forward_inputs=False)
    for block in require_blocks(model):
        if precision == "bf16":
            for norm in _norms(block):
                fully_shard(norm, mesh=mesh, mp_policy=exact)
        fully_shard(block, mesh=mesh, mp_policy=half if precision == "bf16" else exact)
    fully_shard(model, mesh=mesh, mp_policy=exact)


def require_blocks(model: nn.Module) -> list[nn.Module]:
    """The transformer blocks, the units of sharding. Raises MyopiaError if the model has none."""
    blocks: list[nn.Module] = [m for m in model.modules() if isinstance(m, GradientCheckpointingLayer)]
    if not blocks:
        raise MyopiaError(f"{type(model).__name__} has no blocks to shard: set sharding: replicate")
    return blocks


def _norms(block: nn.Module) -> Iterator[nn.Module]:
    """Modules whose own parameters are all vectors: layer norms, RMS norms."""
    for module in block.modules():
        own = list(module.parameters(recurse=False))
        if own and all(parameter.dim() == 1 for parameter in own):
            yield module


def is_sharded(model: nn.Module) -> bool:
    """Whether the model's parameters are sharded over ranks (FSDP)."""
    return isinstance(model, FSDPModule)


def local_shard(tensor: torch.Tensor) -> torch.Tensor:
    """This rank's shard of a DTensor; an ordinary tensor itself."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def full_state_dict(model: nn.Module, process_group: ProcessGroup) -> dict[str, torch.Tensor]:
    """The unsharded state dict. Of a sharded model: gathered by all ranks, on the CPU of rank 0; empty on the others."""
    state = model.state_dict()
    if not is_sharded(model):
        return state
    full = {}
    for name, tensor in state.items():
        gathered = tensor.full_tensor() if isinstance(tensor, DTensor) else tensor
        if process_group.rank == 0:
            full[name] = gathered.detach().cpu()
    return full


def unshard(model: nn.Module, process_group: ProcessGroup, build: Callable[[], nn.Module]) -> nn.Module:
    """The model as one device holds it, on rank 0: `model` itself, or `build()` with the gathered weights of its shards.

    A collective: called on all ranks. On the others the result of a sharded model is `model`.
    """
    if not is_sharded(model):
        return model
    state = full_state_dict(model, process_group)
    if process_group.rank:
        return model
    full = build()
    full.load_state_dict(state)
    return full
