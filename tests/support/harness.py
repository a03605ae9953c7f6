"""What the tests of the workflow share: a copy of the project, Snakemake in it, and comparisons of what it made.

Snakemake never runs in the checkout itself: its lock would disturb whoever works there.
"""

import os
import re
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

ROOT = Path(__file__).resolve().parents[2]
MADE = shutil.ignore_patterns(".git", ".venv", "results", ".snakemake", "__pycache__", "*_cache", "build", "*.egg-info")
# Files that may differ between two equal runs: they tell when and where, not what.
TELLTALE = ("timing.json", "provenance.json", "report.html")


def environment(folder=ROOT):
    """Ours without what an outer make or Snakemake left in it; this interpreter comes first, and the package of `folder`."""
    outer = re.compile(r"MAKE.*|MFLAGS|SCALE|ARGS|VENV|STAMP|SNAKEMAKE_.*|PYTHONPATH")
    kept = {key: value for key, value in os.environ.items() if not outer.fullmatch(key)}
    path = f"{Path(sys.executable).parent}{os.pathsep}{kept['PATH']}"
    return {**kept, "PATH": path, "PYTHONPATH": str(Path(folder, "scripts")), "OMP_NUM_THREADS": "1"}


def checkout(folder):
    """A copy of the project without anything it made."""
    shutil.copytree(ROOT, folder, ignore=MADE, symlinks=True)
    (folder / "results").mkdir()
    return folder


def run(folder, *command, rc=0, **more):
    """A finished process; `output` is all it wrote. Any other exit status than `rc` fails the test.

    `seconds` are those on the clock, `cpu_seconds` those it worked, which say what it costs on a busy machine too.
    """
    env = {**environment(folder), **more.pop("env", {})}
    start, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [str(word) for word in command], cwd=folder, env=env, text=True, timeout=800,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, check=False, **more,
    )  # fmt: skip
    assert done.returncode == rc, f"exit status {done.returncode}:\n{done.stdout[-6000:]}"
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return SimpleNamespace(output=done.stdout, seconds=time.monotonic() - start, cpu_seconds=cpu)


def snakemake(folder, *arguments, scale="smoke", **more):
    """`snakemake --config scale=<scale> <arguments>` in `folder`."""
    given = () if scale is None else ("--config", f"scale={scale}")
    return run(folder, "snakemake", "--cores", 2, *given, *arguments, **more)


def trained(jobs):
    """Training jobs among `planned` ones, whatever they train."""
    others = ("train_tokenizer", "tune_toys")
    return sum(n for rule, n in jobs.items() if f"{rule}_".startswith(("train_", "tune_")) and rule not in others)


def planned(output):
    """{rule: jobs} of Snakemake's job table (`all` and the total left out); {} if there is nothing to be done."""
    if "Nothing to be done" in output:
        return {}
    table = output[output.rindex("Job stats:") :]
    jobs = {name: int(n) for name, n in re.findall(r"^(\w+) +(\d+)$", table, re.M)}
    assert jobs.pop("total") == sum(jobs.values())
    jobs.pop("all", None)
    return jobs


def plan(folder, **more):
    return planned(snakemake(folder, "--dry-run", **more).output)


def contents(folder):
    """{path: bytes} of every result that two equal runs must share."""
    results = folder / "results" / "smoke"
    return {
        str(path.relative_to(results)): path.read_bytes()
        for path in sorted(results.rglob("*"))
        if path.is_file()
        and path.relative_to(results).parts[0] not in (".state", "logs", "benchmarks")
        and path.name not in TELLTALE
    }


def differing(left, right):
    """Paths whose bytes differ between two `contents`."""
    return [path for path in sorted({*left, *right}) if left.get(path) != right.get(path)]
