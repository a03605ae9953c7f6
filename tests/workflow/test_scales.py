"""Every scale and every profile plans; what a plan promises is what Snakemake would run."""

import csv
import re

import yaml

from harness import ROOT, planned, snakemake, trained
from myopia.config.dag import Dag
from myopia.config.load import load_config


def scale(fresh, name):
    return Dag(load_config({**yaml.safe_load((fresh / "config.yaml").read_text()), "scale": name}))


def test_the_papers_scale_lists_its_whole_dag_and_the_plan_tells_of_the_same_jobs(fresh):
    """In seconds, without torch, a GPU or a file of the results."""
    done = snakemake(fresh, "--dry-run", "--quiet", "rules", scale="paper")
    assert done.cpu_seconds < 15
    jobs, dag = planned(done.output), scale(fresh, "paper")
    assert jobs["train"] + jobs["train_arm"] == trained(jobs) == len(dag.run_folders()) >= 580
    assert sum(jobs.values()) > 1300
    done = snakemake(fresh, "--", "plan", scale="paper")
    assert done.cpu_seconds < 15 and "30% utilisation" in done.output
    with open(fresh / "results/paper/tables/plan.csv") as handle:
        rows = [row for row in csv.DictReader(handle) if row["experiment"] != "total"]
    training = [row for row in rows if row["runs"] and not row["experiment"].startswith("tuning: ")]
    assert sum(int(row["jobs"]) for row in training) == trained(jobs)
    data = sum(int(row["jobs"]) for row in rows if row["experiment"].startswith("data: "))
    names = ("harvest_text", "fetch_text", "train_tokenizer", "fetch_tokenizer", "encode_corpus", "encode_further")
    assert data == sum(jobs.get(name, 0) for name in names)


def test_the_two_scales_of_a_laptop_plan_a_job_for_each_group_of_runs(fresh):
    for name in ("laptop", "cpu"):
        jobs = planned(snakemake(fresh, "--dry-run", "--quiet", "rules", scale=name).output)
        dag = scale(fresh, name)
        expected = {job.name for job in dag.jobs()} - {job.name for job in dag.tuning_jobs()}
        assert {rule for rule in jobs if trained({rule: 1})} == expected and len(expected) >= 8
        assert {rule for rule in jobs if rule.startswith("judge_")} == {f"judge_{one.name}" for one in dag.running}


def test_the_learning_rate_grid_plans(fresh):
    jobs = planned(snakemake(fresh, "--dry-run", "--quiet", "rules", "--", "tuned").output)
    grid = {job.name for job in scale(fresh, "smoke").tuning_jobs()}  # a job trains a run's tuning seeds
    assert {rule for rule in jobs if trained({rule: 1})} == grid and len(grid) >= 4
    assert jobs["tabulate_tuning"] == jobs["tune_toys"] == 1


def test_a_profile_holds_only_options_of_snakemake():
    from snakemake.cli import get_argument_parser

    known = {option for action in get_argument_parser()._actions for option in action.option_strings}
    profiles = sorted((ROOT / "workflow/profiles").glob("*/profile.yaml"))
    assert len(profiles) == 3
    for path in profiles:
        profile = yaml.safe_load(path.read_text())
        assert {f"--{key}" for key in profile} <= known, path
        assert set(profile["rerun-triggers"]) == {"mtime", "input", "params"} and profile["rerun-incomplete"] is True
        assert not {"slurm_account", "slurm_partition", "default-resources"} & set(profile)  # the user's own


def asked_for(fresh, attempt):
    """{rule: resources} at the scale `gpu` on Slurm, of each rule's job that asks for most; a plan needs no cluster."""
    words = ("--workflow-profile", "workflow/profiles/slurm", "--dry-run", "--attempt", attempt)
    found = {}
    for rule, resources in re.findall(
        r"^rule (\w+):.*?^    resources: (.*?)$", snakemake(fresh, *words, scale="gpu").output, re.M | re.S
    ):
        asked = dict(word.split("=", 1) for word in resources.split(", ") if "=" in word)
        found[rule] = max(found.get(rule, asked), asked, key=lambda words: int(words.get("mem_mb", 0)))
    found.pop("all")  # no job
    return found


def test_every_job_says_what_it_needs_and_a_later_attempt_asks_for_more(fresh):
    first, last = asked_for(fresh, 1), asked_for(fresh, 6)
    assert {"train", "measure_text", "gather_text", "judge_text"} <= set(first) == set(last)
    for found, times in ((first, 1), (last, 3)):
        assert all(int(words["runtime"]) >= 60 * times for words in found.values())
        train, measure = found["train"], found["measure_tokens"]
        assert (train["gpu"], train["runtime"], train["slurm_extra"]) == ("1", str(480 * times), "--signal=TERM@300")
        assert (measure["gpu"], measure["runtime"]) == ("1", str(480 * times))
        assert min(int(train["mem_mb"]), int(measure["mem_mb"])) >= 3000 * times
    assert int(last["train"]["mem_mb"]) == 3 * int(first["train"]["mem_mb"])
