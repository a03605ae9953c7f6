"""Checkpoints of one run: model and optimizer state to and from a state directory, for any number of processes.

A replicated model is saved as one file (`torch.save`, by rank 0). A sharded one is saved by torch.distributed.checkpoint
under the parameters' own names, one file per rank, and can be loaded with any other sharding or none.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import torch
import torch.distributed.checkpoint as dcp
from torch import nn
from torch.distributed.checkpoint import CheckpointException, FileSystemReader
from torch.distributed.tensor import DTensor, distribute_tensor

from myopia.train.parallel import full_state_dict, is_sharded
from myopia.train.process_group import ProcessGroup
from myopia.train.state import SHARDED_FORMAT, StateDirectory

TRAINER_KEYS = {"curve", "sum", "count"}
"""What the trainer itself resumes from, beside model and optimizer."""


class Checkpoint:
    """Saves and loads one run's model, optimizer and trainer state."""

    def __init__(
        self, state: StateDirectory, model: nn.Module, optimizer: torch.optim.Optimizer, process_group: ProcessGroup
    ) -> None:
        self.state, self.model, self.optimizer, self.process_group = state, model, optimizer, process_group

    def save(self, step: int, trainer_state: dict[str, Any], seconds: float, final: bool) -> None:
        """Save the state after `step` steps; a final one is unsharded and without optimizer.

        Args:
            step: optimizer steps done.
            trainer_state: plain values under `TRAINER_KEYS`.
            seconds: training time so far, over all attempts.
            final: whether training is finished.

        Raises:
            MyopiaError: the disk is full or cannot be written to; the previous checkpoint is intact.
        """
        if final or not is_sharded(self.model):
            tensors = {"model": full_state_dict(self.model, self.process_group), **trainer_state}
            if not final:
                tensors["optimizer"] = self.optimizer.state_dict()
            self.process_group.run_rank0(lambda: self.state.save(step, tensors, seconds, final))
            return
        self.process_group.run_rank0(lambda: self.state.begin_sharded(step))
        try:
            dcp.save(self._named_tensors(), checkpoint_id=self.state.shard_folder(step))
        except CheckpointException as error:
            causes = {str(cause) for cause, _ in error.failures.values()}
            raise self.process_group.error(
                f"run {self.state.label}: the state at step {step} could not be written to {self.state.folder} "
                f"({'; '.join(sorted(causes))}); free some space and start again"
            ) from error
        self.process_group.run_rank0(lambda: self.state.commit_sharded(step, trainer_state, seconds))

    def load(self) -> tuple[dict[str, Any], dict[str, Any]] | None:
        """Load the newest undamaged state into model and optimizer; returns (trainer state, record), or None.

        Raises:
            MyopiaError: the state is undamaged but does not fit this model.
        """
        own: dict[str, Any] | None = None

        def find() -> dict[str, Any] | None:
            nonlocal own
            found = self.state.load()
            if found is None:
                return None
            own, record = found
            return record

        record = self.process_group.run_rank0(find)
        if record is None:
            return None
        tensors = self.state.read(record) if own is None else own
        try:
            self._restore(tensors, record)
        except torch.OutOfMemoryError:
            raise
        except (KeyError, RuntimeError, TypeError, ValueError, CheckpointException) as error:
            # Not set aside like a damaged state: hours of work may be in it, and the version that wrote it can go on.
            raise self.process_group.error(
                f"run {self.state.label}: the state at step {record['step']} in {self.state.folder} is undamaged but does "
                "not fit this network, so another version of myopia, torch or transformers has written it: go on with "
                "that one, or remove the folder to train from the start"
            ) from error
        return {key: value for key, value in tensors.items() if key not in ("model", "optimizer")}, record

    def _restore(self, tensors: dict[str, Any], record: dict[str, Any]) -> None:
        """Copy a loaded state into model and optimizer."""
        missing = TRAINER_KEYS - set(tensors)
        if missing:
            raise KeyError(*missing)
        if record["format"] == SHARDED_FORMAT:
            self._restore_sharded(record["step"])
        elif is_sharded(self.model):
            self._reshard(tensors, record["final"])
        else:
            self.model.load_state_dict(tensors["model"])
            if not record["final"]:
                self.optimizer.load_state_dict(tensors["optimizer"])

    def _parameters(self) -> Iterator[nn.Parameter]:
        """In the order by which an optimizer's state dict numbers them."""
        for group in self.optimizer.param_groups:
            yield from group["params"]

    def _named_tensors(self) -> dict[str, torch.Tensor]:
        """Every tensor of model and optimizer, by a name that does not depend on the sharding."""
        tensors = {f"model/{name}": tensor for name, tensor in self.model.state_dict().items()}
        for name, parameter in self.model.named_parameters():
            for moment, tensor in self.optimizer.state.get(parameter, {}).items():
                tensors[f"optimizer/{name}/{moment}"] = tensor
        return tensors

    def _restore_sharded(self, step: int) -> None:
        """Load a sharded state into a model of any sharding."""
        reader = FileSystemReader(self.state.shard_folder(step))
        saved = reader.read_metadata().state_dict_metadata
        for name, parameter in self.model.named_parameters():
            if f"optimizer/{name}/step" in saved:
                self.optimizer.state[parameter] = _empty_moments(parameter)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="torch.distributed is disabled")
            dcp.load(self._named_tensors(), storage_reader=reader)

    def _reshard(self, tensors: dict[str, Any], final: bool) -> None:
        """Copy this rank's shard of an unsharded state."""
        for name, tensor in self.model.state_dict().items():
            _copy(tensor, tensors["model"][name])
        if final:
            return
        moments = tensors["optimizer"]["state"]
        for number, parameter in enumerate(self._parameters()):
            if number in moments:
                self.optimizer.state[parameter] = _empty_moments(parameter)
                for moment, tensor in self.optimizer.state[parameter].items():
                    _copy(tensor, moments[number][moment])


def _empty_moments(parameter: nn.Parameter) -> dict[str, torch.Tensor]:
    """AdamW's state of a parameter, to be filled; fused AdamW keeps its step on the parameter's device."""
    device = parameter.device
    return {
        "step": torch.zeros((), dtype=torch.float32, device=device),
        "exp_avg": torch.zeros_like(parameter, requires_grad=False),
        "exp_avg_sq": torch.zeros_like(parameter, requires_grad=False),
    }


@torch.no_grad()
def _copy(to: torch.Tensor, full: torch.Tensor) -> None:
    """Copy an unsharded tensor into `to`, of the same global shape."""
    if isinstance(to, DTensor):
        full = distribute_tensor(full.to(to.device), to.device_mesh, to.placements, src_data_rank=None)
    to.copy_(full)
