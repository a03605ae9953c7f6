"""Pins: conda environments against requirements.txt, against what scripts import, and against what is installed."""

import ast
import functools
import re
import sys
from importlib import metadata
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = ROOT / "scripts"
ENVIRONMENTS = sorted((ROOT / "envs").glob("*.yaml"))

CONDA_TO_PIP = {"pytorch": "torch"}  # everything else has one name on conda-forge and on PyPI
IMPORT_TO_CONDA = {
    "torch": "pytorch",
    "yaml": "pyyaml",
    "sklearn": "scikit-learn",
    "vl_convert": "vl-convert-python",
}
# Never imported by us, but pinned because a package that is would otherwise be free to choose.
COMPANIONS = {"tokenizers": "transformers", "accelerate": "lm_eval", "datasets": "lm_eval"}


def normal(name):
    """A distribution's name as PyPI compares names."""
    return re.sub(r"[-_.]+", "-", name).lower()


@functools.cache
def requirements():
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    pins = [line.split("==") for line in lines if line and not line.startswith("#")]
    return {normal(name): version for name, version in pins}


@functools.cache
def pins(path):
    """{conda name: version} of an environment file."""
    dependencies = yaml.safe_load(path.read_text())["dependencies"]
    assert all(isinstance(line, str) for line in dependencies), "pip sections cannot be locked"
    return dict(re.fullmatch(r"([a-z0-9_.-]+) =([0-9][0-9a-z.]*)", line).groups() for line in dependencies)


@pytest.mark.parametrize("path", ENVIRONMENTS, ids=lambda path: path.stem)
def test_channels(path):
    assert yaml.safe_load(path.read_text())["channels"] == ["conda-forge", "nodefaults"]


@pytest.mark.parametrize("path", ENVIRONMENTS, ids=lambda path: path.stem)
def test_pins_agree_with_requirements(path):
    found = pins(path)
    assert next(iter(found)) == "python"
    lowest = re.search(r'requires-python = ">=([\d.]+)"', (ROOT / "pyproject.toml").read_text()).group(1)
    assert found["python"] == lowest
    for name, version in found.items():
        if name != "python":
            assert version == requirements()[normal(CONDA_TO_PIP.get(name, name))], name


def test_requirements_are_exact():
    for line in (ROOT / "requirements.txt").read_text().splitlines():
        assert line.startswith("#") or re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][A-Za-z0-9.]*", line), line


def test_what_we_ask_for_is_pinned():
    for line in (ROOT / "requirements.in").read_text().splitlines():
        name, _, version = line.partition("#")[0].strip().partition("==")
        if name:
            assert normal(name) in requirements() and version in ("", requirements()[normal(name)]), line


def test_the_package_asks_for_versions_that_are_pinned():
    from packaging.requirements import Requirement

    text = (ROOT / "pyproject.toml").read_text()
    for line in ast.literal_eval(re.search(r"^dependencies = (\[.*?^\])", text, re.M | re.S).group(1)):
        wanted = Requirement(line)
        assert wanted.specifier.contains(requirements()[normal(wanted.name)]), line


def test_the_environment_is_the_pinned_one():
    """In the environment `make` builds. Torch's CUDA libraries, which PyPI adds on Linux, are its own business."""
    if Path(sys.prefix).resolve() != (ROOT / ".venv").resolve():
        pytest.skip("not run from this checkout's .venv: the installed versions are somebody else's choice")
    installed = {normal(d.metadata["Name"]): d.version.partition("+")[0] for d in metadata.distributions()}
    wrong = {n: (v, installed.get(n)) for n, v in requirements().items() if installed.get(n) != v}
    assert not wrong, "pinned and installed differ: run make"
    tools = re.compile(r"pip|setuptools|wheel|myopia|triton|nvidia-.*|cuda-.*")
    assert not [name for name in installed if name not in requirements() and not tools.fullmatch(name)]


# --- what the scripts of each rule import ---


def rules():
    """(rule, environment, script) of every rule; the figures share one environment."""
    for path in sorted((ROOT / "workflow" / "rules").glob("*.smk")):
        for block in re.split(r"^(?=\s*(?:use )?rule\b)", path.read_text(), flags=re.M):
            environment = re.search(r'"\.\./\.\./envs/(\w+)\.yaml"', block)
            if environment is None:
                continue
            scripts = re.findall(r"python scripts/(\w+)\.py", block)
            if not scripts:
                scripts = [found.stem for found in sorted(SCRIPTS.glob("plot_*.py"))]
            for script in scripts:
                yield environment.group(1), script


def modules_of(node):
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        assert not node.level, "relative imports are not followed here"
        return [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return []


def reached(script):
    """Third-party packages a script imports, at once or late, itself or through our library."""
    waiting, seen, packages = [SCRIPTS / f"{script}.py"], set(), set()
    while waiting:
        path = waiting.pop()
        if path in seen:
            continue
        seen.add(path)
        for node in ast.walk(ast.parse(path.read_text())):
            for module in modules_of(node):
                package = module.split(".")[0]
                if package == "myopia":
                    base = SCRIPTS.joinpath(*module.split("."))
                    waiting += [p for p in (base.with_suffix(".py"), base / "__init__.py") if p.is_file()]
                elif package not in sys.stdlib_module_names:
                    packages.add(IMPORT_TO_CONDA.get(package, package))
    return packages


def test_the_walk_reaches_through_the_library():
    assert {"pytorch", "transformers", "safetensors", "scipy"} <= reached("train_models")
    assert "zstandard" in reached("encode_corpus") and "pytorch" not in reached("encode_corpus")


@pytest.mark.parametrize(("environment", "script"), sorted(set(rules())))
def test_an_environment_provides_what_its_script_imports(environment, script):
    missing = reached(script) - set(pins(ROOT / "envs" / f"{environment}.yaml"))
    assert not missing, f"envs/{environment}.yaml lacks {', '.join(sorted(missing))} for scripts/{script}.py"


@pytest.mark.parametrize("environment", sorted({environment for environment, _ in rules()}))
def test_an_environment_holds_nothing_else(environment):
    from myopia.data.docstrings import DEFAULT_PACKAGES

    needed = set().union(*(reached(script) for found, script in rules() if found == environment))
    if environment == "fetch":  # the default corpus is these packages' documentation
        needed |= {IMPORT_TO_CONDA.get(name, name) for name in DEFAULT_PACKAGES}
    needed |= {name for name, host in COMPANIONS.items() if host in needed}
    assert set(pins(ROOT / "envs" / f"{environment}.yaml")) - needed == {"python"}


def test_the_default_corpus_is_the_same_under_conda():
    """Its text comes from installed packages: each must be pinned where it is harvested."""
    from myopia.data.docstrings import DEFAULT_PACKAGES

    config = yaml.safe_load((ROOT / "config.yaml").read_text())
    corpora = [part["corpora"] for part in (config["base"], *config["scales"].values()) if "corpora" in part]
    named = {p for corpus in corpora for c in corpus.values() for p in c.get("source", {}).get("packages", [])}
    harvested = {IMPORT_TO_CONDA.get(name, name) for name in named | set(DEFAULT_PACKAGES)}
    assert harvested <= set(pins(ROOT / "envs" / "fetch.yaml"))


def test_every_environment_is_used():
    assert {path.stem for path in ENVIRONMENTS} == {environment for environment, _ in rules()}
