"""Peak memory of a training step on each rank of a process group; rank 0 writes [bytes per rank, estimate] as JSON."""

import ctypes
import gc
import json
from pathlib import Path

import torch
import torch.distributed as dist

from myopia.train.batches import LanguageModelling
from myopia.train.memory import lay_out
from myopia.train.process_group import init_process_group
from myopia.train.run_context import RunContext
from myopia.train.state import StateDirectory
from myopia.train.trainer import _Run
from tiny_runs import text_spec

M_MMAP_THRESHOLD = -3


class Noise(LanguageModelling):
    """Windows of random tokens."""

    def __init__(self, T, vocab_size):
        self.tokens_per_sample, self.vocab_size = T, vocab_size

    def batch(self, seed, first, count, split):
        generator = torch.Generator().manual_seed(first)
        ids = torch.randint(self.vocab_size, (count, self.tokens_per_sample), generator=generator)
        return {"input_ids": ids}, torch.arange(first, first + count)


def bytes_of(key):
    """VmRSS or VmHWM of this process."""
    line = next(x for x in Path("/proc/self/status").read_text().splitlines() if x.startswith(key))
    return int(line.split()[1]) * 1024


def prepare(case, process_group):
    spec = {**text_spec(), **case["spec"]}
    task = Noise(case["T"], spec["model"]["config"]["vocab_size"])
    context = RunContext(Path("unused"), Path("unused"), sharding=case["sharding"])
    placement = lay_out(spec, task, process_group.size, process_group.device, context.sharding)
    run = _Run(spec, 0, context, task, StateDirectory(context.state, "none", "peak"), process_group, placement)
    run.build()
    run.parallelize()
    return run


def measure(case, process_group):
    """Peak bytes beyond what the process holds without a network, and the estimate."""
    small = {**case, "spec": {**case["spec"], "model": case["small"]}}
    prepare(small, process_group).train_step()  # what torch loads and keeps once
    gc.collect()
    before = bytes_of("VmRSS")
    run = prepare(case, process_group)
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak of building
    for _ in range(2):  # the first step has no moments yet
        run.train_step()
    return bytes_of("VmHWM") - before, run.placement.bytes


def main(case, out):
    """What a rank does."""
    # Freed blocks go back to the kernel at once, so that the peak is what was in use, not what malloc kept.
    assert ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, 65536) == 1
    torch.set_num_threads(1)
    with init_process_group("cpu") as process_group:
        measured, estimate = measure(case, process_group)
        everyone = [measured]
        if process_group.size > 1:
            everyone = [None] * process_group.size
            dist.all_gather_object(everyone, measured)
        if process_group.rank == 0:
            Path(out).write_text(json.dumps([everyone, estimate]))
