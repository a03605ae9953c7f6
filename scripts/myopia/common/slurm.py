"""Checks the resources that jobs request against the nodes of a Slurm cluster, before the first job is submitted.

Slurm accepts a job that no node can ever run, and refuses it hours later or keeps it pending for ever (time limits, by
default). `sbatch --test-only` is not enough: it ignores time limits, and does not tell a node that is down today from
one that does not exist. So requests are compared with the nodes as configured.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from math import inf

from myopia.common.errors import MyopiaError

OWN_PROFILE = "in a profile of your own (default-resources: [slurm_partition=NAME])"
FLAGS = {
    "gpus": "--set-resources {}:gpu",
    "memory_mb": "--set-resources {}:mem_mb",
    "minutes": "--set-resources {}:runtime",
    "cpus": "--set-threads {}",
}


@dataclass(frozen=True)
class Request:
    """Resources a job of `rule` requests on one node; `partition` may name several (a,b), None leaves it to Slurm."""

    rule: str
    partition: str | None = None
    cpus: int = 1
    gpus: int = 0
    memory_mb: int = 0
    minutes: int = 0


@dataclass(frozen=True)
class Nodes:
    """Nodes of one kind in one partition, whether they are up today or not."""

    partition: str
    default: bool
    cpus: int
    gpus: int
    memory_mb: int
    minutes: float


def cluster() -> list[Nodes]:
    """All kinds of nodes of this machine's Slurm cluster.

    Raises:
        MyopiaError: there is no Slurm here, or it does not answer.
    """
    command = ["sinfo", "--all", "--noheader", "--format", "%P|%c|%G|%m|%l"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    except FileNotFoundError as error:
        raise MyopiaError(
            "slurm: this machine has no sinfo or sbatch; start snakemake where jobs of the cluster are submitted"
        ) from error
    except subprocess.SubprocessError as error:
        reason = (getattr(error, "stderr", "") or "no answer within a minute").strip().splitlines()[-1]
        raise MyopiaError(f"slurm: the cluster does not answer ({reason}); try again when `sinfo` does") from error
    return [_nodes(*line.split("|")) for line in done.stdout.splitlines()]


def _nodes(partition: str, cpus: str, gres: str, memory: str, limit: str) -> Nodes:
    smallest = [int(text.rstrip("+")) for text in (cpus, memory)]  # "4+": some have more
    return Nodes(
        partition.rstrip("*"), partition.endswith("*"), smallest[0], _gpus(gres), smallest[1], _minutes(limit)
    )  # fmt: skip


def _gpus(gres: str) -> int:
    """GPUs in "gpu:2", "gpu:a100:4(S:0,1),shard:8" or "(null)"."""
    entries = [entry.split(":") for entry in re.sub(r"\(.*?\)", "", gres).split(",")]
    return sum(int(entry[-1]) if entry[-1].isdigit() else 1 for entry in entries if entry[0] == "gpu")


def _minutes(limit: str) -> float:
    """Minutes of "infinite", "30:00", "2:00:00" or "1-12:00:00"."""
    days, _, clock = limit.rpartition("-")
    parts = clock.split(":")
    if not all(part.isdigit() for part in parts):
        return inf
    hours, minutes, seconds = [0, 0, *map(int, parts)][-3:]
    return int(days or 0) * 1440 + hours * 60 + minutes + seconds / 60


def require(requests: Iterable[Request], offered: list[Nodes]) -> None:
    """Check that every request can be met by some node of a partition it may go to.

    Raises:
        MyopiaError: names the first request that cannot, and the remedy.
    """
    for request in requests:
        nodes = _reachable(request, offered)
        where = f"of partition {'/'.join(sorted({n.partition for n in nodes}))}"
        for field, flag in FLAGS.items():
            wanted, most = getattr(request, field), max(getattr(node, field) for node in nodes)
            if wanted > most:
                name = flag.rpartition(":")[2] if ":" in flag else "threads"
                raise MyopiaError(
                    f"slurm: rule {request.rule} asks for {name}={wanted}, but no node {where} offers more than {most:g}; "
                    f"name another partition for it (--set-resources {request.rule}:slurm_partition=NAME) or ask for less "
                    f"({flag.format(request.rule)}=N)"
                )
            nodes = [node for node in nodes if getattr(node, field) >= wanted]


def _reachable(request: Request, offered: list[Nodes]) -> list[Nodes]:
    """Nodes of the partitions a request names, or of the default partition."""
    names = sorted({nodes.partition for nodes in offered})
    if request.partition is None:
        found = [nodes for nodes in offered if nodes.default]
        if not found and not _finds_a_partition():
            raise MyopiaError(
                f"slurm: no partition is named and this cluster has no default one; name {_one_of(names)} {OWN_PROFILE}"
            )
        return found or offered
    wanted = request.partition.split(",")
    for name in wanted:
        if name not in names:
            raise MyopiaError(f"slurm: this cluster has no partition {name!r}; name {_one_of(names)} {OWN_PROFILE}")
    return [nodes for nodes in offered if nodes.partition in wanted]


def _finds_a_partition() -> bool:
    """Whether a job that names no partition still gets one: from SBATCH_PARTITION, or from a plugin of the site."""
    command = ["sbatch", "--test-only", "--wrap=true"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    return "No partition specified" not in done.stderr


def _one_of(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"one of {', '.join(names)}"


def keeps_accounts() -> bool:
    """Whether job accounting is on, so that sacct knows how a job ended."""
    done = subprocess.run(["scontrol", "show", "config"], capture_output=True, text=True, check=False, timeout=60)
    return not re.search(r"^AccountingStorageType\s*=\s*(accounting_storage/none|\(null\))", done.stdout, re.MULTILINE)
