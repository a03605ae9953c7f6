"""The training loop of every run, on vectors or on text; a run that is killed resumes without loss.

Everything random is a function of (seed, step, global sample index), so the state of a run is its parameters, its
optimizer and its step. Killed at any moment and started again, it ends bitwise where an uninterrupted run ends (on CPU).
"""

from __future__ import annotations

import logging
import math
import time
from contextlib import ExitStack, nullcontext
from typing import Any, NoReturn

import torch
from torch import nn

from myopia.common.errors import MyopiaError
from myopia.common.files import atomic_path
from myopia.config.placement import Placement
from myopia.config.runs import CODE_VERSION
from myopia.model.build import apply_arm, build_model
from myopia.model.dropout import Keys, install
from myopia.model.initial import initial_identity, load_initial
from myopia.train import results
from myopia.train.batches import Task, build_task
from myopia.train.checkpoint import Checkpoint
from myopia.train.fingerprint import fingerprint
from myopia.train.memory import free_bytes, lay_out, require_memory
from myopia.train.optim import build_optimizer, learning_rate
from myopia.train.parallel import ParallelModel, full_state_dict, local_shard, require_blocks, unshard
from myopia.train.process_group import ProcessGroup, init_process_group
from myopia.train.results import CURVE_COLUMNS
from myopia.train.run_context import RunContext
from myopia.train.signals import Preempted, stop_signals
from myopia.train.state import StateDirectory

__all__ = ["CURVE_COLUMNS", "VALIDATION_SEED", "RunContext", "fingerprint", "train"]

log = logging.getLogger(__name__)

VALIDATION_SEED = 0  # all runs of a task share one validation set
PRECISIONS = ("fp32", "bf16", "fp64")  # fp64: to check arithmetic


def train(
    spec: dict[str, Any],
    seed: int,
    context: RunContext,
    stop: list[int] | None = None,
    process_group: ProcessGroup | None = None,
) -> None:
    """Train one run to its last step, resuming from its newest checkpoint, and write its folder.

    Args:
        spec: run spec (config/).
        seed: seed of the run.
        context: folders, device and intervals.
        stop: signal list of an outer `stop_signals()`; None installs the handlers here.
        process_group: the ranks that train together; None joins torchrun's group, or trains alone.

    Raises:
        Preempted: SIGTERM or SIGUSR1 reached any rank; the state is saved.
        MyopiaError: bad spec, data or device; a loss that is not finite; a full disk.
    """
    with ExitStack() as stack:
        if stop is None:
            stop = stack.enter_context(stop_signals())
        process_group = process_group or stack.enter_context(init_process_group(context.device))
        _train(spec, seed, context, stop, process_group)


def _train(spec: dict[str, Any], seed: int, context: RunContext, stop: list[int], process_group: ProcessGroup) -> None:
    """The body of `train`, in a frame of its own: the model must be freed before its process group."""
    with ExitStack() as stack:
        run = process_group.run_all_ranks(lambda: _prepare(spec, seed, context, stop, process_group))
        if process_group.rank == 0:
            stack.callback(run.state.__exit__)
        process_group.run_rank0(run.lock_state)
        process_group.run_all_ranks(run.build)
        run.parallelize()
        run.resume()
        run.loop(stop)
        run.finish()
        process_group.run_rank0(lambda: run.state.attempt("end", spec["steps"]))


def _prepare(
    spec: dict[str, Any], seed: int, context: RunContext, stop: list[int], process_group: ProcessGroup
) -> _Run:
    """Check everything that can be checked before a model is built or a file written."""
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
    """One rank's part of one run: model, optimizer, step and learning curve."""

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
        self.interval: list[torch.Tensor] = []  # this rank's losses since the last curve row, on the device
        self.sum, self.count = 0.0, 0  # of the losses read back since the last curve row
        self.final = False

    def lock_state(self) -> None:
        """Lock the run's state directory, waiting for another process that holds it."""
        self.state.__enter__()
        self.state.begin(self.process_group.size)

    def untrained(self) -> nn.Module:
        """The model at step 0 without `init_from`: initialised from the seed, or released weights."""
        released = None if "init_from" in self.spec else self.context.initial
        return build_model(self.spec, self.seed, getattr(self.task, "vocab_size", None), released)

    def build(self) -> None:
        """Build the full model, identically on every rank."""
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
        if spec["arm"]["kind"] == "local":  # the teacher is attached to the student without being a submodule
            self.model._myopia.arm.teacher.model.to(self.device)
        if spec["precision"] == "fp64":
            self.model.double()
            if spec["arm"]["kind"] == "local":
                self.model._myopia.arm.teacher.model.double()

    def parallelize(self) -> None:
        """Wrap the model for its process group, and make the optimizer of this rank's parameters."""
        self.parallel = ParallelModel(
            self.model, self.placement.strategy, self.process_group, self.context.compile, self.spec["precision"]
        )
        self.optimizer = build_optimizer(self.model, self.spec["optim"])
        self.checkpoint = Checkpoint(self.state, self.model, self.optimizer, self.process_group)

    # --- state ---

    def resume(self) -> None:
        """Load the newest undamaged checkpoint, if there is one."""
        loaded = self.checkpoint.load()
        self.clock = time.monotonic()
        if loaded is None:
            return
        trainer_state, record = loaded
        self.step, self.seconds, self.final = record["step"], record["seconds"], record["final"]
        self.curve, self.sum, self.count = (trainer_state[key] for key in ("curve", "sum", "count"))
        log.info("[%s] resumed at step %d/%d", self.label, self.step, self.spec["steps"])

    def save(self, final: bool = False) -> None:
        """Save a checkpoint; losses and parameters that are not finite are never saved."""
        self.check_losses()
        self.check_weights()
        now = time.monotonic()
        self.seconds, self.clock = self.seconds + now - self.clock, now
        trainer_state = {"curve": self.curve, "sum": self.sum, "count": self.count}
        self.checkpoint.save(self.step, trainer_state, round(self.seconds, 3), final)

    def check_losses(self) -> None:
        """Read back the interval's losses, add them to the running sum; stop at the first that is not finite."""
        stacked = torch.stack(self.interval).cpu().double() if self.interval else None
        values = [] if stacked is None else self.process_group.all_reduce_sum(stacked).tolist()
        for back, value in enumerate(values):
            if not math.isfinite(value):
                self.diverged(f"the loss is {value}", self.step - len(values) + back)
            self.sum, self.count = self.sum + value, self.count + 1
        self.interval.clear()

    def check_weights(self) -> None:
        """Stop if the last update made a parameter non-finite; no loss has been computed from it yet."""
        names = [name for name, _ in self.model.named_parameters()]
        broken = (n for n, p in enumerate(self.model.parameters()) if not torch.isfinite(local_shard(p)).all())
        (first,) = self.process_group.all_reduce_max(len(names) - next(broken, len(names)))  # lowest index on any rank
        if first:
            self.diverged(f"{names[len(names) - first]} is no longer finite after the update", self.step - 1)

    def diverged(self, what: str, step: int) -> NoReturn:
        """Stop the run with an error that names the step and its samples."""
        first = step * self.spec["batch_size"]
        raise self.process_group.error(
            f"run {self.label}: {what} at step {step} (learning rate "
            f"{learning_rate(self.spec['optim'], step, self.spec['steps']):.3g}, samples {first} to "
            f"{first + self.spec['batch_size'] - 1}); lower optim.lr or set optim.grad_clip"
        )

    # --- training ---

    def loop(self, stop: list[int]) -> None:
        """Train from the current step to the last."""
        steps, every = self.spec["steps"], self.spec["eval"]["every"]
        check_every = 1 if self.device.type == "cpu" else 20  # reading a loss stalls a GPU
        saved = logged = time.monotonic()
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
            save_due = now - saved > self.context.save_seconds or bool(every_steps and self.step % every_steps == 0)
            log_due = now - logged > self.context.progress_seconds or self.step == steps
            # A signal may reach any rank; of the clocks only rank 0's counts.
            rank0 = self.process_group.rank == 0
            signal, save_due, log_due = self.process_group.all_reduce_max(
                stop[0] if stop else 0, rank0 and save_due, rank0 and log_due
            )
            if signal and self.step < steps:
                self.save()
                self.process_group.run_rank0(lambda: self.state.attempt("preempted", self.step))
                log.info("[%s] stopped by signal %d at step %d, state saved", self.label, signal, self.step)
                raise Preempted
            if save_due and self.step < steps:  # the last step's state is the final one, written once, by finish()
                self.save()
                saved = time.monotonic()
            if log_due:
                self.log_progress((self.step - first) / (now - start))
                logged = now

    def random_state(self) -> torch.Tensor:
        """State of torch's global generator, uint8 [n]; training must not draw from it."""
        return torch.cuda.get_rng_state(self.device) if self.device.type == "cuda" else torch.get_rng_state()

    def train_step(self) -> None:
        """One optimizer step on global samples [step * batch, (step + 1) * batch), divided over ranks."""
        spec, batch, micro, size = (
            self.spec,
            self.spec["batch_size"],
            self.placement.micro_batch,
            self.process_group.size,
        )
        rate = learning_rate(spec["optim"], self.step, spec["steps"])
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["scale"]
        self.keys.step = self.step
        total = torch.zeros((), device=self.device)
        end = (self.step + 1) * batch
        for first in range(self.step * batch + self.process_group.rank * micro, end, micro * size):
            inputs, samples = self.task.batch(self.seed, first, micro, "train")
            self.keys.samples = samples.to(self.device)
            with self.parallel.accumulating(last=first + micro * size >= end):
                loss = self.loss(self.parallel.train_module, inputs) * (micro / batch)
                # DDP and FSDP average gradients over ranks; the batch's gradient is their sum.
                (loss * size if size > 1 else loss).backward()
            total = total + loss.detach()
        if spec["optim"].get("grad_clip"):
            nn.utils.clip_grad_norm_(self.model.parameters(), spec["optim"]["grad_clip"])
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.interval.append(total)
        self.step += 1

    def loss(self, module: nn.Module, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        """Mean loss of `module` on a micro-batch, a scalar."""
        inputs = {k: v.to(self.device, non_blocking=True) for k, v in inputs.items()}
        if self.spec["precision"] == "fp64":
            inputs = {k: v.double() if v.is_floating_point() else v for k, v in inputs.items()}
        half = self.spec["precision"] == "bf16"
        with torch.autocast(self.device.type, torch.bfloat16) if half else nullcontext():
            return self.task.loss(module, inputs)

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
                # A forward pass of a sharded model is a collective: ranks without samples run one as well.
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

    def log_progress(self, steps_per_s: float) -> None:
        """Log one line, and write progress.json for `make watch`."""
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
        """Write the weights at this step to snapshots/step<n>/, for measurements along training."""
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

        def build() -> nn.Module:
            model = self.untrained()
            return model.double() if self.spec["precision"] == "fp64" else model

        results.write_run_folder(
            results.FinishedRun(
                self.spec, self.seed, self.context, self.task, self.state, self.placement.strategy, self.initial,
                self.curve, self.seconds, CODE_VERSION["train"],
            ),
            unshard(self.model, self.process_group, build),
            self.process_group,
        )  # fmt: skip
        log.info("[%s] finished: validation loss %.4f", self.label, self.curve[-1][4])
