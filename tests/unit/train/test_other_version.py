"""A state that is undamaged and of this run, but that another version of some library has written."""

import json

import pytest
import torch
import torch.distributed.checkpoint as dcp

from myopia.common.errors import MyopiaError
from myopia.common.files import sha256_file
from myopia.train.signals import Preempted
from myopia.train.state import StateDirectory
from myopia.train.trainer import train
from tiny_runs import dp_spec, place

SPEC = dp_spec(steps=6, eval={"every": 3, "sequences": 8})
SENTENCE = r"run .*: the state at step 1 in \S+ is undamaged but does not fit this network"


def renamed(state):
    """transformers 5 renamed the parameters of some models."""
    state["model"] = {name.replace("weight", "kernel"): tensor for name, tensor in state["model"].items()}


def without_curve(state):
    del state["curve"]


def fewer_moments(state):
    state["optimizer"]["param_groups"][0]["params"].pop()


@pytest.fixture
def stopped(tmp_path):
    """A run stopped after one step: (its place, its state folder)."""
    where = place(tmp_path)
    with pytest.raises(Preempted):
        train(SPEC, 0, where, [15])
    (folder,) = where.state.iterdir()
    return where, folder


def files(folder):
    return {path.name: path.read_bytes() for path in folder.glob("step-*") if path.is_file()}


@pytest.mark.parametrize("change", [renamed, without_curve, fewer_moments])
def test_it_is_refused_in_one_sentence_and_kept(stopped, change):
    where, folder = stopped
    state = torch.load(folder / "step-1.pt", weights_only=True)
    change(state)
    torch.save(state, folder / "step-1.pt")
    record = json.loads((folder / "step-1.json").read_text())
    (folder / "step-1.json").write_text(json.dumps({**record, "sha256": sha256_file(folder / "step-1.pt")}))
    before = files(folder)
    for _ in range(2):  # nor does a second attempt find anything else
        with pytest.raises(MyopiaError, match=SENTENCE) as error:
            train(SPEC, 0, where)
        assert "\n" not in str(error.value)
    assert files(folder) == before and not where.folder.exists()


@pytest.mark.filterwarnings("ignore:torch.distributed is disabled")
def test_a_sharded_one_as_well(stopped):
    where, folder = stopped
    trainer_state = torch.load(folder / "step-1.pt", weights_only=True)
    for path in folder.glob("step-1.*"):
        path.unlink()
    with StateDirectory(where.state, folder.name, "run 0") as state:
        state.begin_sharded(1)
        dcp.save({"model/other": torch.zeros(2)}, checkpoint_id=state.shard_folder(1), no_dist=True)
        state.commit_sharded(1, {key: trainer_state[key] for key in ("curve", "sum", "count")}, 1.0)
    with pytest.raises(MyopiaError, match=SENTENCE):
        train(SPEC, 0, where)
    assert (folder / "step-1").is_dir()
