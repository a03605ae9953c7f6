"""What a team's training steps compute, written down by rank 0; started by torchrun, or called in one process.

    torchrun ... steps.py CASES.json OUT.pt

A case: {"name", "spec", "sharding", "tokens", "teacher", "steps"}.
"""

import json
import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "scripts"), str(ROOT / "tests" / "unit" / "train")]
os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch  # noqa: E402

from myopia.common.errors import MyopiaError  # noqa: E402
from myopia.train.batches import build_task  # noqa: E402
from myopia.train.memory import lay_out  # noqa: E402
from myopia.train.place import Place  # noqa: E402
from myopia.train.spread import is_divided, whole_state  # noqa: E402
from myopia.train.state import StateDirectory  # noqa: E402
from myopia.train.team import Reported, assemble  # noqa: E402
from myopia.train.trainer import _Run  # noqa: E402


def whole(tensor):
    return (tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor).detach().clone()


def observe(case, team):
    """{"losses", "gradients", "weights", "validation", ...} of the first steps of one case."""
    spec = case["spec"]
    place = Place(Path("unused"), Path("unused"), case["tokens"], teacher=case["teacher"], sharding=case["sharding"])
    task = build_task(spec, place.tokens)
    placement = lay_out(spec, task, team.size, team.device, place.sharding)
    run = _Run(spec, 0, place, task, StateDirectory(place.state, "none", case["name"]), team, placement)
    run.build()
    run.spread_out()
    seen = {"losses": [], "gradients": [], "weights": [], "micro_batch": placement.micro_batch}
    seen["divided"] = is_divided(run.model)

    def note(*_):
        named = ((name, p.grad) for name, p in run.model.named_parameters())
        seen["gradients"].append({name: whole(grad) for name, grad in named if grad is not None})

    run.optimizer.register_step_pre_hook(note)
    run.evaluate()
    for _ in range(case["steps"]):
        run.train_step()
        run.check_losses()
        seen["losses"].append(run.sum)
        seen["weights"].append({k: v.clone() for k, v in whole_state(run.model, team).items()})
    run.evaluate()
    seen["validation"] = [row[4] for row in run.curve]
    return seen


def disagree(team):
    """How each process learns that rank 1 alone has failed."""

    def work():
        if team.rank == 1:
            raise MyopiaError("only here")

    try:
        team.together(work)
    except MyopiaError as error:
        return f"rank {team.rank}: {type(error).__name__}: {error}"


def main(cases, out):
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    with assemble("cpu") as team:
        seen = {case["name"]: observe(case, team) for case in cases}
        words = disagree(team)
        assert words == f"rank {team.rank}: {'MyopiaError' if team.rank == 1 else Reported.__name__}: only here"
        assert team.lead(lambda: f"said by {team.rank}") == "said by 0"
        assert team.most(team.rank, 5 - team.rank) == [1, 5]
        if team.rank == 0:
            torch.save(seen, out)


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text()), sys.argv[2])
