"""kill -9 of Snakemake in the middle of training: its orphans work on, a rerun ends where an undisturbed run ends.

Asked for one table and the training under it: the rest of the workflow would be the same whatever happened there.
"""

import contextlib
import json
import signal
import subprocess
import time

import psutil
import pytest

from harness import checkout, contents, differing, environment, run, snakemake

TABLE = "measure/synthetic_loss.csv"


def wait_for(find, process, seconds=240):
    """What `find` returns, once it is true; `process` must live until then."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = find()
        if found:
            return found
        assert process.poll() is None, "snakemake ended before it could be killed"
        time.sleep(0.05)
    raise AssertionError("waited in vain")


def trainings(process):
    """Training jobs that `process` has started."""
    found = []
    for child in psutil.Process(process.pid).children(recursive=True):
        with contextlib.suppress(psutil.Error):
            words = child.cmdline()
            if words[1:4] == ["-m", "myopia", "train"]:
                found.append(child)
    return found


def starts(state):
    lines = [json.loads(line) for line in (state / "attempts.jsonl").read_text().splitlines()]
    return sum(line["event"] == "start" for line in lines)


def test_killed_and_run_again_it_equals_the_undisturbed_run(smoke, tmp_path):
    tree = checkout(tmp_path / "killed")

    def locked():
        return any((tree / ".snakemake").glob("locks/*"))

    with open(tmp_path / "output", "w") as output:
        process = subprocess.Popen(
            ["snakemake", "--cores", "2", "--config", "scale=smoke", "--", f"results/smoke/{TABLE}"],
            cwd=tree, env=environment(tree), stdout=output, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
            start_new_session=True,
        )  # fmt: skip
    orphans = []
    try:
        wait_for(locked, process)
        refused = run(tree, "python", "-m", "myopia", "unlock", rc=2)
        assert f"process {process.pid}) is already running in" in refused.output
        assert "Traceback" not in refused.output and locked()

        orphans = wait_for(lambda: trainings(process), process)
        process.send_signal(signal.SIGKILL)  # snakemake alone, not the jobs it started
        process.wait()
        assert all(orphan.is_running() for orphan in orphans) and locked()
        run_of_orphan = next(word for word in orphans[0].cmdline() if word.startswith("--run=")).removeprefix("--run=")

        run(tree, "python", "-m", "myopia", "unlock")
        assert not locked()
        snakemake(tree, "--", f"results/smoke/{TABLE}")
    finally:
        for left in (process, *orphans):
            with contextlib.suppress(psutil.Error):
                left.kill()
    (state,) = (tree / f"results/smoke/.state/{run_of_orphan}/seed0").iterdir()
    assert starts(state) == 2  # the orphan, and the job of the second workflow
    made = contents(tree)
    trained = {path.split("/")[1] for path in made if path.endswith("/metrics.json")}
    assert TABLE in made and run_of_orphan in trained and len(trained) >= 4
    expected = {
        path: data
        for path, data in contents(smoke.folder).items()
        if path in (TABLE, "settings.json") or (path.startswith("runs/") and path.split("/")[1] in trained)
    }
    assert not differing(expected, made)  # nothing is missing, nothing is there beside it


@pytest.mark.parametrize("host", ["elsewhere", None])
def test_a_lock_from_another_machine_is_left_alone(tmp_path, host):
    """On a shared file system its owner may live where we cannot see it. Without a log the lock is old enough to go."""
    tree = checkout(tmp_path / "tree")
    assert run(tree, "python", "-m", "myopia", "unlock").output == ""  # nothing to unlock
    lock = tree / ".snakemake/locks/0.input.lock"
    lock.parent.mkdir(parents=True)
    lock.write_text("results/smoke/tables/seeds.csv\n")
    if host is not None:
        log = tree / ".snakemake/log/2024-01-02T030405.123456.snakemake.log"
        log.parent.mkdir()
        log.write_text(f"SNAKEMAKE\n=========\n  Host: {host}\n")
    done = run(tree, "python", "-m", "myopia", "unlock", rc=0 if host is None else 2)
    assert lock.exists() == (host is not None)
    if host is not None:
        assert "was taken on elsewhere" in done.output and "snakemake --unlock" in done.output
