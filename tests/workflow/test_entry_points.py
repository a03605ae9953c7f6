"""Ways in: scales, profiles, make, a cluster, conda, and configs that must not get in."""

import csv
import re
import shutil
import sys
from pathlib import Path

import pytest
import yaml

from harness import ROOT, contents, differing, plan, planned, run, snakemake, trained
from myopia.config.load import load_config
from myopia.config.runs import run_specs, tuning_specs
from myopia.experiments.size_sweep.settings import family, frozen_rate_specs

PROFILES = sorted(path.parent.name for path in (ROOT / "workflow/profiles").glob("*/profile.yaml"))


# --- scales and profiles ---


def test_the_papers_scale_lists_its_whole_dag(fresh):
    done = snakemake(fresh, "--dry-run", "--quiet", "rules", scale="paper")
    config = {**yaml.safe_load((fresh / "config.yaml").read_text()), "scale": "paper"}
    settings = load_config(config)
    runs = len(run_specs(settings)) * len(settings["seeds"])  # a job for each run and seed
    made, part = family(settings), settings["family"]
    sizes = len(made.specs) * len(part["seeds"]) + len(made.tuning_runs()) * len(part["tuning_seeds"])
    jobs = planned(done.output)
    assert jobs["train_family"] == sizes >= 500 and trained(jobs) == runs + sizes >= 580
    assert done.cpu_seconds < 15


def test_the_plan_of_the_papers_scale_is_printed_whenever_asked_for(fresh):
    """And costs seconds, without torch or a GPU; its jobs are Snakemake's."""
    jobs = planned(snakemake(fresh, "--dry-run", "--quiet", "rules", scale="paper").output)
    for _ in range(2):
        done = snakemake(fresh, "--", "plan", scale="paper")
        assert done.cpu_seconds < 15
        lines = {line.split("  ")[0]: line.split() for line in done.output.splitlines()}
        assert lines["experiment"][2:5] == ["parameters", "jobs", "tokens"]
        assert (
            "30% utilisation" in done.output and "mteb" not in done.output.split("experiment")[0].split("Job stats")[1]
        )
    with open(fresh / "results/paper/tables/plan.csv") as handle:
        rows = list(csv.DictReader(handle))
    training = [
        row for row in rows if row["runs"] and row["experiment"] != "total" and "tuning" not in row["experiment"]
    ]
    assert sum(int(row["jobs"]) for row in training) == trained(jobs)
    data = sum(int(row["jobs"]) for row in rows if row["experiment"].startswith("data: "))
    names = ("harvest_text", "fetch_text", "train_tokenizer", "fetch_tokenizer", "encode_corpus", "encode_further")
    assert data == sum(jobs.get(name, 0) for name in names)
    shutil.rmtree(fresh / "results/paper")


@pytest.mark.parametrize("scale", ["laptop", "cpu", "gpu"])
def test_the_other_scales_plan(fresh, scale):
    jobs = planned(snakemake(fresh, "--dry-run", "--quiet", "rules", scale=scale).output)
    assert trained(jobs) >= 8 and jobs["judge_claims"] == 1


def test_the_learning_rate_grid_plans(fresh):
    jobs = planned(snakemake(fresh, "--dry-run", "--quiet", "rules", "--", "tuned").output)
    settings = load_config({**yaml.safe_load((fresh / "config.yaml").read_text()), "scale": "smoke"})
    grid = tuning_specs(settings) | frozen_rate_specs(settings)  # a job trains a run's tuning seeds
    assert jobs["tune"] == len(grid) >= 4 and jobs["tabulate_tuning"] == 1 and not trained(jobs)


def test_profiles_are_known():
    assert PROFILES == ["conda", "default", "slurm"]


@pytest.mark.parametrize("name", PROFILES)
def test_a_profile_holds_only_options_of_snakemake(name):
    from snakemake.cli import get_argument_parser

    known = {option for action in get_argument_parser()._actions for option in action.option_strings}
    profile = yaml.safe_load((ROOT / f"workflow/profiles/{name}/profile.yaml").read_text())
    assert {f"--{key}" for key in profile} <= known
    assert set(profile["rerun-triggers"]) == {"mtime", "input", "params"} and profile["rerun-incomplete"] is True
    assert not {"slurm_account", "slurm_partition", "default-resources"} & set(profile)  # the user's own


def test_slurm_profile_plans(fresh):
    """A plan needs no cluster; what each job asks for grows with its attempts."""
    words = ("--workflow-profile", "workflow/profiles/slurm", "--dry-run", "--quiet", "rules")
    assert planned(snakemake(fresh, *words, scale="gpu").output)["train"] >= 30


@pytest.mark.parametrize(("attempt", "times"), [(1, 1), (6, 3)])
def test_every_job_says_what_it_needs(fresh, attempt, times):
    words = ("--workflow-profile", "workflow/profiles/slurm", "--dry-run", "--attempt", attempt)
    done = snakemake(fresh, *words, scale="gpu")
    asked = {}
    for rule, resources in re.findall(r"^rule (\w+):.*?^    resources: (.*?)$", done.output, re.M | re.S):
        asked[rule] = dict(word.split("=", 1) for word in resources.split(", ") if "=" in word)
    asked.pop("all")  # no job
    assert {"train", "train_text", "evaluate_text", "judge_claims"} <= set(asked)
    assert all(int(words["runtime"]) >= 60 * times for words in asked.values())
    train, measure = asked["train"], asked["evaluate_tokens"]
    assert (train["gpu"], train["runtime"], train["slurm_extra"]) == ("1", str(480 * times), "--signal=TERM@300")
    assert int(train["mem_mb"]) == times * (int(train["mem_mb"]) // times) >= 3000 * times
    assert (measure["gpu"], measure["runtime"]) == ("1", str(480 * times)) and int(measure["mem_mb"]) >= 3000 * times


# --- bad configs ---


def refused(folder, *words):
    """What Snakemake says of a config it refuses: no job is started, no traceback shown."""
    done = run(folder, "snakemake", "--cores", 2, *words, rc=1)
    assert "Traceback" not in done.output and "Job stats" not in done.output
    assert not (folder / "results").exists() or not any((folder / "results").iterdir())
    lines = [line for line in done.output.splitlines() if line.startswith("config")]
    assert len(lines) == 1, done.output
    return lines[0]


def test_a_misspelt_key_on_the_command_line(fresh):
    assert refused(fresh, "--config", "scael=smoke").startswith("config: unknown key 'scael' at the top level")


def test_an_unknown_scale_on_the_command_line(fresh):
    assert refused(fresh, "--config", "scale=smok").startswith("config key scale: 'smok' is unknown")


def test_a_misspelt_key_in_a_config_file(fresh, tmp_path):
    (tmp_path / "bad.yaml").write_text("scales: {smoke: {synthetic: {stpes: 3}}}\n")
    message = refused(fresh, "--configfile", tmp_path / "bad.yaml")
    assert message.startswith("config: unknown key 'stpes' at scales.smoke.synthetic") and "steps" in message


def test_an_impossible_value_in_a_config_file(fresh, tmp_path):
    (tmp_path / "bad.yaml").write_text("scale: smoke\nscales: {smoke: {synthetic: {p: [1.5]}}}\n")
    message = refused(fresh, "--configfile", tmp_path / "bad.yaml")
    assert message.startswith("config key scales.smoke.synthetic.p.0: 1.5")


def test_more_runs_than_a_command_can_name(fresh, tmp_path):
    """Or the first job after all training would be the one that cannot be started."""
    (tmp_path / "many.yaml").write_text(f"scale: smoke\nscales: {{smoke: {{seeds: {list(range(90))}}}}}\n")
    message = refused(fresh, "--configfile", tmp_path / "many.yaml")
    assert message.startswith("config: this scale needs a command of") and "lower the number of seeds" in message


def test_what_the_papers_scale_has_cost_can_be_asked(fresh):
    """A thousand folders one by one would be too long for a command."""
    done = snakemake(fresh, "--dry-run", "--printshellcmds", "--", "cost", scale="paper")
    (command,) = [line for line in done.output.splitlines() if "scripts/tabulate_cost.py" in line]
    assert len(command.encode()) < 60_000


# --- make ---


def make(folder, *words, **more):
    return run(folder, "make", f"VENV={Path(sys.prefix)}", f"STAMP={folder}/stamp", *words, **more)


@pytest.fixture
def stamped(fresh):
    """`fresh` as if its requirements were installed: by the environment the tests run in."""
    (fresh / "stamp").touch()
    yield fresh
    (fresh / "stamp").unlink()


@pytest.mark.parametrize(
    ("words", "command"),
    [
        ((), "snakemake --cores all --config scale=laptop"),
        (("SCALE=cpu", "ARGS=--forceall"), "snakemake --cores all --forceall --config scale=cpu"),
        (("smoke",), "snakemake --cores all --config scale=smoke"),
        (("smoke", "SCALE=cpu"), "snakemake --cores all --config scale=smoke"),
        (("tune",), "snakemake --cores all --config scale=laptop -- tuned"),
        (("test",), "python -m pytest"),
        (("bench",), "python benchmarks/bench_attention.py"),
        (("bench",), "python benchmarks/bench_tokenize.py"),
        (("simulate",), "python benchmarks/simulate_schedule.py"),
    ],
)
def test_make_says_what_it_would_do(stamped, words, command):
    printed = make(stamped, "--dry-run", *words).output
    assert command in " ".join(printed.split())
    assert "envs/setup.sh" not in printed


def test_make_test_sets_up_and_lints(fresh):
    printed = run(fresh, "make", "--dry-run", "test").output
    steps = [
        "envs/setup.sh",
        "ruff check",
        "ruff format --check",
        "snakefmt --check",
        "snakemake --lint",
        "pytest",
    ]
    places = [printed.index(step) for step in steps]
    assert places == sorted(places)


def test_make_clean_removes_no_environment_but_its_own(stamped):
    assert make(stamped, "--dry-run", "clean").output.split() == "rm -rf results/* .snakemake .venv".split()


def test_an_old_python_is_refused(fresh, tmp_path):
    old = tmp_path / "old-python"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)
    message = run(fresh, "make", f"PYTHON={old}", f"STAMP={tmp_path}/none", rc=2).output
    assert re.search("^error: Python 3.11, .* is needed", message, re.M)


def test_make_lint(stamped):
    assert "Congratulations, your workflow is in a good condition!" in make(stamped, "lint").output


def test_make_dag_draws_the_workflow(stamped):
    assert "results/dag.mmd" in make(stamped, "dag").output
    picture = (stamped / "results/dag.mmd").read_text()
    assert picture.startswith("---") and "flowchart" in picture and "[train]" in picture
    for path in (stamped / "results").iterdir():
        path.unlink()


# --- clusters ---

SUBMIT = """#!/bin/sh
# Stands in for sbatch: takes the job script, prints an id, lets it run.
id=$(basename "$1")
(sh "$1" > "queue/$id.out" 2>&1 && echo success > "queue/$id" || echo failed > "queue/$id") &
echo "$id"
"""
STATUS = """#!/bin/sh
cat "queue/$1" 2> /dev/null || echo running
"""


def test_jobs_run_on_a_cluster(sandbox):
    """Each job is a Snakemake of its own there, so everything it needs must reach it by the command line."""
    before = contents(sandbox)
    (sandbox / "queue").mkdir()
    for name, text in (("submit", SUBMIT), ("status", STATUS)):
        (sandbox / name).write_text(text)
        (sandbox / name).chmod(0o755)
    corpus = sandbox / "results/smoke/data/docstrings"
    shutil.rmtree(corpus / "tokenizer")
    shutil.rmtree(corpus / "tokens")
    words = ("--executor", "cluster-generic", "--cluster-generic-submit-cmd", "./submit",
             "--cluster-generic-status-cmd", "./status", "--jobs", 2, "--seconds-between-status-checks", 1,
             "--latency-wait", 5)  # fmt: skip
    done = snakemake(sandbox, *words, "--", "results/smoke/data/docstrings/tokens/tokens.manifest.json")
    assert planned(done.output) == {"train_tokenizer": 1, "encode_corpus": 1}
    assert len(list((sandbox / "queue").glob("*.out"))) == 2
    assert not differing(before, contents(sandbox))


# --- conda ---

CONDA = """#!/bin/sh
# Stands in for conda: what Snakemake asks of it, with environments whose python is ours and tells where it was called.
here=$(cd "$(dirname "$0")/.." && pwd)
case "$*" in
  --version) echo "conda 24.7.1" ;;
  "info --json") echo "{\\"conda_prefix\\": \\"$here\\", \\"platform\\": \\"linux-64\\", \\"envs_dirs\\": []}" ;;
  "config --get"*) echo '{"get": {"channel_priority": "strict"}}' ;;
  clean*) ;;
  "env create"*)
    while [ $# -gt 0 ]; do
      case "$1" in --file) file=$2 ;; --prefix) prefix=$2 ;; esac
      shift
    done
    mkdir -p "$prefix/bin"
    cp "$file" "$prefix/environment.yaml"
    printf '#!/bin/sh\\necho "%s $1" >> "%s/calls"\\nexec "%s" "$@"\\n' "$prefix" "$here" "$PYTHON" > "$prefix/bin/python"
    chmod +x "$prefix/bin/python" ;;
  *) echo "unexpected: conda $*" >&2; exit 1 ;;
esac
"""


@pytest.fixture
def conda(tmp_path):
    """The environment variables that put the stand-in first; `tmp_path/conda/calls` lists python calls."""
    for name, text in (("conda", CONDA), ("activate", 'PATH="$1/bin:$PATH"\n')):
        path = tmp_path / "conda/bin" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o755)
    # Activation prepends to the PATH of the job, where nothing of ours may come first.
    return {"PATH": f"{tmp_path}/conda/bin:{Path(sys.executable).parent}:/usr/bin:/bin", "PYTHON": sys.executable}


def test_what_was_deleted_is_made_again_each_rule_in_its_own_environment(sandbox, conda, tmp_path):
    """The wiring alone. Whether the pins can be installed together only conda itself can say.

    And what a rerun makes: what was deleted and what reads it, with the same bytes.
    """
    before = contents(sandbox)
    (sandbox / "results/smoke/tables/seeds.csv").unlink()
    done = snakemake(sandbox, "--workflow-profile", "workflow/profiles/conda", env=conda)
    assert planned(done.output) == {"tabulate_seeds": 1, "write_report": 1}
    used = {}
    for line in (tmp_path / "conda/calls").read_text().splitlines():
        prefix, script = line.split()
        used[script] = (Path(prefix) / "environment.yaml").read_text()
    assert used == {
        "scripts/tabulate_seeds.py": (ROOT / "envs/report.yaml").read_text(),
        "scripts/write_report.py": (ROOT / "envs/report.yaml").read_text(),
    }
    assert not differing(before, contents(sandbox))
    assert plan(sandbox) == {}  # and without conda again: nothing is done anew
