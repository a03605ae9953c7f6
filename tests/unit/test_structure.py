"""The house of docs/design.md section 1, checked: who may import whom, and what no file may hold."""

import ast
import functools
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LIBRARY = ROOT / "scripts" / "myopia"
ROOMS = ["config", "data", "model", "train", "measure", "judge", "show"]
LIGHT = ["common", "config", "data", "judge", "show"]  # rooms that must do without torch
MODULES = sorted(path.relative_to(LIBRARY).as_posix() for path in LIBRARY.rglob("*.py") if path.parent != LIBRARY)


@functools.cache
def tracked():
    """Files under version control; in a tree without git, all but what is plainly made."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode == 0:
        paths = [ROOT / name for name in listed.stdout.split("\0") if name]
        return [path for path in paths if path.is_file()]
    made = {".git", ".venv", "results", ".snakemake", "__pycache__", "build"}
    return [path for path in ROOT.rglob("*") if path.is_file() and not made & set(path.relative_to(ROOT).parts)]


def imports(path):
    """(module, whether it is imported when the file is) for every import of a file; relative ones made absolute."""
    tree = ast.parse(path.read_text())
    late = {
        id(node)
        for function in ast.walk(tree)
        if isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
        for node in ast.walk(function)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level:
            package = path.relative_to(LIBRARY.parent).parts[: -node.level]
            names = [".".join([*package, node.module or alias.name]) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            # `from myopia.show import style` imports the module myopia.show.style
            names = (
                [f"{node.module}.{alias.name}" for alias in node.names] if "myopia" in node.module else [node.module]
            )
        else:
            continue
        for name in names:
            yield name, id(node) not in late


def test_every_module_lives_in_a_room():
    assert {name.split("/")[0] for name in MODULES} == {*ROOMS, "common"}
    assert [path.name for path in LIBRARY.glob("*.py")] == ["__init__.py"]


@pytest.mark.parametrize("name", MODULES)
def test_imports_go_one_way(name):
    room = name.split("/")[0]
    allowed = {"common"} if room == "common" else {"common", *ROOMS[: ROOMS.index(room) + 1]}
    for module, _ in imports(LIBRARY / name):
        if module.split(".")[0] == "myopia":
            parts = module.split(".")
            assert len(parts) > 2, f"{name} imports {module}: name the module, not the package"
            assert parts[1] in allowed, f"{name} imports {module}: not before {room} in the street"


@pytest.mark.parametrize("name", [name for name in MODULES if name.split("/")[0] in LIGHT])
def test_light_rooms_never_name_torch(name):
    """`transformers` loads torch, and so does `datasets`, which the data room may only import when it must."""
    for module, at_once in imports(LIBRARY / name):
        package = module.split(".")[0]
        assert package not in ("torch", "transformers", "accelerate", "lm_eval"), f"{name} imports {module}"
        assert package != "datasets" or (name.startswith("data/") and not at_once), f"{name} imports {module}"


@pytest.mark.parametrize("name", [name for name in MODULES if name.startswith(("judge/", "show/"))])
def test_judge_does_not_draw_and_show_does_not_judge(name):
    drawing, statistics = {"matplotlib", "seaborn"}, {"scipy", "statsmodels", "sklearn"}
    forbidden = drawing if name.startswith("judge/") else statistics
    for module, _ in imports(LIBRARY / name):
        assert module.split(".")[0] not in forbidden, f"{name} imports {module}"


def test_importing_the_light_rooms_loads_no_torch():
    modules = [
        "myopia." + name.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        for name in MODULES
        if name.split("/")[0] in LIGHT
    ]
    code = f"""
import importlib, sys
sys.path.insert(0, {str(LIBRARY.parent)!r})
for name in {["myopia", *modules]!r}:
    importlib.import_module(name)
    loaded = [heavy for heavy in ("torch", "transformers", "datasets") if heavy in sys.modules]
    if loaded:
        sys.exit(f"importing {{name}} loads {{loaded[0]}}")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_only_the_room_model_and_those_after_it_need_torch():
    for script in sorted(LIBRARY.parent.glob("*.py")):
        rooms = {module.split(".")[1] for module, _ in imports(script) if module.startswith("myopia.")}
        if not rooms & {"model", "train", "measure"}:
            assert not any(module.split(".")[0] == "torch" for module, _ in imports(script)), script.name


def test_only_downloads_may_reach_the_hub():
    """All other scripts switch the clients off, which works only before anything imports them."""
    scripts = sorted(LIBRARY.parent.glob("*.py"))
    downloads = {script.stem for script in scripts if "network=True" in script.read_text()}
    fetching = {script.stem for script in scripts if script.stem.startswith("fetch_")}
    assert fetching and downloads == fetching | {"make_task", "resolve_released"}  # a task's items, commits of models
    code = f"""
import importlib, os, sys
sys.path.insert(0, {str(LIBRARY.parent)!r})
from myopia.common import cli
for name in {[script.stem for script in scripts]!r}:
    importlib.import_module(name)
    loaded = [client for client in ("huggingface_hub", "datasets", "transformers") if client in sys.modules]
    if loaded:
        sys.exit(f"importing {{name}} loads {{loaded[0]}}")
for network, wanted in ((True, False), (False, True)):
    try:
        cli.run(lambda argv: 0, network=network)
    except SystemExit:
        assert (os.environ.get("HF_HUB_OFFLINE") == "1") == wanted, network
import huggingface_hub.constants
assert huggingface_hub.constants.HF_HUB_OFFLINE
"""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", ["__init__.py", *MODULES])
def test_the_library_does_not_print(name):
    tree = ast.parse((LIBRARY / name).read_text())
    calls = [n.func.id for n in ast.walk(tree) if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)]
    assert "print" not in calls


def test_no_file_of_code_is_longer_than_400_lines():
    long = {
        str(path.relative_to(ROOT)): lines
        for path in tracked()
        if path.suffix in (".py", ".smk") or path.name in ("Snakefile", "Makefile")
        if (lines := path.read_text().count("\n")) > 400
    }
    assert not long


def test_no_file_names_a_place_of_one_machine():
    # Written in pieces, so that this file passes its own test.
    forbidden = re.compile("|".join(["/wo" + "rk/", "/ro" + "ot/", r"\.\./sha" + "red", r"\.lib" + "rary"]).encode())
    guilty = [str(path.relative_to(ROOT)) for path in tracked() if forbidden.search(path.read_bytes())]
    assert not guilty


# --- rules ---


def rules():
    """{rule name: its text} of every rule with a command."""
    found = {}
    for path in sorted((ROOT / "workflow" / "rules").glob("*.smk")):
        for block in re.split(r"^(?=\s*(?:use )?rule\b)", path.read_text(), flags=re.M):
            named = re.match(r"\s*rule (\w+):", block) or re.search(r'^\s*rule:\s+name:\s+f?"([^"]+)"', block, re.M)
            if named:
                found[named.group(1)] = block
    return found


def test_the_rules_are_found():
    assert {"harvest_text", "train", "judge_claims", "draw_figures"} <= set(rules())


@pytest.mark.parametrize("name", rules())
def test_every_rule_has_a_log_a_benchmark_and_an_environment(name):
    text = rules()[name]
    # Snakemake counts a benchmark among the outputs: a rule that runs whenever it is asked for has neither.
    on_demand = not re.search(r"^\s+output:$", text, re.M)
    for directive in ("log", "conda", "shell") if on_demand else ("log", "benchmark", "conda", "shell"):
        assert re.search(rf"^\s+{directive}:$", text, re.M), f"rule {name} has no {directive}:"
    environment = re.search(r'"\.\./\.\./(envs/\w+\.yaml)"', text).group(1)
    assert (ROOT / environment).is_file()
    for script in re.findall(r"python (scripts/\w+\.py)", text):
        assert (ROOT / script).is_file()


def test_the_report_waits_for_no_benchmark_that_is_never_written():
    from myopia.show.report.results import UNTIMED

    assert {name for name, text in rules().items() if not re.search(r"^\s+benchmark:$", text, re.M)} == set(UNTIMED)


def test_a_rule_runs_the_script_of_its_name():
    # A job may train several runs.
    special = {
        "train": "train_models",
        "tabulate_tuning": "tabulate_seeds",
        "plan": "plan_run",
        "cost": "tabulate_cost",
        "draw_gap": "plot_audit_gap_by_lr",
        "gap": "print_gap",
    }
    for name, text in rules().items():
        for script in re.findall(r"python scripts/(\w+)\.py", text):
            assert script == special.get(name, name)


def test_the_two_recipes_of_training_agree():
    """One decides what Snakemake reruns, one what a state may be resumed into: a bump must reach both."""
    common = (ROOT / "workflow/rules/common.smk").read_text()
    training = (LIBRARY / "train" / "fingerprint.py").read_text()
    workflow = re.search(r'^RECIPE = .*"train": (\d+)', common, re.M).group(1)
    assert re.search(r"^CODE_VERSION = (\d+)$", training, re.M).group(1) == workflow


def test_every_figure_has_its_script_and_its_caption():
    common = (ROOT / "workflow/rules/common.smk").read_text()
    lists = re.findall(r"^(?:RELEASED_)?FIGURES = (\[.*?\])", common, re.M | re.S)
    figures = [figure for found in lists for figure in ast.literal_eval(found)]
    assert len(lists) == 2 and len(figures) >= 9
    for figure in figures:
        assert (ROOT / f"scripts/plot_{figure}.py").is_file()
        assert (ROOT / f"workflow/report/{figure}.rst").is_file()
    scripts = {path.stem.removeprefix("plot_") for path in (ROOT / "scripts").glob("plot_*.py")}
    assert scripts == set(figures)
