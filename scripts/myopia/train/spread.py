"""One network on several devices, by torch's own engines: DDP where each holds all of it, FSDP2 where it is divided.

Myopic gradients need nothing of their own here. DDP hooks the accumulation of each weight's gradient, which the
bridge leaves to autograd; the nested pull-back (model/bridge.py) ends at the projections' outputs and accumulates
nothing. FSDP2 gathers a block's weights into storage that it empties and refills in place, so that the weight a
bridge holds for its backward is whole again by then, as the one a linear layer saved is. Under recomputation the
operator itself falls back to two projections (model/interface.py).
"""

from __future__ import annotations

from collections.abc import Iterator
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


class Spread:
    """A network as its process_group trains it.

    train: what training calls; evaluate: what evaluation calls, without gradient hooks.
    """

    def __init__(
        self, model: nn.Module, strategy: str, process_group: ProcessGroup, compile: bool, precision: str
    ) -> None:
        if strategy != "replicate":
            _divide(model, process_group, precision, recompute=strategy == "shard-recompute")
            compile = False  # hooks that gather and free weights break the graph at every block
        self.train: nn.Module = torch.compile(model) if compile else model
        self.evaluate: nn.Module = self.train
        self._replicas: DistributedDataParallel | None = None
        if process_group.size > 1 and strategy == "replicate":
            # Arms may leave projections without gradient, which DDP must look for. It also keeps its buckets from
            # being rearranged after the first step, so that a resumed run adds in the same order.
            self._replicas = DistributedDataParallel(
                self.train, forward_sync_buffers=False, find_unused_parameters=True, gradient_as_bucket_view=True
            )
            self.train = self._replicas

    def accumulating(self, last: bool) -> AbstractContextManager:
        """Around a micro-batch: replicas exchange gradients after the last one only.

        Divided networks exchange each time: what is kept between micro-batches is then divided, too.
        """
        return nullcontext() if last or self._replicas is None else self._replicas.no_sync()


def _divide(model: nn.Module, process_group: ProcessGroup, precision: str, recompute: bool) -> None:
    """Divide weights, gradients and moments among the process_group, block by block.

    Under bf16 a block is gathered in bf16, which is what autocast would make of its matrices, and reduced in fp32.
    Norms and tables stay fp32, as under autocast: what is computed does not depend on how it is spread.
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
    """The layers that a network is divided by."""
    blocks: list[nn.Module] = [m for m in model.modules() if isinstance(m, GradientCheckpointingLayer)]
    if not blocks:
        raise MyopiaError(f"{type(model).__name__} has no layers that it could be divided by: set sharding: replicate")
    return blocks


def _norms(block: nn.Module) -> Iterator[nn.Module]:
    """Modules whose own parameters are all vectors: layer norms, RMS norms."""
    for module in block.modules():
        own = list(module.parameters(recurse=False))
        if own and all(parameter.dim() == 1 for parameter in own):
            yield module


def is_divided(model: nn.Module) -> bool:
    """Whether the network's weights are divided among processes."""
    return isinstance(model, FSDPModule)


def local(tensor: torch.Tensor) -> torch.Tensor:
    """This process's part of a tensor; all of one that is not divided."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def whole_state(model: nn.Module, process_group: ProcessGroup) -> dict[str, torch.Tensor]:
    """The network's state dict with nothing divided; of a divided network on the CPU, and empty but in rank 0."""
    state = model.state_dict()
    if not is_divided(model):
        return state
    whole = {}
    for name, tensor in state.items():
        full = tensor.full_tensor() if isinstance(tensor, DTensor) else tensor
        if process_group.rank == 0:
            whole[name] = full.detach().cpu()
    return whole
