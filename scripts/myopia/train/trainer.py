"""One trainer for vectors and for text, that cannot lose work.

Everything random is a function of (seed, step, global sample index), so the state of a run is its weights, its
optimiser and its step; killed at any moment and started again, it ends bitwise where an unbroken run ends (CPU).
"""

from __future__ import annotations

import logging
import math
import time
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import pandas as pd
import torch
from safetensors import SafetensorError
from torch import nn

from myopia.common.errors import MyopiaError
from myopia.common.files import (
    atomic_path,
    canonical_json,
    remove_leftovers,
    sha256_file,
    sha256_text,
    write_csv,
    write_json,
)
from myopia.model.build import apply_arm, build_model
from myopia.model.dropout import Keys, install
from myopia.model.initial import initial_identity, load_initial
from myopia.train.batches import Task, build_task
from myopia.train.export import export_model
from myopia.train.memory import free_bytes, require_memory
from myopia.train.optim import build_optimizer, learning_rate
from myopia.train.provenance import environment, parameter_counts, peak_memory_bytes, training_flops
from myopia.train.signals import Preempted, stop_signals
from myopia.train.state import StateDirectory

log = logging.getLogger(__name__)

RECIPE = 1
"""Meaning of training: bump it when a change here alters results, and every run is trained again."""

VALIDATION_SEED = 0  # all runs of a task share one validation set
CURVE_COLUMNS = ("step", "tokens", "lr", "train_loss", "validation_loss")


@dataclass(frozen=True)
class Place:
    """Where and how a run executes; none of it changes what the run means."""

    folder: Path  # results/<scale>/runs/<run>/seed<k>
    state: Path  # results/<scale>/.state/<run>/seed<k>
    tokens: str | None = None  # encoded corpus
    tokenizer: str | None = None
    teacher: str | None = None  # run folder
    initial: str | None = None  # run folder of spec["init_from"]
    device: str = "cpu"
    compile: bool = False
    save_seconds: float = 30.0
    save_steps: int | None = None  # additionally, every so many steps (tests)
    progress_seconds: float = 5.0


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


def train(spec: dict[str, Any], seed: int, place: Place, stop: list[int] | None = None) -> None:
    """Train one run to its end, resuming from its last good state, and write its folder.

    `stop`: the list of an outer `stop_signals()`; without one, this function listens for itself.

    Raises:
        Preempted: SIGTERM or SIGUSR1 came; the state was saved.
        MyopiaError: bad spec, data, device; a loss that is not finite; a disk that is full.
    """
    device = resolve_device(place.device)
    task = build_task(spec, place.tokens)
    _check_sizes(spec)
    require_memory(spec, task, free_bytes(device))
    label = f"{spec['name']} {seed}"
    initial = initial_identity(spec, place.initial)
    name = fingerprint(spec, seed, task.fingerprint, place.teacher, initial)
    with ExitStack() as stack:
        if stop is None:
            stop = stack.enter_context(stop_signals())
        state = stack.enter_context(StateDirectory(place.state, name, label, stop))
        state.attempt("start", 0)
        run = _Run(spec, seed, place, device, task, state, initial)
        run.resume()
        run.loop(stop)
        run.finish()
        state.attempt("end", spec["steps"])


def resolve_device(name: str) -> torch.device:
    """`cpu`, `cuda` or `cuda:k`; refused before any work if it is not there."""
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise MyopiaError(f"device must be cpu, cuda or cuda:k, not {name!r}") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise MyopiaError(
            "device is cuda but torch finds no CUDA GPU: set device: cpu, or install a CUDA build of torch and a driver"
        )
    return device


def _check_sizes(spec: dict[str, Any]) -> None:
    if spec["batch_size"] % spec["micro_batch"]:
        raise MyopiaError(
            f"batch_size {spec['batch_size']} is not a multiple of micro_batch {spec['micro_batch']} "
            f"in run {spec['name']}"
        )


class _Run:
    """The state of one run in memory."""

    def __init__(
        self,
        spec: dict[str, Any],
        seed: int,
        place: Place,
        device: torch.device,
        task: Task,
        state: StateDirectory,
        initial: str | None = None,
    ) -> None:
        self.spec, self.seed, self.place, self.device = spec, seed, place, device
        self.task, self.state, self.initial = task, state, initial
        self.label = state.label
        self.keys = Keys(seed=seed)
        model = build_model(spec, seed, getattr(task, "vocab_size", None))
        if "init_from" in spec:
            load_initial(model, place.initial or spec["init_from"], spec["name"])
        model.to(device)
        install(model, self.keys)
        self.model = apply_arm(model, spec["arm"], place.teacher).train()
        if spec["arm"]["kind"] == "local":  # the teacher hangs on the student without being a part of it
            self.model._myopia.arm.teacher.model.to(device)
        self.forward: nn.Module = torch.compile(self.model) if place.compile else self.model
        self.optimizer = build_optimizer(self.model, spec["optim"])
        self.step = 0
        self.seconds = 0.0  # over all attempts
        self.curve: list[list[float]] = []
        self.interval: list[torch.Tensor] = []  # losses since the last curve row, still on the device
        self.sum, self.count = 0.0, 0
        self.final = False

    # --- state ---

    def resume(self) -> None:
        """Load the newest good state, if there is one."""
        loaded = self.state.load()
        self.clock = time.monotonic()
        if loaded is None:
            return
        tensors, record = loaded
        self.model.load_state_dict(tensors["model"])
        if not record["final"]:
            self.optimizer.load_state_dict(tensors["optimizer"])
        self.step, self.seconds, self.final = record["step"], record["seconds"], record["final"]
        self.curve, self.sum, self.count = tensors["curve"], tensors["sum"], tensors["count"]
        log.info("[%s] resumed at step %d/%d", self.label, self.step, self.spec["steps"])

    def save(self, final: bool = False) -> None:
        """Write the state; nothing that is not finite is ever saved."""
        self.check_losses()
        self.check_weights()
        now = time.monotonic()
        self.seconds, self.clock = self.seconds + now - self.clock, now
        tensors = {
            "model": self.model.state_dict(),
            "curve": self.curve,
            "sum": self.sum,
            "count": self.count,
        }
        if not final:  # a finished run needs no optimiser
            tensors["optimizer"] = self.optimizer.state_dict()
        self.state.save(self.step, tensors, round(self.seconds, 3), final)

    def check_losses(self) -> None:
        """Fold the interval's losses into the running mean; stop at the first that is not finite."""
        values = torch.stack(self.interval).tolist() if self.interval else []
        for back, value in enumerate(values):
            if not math.isfinite(value):
                self.diverged(f"the loss is {value}", self.step - len(values) + back)
            self.sum, self.count = self.sum + value, self.count + 1
        self.interval.clear()

    def check_weights(self) -> None:
        """The last update may have broken weights that no loss has been computed from yet."""
        for name, parameter in self.model.named_parameters():
            if not torch.isfinite(parameter).all():
                self.diverged(f"{name} is no longer finite after the update", self.step - 1)

    def diverged(self, what: str, step: int) -> NoReturn:
        """Stop the run and name the batch."""
        first = step * self.spec["batch_size"]
        raise MyopiaError(
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
                raise MyopiaError(
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
            if stop and self.step < steps:
                self.save()
                self.state.attempt("preempted", self.step)
                log.info("[%s] stopped by signal %d at step %d, state saved", self.label, stop[0], self.step)
                raise Preempted
            every_steps = self.place.save_steps
            due = now - saved > self.place.save_seconds or (every_steps and self.step % every_steps == 0)
            if due and self.step < steps:  # the last step's state is the final one, written once, by finish()
                self.save()
                saved = time.monotonic()
            if now - told > self.place.progress_seconds or self.step == steps:
                self.tell((self.step - first) / (now - start))
                told = now

    def random_state(self) -> torch.Tensor:
        """torch's global stream, which training must leave alone."""
        return torch.cuda.get_rng_state(self.device) if self.device.type == "cuda" else torch.get_rng_state()

    def train_step(self) -> None:
        """One optimiser step on global samples step * batch ... (step + 1) * batch - 1."""
        spec, batch, micro = self.spec, self.spec["batch_size"], self.spec["micro_batch"]
        rate = learning_rate(spec["optim"], self.step, spec["steps"])
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["scale"]
        self.keys.step = self.step
        total = torch.zeros((), device=self.device)
        for first in range(self.step * batch, (self.step + 1) * batch, micro):
            inputs, samples = self.task.batch(self.seed, first, micro, "train")
            self.keys.samples = samples.to(self.device)
            loss = self.loss(inputs) * (micro / batch)
            loss.backward()
            total += loss.detach()
        if spec["optim"].get("grad_clip"):
            nn.utils.clip_grad_norm_(self.model.parameters(), spec["optim"]["grad_clip"])
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.interval.append(total)
        self.step += 1

    def loss(self, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        inputs = {k: v.to(self.device, non_blocking=True) for k, v in inputs.items()}
        half = self.spec["precision"] == "bf16"
        with torch.autocast(self.device.type, torch.bfloat16) if half else nullcontext():
            return self.task.loss(self.forward, inputs)

    def evaluate(self) -> None:
        """Add a row to the learning curve: mean training loss since the last row, validation loss now."""
        self.check_losses()
        count, micro = self.spec["eval"]["sequences"], self.spec["micro_batch"]
        self.model.eval()
        total = 0.0
        with torch.no_grad():
            for first in range(0, count, micro):
                size = min(micro, count - first)
                inputs, _ = self.task.batch(VALIDATION_SEED, first, size, "validation")
                total += float(self.loss(inputs)) * size
        self.model.train()
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
        self.state.progress(
            {
                "run": self.spec["name"], "seed": self.seed, "step": self.step, "steps": steps, "loss": loss,
                "tokens_per_s": rate, "eta_s": eta, "time": time.time(),
            }
        )  # fmt: skip

    def snapshot(self) -> None:
        """Keep the weights at this step beside the run, for studies of training itself."""
        from safetensors.torch import save_file

        folder = self.place.folder / "snapshots" / f"step{self.step}"
        folder.mkdir(parents=True, exist_ok=True)
        state = {k: v.detach().cpu().contiguous().clone() for k, v in self.model.state_dict().items()}
        with atomic_path(folder / "model.safetensors") as temporary:
            save_file(state, temporary)

    # --- results ---

    def finish(self) -> None:
        """Write the run folder, metrics last: a folder without metrics.json is not a result."""
        if not self.final:
            self.save(final=True)
        try:
            self.write_results()
        except (OSError, SafetensorError) as error:
            raise MyopiaError(
                f"run {self.label}: the results could not be written to {self.place.folder} ({error}); the final state "
                "is intact; free some space and start again"
            ) from error
        log.info("[%s] finished: validation loss %.4f", self.label, self.curve[-1][4])

    def write_results(self) -> None:
        spec, folder = self.spec, self.place.folder
        tokens = spec["steps"] * spec["batch_size"] * self.task.tokens_per_sample
        counts = parameter_counts(self.model)
        flops = training_flops(self.model, tokens, self.task.tokens_per_sample)
        folder.mkdir(parents=True, exist_ok=True)
        remove_leftovers(folder)
        (folder / "metrics.json").unlink(missing_ok=True)  # of an earlier recipe, say: it would vouch for a mixture
        own = getattr(self.task, "write_tokenizer", None)
        export_model(self.model, folder, self.place.tokenizer, spec["arm"], self.place.teacher, own)
        curve = pd.DataFrame(self.curve, columns=list(CURVE_COLUMNS)).astype({"step": int, "tokens": int})
        write_csv(folder / "curve.csv", curve)
        timing = {
            "seconds": round(self.seconds, 3),
            "attempts": self.state.attempts(),
            "tokens_per_s": round(tokens / max(self.seconds, 1e-9), 1),
            "peak_memory_bytes": peak_memory_bytes(self.device),
        }
        write_json(folder / "timing.json", timing)
        write_json(
            folder / "provenance.json",
            {
                "spec": spec, "seed": self.seed, "recipe": RECIPE, "fingerprint": self.state.fingerprint,
                "data_fingerprint": self.task.fingerprint, "initial": self.initial, "tokens": tokens, "flops": flops, **counts, **timing,
                **environment(self.device),
            },
        )  # fmt: skip
        write_json(
            folder / "metrics.json",
            {
                "run": spec["name"], "arm": spec["arm_name"], "seed": self.seed, "purpose": spec["purpose"],
                "status": "finished", "steps": spec["steps"], "tokens": tokens, "flops": flops, **counts,
                "final_train_loss": self.curve[-1][3], "final_validation_loss": self.curve[-1][4],
            },
        )  # fmt: skip
