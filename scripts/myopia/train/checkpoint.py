"""Weights and moments to and from a state directory, whatever number of processes wrote it or reads it.

What every process holds whole is one file (`torch.save`, by rank 0); what is divided is written in parts by
torch.distributed.checkpoint under the parameters' own names, so that any other division, or none, can read it.
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

from myopia.train.process_group import ProcessGroup
from myopia.train.spread import is_divided, whole_state
from myopia.train.state import PARTS, StateDirectory


class Checkpoint:
    """Saves and loads one run's network and optimiser."""

    def __init__(
        self, state: StateDirectory, model: nn.Module, optimizer: torch.optim.Optimizer, process_group: ProcessGroup
    ) -> None:
        self.state, self.model, self.optimizer, self.process_group = state, model, optimizer, process_group

    def save(self, step: int, rest: dict[str, Any], seconds: float, final: bool) -> None:
        """Write the state after `step` steps; `rest` are plain values. A finished run needs no optimiser."""
        if final or not is_divided(self.model):
            tensors = {"model": whole_state(self.model, self.process_group), **rest}
            if not final:
                tensors["optimizer"] = self.optimizer.state_dict()
            self.process_group.run_rank0(lambda: self.state.save(step, tensors, seconds, final))
            return
        self.process_group.run_rank0(lambda: self.state.begin_parts(step))
        try:
            dcp.save(self._named(), checkpoint_id=self.state.parts(step))
        except CheckpointException as error:
            causes = {str(cause) for cause, _ in error.failures.values()}
            raise self.process_group.error(
                f"run {self.state.label}: the state at step {step} could not be written to {self.state.folder} "
                f"({'; '.join(sorted(causes))}); free some space and start again"
            ) from error
        self.process_group.run_rank0(lambda: self.state.seal_parts(step, rest, seconds))

    def load(self) -> tuple[dict[str, Any], dict[str, Any]] | None:
        """Put the newest good state into network and optimiser; returns (rest, record), or None if there is none.

        Raises:
            MyopiaError: it is whole, but of a network that this one is not.
        """
        mine: dict[str, Any] | None = None

        def find() -> dict[str, Any] | None:
            nonlocal mine
            found = self.state.load()
            if found is None:
                return None
            mine, record = found
            return record

        record = self.process_group.run_rank0(find)
        if record is None:
            return None
        tensors = self.state.read(record) if mine is None else mine
        try:
            self._put(tensors, record)
        except torch.OutOfMemoryError:
            raise
        except (KeyError, RuntimeError, TypeError, ValueError, CheckpointException) as error:
            # Not set aside as a damaged one is: hours of work may be in it, and the version that wrote it can go on.
            raise self.process_group.error(
                f"run {self.state.label}: the state at step {record['step']} in {self.state.folder} is undamaged but does "
                "not fit this network, so another version of myopia, torch or transformers has written it: go on with "
                "that one, or remove the folder to train from the start"
            ) from error
        return {key: value for key, value in tensors.items() if key not in ("model", "optimizer")}, record

    def _put(self, tensors: dict[str, Any], record: dict[str, Any]) -> None:
        """Put a state into network and optimiser."""
        missing = {"curve", "sum", "count"} - set(tensors)  # what the trainer goes on from
        if missing:
            raise KeyError(*missing)
        if record["format"] == PARTS:
            self._load_parts(record["step"])
        elif is_divided(self.model):
            self._divide(tensors, record["final"])
        else:
            self.model.load_state_dict(tensors["model"])
            if not record["final"]:
                self.optimizer.load_state_dict(tensors["optimizer"])

    def _parameters(self) -> Iterator[nn.Parameter]:
        """In the order by which an optimiser's state dict numbers them."""
        for group in self.optimizer.param_groups:
            yield from group["params"]

    def _named(self) -> dict[str, torch.Tensor]:
        """Every tensor of the state by a name that no division changes."""
        tensors = {f"model/{name}": tensor for name, tensor in self.model.state_dict().items()}
        for name, parameter in self.model.named_parameters():
            for moment, tensor in self.optimizer.state.get(parameter, {}).items():
                tensors[f"optimizer/{name}/{moment}"] = tensor
        return tensors

    def _load_parts(self, step: int) -> None:
        """Read a divided state into whatever division this process_group has."""
        reader = FileSystemReader(self.state.parts(step))
        written = reader.read_metadata().state_dict_metadata
        for name, parameter in self.model.named_parameters():
            if f"optimizer/{name}/step" in written:
                self.optimizer.state[parameter] = _empty_moments(parameter)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="torch.distributed is disabled")
            dcp.load(self._named(), storage_reader=reader)

    def _divide(self, tensors: dict[str, Any], final: bool) -> None:
        """Take this process's part of a state that was written whole."""
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
    """AdamW's state of a parameter, to be filled; fused AdamW keeps its step beside the weights."""
    device = parameter.device
    return {
        "step": torch.zeros((), dtype=torch.float32, device=device),
        "exp_avg": torch.zeros_like(parameter, requires_grad=False),
        "exp_avg_sq": torch.zeros_like(parameter, requires_grad=False),
    }


@torch.no_grad()
def _copy(to: torch.Tensor, whole: torch.Tensor) -> None:
    if isinstance(to, DTensor):
        whole = distribute_tensor(whole.to(to.device), to.device_mesh, to.placements, src_data_rank=None)
    to.copy_(whole)
