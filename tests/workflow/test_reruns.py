"""What a change makes Snakemake do again: what it touches, and no training for the sake of a comment."""

import re

import pytest
import yaml

from harness import contents, differing, plan, planned, snakemake, trained
from myopia.config.experiment import experiment, known

DATA = {"harvest_text", "train_tokenizer", "encode_corpus", "encode_further"}


def edit(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def of(jobs, names):
    """Those jobs that train, measure, judge or draw for one of these experiments."""
    measured = {m.name for name in names for m in experiment(name).measurements}
    own = {f"{what}_{name}" for what in ("judge", "draw") for name in names} | {f"measure_{name}" for name in measured}
    return {
        job: jobs[job] for job in jobs if job in own or any(f"{job}_".startswith(f"train_{name}_") for name in names)
    }


def readers(name):
    """An experiment and those that read it."""
    sources = {other: {*experiment(other).reads} for other in known()}
    return {name} | {other for other in known() if name in sources[other]}


def test_code_that_says_the_same_plans_nothing(sandbox):
    """Comments everywhere, keys in another order, and no file as old as it was."""
    for path in sandbox.glob("scripts/myopia/**/*.py"):
        path.write_text(path.read_text() + "# a comment\n")
    for path in (
        *sandbox.glob("workflow/rules/*.smk"),
        *sandbox.glob("envs/*.yaml"),
        *sandbox.glob("workflow/scales/*"),
    ):
        path.write_text("# a comment\n" + path.read_text())

    def turned(node):
        return {key: turned(node[key]) for key in reversed(node)} if isinstance(node, dict) else node

    for path in (sandbox / "config.yaml", sandbox / "workflow/scales/smoke.yaml"):
        path.write_text(yaml.dump(turned(yaml.safe_load(path.read_text())), sort_keys=False))
    edit(sandbox / "scripts/myopia/experiments/text/scales.yaml", "smoke:", "smoke: # as before")
    path = sandbox / "workflow/scales/laptop.yaml"
    path.write_text(path.read_text().replace("2048", "2047"))  # another scale is nobody's business here
    assert plan(sandbox) == {}


def test_a_recipe_bump_plans_all_training(sandbox):
    path = sandbox / "scripts/myopia/config/runs.py"
    number = re.search(r'"train": (\d+)', path.read_text()).group(1)
    edit(path, f'"train": {number}', f'"train": {int(number) + 1}')
    jobs = plan(sandbox)
    everything = {path.stem for path in (sandbox / "results/smoke/logs/train").iterdir()}
    assert {job for job in jobs if trained({job: 1})} == everything and len(everything) >= 6
    assert not DATA & set(jobs)


@pytest.mark.parametrize(
    ("name", "setting"),
    [("text", {"steps": 21}), ("synthetic", {"steps": 21}), ("size_sweep", {"finetune": {"sequences": 88}})],
)
def test_one_setting_plans_its_experiment_and_what_reads_it(sandbox, name, setting):
    (sandbox / "config.yaml").write_text((sandbox / "config.yaml").read_text() + yaml.dump({name: setting}))
    jobs = plan(sandbox)
    touched, others = readers(name), {*known()} - readers(name) - {"released"}
    assert {*of(jobs, [name])} >= {f"judge_{name}", f"draw_{name}"} and trained(of(jobs, [name])) >= 1
    assert {job for job in jobs if trained({job: 1})} <= {*of(jobs, touched)}
    assert {f"judge_{other}" for other in touched if other != "released"} <= set(jobs)
    assert not of(jobs, others) and not DATA & set(jobs)
    assert {"verdicts", "tabulate_seeds", "write_report"} <= set(jobs)


def test_a_deleted_figure_costs_its_own_job(sandbox):
    (sandbox / "results/smoke/figures/influence.svg").unlink()
    assert plan(sandbox) == {"draw_text": 1, "write_report": 1}


def test_a_deleted_metric_comes_back_from_the_state(sandbox):
    """The job runs again, for all seeds it trains, but from the state it had kept: no step is trained."""
    before = contents(sandbox)
    runs = sandbox / "results/smoke/runs/dp-p1-myopic"
    (runs / "seed0/metrics.json").unlink()
    done = snakemake(sandbox, "--", "results/smoke/runs/dp-p1-myopic/seed0/metrics.json")
    assert trained(planned(done.output)) == 1
    for seed in (0, 1):
        assert f"[dp-p1-myopic {seed}] resumed at step 20/20" in done.output
    assert not differing(before, contents(sandbox))
