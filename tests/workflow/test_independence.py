"""An experiment is a folder and a line: without it the others plan, and those that read it say what they lack."""

import json
import shutil

import pytest

from harness import ROOT, checkout, planned, run, snakemake
from myopia.config.experiment import experiment, listed

# In a project of its own: what happens to each experiment once one is gone, and whether the rest can be planned.
PROBE = """
import json, yaml
from myopia.common.errors import MyopiaError
from myopia.config.dag import Dag
from myopia.config.experiment import known, listed
from myopia.config.load import load_config

CONFIG = yaml.safe_load(open("config.yaml")) | {"scale": "smoke"}

def told(names):
    try:
        return sorted(Dag(load_config(CONFIG | {"experiments": names})).runs)
    except MyopiaError as error:
        return str(error)

print(json.dumps({"rest": told(list(known())), "lost": {n: told([n]) for n in listed() if n not in known()}, "all": told(None)}))
"""


def without(tree, name):
    """Remove an experiment as a person would: its two folders, its line."""
    shutil.rmtree(tree / f"scripts/myopia/experiments/{name}")
    shutil.rmtree(tree / f"tests/experiments/{name}")
    path = tree / "scripts/myopia/experiments/__init__.py"
    text = path.read_text()
    assert text.count(f'    "{name}",\n') == 1
    path.write_text(text.replace(f'    "{name}",\n', ""))


def sources(name):
    """What an experiment reads, directly or through others."""
    return {*experiment(name).reads, *(far for near in experiment(name).reads for far in sources(near))}


def readers(name):
    """Experiments that cannot do without one."""
    return {other for other in listed() if name in sources(other)}


@pytest.mark.parametrize("name", listed())
def test_the_others_plan_and_its_readers_are_refused_in_a_sentence(name, tmp_path):
    tree = tmp_path / "project"
    for part in ("scripts", "workflow", "config.yaml", f"tests/experiments/{name}"):
        source, target = ROOT / part, tree / part
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, target)
    without(tree, name)
    said = json.loads(run(tree, "python", "-c", PROBE).output)
    assert isinstance(said["rest"], list) and len(said["rest"]) > 10
    assert not [run for run in said["rest"] if run.startswith(experiment(name).prefix or name)]
    assert set(said["lost"]) == readers(name)
    for reader, sentence in said["lost"].items():
        assert sentence.startswith(f"config key experiments: {reader} reads what {name} made") and "\n" not in sentence
    if said["lost"]:  # asking for all is asking for them
        assert said["all"] in said["lost"].values()
    else:
        assert said["all"] == said["rest"]


@pytest.mark.parametrize("name", ["induction", "size_sweep"])
def test_snakemake_and_pytest_do_without_it(name, tmp_path):
    tree = checkout(tmp_path / "project")
    without(tree, name)
    lost = readers(name)
    rest = [other for other in listed() if other != name and other not in lost]
    jobs = planned(snakemake(tree, f"experiments=[{','.join(rest)}]", "--dry-run", "--quiet", "rules").output)
    assert {f"judge_{other}" for other in rest if other != "released"} <= set(jobs)
    assert f"judge_{name}" not in jobs
    for reader in sorted(lost):
        said = snakemake(tree, f"experiments=[{reader}]", "--dry-run", rc=1).output
        assert "Traceback" not in said and f"{reader} reads what {name} made" in said
    ignored = [f"--ignore=tests/experiments/{reader}" for reader in lost]
    words = ("--collect-only", "-q", "-p", "no:cacheprovider", "tests/experiments", *ignored)
    collected = run(tree, "python", "-m", "pytest", *words).output
    assert all(f"tests/experiments/{other}/" in collected for other in rest) and f"experiments/{name}/" not in collected
