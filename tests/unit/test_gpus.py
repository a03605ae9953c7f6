"""Jobs of one machine never share a GPU: real processes, real locks, GPUs by name only."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CLAIM = f"""
import os, subprocess, sys, time
sys.path.insert(0, {str(ROOT / "scripts")!r})
from myopia.common import gpus
gpus._POLL_S = 0.02
gpus.claim_gpus(int(sys.argv[1]))
print(os.environ.get("CUDA_VISIBLE_DEVICES"), flush=True)
if sys.argv[2] == "child":  # what torchrun does: a process that outlives a killed parent
    subprocess.Popen([sys.executable, sys.argv[3], sys.argv[1], "stay", sys.argv[3]])
sys.stdin.read()
"""


@pytest.fixture
def claim(tmp_path):
    """claim(count, gpus="0,1"): a process that holds so many GPUs until its stdin closes."""
    script, started = tmp_path / "claim.py", []
    script.write_text(CLAIM)

    def start(count, gpus="0,1", kind="stay", **more):
        outer = {
            k: v for k, v in os.environ.items() if not k.startswith(("SLURM", "KUBERNETES", "PBS", "LSB", "MYOPIA"))
        }
        env = {**outer, "CUDA_VISIBLE_DEVICES": gpus, "TMPDIR": str(tmp_path), **more}
        process = subprocess.Popen(
            [sys.executable, str(script), str(count), kind, str(script)],
            env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.stdin.close()
        process.stdout.close()
        process.wait()


def got(process):
    """What it holds; waits for it."""
    return process.stdout.readline().strip()


def waits(process):
    """Whether it still holds nothing after a while."""
    os.set_blocking(process.stdout.fileno(), False)
    time.sleep(0.6)
    said = process.stdout.readline()
    os.set_blocking(process.stdout.fileno(), True)
    return said == "" and process.poll() is None


def test_jobs_side_by_side_hold_different_gpus_and_a_third_waits_for_one(claim):
    first, second = claim(1), claim(1)
    assert {got(first), got(second)} == {"0", "1"}
    third = claim(1)
    assert waits(third)
    second.kill()  # -9: the kernel frees what it held
    assert got(third) in "01"


def test_several_are_claimed_at_once_or_not_at_all(claim):
    whole = claim(3, "0,1,2,3")
    assert got(whole) == "0,1,2"
    pair = claim(2, "0,1,2,3")
    assert waits(pair)
    assert got(claim(1, "0,1,2,3")) == "3"  # the pair waits without holding it
    whole.kill()
    assert got(pair) == "0,1"


def test_a_gpu_is_not_free_while_a_killed_job_s_process_lives(claim):
    parent = claim(1, "GPU-af", kind="child")
    assert got(parent) == "GPU-af" and got(parent) == "GPU-af"  # its child, too
    parent.kill()
    successor = claim(1, "GPU-af")
    assert waits(successor)
    parent.stdin.close()  # now the child ends
    assert got(successor) == "GPU-af"


def test_what_is_not_ours_to_give_is_left_alone(claim):
    holder = claim(1, "0")
    assert got(holder) == "0"
    assert got(claim(1, "0", SLURM_JOB_ID="7")) == "0"  # the scheduler's 0 need not be ours
    assert got(claim(1, "")) == "" and got(claim(2, "0")) == "0"  # nothing, or too few: torch says so
