"""Training steps of a process group, recorded by rank 0, or of one process.

A case: {"name", "spec", "sharding", "tokens", "teacher", "steps"}.
"""

from pathlib import Path

import torch

from myopia.common.errors import MyopiaError
from myopia.train.batches import build_task
from myopia.train.memory import lay_out
from myopia.train.parallel import full_state_dict, is_sharded
from myopia.train.process_group import AlreadyLogged, init_process_group
from myopia.train.run_context import RunContext
from myopia.train.state import StateDirectory
from myopia.train.trainer import _Run


def whole(tensor):
    return (tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor).detach().clone()


def observe(case, process_group):
    """{"losses", "gradients", "weights", "validation", ...} of the first steps of one case."""
    spec = case["spec"]
    context = RunContext(
        Path("unused"), Path("unused"), case["tokens"], teacher=case["teacher"], sharding=case["sharding"]
    )
    task = build_task(spec, context.tokens)
    placement = lay_out(spec, task, process_group.size, process_group.device, context.sharding)
    run = _Run(spec, 0, context, task, StateDirectory(context.state, "none", case["name"]), process_group, placement)
    run.build()
    run.parallelize()
    seen = {"losses": [], "gradients": [], "weights": [], "micro_batch": placement.micro_batch}
    seen["sharded"] = is_sharded(run.model)

    def note(*_):
        named = ((name, p.grad) for name, p in run.model.named_parameters())
        seen["gradients"].append({name: whole(grad) for name, grad in named if grad is not None})

    run.optimizer.register_step_pre_hook(note)
    run.evaluate()
    for _ in range(case["steps"]):
        run.train_step()
        run.check_losses()
        seen["losses"].append(run.sum)
        seen["weights"].append({k: v.clone() for k, v in full_state_dict(run.model, process_group).items()})
    run.evaluate()
    seen["validation"] = [row[4] for row in run.curve]
    return seen


def disagree(process_group):
    """What each rank raises when rank 1 alone fails."""

    def work():
        if process_group.rank == 1:
            raise MyopiaError("only here")

    try:
        process_group.run_all_ranks(work)
    except MyopiaError as error:
        return f"rank {process_group.rank}: {type(error).__name__}: {error}"


def main(cases, out):
    """What a rank does: observe every case; the first saves all."""
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    with init_process_group("cpu") as process_group:
        seen = {case["name"]: observe(case, process_group) for case in cases}
        words = disagree(process_group)
        assert (
            words
            == f"rank {process_group.rank}: {'MyopiaError' if process_group.rank == 1 else AlreadyLogged.__name__}: only here"
        )
        assert process_group.run_rank0(lambda: f"said by {process_group.rank}") == "said by 0"
        assert process_group.all_reduce_max(process_group.rank, 5 - process_group.rank) == [1, 5]
        if process_group.rank == 0:
            torch.save(seen, out)
