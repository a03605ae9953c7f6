"""One trainer for vectors and for text, that cannot lose work.

Everything random is a function of (seed, step, global sample index), so the state of a run is its weights, its
optimiser and its step; killed at any moment and started again, it ends bitwise where an unbroken run ends (CPU).
"""

from __future__ import annotations

import logging
import math
import time
from contextlib import ExitStack, nullcontext
from pathlib import Path
from typing import Any, NoReturn

import torch
from torch import nn

from myopia.common.errors import MyopiaError
from myopia.common.files import atomic_path, canonical_json, sha256_file, sha256_text
from myopia.config.placement import Placement
from myopia.model.build import apply_arm, build_model
from myopia.model.dropout import Keys, install
from myopia.model.initial import initial_identity, load_initial
from myopia.train import results
from myopia.train.batches import Task, build_task
from myopia.train.checkpoint import Checkpoint
from myopia.train.memory import free_bytes, lay_out, require_memory
from myopia.train.optim import build_optimizer, learning_rate
from myopia.train.parallel import ParallelModel, full_state_dict, local_shard, require_blocks
from myopia.train.process_group import ProcessGroup, init_process_group
from myopia.train.results import CURVE_COLUMNS
from myopia.train.run_context import RunContext
from myopia.train.signals import Preempted, stop_signals
from myopia.train.state import StateDirectory

__all__ = ["CURVE_COLUMNS", "RECIPE", "VALIDATION_SEED", "RunContext", "fingerprint", "train"]

log = logging.getLogger(__name__)

RECIPE = 1
"""Meaning of training: bump it when a change here alters results, and every run is trained again."""

VALIDATION_SEED = 0  # all runs of a task share one validation set
PRECISIONS = ("fp32", "bf16", "fp64")  # fp64: to check arithmetic


def fingerprint(
    spec: dict[str, Any], seed: int, data_fingerprint: str, teacher: str | None = None, initial: str | None = None
) -> str:
    """Name of a run's state: what decides its result, and nothing else (not its purpose, not its place).

    `teacher`: run folder of the model that the local arm learns from; another teacher is another run. `initial`:
    identity of the weights before step 0, unless the seed alone decides them.
    """
    decisive = {key: value for key, value in spec.items() if key != "purpose"}
    parts = [RECIPE, decisive, seed, data_fingerprint]
    if spec["arm"]["kind"] == "local" and teacher is not None:
        weights = Path(teacher, "model.safetensors")
        if not weights.is_file():
            raise MyopiaError(f"run {spec['name']}: its teacher {weights} is missing; train the vanilla run first")
        parts.append(sha256_file(weights))
    if initial is not None:
        parts.append({"initial": initial})
    return sha256_text(canonical_json(parts))[:16]


def train(
    spec: dict[str, Any],
    seed: int,
    context: RunContext,
    stop: list[int] | None = None,
    process_group: ProcessGroup | None = None,
) -> None:
    """Train one run to its end, resuming from its last good state, and write its folder.

    `stop`: the list of an outer `stop_signals()`; without one, this function listens for itself. `process_group`: the
    processes that train together; without one, those that torchrun started, or this one alone.

    Raises:
        Preempted: SIGTERM or SIGUSR1 came, to any process of the process_group; the state was saved.
        MyopiaError: bad spec, data, device; a loss that is not finite; a disk that is full.
    """
    with ExitStack() as stack:
        if stop is None:
            stop = stack.enter_context(stop_signals())
        process_group = process_group or stack.enter_context(init_process_group(context.device))
        _train(spec, seed, context, stop, process_group)


def _train(spec: dict[str, Any], seed: int, context: RunContext, stop: list[int], process_group: ProcessGroup) -> None:
    """The body of `train`, in a frame of its own: the network is gone when the process_group is."""
    with ExitStack() as stack:
        run = process_group.run_all_ranks(lambda: _prepare(spec, seed, context, stop, process_group))
        if process_group.rank == 0:
            stack.callback(run.state.__exit__)
        process_group.run_rank0(run.claim)
        process_group.run_all_ranks(run.build)
        run.parallelize()
        run.resume()
        run.loop(stop)
        run.finish()
        process_group.run_rank0(lambda: run.state.attempt("end", spec["steps"]))


def _prepare(
    spec: dict[str, Any], seed: int, context: RunContext, stop: list[int], process_group: ProcessGroup
) -> _Run:
    """Refuse what cannot work, before anything is built or written."""
    task = build_task(spec, context.tokens)
    _check_spec(spec)
    placement = lay_out(spec, task, process_group.size, process_group.device, context.sharding)
    require_memory(spec, task, free_bytes(process_group.device), placement)
    initial = initial_identity(spec, context.initial)
    name = fingerprint(spec, seed, task.fingerprint, context.teacher, initial)
    state = StateDirectory(context.state, name, f"{spec['name']} {seed}", stop)
    return _Run(spec, seed, context, task, state, process_group, placement, initial)


def _check_spec(spec: dict[str, Any]) -> None:
    if spec["batch_size"] % spec["micro_batch"]:
        raise MyopiaError(
            f"batch_size {spec['batch_size']} is not a multiple of micro_batch {spec['micro_batch']} "
            f"in run {spec['name']}"
        )
    if spec["precision"] not in PRECISIONS:
        raise MyopiaError(f"precision of run {spec['name']} must be one of {', '.join(PRECISIONS)}")


class _Run:
    """The state of one run in the memory of one process of its process_group."""

    def __init__(
        self,
        spec: dict[str, Any],
        seed: int,
        context: RunContext,
        task: Task,
        state: StateDirectory,
        process_group: ProcessGroup,
        placement: Placement,
        initial: str | None = None,
    ) -> None:
        self.spec, self.seed, self.context, self.device = spec, seed, context, process_group.device
        self.task, self.state, self.initial = task, state, initial
        self.process_group, self.placement = process_group, placement
        self.label = state.label
        self.keys = Keys(seed=seed)
        self.step = 0
        self.seconds = 0.0  # over all attempts
        self.curve: list[list[float]] = []
        self.interval: list[torch.Tensor] = []  # this process's losses since the last curve row, still on the device
        self.sum, self.count = 0.0, 0
        self.final = False

    def claim(self) -> None:
        """Take the run's state folder, waiting for another process that holds it."""
        self.state.__enter__()
        self.state.begin(self.process_group.size)

    def untrained(self) -> nn.Module:
        """The network as its seed makes it, or as it was released."""
        released = None if "init_from" in self.spec else self.context.initial
        return build_model(self.spec, self.seed, getattr(self.task, "vocab_size", None), released)

    def build(self) -> None:
        """Make the network, in the same way in every process."""
        spec, context = self.spec, self.context
        model = self.untrained()
        if "init_from" in spec:
            load_initial(model, context.initial or spec["init_from"], spec["name"])
        if self.placement.strategy == "replicate":
            model.to(self.device)
        else:  # it may not fit a device before it is sharded
            require_blocks(model)
        install(model, self.keys)
        self.model = apply_arm(model, spec["arm"], context.teacher).train()
        if spec["arm"]["kind"] == "local":  # the teacher hangs on the student without being a part of it
            self.model._myopia.arm.teacher.model.to(self.device)
        if spec["precision"] == "fp64":
            self.model.double()
            if spec["arm"]["kind"] == "local":
                self.model._myopia.arm.teacher.model.double()

    def parallelize(self) -> None:
        """ParallelModel the network over the process_group, and make the optimiser of what this process holds of it."""
        self.parallel = ParallelModel(
            self.model, self.placement.strategy, self.process_group, self.context.compile, self.spec["precision"]
        )
        self.optimizer = build_optimizer(self.model, self.spec["optim"])
        self.checkpoint = Checkpoint(self.state, self.model, self.optimizer, self.process_group)

    # --- state ---

    def resume(self) -> None:
        """Load the newest good state, if there is one."""
        loaded = self.checkpoint.load()
        self.clock = time.monotonic()
        if loaded is None:
            return
        trainer_state, record = loaded
        self.step, self.seconds, self.final = record["step"], record["seconds"], record["final"]
        self.curve, self.sum, self.count = trainer_state["curve"], trainer_state["sum"], trainer_state["count"]
        log.info("[%s] resumed at step %d/%d", self.label, self.step, self.spec["steps"])

    def save(self, final: bool = False) -> None:
        """Write the state; nothing that is not finite is ever saved."""
        self.check_losses()
        self.check_weights()
        now = time.monotonic()
        self.seconds, self.clock = self.seconds + now - self.clock, now
        trainer_state = {"curve": self.curve, "sum": self.sum, "count": self.count}
        self.checkpoint.save(self.step, trainer_state, round(self.seconds, 3), final)

    def check_losses(self) -> None:
        """Fold the interval's losses into the running mean; stop at the first that is not finite."""
        values = (
            self.process_group.all_reduce_sum(torch.stack(self.interval).cpu().double()).tolist()
            if self.interval
            else []
        )
        for back, value in enumerate(values):
            if not math.isfinite(value):
                self.diverged(f"the loss is {value}", self.step - len(values) + back)
            self.sum, self.count = self.sum + value, self.count + 1
        self.interval.clear()

    def check_weights(self) -> None:
        """The last update may have broken weights that no loss has been computed from yet."""
        names = [name for name, _ in self.model.named_parameters()]
        broken = (n for n, p in enumerate(self.model.parameters()) if not torch.isfinite(local_shard(p)).all())
        (first,) = self.process_group.all_reduce_max(
            len(names) - next(broken, len(names))
        )  # the first to be broken anywhere
        if first:
            self.diverged(f"{names[len(names) - first]} is no longer finite after the update", self.step - 1)

    def diverged(self, what: str, step: int) -> NoReturn:
        """Stop the run and name the batch."""
        first = step * self.spec["batch_size"]
        raise self.process_group.error(
            f"run {self.label}: {what} at step {step} (learning rate "
            f"{learning_rate(self.spec['optim'], step, self.spec['steps']):.3g}, samples {first} to "
            f"{first + self.spec['batch_size'] - 1}); lower optim.lr or set optim.grad_clip"
        )

    # --- work ---

    def loop(self, stop: list[int]) -> None:
        """Train from the current step to the last."""
        steps, every = self.spec["steps"], self.spec["eval"]["every"]
        check_every = 1 if self.device.type == "cpu" else 20  # reading a loss stalls a GPU
        saved = told = time.monotonic()
        first = self.step
        start = time.monotonic()
        if not self.curve:
            self.evaluate()
            if 0 in self.spec.get("snapshots", ()):
                self.snapshot()
        while self.step < steps:
            state = self.random_state() if self.step == first else None
            self.train_step()
            if state is not None and not torch.equal(state, self.random_state()):
                raise self.process_group.error(
                    f"run {self.label}: the model draws random numbers of its own (dropout outside nn.Dropout, such as "
                    "attention dropout), so it could not be resumed exactly; set that dropout to 0 in model.config"
                )
            if self.step % check_every == 0:
                self.check_losses()
            if self.step % every == 0 or self.step == steps:
                self.evaluate()
            if self.step in self.spec.get("snapshots", ()):
                self.snapshot()
            now = time.monotonic()
            every_steps = self.context.save_steps
            due = now - saved > self.context.save_seconds or bool(every_steps and self.step % every_steps == 0)
            tell = now - told > self.context.progress_seconds or self.step == steps
            # A signal may reach any process; clocks count in rank 0 alone.
            lead = self.process_group.rank == 0
            signal, due, tell = self.process_group.all_reduce_max(stop[0] if stop else 0, lead and due, lead and tell)
            if signal and self.step < steps:
                self.save()
                self.process_group.run_rank0(lambda: self.state.attempt("preempted", self.step))
                log.info("[%s] stopped by signal %d at step %d, state saved", self.label, signal, self.step)
                raise Preempted
            if due and self.step < steps:  # the last step's state is the final one, written once, by finish()
                self.save()
                saved = time.monotonic()
            if tell:
                self.tell((self.step - first) / (now - start))
                told = now

    def random_state(self) -> torch.Tensor:
        """torch's global stream, which training must leave alone."""
        return torch.cuda.get_rng_state(self.device) if self.device.type == "cuda" else torch.get_rng_state()

    def train_step(self) -> None:
        """One optimiser step on global samples step * batch ... (step + 1) * batch - 1, shared among processes."""
        spec, batch, micro, process_group = (
            self.spec,
            self.spec["batch_size"],
            self.placement.micro_batch,
            self.process_group,
        )
        rate = learning_rate(spec["optim"], self.step, spec["steps"])
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["scale"]
        self.keys.step = self.step
        total = torch.zeros((), device=self.device)
        end = (self.step + 1) * batch
        for first in range(self.step * batch + process_group.rank * micro, end, micro * process_group.size):
            inputs, samples = self.task.batch(self.seed, first, micro, "train")
            self.keys.samples = samples.to(self.device)
            with self.parallel.accumulating(last=first + micro * process_group.size >= end):
                loss = self.loss(self.parallel.train_module, inputs) * (micro / batch)
                # Gradients are averaged over processes; the batch's is their sum.
                (loss * process_group.size if process_group.size > 1 else loss).backward()
            total = total + loss.detach()
        if spec["optim"].get("grad_clip"):
            nn.utils.clip_grad_norm_(self.model.parameters(), spec["optim"]["grad_clip"])
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.interval.append(total)
        self.step += 1

    def loss(self, network: nn.Module, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        """Mean loss of `network` on a micro-batch."""
        inputs = {k: v.to(self.device, non_blocking=True) for k, v in inputs.items()}
        if self.spec["precision"] == "fp64":
            inputs = {k: v.double() if v.is_floating_point() else v for k, v in inputs.items()}
        half = self.spec["precision"] == "bf16"
        with torch.autocast(self.device.type, torch.bfloat16) if half else nullcontext():
            return self.task.loss(network, inputs)

    def evaluate(self) -> None:
        """Add a row to the learning curve: mean training loss since the last row, validation loss now."""
        self.check_losses()
        count, micro, process_group = self.spec["eval"]["sequences"], self.placement.micro_batch, self.process_group
        self.model.eval()
        total = 0.0
        with torch.no_grad():
            for start in range(0, count, micro * process_group.size):
                first = start + process_group.rank * micro
                size = max(0, min(micro, count - first))
                # All processes gather a sharded network equally often, those without a share as well.
                inputs, _ = self.task.batch(VALIDATION_SEED, first if size else 0, size or 1, "validation")
                total += float(self.loss(self.parallel.eval_module, inputs)) * size
        self.model.train()
        total = float(process_group.all_reduce_sum(torch.tensor(total, dtype=torch.float64)))
        if not math.isfinite(total):
            self.diverged(f"the validation loss is {total / count}", max(self.step - 1, 0))
        train_loss = self.sum / self.count if self.count else float("nan")
        tokens = self.step * self.spec["batch_size"] * self.task.tokens_per_sample
        rate = learning_rate(self.spec["optim"], max(self.step - 1, 0), self.spec["steps"])
        self.curve.append([self.step, tokens, rate, train_loss, total / count])
        self.sum, self.count = 0.0, 0

    def tell(self, steps_per_s: float) -> None:
        """One whole line for people, one file for watchers."""
        self.check_losses()
        steps, validation = self.spec["steps"], self.curve[-1][4]
        loss = self.sum / self.count if self.count else self.curve[-1][3]
        rate = steps_per_s * self.spec["batch_size"] * self.task.tokens_per_sample
        eta = (steps - self.step) / steps_per_s if steps_per_s else float("inf")
        log.info(
            "[%s] step %d/%d  loss %.4f  validation %.4f  %.0f tokens/s  ETA %.0f s",
            self.label, self.step, steps, loss, validation, rate, eta,
        )  # fmt: skip
        if self.process_group.rank:
            return
        self.state.progress(
            {
                "run": self.spec["name"], "seed": self.seed, "step": self.step, "steps": steps, "loss": loss,
                "tokens_per_s": rate, "eta_s": eta, "time": time.time(),
            }
        )  # fmt: skip

    def snapshot(self) -> None:
        """Keep the weights at this step beside the run, for studies of training itself."""
        from safetensors.torch import save_file

        folder = self.context.folder / "snapshots" / f"step{self.step}"
        state = full_state_dict(self.model, self.process_group)

        def write() -> None:
            folder.mkdir(parents=True, exist_ok=True)
            with atomic_path(folder / "model.safetensors") as temporary:
                save_file({k: v.detach().cpu().contiguous().clone() for k, v in state.items()}, temporary)

        self.process_group.run_rank0(write)

    # --- results ---

    def finish(self) -> None:
        """Save the final state and write the run folder."""
        if not self.final:
            self.save(final=True)
        results.finish(self, RECIPE)
        log.info("[%s] finished: validation loss %.4f", self.label, self.curve[-1][4])
