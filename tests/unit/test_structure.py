"""Who imports whom (contracts in pyproject.toml), what loads torch, and what no file may hold."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from myopia.config.experiment import experiment, known
from myopia.config.load import ROOT

LIBRARY = ROOT / "scripts" / "myopia"
LIGHT = ("common", "config", "data", "judge", "show", "cli")
"""Packages whose modules load no torch when they are imported."""


def run(code: str, **environment: str) -> subprocess.CompletedProcess:
    kept = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
    environment = {**kept, "PYTHONPATH": str(LIBRARY.parent), **environment}
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment)


def tracked() -> list[Path]:
    """Files under version control; in a tree without git, all but what is plainly made."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode == 0:
        paths = [ROOT / name for name in listed.stdout.split("\0") if name]
        return [path for path in paths if path.is_file()]
    made = {".git", ".venv", "results", ".snakemake", "__pycache__", "build"}
    return [path for path in ROOT.rglob("*") if path.is_file() and not made & set(path.relative_to(ROOT).parts)]


def test_contracts_of_imports_hold():
    """Layers, and what planning, judging and drawing must do without: `[tool.importlinter]` of pyproject.toml."""
    code = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(no_cache=True))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": str(LIBRARY.parent)},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def test_experiments_import_those_they_declare_to_read_and_no_others():
    listed = {path.name for path in (LIBRARY / "experiments").iterdir() if (path / "__init__.py").is_file()}
    assert listed == {*known(), "_template"}
    for name in known():
        found = set()
        for path in (LIBRARY / "experiments" / name).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
                if isinstance(node, ast.ImportFrom):
                    assert not node.level, f"{path}: name the module in full"
                    modules = [f"{node.module}.{alias.name}" for alias in node.names]
                found |= {module.split(".")[2] for module in modules if module.startswith("myopia.experiments.")}
        assert found <= {name, *experiment(name).reads}, name


def test_importing_what_plans_judges_and_draws_loads_no_torch():
    modules = [path for package in LIGHT for path in sorted((LIBRARY / package).rglob("*.py"))]
    for name in known():
        folder = LIBRARY / "experiments" / name
        modules += [path for part in ("__init__", "settings", "judge", "tables", "show", "commands")
                    if (path := folder / f"{part}.py").is_file()]  # fmt: skip
    names = [str(path.relative_to(LIBRARY.parent).with_suffix("")).replace(os.sep, ".") for path in modules]
    names = ["myopia", *(name.removesuffix(".__init__") for name in names)]
    done = run(f"""
import importlib, sys
for name in {names!r}:
    importlib.import_module(name)
    loaded = [heavy for heavy in ("torch", "transformers", "datasets", "huggingface_hub") if heavy in sys.modules]
    if loaded:
        sys.exit(f"importing {{name}} loads {{loaded[0]}}")
""")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(("network", "offline"), [(False, True), (True, False)])
def test_only_downloads_may_reach_the_hub(network, offline):
    """All other commands switch the clients off, which works only before anything imports them."""
    done = run(f"""
from myopia.cli import build
from myopia.cli.start import start
build()
start(network={network})
import huggingface_hub.constants
assert huggingface_hub.constants.HF_HUB_OFFLINE is {offline}
""")
    assert done.returncode == 0, done.stderr


def test_every_rule_has_a_log_an_environment_and_a_benchmark():
    from myopia.show.report.results import UNTIMED

    paths = [*(ROOT / "workflow" / "rules").glob("*.smk"), *(LIBRARY / "experiments").glob("*/rules.smk")]
    found, untimed = 0, set()
    for path in paths:
        for block in re.split(r"^(?=\s*(?:checkpoint|rule)\b[^\n]*:$)", path.read_text(), flags=re.M)[1:]:
            body = block.split("\n        rule ")[0]
            if not re.search(r"^\s+shell:$", body, re.M):
                continue  # a target
            found += 1
            # Snakemake counts a benchmark among the outputs: a rule that runs whenever it is asked for has neither.
            on_demand = not re.search(r"^\s+output:$", body, re.M)
            for directive in ("log", "conda") if on_demand else ("log", "benchmark", "conda"):
                assert re.search(rf"^\s+{directive}:$", body, re.M), f"{path.name}: no {directive} in\n{body[:200]}"
            if not re.search(r"^\s+benchmark:$", body, re.M):
                untimed.add(re.search(r"^\s*rule (\w+):$", body, re.M)[1])
            for environment in re.findall(r'"((?:\.\./)+envs/\w+\.yaml)"', body):
                assert (path.parent / environment).resolve().is_file(), f"{path.name}: {environment}"
    # The report would wait for a benchmark that is never written.
    assert found > 25 and untimed == set(UNTIMED)


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
