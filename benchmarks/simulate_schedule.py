"""A thousand training jobs on a cluster that takes machines away: does everything finish, and what is lost?

    python benchmarks/simulate_schedule.py --out results/bench/schedule [--seeds 34] [--preempted 0.05] [--made]

Real: the workflow and its DAG, Snakemake, its cluster-generic executor and retries; the training script with its lock,
states, signals, results and accounts; all jobs but training, which run as a cluster runs them, Snakemake in Snakemake.
Stood in for:
- Sizes. Smoke's networks of 20 steps, a job for each run and seed, a state every `SAVE_STEPS` steps.
- The cluster: two shell scripts, `submit` and `status`, and this process (`fake_cluster.py`).
- The start of a training job. Its command is the rule's, word for word, with `--save-steps` added, but it runs in a
  child of a process that has torch imported (`preempted.py`), not in a Snakemake of its own. What that one does besides
  is done here: it removes declared outputs and the log before, and writes the benchmark file after.
- Preemption. An attempt is struck with a given probability, at any of its steps or while it writes its results, by
  SIGTERM, by SIGKILL, or by a cluster that takes it for lost while it works on. Whether, how and where is a function of
  `--draw`, the run and the number of the attempt.

Afterwards every run that was struck is trained once more without disturbance, and must give the same bytes. Two tables:
`schedule.csv`, one row, and `preemptions.csv`, a row for each; `provenance.json` beside them. Exit status 1 if anything
was lost that must not be.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import resource
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil
import yaml
from fake_cluster import HOW, SAVE_STEPS, Attempt, Cluster, environment

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
sys.path.insert(0, str(ROOT / "scripts"))

SCALE = "simulated"
MAX_DAG_S = 60  # of work: others may use the machine
RESULTS = ("model.safetensors", "config.json", "curve.csv", "metrics.json")

# --- what is asked of the workflow ---


def make_tree(folder: Path, seeds: int) -> Path:
    """A copy of the project with a scale of its own: smoke's, each run on so many seeds, each a job."""
    for name in ("scripts", "workflow", "envs"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    config = yaml.safe_load((ROOT / "config.yaml").read_text())
    own = {"seeds": list(range(seeds)), "size_sweep": {"seeds": list(range(seeds))}, "share_process": False}
    config |= {"scale": "smoke", "results": f"results/{SCALE}", **own}
    (folder / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    (folder / "results").mkdir()
    return folder


def targets(tree: Path, made: bool) -> list[str]:
    """The table of all runs, or only the runs that need no text."""
    from myopia.config.dag import Dag
    from myopia.config.load import load_config

    dag = Dag(load_config(yaml.safe_load((tree / "config.yaml").read_text())))
    if not made:
        return [f"{dag.results}/tables/seeds.csv"]
    return dag.files([run for run, spec in dag.runs.items() if "corpus" not in spec["data"]], "metrics.json")


def dry_run(tree: Path, wanted: list[str]) -> tuple[str, float, float]:
    """What Snakemake would do, and the seconds it takes to say so: on the clock, and of work."""
    start, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    command = ["snakemake", "--dry-run", "--printshellcmds", "--", *wanted]
    done = subprocess.run(command, cwd=tree, env=environment(), capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"the dry run failed:\n{done.stdout[-3000:]}{done.stderr[-3000:]}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return done.stdout + done.stderr, time.monotonic() - start, cpu


def training_jobs(output: str) -> dict[str, tuple[list[str], str]]:
    """{log: (words of the command, benchmark file)} of every training job that a dry run has printed."""
    jobs, benchmark = {}, ""
    for line in output.splitlines():
        kind, _, rest = line.strip().partition(": ")
        if kind == "benchmark":
            benchmark = rest
        rest = rest.removeprefix("exec ")
        if kind == "Shell command" and rest.startswith("python -m myopia train "):
            words = shlex.split(rest)
            jobs[words[words.index("--log") + 1]] = words, benchmark
    if not jobs:
        sys.exit("the dry run shows no job that trains")
    return jobs


def schedule(tree: Path, cluster: Cluster, wanted: list[str]) -> tuple[int, float, float]:
    """Run the workflow on the cluster: exit status, seconds on the clock, Snakemake's own seconds of work."""
    command = ["snakemake", "--executor", "cluster-generic", "--cluster-generic-submit-cmd", "cluster/submit"]
    command += ["--cluster-generic-status-cmd", "cluster/status", "--jobs", str(cluster.args.jobs), "--cores", "all"]
    command += ["--retries", str(cluster.args.retries), "--seconds-between-status-checks", str(cluster.args.poll)]
    command += ["--max-status-checks-per-second", "1000", "--max-jobs-per-timespan", "1000/1s", "--latency-wait", "10"]
    start = time.monotonic()
    with open(tree / "snakemake.out", "wb") as out:
        process = psutil.Popen(
            [*command, "--", *wanted], cwd=tree, env=environment(), stdout=out, stderr=subprocess.STDOUT
        )
        try:
            code, cpu = cluster.serve(process)
        finally:
            with contextlib.suppress(psutil.Error):
                process.kill()
    return code, time.monotonic() - start, cpu


# --- what came of it ---


def preemptions(attempts: list[Attempt]) -> list[dict[str, Any]]:
    """A row for each attempt that was struck: how, after how many steps, and after how many its successor went on."""
    rows, before = [], {}
    for attempt in attempts:
        number, struck = before.get(attempt.log, (0, None))
        if struck is not None:
            struck["resumed_at"] = attempt.record["first"]
            struck["steps_lost"] = max(0, struck["step"] - struck["resumed_at"])
        row = None
        if attempt.how:
            step = attempt.record["struck"][0]
            row = {key: attempt.record[key] for key in ("run", "seed")} | {
                "attempt": number + 1,
                "how": attempt.how,
                "step": step,
            }
            rows.append(row)
        before[attempt.log] = (number + 1, row)
    return rows


def train_again(cluster: Cluster, row: dict[str, Any]) -> bool:
    """Train a run that was struck once more, undisturbed and elsewhere; whether it gives the same bytes."""
    run, seed = row["run"], f"seed{row['seed']}"
    results = cluster.tree / "results" / SCALE
    (record,) = results.glob(f"*/{run}/{seed}/provenance.json")
    spec, place = json.loads(record.read_text())["spec"], record.parents[2]
    with tempfile.TemporaryDirectory(dir=cluster.place) as name:
        folder = Path(name)
        if "init_from" in spec:
            shutil.copytree(place / spec["init_from"] / seed, folder / spec["init_from"] / seed)
        options = {"--spec": json.dumps(spec), "--seeds": row["seed"], "--runs": folder, "--state": folder / "state",
                   "--teachers": results / "runs"}  # fmt: skip
        if "corpus" in spec["data"]:
            corpus = results / "data" / spec["data"]["corpus"]
            options |= {"--tokens": corpus / "tokens", "--tokenizer": corpus / "tokenizer"}
        words = ["python", "-m", "myopia", "train", *(str(word) for pair in options.items() for word in pair)]
        process = cluster.train(words, folder)
        process.join()
        pairs = [(folder / run / seed / file, place / run / seed / file) for file in RESULTS]
        return process.exitcode == 0 and all(new.read_bytes() == old.read_bytes() for new, old in pairs)


def accounts(tree: Path) -> tuple[int, int]:
    """(runs that have finished, attempts they have cost) as `snakemake cost` adds them up."""
    from myopia.judge.cost import cost_table

    runs = [str(path.parent) for path in tree.glob(f"results/{SCALE}/*/*/seed*/timing.json")]
    row = cost_table({}, runs, {}, 0.0).iloc[-1]
    return int(row["runs"]), int(row["attempts"])


def complaints(row: dict[str, Any]) -> list[str]:
    """What must not be."""
    checks = {
        f"Snakemake ended with exit status {row['exit_status']}": row["exit_status"] != 0,
        f"{row['training_jobs'] - row['finished']} runs have not finished": row["finished"] != row["training_jobs"],
        "nothing was preempted": not row["preemptions"],
        f"{row['failures']} attempts failed that nothing had struck": row["failures"] > 0,
        f"a preemption lost {row['most_steps_lost']} steps": row["most_steps_lost"] > SAVE_STEPS,
        f"{row['runs_struck'] - row['runs_equal']} runs differ from undisturbed ones": row["runs_struck"] != row["runs_equal"],
        f"{row['attempts_accounted']} of {row['attempts']} attempts are accounted for": row["attempts_accounted"] != row["attempts"],
        f"the DAG took {row['dag_cpu_s']:.0f} s of work": row["dag_cpu_s"] > MAX_DAG_S,
    }  # fmt: skip
    return [sentence for sentence, wrong in checks.items() if wrong]


def simulate(args: argparse.Namespace, tree: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """All of it, in a folder of its own."""
    wanted = targets(tree, args.made)
    output, dag_s, dag_cpu_s = dry_run(tree, wanted)
    jobs = training_jobs(output)
    cluster = Cluster(tree, jobs, args)
    begin = time.monotonic()
    status, wall_s, cpu_s = schedule(tree, cluster, wanted)
    attempts = cluster.trained
    struck = preemptions(attempts)
    equal = {}
    for row in struck:
        equal.setdefault((row["run"], row["seed"]), None)
    for key in equal:
        equal[key] = status == 0 and train_again(cluster, {"run": key[0], "seed": key[1]})
    finished, accounted = accounts(tree)
    lost = [row["steps_lost"] for row in struck if "steps_lost" in row]
    row = {
        "training_jobs": len(jobs),
        "finished": finished,
        "exit_status": status,
        "attempts": len(attempts),
        "attempts_accounted": accounted,
        "failures": sum(a.code() != 0 and not a.how for a in attempts),
        "preemptions": len(struck),
        **{how: sum(row["how"] == how for row in struck) for how in HOW},
        "save_steps": SAVE_STEPS,
        "steps": sum(a.record["steps"] for a in attempts if a.code() == 0 and not a.how),
        "steps_lost": sum(lost),
        "most_steps_lost": max(lost, default=0),
        "runs_struck": len(equal),
        "runs_equal": sum(map(bool, equal.values())),
        "dag_s": dag_s,
        "dag_cpu_s": dag_cpu_s,
        "first_job_s": (cluster.first or begin) - begin,
        "wall_s": wall_s,
        "snakemake_cpu_s": cpu_s,
        "preempted_share": args.preempted,
        "draw": args.draw,
        "jobs_at_once": args.jobs,
        "poll_s": args.poll,
        "slots": args.slots,
        "retries": args.retries,
        "cores": os.cpu_count(),
        "machine": platform.machine(),
        **{name.rpartition("-plugin-")[2].replace("-", "_"): version(name) for name in
           ("snakemake", "snakemake-executor-plugin-cluster-generic", "torch")},
    }  # fmt: skip
    return row, struck


def main() -> int:
    """Simulate, write the tables, say what is wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--out", required=True, metavar="DIR", help="for schedule.csv, preemptions.csv, provenance.json"
    )
    parser.add_argument("--seeds", type=int, default=34, help="each is a job for every run of the scale smoke")
    parser.add_argument("--made", action="store_true", help="only runs that need no text, and no table of them")
    parser.add_argument("--preempted", type=float, default=0.05, help="probability that an attempt is struck")
    parser.add_argument("--draw", type=int, default=0, help="seed of what is drawn")
    parser.add_argument("--jobs", type=int, default=50, help="jobs that Snakemake submits at once")
    parser.add_argument("--slots", type=int, default=2, help="jobs that the cluster has room for")
    parser.add_argument("--poll", type=int, default=5, help="seconds between looks at the jobs")
    parser.add_argument("--retries", type=int, default=5, help="as in workflow/profiles/slurm")
    args = parser.parse_args()
    import pandas as pd
    import torch

    from myopia.common.files import write_csv, write_json
    from myopia.train.provenance import environment as provenance
    from myopia.train.provenance import git_state

    with tempfile.TemporaryDirectory(prefix="schedule-") as name:
        tree = make_tree(Path(name), args.seeds)
        row, struck = simulate(args, tree)
        wrong = complaints(row)
        if row["exit_status"]:
            sys.stderr.write((tree / "snakemake.out").read_text()[-5000:])
    write_csv(Path(args.out, "schedule.csv"), pd.DataFrame([row]))
    columns = ["run", "seed", "attempt", "how", "step", "resumed_at", "steps_lost"]
    write_csv(Path(args.out, "preemptions.csv"), pd.DataFrame(struck, columns=columns))
    versions = provenance(torch.device("cpu"))["versions"]
    write_json(Path(args.out, "provenance.json"), {"git": git_state(), "versions": versions})
    sys.stderr.write("".join(f"{key} {value}\n" for key, value in row.items()))
    sys.stderr.write("".join(f"error: {sentence}\n" for sentence in wrong))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
