"""The workflow on a real Slurm: undisturbed, and with all that happens to jobs there. It always ends with the same bytes.

Runs that are disturbed train for seconds instead of smoke's milliseconds, so that it happens in their middle.
"""

import contextlib
import itertools
import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
import yaml

from harness import checkout, contents, differing, environment, run, snakemake

STEPS = 400
BATCH = 32  # smaller, and such runs would share a job
LONGER = {
    "seeds": [0],
    "synthetic": {"steps": STEPS, "batch_size": BATCH, "micro_batch": BATCH, "eval": {"every": STEPS // 4}},
}
BUNDLE = "mult-d2-pad2-vanilla"  # one of the short runs that share a job
VANILLA, MYOPIC = "dp-p1-vanilla", "dp-p1-myopic"
ONE_EXPERIMENT = ("results/smoke/tables/verdicts/induction.csv", "results/smoke/figures/induction.svg")
# What a user of this cluster keeps for himself. It has a default partition, and keeps no accounts.
OWN_PROFILE = {
    "slurm-status-command": "squeue",
    "slurm-init-seconds-before-status-checks": 1,
    "slurm-keep-successful-logs": True,
}
# The executor asks how jobs are doing ten seconds later each time that none has ended, and no option bounds that.
ASK_EVERY_SECOND = """
import snakemake_executor_plugin_slurm as plugin
from snakemake.cli import main
plugin.Executor.next_seconds_between_status_checks = property(lambda self: 1, lambda self, seconds: None)
main()
"""
SNAKEMAKE = (sys.executable, "-c", ASK_EVERY_SECOND)


def rule(run):
    """The rule that trains a run which shares its job with no other."""
    return "train_" + run.replace("-", "_").replace(".", "_")


def metrics(*runs):
    return [f"results/smoke/runs/{name}/seed0/metrics.json" for name in runs]


@pytest.fixture(scope="module")
def longer(tmp_path_factory):
    """A config file: smoke, with runs that last."""
    path = tmp_path_factory.mktemp("config") / "longer.yaml"
    path.write_text(yaml.dump({"scale": "smoke", **LONGER}))
    return path


@pytest.fixture(scope="module")
def undisturbed(longer, tmp_path_factory):
    """All of that, made here without Slurm."""
    folder = checkout(tmp_path_factory.mktemp("undisturbed") / "tree")
    snakemake(folder, "--configfile", longer, "--", *metrics(BUNDLE, VANILLA, MYOPIC), *ONE_EXPERIMENT, scale=None)
    return contents(folder)


@pytest.fixture
def start(slurm, longer, tmp_path):
    """Starts `snakemake` on the cluster for some files; whatever is left of it afterwards is killed."""
    own = tmp_path / "own"
    own.mkdir()
    (own / "profile.yaml").write_text(yaml.dump(OWN_PROFILE))
    started = []

    def start(tree, *wanted, options=()):
        output = open(tree / f"output-{len(started)}", "w+")  # noqa: SIM115
        process = subprocess.Popen(
            [*SNAKEMAKE, "--profile", own, "--workflow-profile", "workflow/profiles/slurm", "--configfile", longer,
             "--latency-wait", "10", *options, "--", *wanted],
            cwd=tree, env={**environment(), **slurm.env, "PATH": f"{slurm.folder}/bin:{environment()['PATH']}:/usr/sbin"},
            stdout=output, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        started.append(process)
        return SimpleNamespace(process=process, output=lambda: (tree / output.name).read_text())

    yield start
    for process in started:
        with contextlib.suppress(psutil.Error):
            for child in (*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)):
                child.kill()
        process.wait()
    for job in slurm("squeue", "--noheader", "--format", "%i").split():
        slurm("scancel", job, rc=None)


def ended(slurm, snakemake, rc=0):
    """Wait for a `snakemake` that was started above."""
    slurm.until(lambda: snakemake.process.poll() is not None, 800)
    assert snakemake.process.returncode == rc, snakemake.output()[-6000:] + slurm.told()


def trainer(tree, run):
    """The process that trains `run` from `tree`, None if there is none."""
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            words = process.cmdline()
            if words[1:4] == ["-m", "myopia", "train"] and f"--run={run}" in words and process.cwd() == str(tree):
                return process
    return None


def state(tree, run):
    (folder,) = (tree / f"results/smoke/.state/{run}/seed0").iterdir()
    return folder


def attempts(tree, run):
    """[[first line, last line]] of every attempt's record, in order."""
    found = []
    for text in (state(tree, run) / "attempts.jsonl").read_text().splitlines():
        line = json.loads(text)
        if line["event"] == "start":
            found.append([line])
        found[-1][1:] = [line]
    return found


def in_the_middle(slurm, tree, *runs, attempt=1):
    """The processes that train `runs`, each stopped as soon as its attempt of that number has worked for a moment, lest it
    end before what is to happen to it. Slurm lets a process go on (SIGCONT) wherever it asks it to end.
    """
    stopped, before = {}, {}

    def all_stopped():
        for name in runs:
            with contextlib.suppress(ValueError, FileNotFoundError, psutil.Error):
                if name in stopped or len(attempts(tree, name)) < attempt:
                    continue
                process = trainer(tree, name)
                if process is not None and process.pid == attempts(tree, name)[-1][0]["pid"]:
                    now = process.cpu_times().user
                    if now > before.setdefault(process.pid, now) + 0.5:
                        process.send_signal(signal.SIGSTOP)
                        stopped[name] = process
        return len(stopped) == len(runs)

    slurm.until(all_stopped, 400)
    return list(stopped.values())


def job_of(slurm, tree, run):
    """(id, fields) of the newest Slurm job that trains `run`."""
    jobs = {n: f for n, f in slurm.jobs(tree).items() if f["Comment"] == f"rule_{rule(run)}"}
    return list(jobs.items())[-1]


def jobs_of(slurm, tree, run):
    return [fields for fields in slurm.jobs(tree).values() if fields["Comment"] == f"rule_{rule(run)}"]


def check_run(tree, run, expected, events):
    """Equal to the undisturbed run, byte by byte; as many attempts as `events` tell the ends of (None: whatever it was),
    one after another; the seconds of the result are spent once.
    """
    made = {path: data for path, data in contents(tree).items() if path.startswith(f"runs/{run}/")}
    wanted = {path: data for path, data in expected.items() if path.startswith(f"runs/{run}/")}
    assert len(wanted) >= 4 and not differing(wanted, made)
    found = attempts(tree, run)
    ends = [attempt[-1]["event"] for attempt in found]
    assert len(ends) == len(events) and all(event in (None, end) for event, end in zip(events, ends)), ends
    for before, after in itertools.pairwise(found):
        assert before[-1]["time"] <= after[0]["time"]  # never two at a time
    timing = json.loads((tree / f"results/smoke/runs/{run}/seed0/timing.json").read_text())
    spent = sum(attempt[-1]["time"] - attempt[0]["time"] for attempt in found)
    assert timing["attempts"] == len(events) and 0 < timing["seconds"] <= spent + 0.1
    return found


def test_an_experiment_from_training_to_its_figure(slurm, undisturbed, start, tmp_path):
    """One rule of every kind; others would only add jobs of the same kinds."""
    tree = checkout(tmp_path / "tree")
    ended(slurm, start(tree, *ONE_EXPERIMENT))
    made = contents(tree)
    wanted = {path: undisturbed.get(path) for path in made}
    assert {path.removeprefix("results/smoke/") for path in ONE_EXPERIMENT} <= set(made) and not differing(wanted, made)
    jobs = slurm.jobs(tree)
    assert [fields["Comment"] for fields in jobs.values()] == [
        f"rule_{name}"
        for name in ("train_induction_runs_made", "measure_induction", "judge_induction", "draw_induction")
    ]
    assert {fields["JobState"] for fields in jobs.values()} == {"COMPLETED"}


def test_cancelled_timed_out_and_killed_for_memory(slurm, undisturbed, start, tmp_path):
    """Three jobs of one workflow, each ended by Slurm in its own way and submitted again."""
    tree = checkout(tmp_path / "tree")
    cancelled, timed_out = VANILLA, MYOPIC
    bundle = "train_multiplication_runs_made:mem_mb=300 if attempt == 1 else 2000"
    snakemake = start(tree, *metrics(VANILLA, MYOPIC, BUNDLE), options=("--set-resources", bundle))

    in_the_middle(slurm, tree, timed_out, cancelled)
    number, _ = job_of(slurm, tree, timed_out)
    slurm("scontrol", "update", f"JobId={number}", "TimeLimit=1")
    number, _ = job_of(slurm, tree, cancelled)
    slurm("scancel", number)
    ended(slurm, snakemake)

    first, second = jobs_of(slurm, tree, cancelled)
    assert (first["JobState"], second["JobState"]) == ("CANCELLED", "COMPLETED")
    assert (first["TimeLimit"], second["TimeLimit"]) == ("02:00:00", "04:00:00")
    assert (first["MinMemoryNode"], second["MinMemoryNode"]) == ("3000M", "6000M")
    found = check_run(tree, cancelled, undisturbed, ["preempted", "end"])
    assert 0 < found[0][-1]["step"] < STEPS
    told = Path(first["StdOut"]).read_text()  # the Snakemake around it waited until the state was written
    assert told.index("stopped by signal 15") < told.index("CalledProcessError")

    first, second = jobs_of(slurm, tree, timed_out)
    # Told in advance that its time is nearly up, it may end by itself (with exit code 75) the moment it can.
    assert first["JobState"] in ("TIMEOUT", "FAILED") and second["JobState"] == "COMPLETED"
    found = check_run(tree, timed_out, undisturbed, ["preempted", "end"])
    assert 0 < found[0][-1]["step"] < STEPS

    first, second = [f for f in slurm.jobs(tree).values() if f["Comment"] == "rule_train_multiplication_runs_made"]
    assert first["JobState"] in ("FAILED", "OUT_OF_MEMORY") and second["JobState"] == "COMPLETED"
    assert "exceeded memory limit" in (slurm.folder / "slurmd.log").read_text()
    made = {p: d for p, d in contents(tree).items() if not p.startswith("runs/dp-")}
    wanted = {path: undisturbed.get(path) for path in made}
    assert f"runs/{BUNDLE}/seed0/metrics.json" in made and not differing(wanted, made)


def test_snakemake_itself_is_killed(slurm, undisturbed, start, tmp_path):
    """Its job works on, and the job of the next Snakemake waits for it."""
    tree = checkout(tmp_path / "tree")
    first = start(tree, *metrics(MYOPIC))
    (orphan,) = in_the_middle(slurm, tree, MYOPIC)
    first.process.send_signal(signal.SIGKILL)
    first.process.wait()
    run(tree, "python", "-m", "myopia", "unlock")

    second = start(tree, *metrics(MYOPIC))
    log = tree / f"results/smoke/logs/train/{rule(MYOPIC)}.log"
    slurm.until(lambda: len(jobs_of(slurm, tree, MYOPIC)) == 2 and log.exists() and "waiting: " in log.read_text())
    time.sleep(2)
    assert orphan.is_running() and len(attempts(tree, MYOPIC)) == 1
    orphan.send_signal(signal.SIGCONT)
    ended(slurm, second)
    check_run(tree, MYOPIC, undisturbed, ["end", "end"])


def test_preempted_then_its_node_goes_down(slurm, undisturbed, start, tmp_path):
    """Slurm itself puts the job back, twice; Snakemake waits."""
    tree = checkout(tmp_path / "tree")
    snakemake = start(tree, *metrics(MYOPIC))
    in_the_middle(slurm, tree, MYOPIC)
    number, _ = job_of(slurm, tree, MYOPIC)
    slurm("sbatch", "--partition=urgent", "--exclusive", "--output=/dev/null", "--wrap=sleep 2")
    slurm.until(lambda: slurm.jobs(tree)[number]["Restarts"] == "1")
    in_the_middle(slurm, tree, MYOPIC, attempt=2)
    slurm("scontrol", "update", f"NodeName={slurm.node}", "State=DOWN", "Reason=test")
    slurm.until(lambda: slurm.jobs(tree)[number]["Restarts"] == "2")
    slurm("scontrol", "update", f"NodeName={slurm.node}", "State=RESUME")
    ended(slurm, snakemake)
    assert len(slurm.jobs(tree)) == 1
    check_run(tree, MYOPIC, undisturbed, ["preempted", None, "end"])


# --- what no cluster can do ---


def refused(slurm, snakemake, tree):
    """The sentence it ends with; no job has been submitted."""
    ended(slurm, snakemake, rc=1)
    assert not slurm.jobs(tree) and "Traceback" not in snakemake.output()
    (sentence,) = [line for line in snakemake.output().splitlines() if line.startswith("slurm: ")]
    return sentence


def test_no_partition(slurm, start, tmp_path):
    slurm("scontrol", "update", "PartitionName=tests", "Default=NO")
    try:
        sentence = refused(slurm, start(checkout(tmp_path / "tree"), *metrics(MYOPIC)), tmp_path / "tree")
    finally:
        slurm("scontrol", "update", "PartitionName=tests", "Default=YES")
    assert "no partition is named and this cluster has no default one; name one of tests, urgent" in sentence


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--set-resources", f"{rule(MYOPIC)}:gpu=2"), f"rule {rule(MYOPIC)} asks for gpu=2, but no node of partition tests offers more than 1"),
        (("--default-resources", "slurm_partition=urgent"), f"rule {rule(MYOPIC)} asks for runtime=120, but no node of partition urgent offers more than 5"),
        (("--slurm-status-command", "sacct"), "this cluster keeps no accounts"),
    ],
)  # fmt: skip
def test_what_this_cluster_has_not(slurm, start, tmp_path, options, words):
    tree = checkout(tmp_path / "tree")
    assert words in refused(slurm, start(tree, *metrics(MYOPIC), options=options), tree)
