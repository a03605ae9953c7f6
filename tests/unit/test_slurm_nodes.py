"""What a cluster offers against what is asked, with what sinfo prints of other sites. tests/slurm asks a real one."""

from math import inf

import pytest

from myopia.common.errors import MyopiaError
from myopia.common.slurm import Nodes, Request, _gpus, _minutes, _nodes, cluster, require

SMALL = Nodes("cpu", True, cpus=8, gpus=0, memory_mb=16_000, minutes=inf)
LARGE = Nodes("cpu", True, cpus=64, gpus=0, memory_mb=8_000, minutes=inf)
GPU = Nodes("gpu", False, cpus=32, gpus=4, memory_mb=500_000, minutes=1440)


def test_gpus_of_a_node():
    told = {
        "(null)": 0,
        "gpu": 1,
        "gpu:2": 2,
        "gpu:a100:4(S:0,1),shard:8": 4,
        "gpu:a100:2,gpu:v100:2": 4,
        "craynetwork:4,gpu:h100_80gb:8(S:0-1)": 8,
        "gpu:3g.40gb:2": 2,
        "gpumem:80": 0,
    }
    assert {gres: _gpus(gres) for gres in told} == told


def test_limits_on_time():
    told = {"infinite": inf, "5:00": 5, "2:30:00": 150, "1-12:00:00": 2160, "0:30": 0.5, "n/a": inf}
    assert {limit: _minutes(limit) for limit in told} == told


def test_a_line_of_sinfo():
    assert _nodes("gpu*", "32+", "gpu:4", "500000+", "1-00:00:00") == Nodes("gpu", True, 32, 4, 500_000, 1440)


@pytest.fixture
def sbatch(monkeypatch, tmp_path):
    """Makes one that says something."""

    def make(words):
        (tmp_path / "sbatch").write_text(f"#!/bin/sh\necho '{words}' >&2\n")
        (tmp_path / "sbatch").chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")

    return make


def test_what_can_be_met():
    for one in (
        Request("train"),
        Request("train", cpus=64, memory_mb=8_000, minutes=10**6),
        Request("train", "gpu", cpus=32, gpus=4, memory_mb=500_000, minutes=1440),
        Request("train", "cpu,gpu", gpus=1),
    ):
        require([one], [SMALL, LARGE, GPU])


NEVER = [
    (Request("train"), [GPU], "no partition is named and this cluster has no default one; name gpu in a profile"),
    (Request("train", "cpu,gpus"), [SMALL, GPU], "this cluster has no partition 'gpus'; name one of cpu, gpu"),
    (Request("train", gpus=1), [SMALL, GPU], "asks for gpu=1, but no node of partition cpu offers more than 0"),
    (
        Request("train", "gpu", minutes=1441),
        [GPU],
        "runtime=1441, .*more than 1440; .*--set-resources train:runtime=N",
    ),
    (Request("train", "gpu", cpus=33), [GPU], "threads=33, .*--set-threads train=N"),
    # either of two nodes would do, but no one of them has both
    (Request("train", cpus=64, memory_mb=16_000), [SMALL, LARGE], "threads=64, .*more than 8;"),
]


def test_what_can_never_be_met(sbatch):
    sbatch("allocation failure: No partition specified or system default partition")
    for one, offered, words in NEVER:
        with pytest.raises(MyopiaError, match=words):
            require([one], offered)


def test_a_site_that_finds_partitions_itself(sbatch):
    sbatch("sbatch: Job 1 to start at 2026-11-21T19:31:03 using 1 processors on nodes n1 in partition gpu")
    require([Request("train", gpus=4)], [GPU])
    with pytest.raises(MyopiaError, match="asks for gpu=5"):
        require([Request("train", gpus=5)], [GPU])


def test_a_machine_without_slurm(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MyopiaError, match="no sinfo or sbatch; start snakemake where"):
        cluster()


def test_a_cluster_that_does_not_answer(monkeypatch, tmp_path):
    (tmp_path / "sinfo").write_text("#!/bin/sh\necho 'slurm_load_partitions: Connection refused' >&2\nexit 1\n")
    (tmp_path / "sinfo").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(MyopiaError, match="does not answer .slurm_load_partitions: Connection refused."):
        cluster()
