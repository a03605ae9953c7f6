"""Jobs of a scale and their files: nothing is made twice, everything read is made, and a setting reruns what it changes."""

import copy
import re

import pytest

from configuring import SCALES
from myopia.common.errors import MyopiaError
from myopia.config.dag import Dag, regex_any, scale_by_attempt
from myopia.config.load import ROOT, load_config

CONSTRAINTS = dict(re.findall(r'^    (run|unit)=r"(.+)",$', (ROOT / "workflow/rules/common.smk").read_text(), re.M))


def dag_of(scale="smoke", **changes):
    return Dag(load_config({"scale": scale, **changes}))


class Wildcards:
    def __init__(self, unit):
        self.unit = unit


def digests(dag):
    """{experiment: {job: what it depends on beside its inputs}} of everything `all` and `tuned` run."""
    found = {one.name: {} for one in dag.experiments}
    for job in dag.jobs():
        found[dag.owner[job.runs[0]].name][job.name] = dag.training_digest(job.runs, job.seeds)
    for one in dag.experiments:
        for m in one.measurements:
            for unit in dag.units(m):
                found[one.name][f"{m.name} {unit}"] = dag.unit_digest(m)(Wildcards(unit))
        found[one.name]["judge"] = dag.judging_digest(one)
    return found


# --- jobs and files ---


def check_files(scale, shared):
    dag = dag_of(scale, share_process=shared)
    jobs = dag.jobs()
    assert len({job.name for job in jobs}) == len(jobs)
    made = [path for job in jobs for path in dag.training_outputs(job.runs, job.seeds)]
    assert len(set(made)) == len(made)
    assert set(dag.everything("metrics.json")) <= set(made)
    made += [f"{dag.results}/networks/{name}/revision.json" for name in dag.networks()]
    made += map(dag.manifest, dag.settings["corpora"])
    for job in jobs:
        assert set(dag.training_inputs(job.runs, job.seeds)) <= set(made), job.name
    # Data of other kinds (theory, tasks, further corpora) come from rules of their own.
    folders = {path.rpartition("/")[0] for path in made}
    for one in dag.running:
        for m in one.measurements:
            units = dag.units(m)
            assert list(units) == ["all"] or not shared or not units
            for unit in units:
                read = dag.unit_inputs(m)(Wildcards(unit))
                trained = [path for path in read if path.startswith((f"{dag.results}/runs/", f"{dag.results}/arms/"))]
                assert {path.rpartition("/")[0] for path in trained} <= folders
    tables = dag.measured(*dag.running)
    assert len(set(tables)) == len(tables)


@pytest.mark.parametrize("shared", [True, False])
def test_all_that_is_read_is_made_once(shared):
    for scale in SCALES:
        check_files(scale, shared)


def check_names(scale, data_root):
    for dag in (dag_of(scale), dag_of(scale, data_root=data_root, share_process=False)):
        assert not set(dag.runs) & set(dag.tuning)
        for run in (*dag.runs, *dag.tuning):
            assert dag.spec(run)["name"] == run and re.fullmatch(CONSTRAINTS["run"], run), run
            assert run.startswith(dag.owner[run].prefix)
        for one in dag.experiments:
            for m in one.measurements:
                assert all(re.fullmatch(CONSTRAINTS["unit"], unit) for unit in dag.units(m))
        purposes = {spec["purpose"] for spec in dag.runs.values()} - {"control", "pretraining"}
        assert purposes == {"smoke" if scale == "smoke" else "judged"}
        assert {spec["purpose"] for spec in dag.tuning.values()} <= {"tuning"}


def test_names_fit_the_wildcards_of_the_rules(tmp_path):
    for name in ("msmarco", "pg19", "pile_like", "evals"):
        (tmp_path / name).mkdir()
    for scale in SCALES:
        check_names(scale, str(tmp_path))


def test_shared_processes_take_all_units_and_others_one_each():
    whole, apart = dag_of(experiments=["induction"]), dag_of(experiments=["induction"], share_process=False)
    (m,) = apart.running[0].measurements
    assert whole.tables_measured(m) == apart.tables_measured(m)
    assert [run for runs in apart.units(m).values() for run in runs] == whole.units(m)["all"]
    assert len(apart.units(m)) == 4  # two runs on two seeds
    assert whole.parts(m) == whole.tables_measured(m)  # nothing to gather
    assert len(apart.parts(m)) == 4 * len(m.tables)
    filled = [path.format(unit=unit) for unit in apart.units(m) for path in apart.unit_outputs(m)]
    assert filled == apart.parts(m)
    assert apart.unit_file(m, "logs", "log").format(unit="a") != apart.unit_file(m, "logs", "log").format(unit="b")
    read = apart.unit_inputs(m)(Wildcards("induction-myopic-seed1"))
    assert read == [f"results/smoke/runs/induction-myopic/seed1/{file}" for file in ("model.safetensors", "curve.csv")]


def test_short_runs_of_an_experiment_share_a_job_and_long_ones_do_not():
    short = dag_of(experiments=["synthetic"])
    assert [job.runs for job in short.jobs() if job.name.startswith("train_")] == [tuple(short.runs)]
    long = dag_of("cpu", experiments=["synthetic"])
    trained = [job for job in long.jobs() if job.name.startswith("train_")]
    assert [job.runs for job in trained] == [(run,) for run in long.runs]
    assert {job.seeds for job in trained} == {tuple(long.settings["seeds"])}
    tuned = [job for job in long.jobs() if job.name.startswith("tune_")]
    assert {job.seeds for job in tuned} <= {tuple(long.settings["tuning_seeds"])} and tuned


def test_a_run_taught_by_another_waits_for_it_unless_they_share_a_job():
    dag = dag_of(experiments=["text"])
    teacher = "results/smoke/runs/text-docstrings-vanilla/seed0/model.safetensors"
    pupil = "text-docstrings-local-hidden"
    assert dag.training_inputs([pupil], [0]) == ["results/smoke/data/docstrings/tokens/tokens.manifest.json", teacher]
    assert teacher not in dag.training_inputs(["text-docstrings-vanilla", pupil], [0])
    assert f"results/smoke/arms/{pupil}/seed0/myopia.json" in dag.training_outputs([pupil], [0])


def test_one_experiment_costs_its_own_jobs_and_those_it_reads():
    dag = dag_of(experiments=["synthetic", "text", "dose_response"])
    reader = dag.experiment("dose_response")
    assert [one.name for one in dag.sources(reader)] == ["dose_response", "synthetic", "text"]
    assert [path.split("/")[-2] for path in dag.claim_files(reader)] == ["dose_response", "synthetic", "text"]
    assert dag.targets()[-1] == "results/smoke/report.html"
    assert not [path for path in dag.targets() if "induction" in path]
    with pytest.raises(MyopiaError, match="experiment toys does not run here"):
        dag.experiment("toys")
    with pytest.raises(MyopiaError, match="has no measurement induction"):
        dag.measurement("induction")


def test_what_is_optional_is_no_part_of_all():
    dag = dag_of()
    optional = [one for one in dag.experiments if one.optional]
    assert optional and not {f.name for one in optional for f in one.figures} & {*dag.figures(), *dag.tables()}


# --- what reruns ---


@pytest.mark.parametrize(
    ("name", "section", "shared"),
    [
        ("text", {"steps": 21}, True),
        ("text", {"influence_tokens": 12}, False),
        ("synthetic", {"batch_size": 32}, False),
        ("induction", {"snapshots": [0, 5]}, True),
        ("toys", {"hidden": {"steps": 7}}, True),
        ("size_sweep", {"test_windows": 7}, False),
    ],
)
def test_a_changed_setting_reruns_its_experiment_and_those_that_read_it_alone(name, section, shared):
    dag = dag_of(share_process=shared)
    before, after = digests(dag), digests(dag_of(share_process=shared, **{name: section}))
    changed = {one for one in before if before[one] != after[one]}
    readers = {one.name for one in dag.experiments if name in {source.name for source in dag.sources(one)}}
    assert name in changed and changed <= readers
    retrained = {job for one in changed for job in before[one] if before[one][job] != after[one].get(job)}
    assert {dag.owner[run].name for job in dag.jobs() if job.name in retrained for run in job.runs} <= {name}
    assert all(before[one]["judge"] == after[one]["judge"] for one in before)


def test_digests_follow_seeds_and_options_but_no_order_of_keys():
    dag = dag_of(experiments=["induction"])
    turned = copy.deepcopy(dag.settings)
    turned["induction"] = dict(reversed(turned["induction"].items()))
    assert digests(Dag(turned)) == digests(dag)
    assert dag.training_digest(["induction-myopic"], [0]) != dag.training_digest(["induction-myopic"], [1])
    options = digests(dag_of(experiments=["induction"], induction={"test_sequences": 192}))["induction"]
    before = digests(dag)["induction"]
    assert {job for job in before if before[job] != options[job]} == {"induction all"}  # measured again, not trained


def test_a_setting_of_no_job_reruns_nothing():
    assert digests(dag_of()) == digests(dag_of(plan={"mfu": 0.1}, sharding="replicate"))


def test_small_things():
    assert [scale_by_attempt(100, attempt) for attempt in (1, 2, 3, 9)] == [100, 200, 300, 300]
    assert re.fullmatch(regex_any(["a.b", "c"]), "a.b") and not re.fullmatch(regex_any(["a.b"]), "axb")
    assert not re.fullmatch(regex_any([]), "")
