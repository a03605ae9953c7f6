"""Devices that are not there are refused; models are freed before their process group; every attempt's time is recorded."""

import json
import time
import weakref
from contextlib import nullcontext

import pytest
import torch
import torch.distributed as dist

from myopia.common.errors import MyopiaError
from myopia.train.process_group import AlreadyLogged, init_process_group
from myopia.train.run_context import resolve_device
from myopia.train.state import StateDirectory


@pytest.fixture
def two_gpus(monkeypatch):
    """torch says that there are two GPUs; nothing is run on them."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)


def test_each_process_takes_the_gpu_of_its_number(two_gpus):
    assert [str(resolve_device("cuda", rank, 2)) for rank in (0, 1)] == ["cuda:0", "cuda:1"]
    assert str(resolve_device("cuda:1")) == "cuda:1" and str(resolve_device("cuda")) == "cuda"
    assert str(resolve_device("cpu", 3, 8)) == "cpu"


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("cuda", "3 processes need a GPU each but this machine shows 2"),
        ("cuda:1", "device is cuda:1 but 3 processes need a GPU each"),
    ],
)
def test_more_processes_than_gpus(name, sentence, two_gpus, monkeypatch):
    with pytest.raises(MyopiaError, match=sentence):
        resolve_device(name, 2, 3)
    for key, value in {"WORLD_SIZE": 3, "LOCAL_WORLD_SIZE": 3, "LOCAL_RANK": 0, "RANK": 0}.items():
        monkeypatch.setenv(key, str(value))
    with pytest.raises(MyopiaError, match=sentence) as spoken, init_process_group(name):
        pass
    monkeypatch.setenv("RANK", "1")
    with pytest.raises(AlreadyLogged, match=sentence), init_process_group(name):  # one of them says it
        pass
    assert type(spoken.value) is MyopiaError and "\n" not in str(spoken.value)


@pytest.mark.parametrize("ends", [None, MyopiaError("bad")])
def test_networks_are_gone_before_the_process_group(ends, monkeypatch):
    """A reducer that frees the group waits for ever: the group's threads want the GIL, which it has."""
    for key, value in {"WORLD_SIZE": 2, "LOCAL_WORLD_SIZE": 2, "LOCAL_RANK": 0, "RANK": 0}.items():
        monkeypatch.setenv(key, str(value))
    left, networks = [], []
    monkeypatch.setattr(dist, "init_process_group", lambda *_, **__: None)
    monkeypatch.setattr(dist, "destroy_process_group", lambda: left.append([n() for n in networks]))

    def work():
        network = torch.nn.Linear(2, 2)
        object.__setattr__(network, "itself", network)  # as a replicated network and its reducer do
        networks.append(weakref.ref(network))
        try:
            if ends is not None:
                raise KeyError  # the frame is held by what was being handled, too
        except KeyError:
            raise ends from None

    with nullcontext() if ends is None else pytest.raises(type(ends)), init_process_group("cpu"):
        work()
    assert len(networks) == 1 and left == [[None]]


def test_time_of_all_attempts_is_kept(tmp_path, monkeypatch):
    clock = [1000.0]
    monkeypatch.setattr(time, "time", lambda: clock[0])
    with StateDirectory(tmp_path, "print", "run 0") as state:
        state.begin(2)
        clock[0] += 10
        state.attempt("preempted", 3)  # 10 s on 2 devices
        clock[0] += 500
        state.begin(4)
        clock[0] += 7
        state.progress({"step": 5, "time": clock[0]})
        clock[0] += 400  # killed meanwhile, and last seen after 7 s on 4 devices
        state.begin(1)
        clock[0] += 3
        assert state.device_seconds() == 10 * 2 + 7 * 4 + 3 * 1
        state.attempt("end", 9)
        clock[0] += 100
        assert state.device_seconds() == 51
        assert state.attempts() == 3
        events = [json.loads(x)["event"] for x in (state.folder / "attempts.jsonl").read_text().splitlines()]
    assert events == ["start", "preempted", "start", "seen", "start", "end"]


def test_an_attempt_that_was_never_seen_costs_nothing_that_anyone_knows(tmp_path, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(time, "time", lambda: clock[0])
    with StateDirectory(tmp_path, "print", "run 0") as state:
        state.begin(8)
        clock[0] = 60
        state.begin(1)
        clock[0] = 70
        assert state.device_seconds() == 10
