#!/usr/bin/env python3
"""Between Snakemake's cluster-generic executor and kubectl: each job of the workflow is a Kubernetes Job.

    kube.py submit JOBSCRIPT   make the Job, print its name
    kube.py status NAME        print running, success or failed
    kube.py NAME...            delete these Jobs (Snakemake calls its cancel command so)
    kube.py run JOBSCRIPT      the first process of a pod: runs the script, and gives it time to end when the pod is taken

Standard library and PyYAML; kubectl with its context and namespace is taken as it is found.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).resolve().parent
EXIT_BAD_INPUT = 2


def main(words: list[str]) -> int:
    """See the module's docstring."""
    match words:
        case ["submit", script]:
            return submit(script)
        case ["status", name]:
            sys.stdout.write(f"{status(name)}\n")
            return 0
        case ["run", script]:
            return run(["sh", script])
        case ["submit" | "status" | "run", *_] | []:
            sys.stderr.write(__doc__ or "")
            return EXIT_BAD_INPUT
    return subprocess.run(["kubectl", "delete", "jobs", *words, "--ignore-not-found", "--wait=false"]).returncode


def submit(script: str) -> int:
    """Hand a job script to the cluster."""
    path = Path(os.environ.get("MYOPIA_KUBE_JOB", HERE / "job.yaml"))
    try:
        made = manifest(yaml.safe_load(path.read_text()), properties(script), script, os.getcwd())
    except (OSError, AttributeError, KeyError, IndexError, TypeError, ValueError, yaml.YAMLError) as error:
        sys.stderr.write(f"error: {path} is not the manifest of a Kubernetes Job with a container ({error!r})\n")
        return EXIT_BAD_INPUT
    command = ["kubectl", "create", "--filename=-", "--output=jsonpath={.metadata.name}"]
    done = subprocess.run(command, input=json.dumps(made), text=True, stdout=subprocess.PIPE)
    sys.stdout.write(f"{done.stdout.strip()}\n")
    return done.returncode


def properties(script: str) -> dict[str, Any]:
    """What Snakemake says of a job in its script."""
    line = next(line for line in Path(script).read_text().splitlines() if line.startswith("# properties = "))
    return json.loads(line.removeprefix("# properties = "))


def manifest(job: dict[str, Any], asked: dict[str, Any], script: str, folder: str) -> dict[str, Any]:
    """The Job of one job script: `job` as it stands, with what the rule asks for.

    Args:
        job: a manifest; of its first container `resources.limits` may name what GPUs are called.
        asked: properties of the job: threads, and resources gpu, mem_mb (MB) and runtime (minutes).
        script: path of the job script.
        folder: where it is to run.
    """
    resources = asked.get("resources", {})
    job.setdefault("metadata", {}).setdefault("labels", {})["rule"] = asked.get("rule", "group")
    spec = job["spec"]
    if "runtime" in resources:
        spec["activeDeadlineSeconds"] = 60 * int(resources["runtime"])
    container = spec["template"]["spec"]["containers"][0]
    container["workingDir"] = folder
    container["command"] = ["python", str(HERE / "kube.py"), "run", script]
    room = container.setdefault("resources", {})
    limits, requests = room.setdefault("limits", {}), room.setdefault("requests", {})
    gpus = int(resources.get("gpu", 0))
    for name in [name for name in limits if name.endswith("/gpu")] or ["nvidia.com/gpu"]:
        limits.pop(name, None)
        if gpus:
            limits[name] = gpus  # Kubernetes takes a request for GPUs from the limit alone
    requests["cpu"] = int(asked.get("threads", 1))
    if "mem_mb" in resources:
        limits["memory"] = requests["memory"] = f"{int(resources['mem_mb'])}M"
    return job


def status(name: str) -> str:
    """What has become of a Job. One that is gone has failed; a cluster that does not answer says nothing of it."""
    command = ["kubectl", "get", "job", name, "--ignore-not-found", "--output=json"]
    done = subprocess.run(command, text=True, stdout=subprocess.PIPE)
    if done.returncode:
        return "running"
    if not done.stdout.strip():
        return "failed"
    told = json.loads(done.stdout).get("status", {}).get("conditions") or []
    true = {condition["type"] for condition in told if condition["status"] == "True"}
    return "success" if "Complete" in true else "failed" if "Failed" in true else "running"


def run(command: list[str]) -> int:
    """Run a command as the first process of a pod.

    SIGTERM is passed on to all it has started, and waited for until the last of them has ended: a shell dies of it at
    once, and with the first process of a pod every other is killed, trainers that still write their state included.
    """
    child = subprocess.Popen(command, start_new_session=True)
    told = False

    def pass_on(number: int, _: Any) -> None:
        nonlocal told
        told = True
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, number)

    for number in (signal.SIGTERM, signal.SIGUSR1):
        signal.signal(number, pass_on)
    code = child.wait()
    while told and alive(child.pid):
        time.sleep(0.1)
    return code if code >= 0 else 128 - code


def alive(group: int) -> bool:
    """Whether any process of a group is left; those that have ended are buried, if they are ours to bury."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-group, os.WNOHANG)[0]:
            pass
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
