"""The Kubernetes profile with everything real but the cluster: a stand-in for kubectl runs each Job's command here."""

import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from harness import ROOT, checkout, environment, planned, run, snakemake

PROFILE = Path(__file__).resolve().parent

KUBECTL = """#!{python}
# Stands in for kubectl and a cluster with room for every pod: what kube.py asks of them, and nothing else.
import json, os, pathlib, subprocess, sys

jobs = pathlib.Path(os.environ["JOBS"])
verb, *words = sys.argv[1:]
if verb == "create":
    job = json.load(sys.stdin)
    name = job["metadata"]["generateName"] + str(len(list(jobs.iterdir())))
    (jobs / name).mkdir()
    (jobs / name / "job.json").write_text(json.dumps(job))
    with open(jobs / name / "out", "wb") as out:
        subprocess.Popen([sys.argv[0], "pod", name], stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True)
    print(name, end="")
elif verb == "pod":
    folder = jobs / words[0]
    container = json.loads((folder / "job.json").read_text())["spec"]["template"]["spec"]["containers"][0]
    while True:
        pod = subprocess.Popen(container["command"], cwd=container["workingDir"])
        (folder / "pid").write_text(str(pod.pid))
        code = pod.wait()
        if not (folder / "evicted").exists():
            break
        (folder / "evicted").rename(folder / "started anew")
    told = [{"type": "Failed" if code else "Complete", "status": "True"}]
    (folder / "part").write_text(json.dumps({"status": {"conditions": told}}))
    (folder / "part").rename(folder / "status.json")
elif verb == "get" and words[0] == "job":
    if (jobs / "down").exists():
        sys.exit("the server was unable to return a response in the time allotted")
    folder = jobs / words[1]
    if (folder / "status.json").exists():
        print((folder / "status.json").read_text())
    elif folder.exists():
        print(json.dumps({"status": {"active": 1}}))
    else:
        assert "--ignore-not-found" in words
elif verb == "delete" and words[0] == "jobs":
    (jobs / "deleted").write_text(" ".join(words[1:]))
else:
    sys.exit(f"unexpected: kubectl {sys.argv[1:]}")
"""


@pytest.fixture
def cluster(tmp_path):
    """(its folder of jobs, environment variables under which kubectl is the stand-in)"""
    jobs, program = tmp_path / "jobs", tmp_path / "bin/kubectl"
    jobs.mkdir()
    program.parent.mkdir()
    program.write_text(KUBECTL.replace("{python}", sys.executable))
    program.chmod(0o755)
    env = environment()
    return jobs, {**env, "PATH": f"{program.parent}{os.pathsep}{env['PATH']}", "JOBS": str(jobs)}


@pytest.fixture(scope="module")
def kube():
    spec = importlib.util.spec_from_file_location("kube", PROFILE / "kube.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def call(env, *words, rc=0, cwd=ROOT):
    command = [sys.executable, PROFILE / "kube.py", *words]
    done = subprocess.run(command, cwd=cwd, env=env, text=True, capture_output=True)
    assert done.returncode == rc, done.stderr
    return done


# --- what a job becomes ---


def template():
    return yaml.safe_load((PROFILE / "job.yaml").read_text())


def test_a_rule_s_resources_become_the_pod_s(kube):
    asked = {"rule": "train", "threads": 4, "resources": {"gpu": 2, "mem_mb": 6100, "runtime": 480, "tmpdir": "/tmp"}}
    job = kube.manifest(template(), asked, "/project/.snakemake/tmp/job.sh", "/project")
    container = job["spec"]["template"]["spec"]["containers"][0]
    assert container["resources"] == {
        "limits": {"nvidia.com/gpu": 2, "memory": "6100M"},
        "requests": {"cpu": 4, "memory": "6100M"},
    }
    assert job["spec"]["activeDeadlineSeconds"] == 480 * 60 and job["metadata"]["labels"]["rule"] == "train"
    assert container["workingDir"] == "/project" and container["command"][-2:] == [
        "run",
        "/project/.snakemake/tmp/job.sh",
    ]
    for part in ("image", "volumeMounts", "name"):
        assert container[part] == template()["spec"]["template"]["spec"]["containers"][0][part]
    assert (
        job["spec"]["backoffLimit"] == 0 and job["spec"]["podFailurePolicy"] == template()["spec"]["podFailurePolicy"]
    )


def test_what_is_not_asked_for_is_not_limited(kube):
    job = kube.manifest(template(), {"threads": 1, "resources": {"gpu": 0}}, "job.sh", "/project")
    container = job["spec"]["template"]["spec"]["containers"][0]
    assert container["resources"] == {"limits": {}, "requests": {"cpu": 1}}
    assert "activeDeadlineSeconds" not in job["spec"]


def test_gpus_go_by_the_name_the_manifest_gives_them(kube):
    job = template()
    job["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"] = {"amd.com/gpu": 0}
    job = kube.manifest(job, {"resources": {"gpu": 1}}, "job.sh", "/project")
    assert job["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"] == {"amd.com/gpu": 1}


@pytest.mark.parametrize("text", ["", "spec: {}", "a: [", "kind: Pod"])
def test_a_manifest_that_is_none_is_one_sentence(cluster, tmp_path, text):
    (tmp_path / "mine.yaml").write_text(text)
    (tmp_path / "job.sh").write_text('#!/bin/sh\n# properties = {"threads": 1}\ntrue\n')
    done = call({**cluster[1], "MYOPIA_KUBE_JOB": str(tmp_path / "mine.yaml")}, "submit", tmp_path / "job.sh", rc=2)
    assert done.stderr.startswith(f"error: {tmp_path}/mine.yaml is not the manifest of a Kubernetes Job")
    assert done.stderr.count("\n") == 1 and not done.stdout and not any(cluster[0].iterdir())


# --- what the cluster says of it ---


def test_a_job_that_is_gone_has_failed_and_a_silent_cluster_has_not(cluster):
    jobs, env = cluster
    assert call(env, "status", "myopia-7").stdout == "failed\n"
    (jobs / "down").touch()
    assert call(env, "status", "myopia-7").stdout == "running\n"
    (jobs / "down").unlink()
    (jobs / "myopia-7").mkdir()
    assert call(env, "status", "myopia-7").stdout == "running\n"
    for told, expected in (("Failed", "failed"), ("Complete", "success"), ("SuccessCriteriaMet", "running")):
        (jobs / "myopia-7/status.json").write_text(
            json.dumps({"status": {"conditions": [{"type": told, "status": "True"}]}})
        )
        assert call(env, "status", "myopia-7").stdout == f"{expected}\n"


def test_cancelling_deletes_the_jobs(cluster):
    call(cluster[1], "myopia-1", "myopia-2")
    assert (cluster[0] / "deleted").read_text().split()[:2] == ["myopia-1", "myopia-2"]


# --- a pod that is taken away ---

LATE = """
import os, signal, sys, time
def end(*_):
    time.sleep(1)
    open("saved", "w").close()
    sys.exit(75)
signal.signal(signal.SIGTERM, end)
open("begun", "w").close()
time.sleep(60)
"""


def test_the_last_state_is_waited_for(tmp_path):
    """The shell dies of SIGTERM at once, its child takes a second."""
    (tmp_path / "late.py").write_text(LATE)
    (tmp_path / "job.sh").write_text(f"{sys.executable} late.py && true\n")
    command = [sys.executable, PROFILE / "kube.py", "run", "job.sh"]
    pod = subprocess.Popen(command, cwd=tmp_path)
    while not (tmp_path / "begun").exists():
        time.sleep(0.02)
    pod.terminate()
    assert pod.wait(30) == 128 + signal.SIGTERM
    assert (tmp_path / "saved").exists()


def test_an_exit_status_is_passed_on(tmp_path):
    (tmp_path / "job.sh").write_text("exit 3\n")
    assert call(environment(), "run", "job.sh", cwd=tmp_path, rc=3)


def wait_for(find, process, output):
    while not (found := find()):
        assert process.poll() is None, output.read_text()
        time.sleep(0.02)
    return found


@pytest.mark.timeout(900)
def test_an_evicted_pod_resumes(cluster, tmp_path):
    """Through the profile as it is: a pod is told to stop in the middle of training, and started anew by its cluster."""
    jobs, env = cluster
    tree, output, job = checkout(tmp_path / "tree"), tmp_path / "output", jobs / "myopia-0"
    config = yaml.safe_load((tree / "config.yaml").read_text())
    config |= {"share_process": False, "synthetic": {"steps": 400}}
    (tree / "config.yaml").write_text(yaml.dump(config))
    runs = tree / "results/smoke/runs"
    words = ["snakemake", "--workflow-profile", "contrib/kubernetes", "--config", "scale=smoke"]
    words += ["--seconds-between-status-checks", "1", "--latency-wait", "10"]
    words += ["--", "results/smoke/runs/dp-p1-myopic/seed0/metrics.json"]
    with open(output, "w") as out:
        process = subprocess.Popen(words, cwd=tree, env=env, stdout=out, stderr=subprocess.STDOUT)
    try:
        states = tree / "results/smoke/.state/dp-p1-myopic/seed0"
        wait_for(lambda: list(states.glob("*/attempts.jsonl")), process, output)
        (job / "evicted").touch()
        os.kill(int((job / "pid").read_text()), signal.SIGTERM)
        wait_for(lambda: (job / "started anew").exists(), process, output)
        stopped = re.search(r"stopped by signal 15 at step (\d+), state saved", (job / "out").read_text())
        assert stopped, (job / "out").read_text()
        assert process.wait(800) == 0, output.read_text() + (job / "out").read_text()
    finally:
        process.kill()
    assert [path.name for path in jobs.iterdir()] == ["myopia-0"]  # Snakemake has not seen it
    assert planned(output.read_text()) == {"train": 1}
    assert f"resumed at step {stopped[1]}/400" in (job / "out").read_text()
    provenance = json.loads((runs / "dp-p1-myopic/seed0/provenance.json").read_text())
    assert provenance["attempts"] == 2 and 0 < int(stopped[1]) < 400
    alone = ("--seeds", 0, "--runs", tmp_path / "alone", "--state", tmp_path / "state")
    run(tree, "python", "-m", "myopia", "train", "--spec", json.dumps(provenance["spec"]), *alone)
    for file in ("model.safetensors", "curve.csv", "metrics.json", "config.json"):
        found = [(folder / "dp-p1-myopic/seed0" / file).read_bytes() for folder in (runs, tmp_path / "alone")]
        assert found[0] == found[1], file


def test_the_profile_plans(fresh):
    done = snakemake(fresh, "--workflow-profile", PROFILE, "--dry-run", "--quiet", "rules", scale="gpu")
    assert planned(done.output)["train"] >= 30
